//! Which rows are scored: targets with an ignore value and the spans of the sequences, checked
//! once.

mod checked;
mod span;
mod targets;

pub use checked::Layout;
pub use span::Span;
pub(crate) use span::{check_offsets, spans_between};
pub use targets::{IGNORE_INDEX, Targets};
