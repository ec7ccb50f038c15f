//! Scalar functions of the losses: the log-sigmoid and its relatives, defined for all inputs.
//!
//! ```text
//! sigmoid(x)      = 1 / (1 + e⁻ˣ)
//! log_sigmoid(x)  = −softplus(−x)
//! softplus(x)     = log(1 + eˣ)
//! log1mexp(x)     = log(1 − eˣ),  x ≤ 0
//! logaddexp(a, b) = log(eᵃ + eᵇ)
//! ```
//!
//! The functions on `f64` stand here, those on `f32` in [`mod@f32`] under the same names. Both call
//! `libm` and never the platform's `exp` or `log`, so a result has the same bits everywhere. In
//! `f64` they are within a few units in the last place; in `f32` those of one variable are
//! correctly rounded, which was checked on every input (`tests/exhaustive`).
//!
//! NaN in gives NaN out; ±inf gives the limit; nothing panics.

pub(crate) mod branchless;
mod double;
mod double_double;
pub mod f32;
pub(crate) mod formula;
pub(crate) mod frexp;

pub(crate) use double::sigmoid_difference;
pub use double::{log_sigmoid, log1mexp, logaddexp, sigmoid, softplus};
