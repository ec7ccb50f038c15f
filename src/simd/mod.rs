//! The lanes: sixteen f32 at a time, on every level.

mod level;

pub use level::{Arithmetic, Level};
