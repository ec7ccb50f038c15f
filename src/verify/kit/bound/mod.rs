//! How far a figure may be off: worst-case error analysis of what a [`Precision`] promises.
//!
//! u is half a unit in the last place of 1 in the arithmetic, γ(n) = n u/(1 − n u) the most that n
//! roundings add up to. With m the maximum of y, d = m − y and p the probabilities of a row:
//!
//! ```text
//! δ       error of y: a rounding for each step of the transform that is not the identity
//! ε       of a term exp(y − m), relative: δ + u d + exp, and the same for each rescaling
//! ε_s     of the sum: Σ p ε + γ(additions)
//! log Z   ε_s + ln + u (|log Z| + |m|)
//! log p   δ_t + ε_s + ln + u (|log p| + max(|log Z|, d_t)), the last only where it is not shifted
//! c dy/dx ([j = t] − p)       |c dy/dx| p (ε + ε_s + u |ln p| + …), at the target also u
//! ```
//!
//! δ and ε stand in exponents: exp(±ε) is what a term may be off, and expm1(ε) stands for ε where
//! that is not the same. Errors of x move the softcap's derivative too. Where sums may leave the
//! range of the arithmetic, nothing is promised of a mean.
//!
//! Each figure may then be rounded once to the format in which it leaves. No term is a tolerance:
//! where a backend promises f64, no more than the roundings of f64 are allowed.

mod pair;
mod row;

pub(super) use pair::allowed_of_pair;
pub(super) use row::RowBound;

use super::{Format, Precision};

/// γ(n): what n roundings of relative size u add up to at most; all, once n u is ½.
#[allow(clippy::cast_precision_loss, reason = "counts of additions are below 2^53")]
pub(super) fn gamma(n: usize, unit: f64) -> f64 {
    let nu = n as f64 * unit;
    if nu < 0.5 { nu / (1.0 - nu) } else { f64::INFINITY }
}

/// A product in which 0 is stronger than an error without bound: what has no size has no error.
pub(super) fn times(size: f64, error: f64) -> f64 {
    if size == 0.0 { 0.0 } else { size * error }
}

/// One rounding of a figure to the format in which it leaves. Those of 16 bits may come by way of
/// f32.
pub(super) fn rounding(format: Format, x: f64) -> f64 {
    if !x.is_finite() {
        return 0.0;
    }
    let narrow = format.bytes() == 2;
    0.5 * format.ulp(x) + if narrow { Format::F32.unit() * x.abs() } else { 0.0 }
}

impl Precision {
    /// u of the arithmetic.
    pub(super) const fn unit(&self) -> f64 {
        self.arithmetic.unit()
    }

    /// Of a division, or of a product with a reciprocal.
    fn divided(&self, x: f64) -> f64 {
        self.divided_in(self.arithmetic, x)
    }

    /// The same in a format.
    fn divided_in(&self, format: Format, x: f64) -> f64 {
        (2.0 * self.division.at(x) + 1.0) * format.unit()
    }
}
