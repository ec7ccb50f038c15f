//! How far a figure may be off: worst-case error analysis of what a [`Precision`] promises.
//!
//! u is half a unit in the last place of 1 in the arithmetic, γ(k, n) the most that sums of n terms
//! are off, relative to the sizes of the terms, where none goes through more than k roundings. With m
//! the maximum of y, d = m − y and p the probabilities of a row:
//!
//! ```text
//! γ       k u/(1 − k u), and at most n u: Jeannerod and Rump 2013, for any order and any n
//! δ       error of y: a rounding for each step of the transform that is not the identity
//! ε       of a term exp(y − m), relative: δ + u d + exp, and the same for each rescaling
//! ε_s     of the sum: Σ p expm1(ε) and γ(additions) of that, as an exponent
//! log Z   ε_s + ln + u (|log Z| + |m|)
//! log p   δ_t + ε_s + ln + u (|log p| + max(|log Z|, d_t)), the last only where it is not shifted
//! c dy/dx ([j = t] − p)       |c dy/dx| p expm1(ε + ε_s + u |ln p| + …), at the target also u
//! ```
//!
//! However many terms are lost on the way, some facts stay, and no bound is wider than they are. A sum
//! of exponentials, each addition rounded to nearest, is no less than its largest term, which is 1, and
//! no more than their number with the roundings: ln s lies within \[0, ln V\], so that log Z lies within
//! \[m, m + ln V\] and log p within \[y − m − ln V, y − m\]. p lies within \[0, 1\], a tanh within
//! \[−1, 1\], its derivative within \[0, 1\], all up to roundings. So a finite figure is asked for
//! wherever nothing leaves the range of the arithmetic; where a sum, a product or a scaled logit may,
//! nothing is promised, not even a number.
//!
//! δ and ε stand in exponents: exp(±ε) is what a term may be off. Errors of x move the softcap's
//! derivative too.
//!
//! Each figure may then be rounded once to the format in which it leaves. No term is a tolerance:
//! where a backend promises f64, no more than the roundings of f64 are allowed.
//!
//! Source: Jeannerod and Rump, "Improved error bounds for inner products in floating-point
//! arithmetic", SIAM J. Matrix Anal. Appl. 34 (2013).

mod details;
mod pair;
mod row;
mod transform;

pub(super) use pair::allowed_of_pair;
pub(super) use row::RowBound;

use super::{Format, Precision};

/// γ: what sums may be off, relative to the sizes of their terms, where a term goes through so many
/// roundings, and all of them together are `most`.
#[allow(clippy::cast_precision_loss, reason = "counts of additions are below 2^53")]
pub(super) fn gamma(roundings: usize, most: usize, unit: f64) -> f64 {
    let (of_term, of_all) = (roundings as f64 * unit, most as f64 * unit);
    if of_term < 0.5 { (of_term / (1.0 - of_term)).min(of_all) } else { of_all }
}

/// A product in which 0 is stronger than what has no bound: what has no size has no error.
pub(super) fn times(size: f64, error: f64) -> f64 {
    if size == 0.0 || error == 0.0 { 0.0 } else { size * error }
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
