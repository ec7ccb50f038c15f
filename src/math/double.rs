//! The scalar functions on f64.
//!
//! Each is written so that neither tail loses its digits: the exponential is only ever taken of a
//! number ≤ 0, so it cannot overflow, and what it is added to is at least as large as it is.

use core::f64::consts::LN_2;

use libm::{exp, expm1, log, log1p};

/// Logarithm of the logistic function.
#[must_use]
pub fn log_sigmoid(x: f64) -> f64 {
    -softplus(-x)
}

/// The logistic function.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    let t = exp(-x.abs());
    if x >= 0.0 { 1.0 / (1.0 + t) } else { t / (1.0 + t) }
}

/// The smooth positive part, log(1 + eˣ).
#[must_use]
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + log1p(exp(-x.abs()))
}

/// Logarithm of 1 − eˣ.
#[must_use]
pub fn log1mexp(x: f64) -> f64 {
    if x > 0.0 {
        f64::NAN
    } else if x > -LN_2 {
        log(-expm1(x))
    } else {
        log1p(-exp(x))
    }
}

/// Logarithm of the sum of two exponentials.
#[must_use]
pub fn logaddexp(a: f64, b: f64) -> f64 {
    // Equal infinities have no difference, but a distance of 0.
    let distance = if a.to_bits() == b.to_bits() { 0.0 } else { (a - b).abs() };
    let larger = if a < b { b } else { a };
    larger + log1p(exp(-distance))
}
