//! The base of a row's sums: what they are kept relative to, so that they neither overflow nor
//! vanish.

use crate::math::branchless::ROUND;
use crate::simd::exp::{LN_2, MAX_EXPONENT};

/// Sums of a row are divided by e^(k·shift) · 2^exponent, of which either shift or exponent is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Base {
    pub(super) shift: f32,
    pub(super) exponent: i32,
}

impl Base {
    /// The base near e^(k·v), `factor` being k: a power of two where the exponential's reduction is
    /// exact, the value itself elsewhere.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    #[cfg_attr(not(target_pointer_width = "32"), inline(always))]
    pub(super) fn at(v: f32, factor: f64) -> Self {
        // The nearest integer, as long as it is small enough to be an exponent, is by how much the
        // bits of the sum exceed those of `ROUND`.
        let sum = f64::from(v) * factor * core::f64::consts::LOG2_E + ROUND;
        match i32::try_from(sum.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed()) {
            Ok(exponent) if exponent.abs() <= MAX_EXPONENT => Self { shift: 0.0, exponent },
            _ => Self { shift: v, exponent: 0 },
        }
    }

    /// The logarithm of the base.
    #[inline(always)]
    pub(super) fn ln(self, factor: f64) -> f64 {
        factor * f64::from(self.shift) + f64::from(self.exponent) * LN_2
    }

    /// This base by another, as a number near 1 and a power of two, and their quotient's logarithm.
    /// A power of two alone where neither has a shift.
    pub(super) fn over(self, other: Self, factor: f64) -> (f64, i32, f64) {
        let delta = factor * (f64::from(self.shift) - f64::from(other.shift));
        let (part, power) = if delta == 0.0 { (1.0, 0) } else { exp(delta) };
        let exponents = self.exponent - other.exponent;
        (part, power + exponents, delta + f64::from(exponents) * LN_2)
    }
}

/// e^x as a number near 1 and a power of two.
fn exp(x: f64) -> (f64, i32) {
    let sum = (x * core::f64::consts::LOG2_E).clamp(-1e6, 1e6) + ROUND;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "clamped; the sum's low bits are the integer"
    )]
    let power = sum.to_bits() as u32;
    (libm::exp(x - (sum - ROUND) * LN_2), power.cast_signed())
}
