//! Direct Preference Optimization from logits to logit gradients.
#![no_std]

pub mod error;
pub mod math;
pub mod simd;
pub mod theory;
#[cfg(feature = "verify")]
pub mod verify;

pub use error::Error;
pub use simd::{Arithmetic, Level};
