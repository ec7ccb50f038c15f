//! What can be wrong with an input, with the numbers that were found.
//!
//! Every public function that can fail returns [`Error`]. Shapes, spans, targets and parameters are
//! checked before any output is written; non-finite values, which only show while computing, are
//! reported after everything else has been computed (see [`Error::NonFiniteRows`]).

mod buffer;
mod check;
mod non_finite;
mod parameter;
mod refusal;
mod text;

pub use buffer::Buffer;
pub(crate) use check::{check_length, check_values};
pub(crate) use non_finite::NonFinite;
pub use parameter::Parameter;
#[cfg(feature = "c")]
pub(crate) use parameter::c_text;
pub(crate) use parameter::parameter_table;
pub use refusal::Error;
