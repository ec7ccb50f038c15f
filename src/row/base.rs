//! The base of a row's sums: what they are relative to, so that they neither overflow nor vanish.

use crate::math::branchless::ROUND;
use crate::math::formula;
use crate::simd::exp::{BIAS, LN_2, MAX_EXPONENT, t_at};

/// The exponents that the largest term of a block may have beside what the loop's terms are relative
/// to, 2^N: squares, and terms 2^−40 of the largest, are neither too large nor too small for f32.
/// Most blocks of most rows have N = 0, logits from −28 to 38, whose constants the loop has ready.
pub(super) const LOWEST_ABOVE: i32 = -40;
pub(super) const HIGHEST_ABOVE: i32 = LOWEST_ABOVE + STEP - 1;
/// All N are multiples of it.
const STEP: i32 = 96;
/// The largest |N|: all exponents of terms are below 2048, where the reduction is exact.
const HIGHEST: i32 = 19 * STEP;

/// From here on a logit and the next that f32 has are 32 nats apart or more.
const FAR: f64 = (1 << 29) as f64;

/// ln 2 in 23 bits, and the rest.
const LN_2_HIGH: f64 = f64::from_bits(LN_2.to_bits() >> 30 << 30);
const LN_2_LOW: f64 = LN_2 - LN_2_HIGH;

/// Sums of a row are divided by e^(k·shift) · 2^exponent, of which either shift or exponent is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Base {
    pub(super) shift: f32,
    pub(super) exponent: i32,
}

impl Base {
    /// 2^0.
    pub(super) const ONE: Self = Self { shift: 0.0, exponent: 0 };

    /// The base near e^(k·v), `factor` being k: a power of two where the exponential's reduction is
    /// exact, the value itself elsewhere.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    #[cfg_attr(not(target_pointer_width = "32"), inline(always))]
    pub(super) fn at(v: f32, factor: f64) -> Self {
        match exponent(v, factor) {
            Some(exponent) if exponent.abs() <= MAX_EXPONENT => Self { shift: 0.0, exponent },
            _ => Self::of_value(v),
        }
    }

    pub(super) const fn of_value(v: f32) -> Self {
        Self { shift: v, exponent: 0 }
    }

    /// What the terms of a block are relative to, `v` being its largest value: that its terms may
    /// contradict ([`Base::relative`]), because f32 rounds otherwise than f64.
    pub(super) fn of_block(v: f32, factor: f64) -> Self {
        match exponent(v, factor) {
            // At the last ones the terms have to say it.
            Some(exponent) if (LOWEST - 2..=LARGEST + 2).contains(&exponent) => {
                Self::near(exponent)
            }
            _ => Self::of_value(v),
        }
    }

    /// What terms are relative to whose largest is near 2^exponent, or the last that is one.
    #[inline(always)]
    pub(super) fn near(exponent: i32) -> Self {
        let exponent = exponent.clamp(LOWEST, LARGEST);
        Self { shift: 0.0, exponent: (exponent - LOWEST_ABOVE).div_euclid(STEP) * STEP }
    }

    /// What the terms of a block have to be relative to whose largest, relative to this, has the t
    /// `top` ([`Exp`](crate::simd::exp::Exp)). None if its largest value has to say that.
    #[allow(clippy::cast_possible_truncation, reason = "out of range, it saturates out of range")]
    pub(super) fn relative(self, top: f32) -> Option<Self> {
        let above = (top - t_at(0)) as i32;
        let exponent = self.exponent.saturating_add(above);
        // That of 0 does not.
        let is_known = above > 1 - BIAS;
        let is_power = is_known && (LOWEST..=LARGEST).contains(&exponent);
        is_power.then(|| Self::near(exponent)).filter(|&base| base != self)
    }

    /// Whether a block can have it: a shift where logits are beyond the powers of two alone.
    pub(super) fn is_made(self, factor: f64) -> bool {
        let is_within = |exponent: i32| (LOWEST + 2..=LARGEST - 2).contains(&exponent);
        self.is_power()
            || (self.shift.is_finite() && !exponent(self.shift, factor).is_some_and(is_within))
    }

    /// Whether it is a power of two.
    #[inline(always)]
    pub(super) const fn is_power(self) -> bool {
        self.shift.to_bits() == 0
    }

    /// The logarithm of the base.
    #[inline(always)]
    pub(super) fn ln(self, factor: f64) -> f64 {
        factor * f64::from(self.shift) + f64::from(self.exponent) * LN_2
    }

    /// The largest value v whose term can be among those of a block that are relative to this.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "rounded to f32, on purpose")]
    pub(super) fn most(self, factor: f64) -> f32 {
        (f64::from(self.exponent + HIGHEST_ABOVE + 1) * LN_2 / factor) as f32
    }

    /// What distances are measured from, less the shift: `max`, the largest value of the block, the
    /// target's included, if that is no more than `most`. They have digits as long as they are small.
    #[inline(always)]
    pub(super) fn middle(self, max: f32, most: f32) -> f32 {
        match () {
            () if !self.is_power() => 0.0,
            () if max < most => max,
            () => most,
        }
    }

    /// The base as 2^power · part, part near 1.
    #[inline(always)]
    pub(super) fn parts(self, factor: f64) -> (i32, f64) {
        if self.is_power() { (self.exponent, 1.0) } else { self.parts_of_shift(factor) }
    }

    #[cold]
    #[inline(never)]
    #[allow(clippy::cast_possible_truncation, reason = "an integer below 2^30")]
    fn parts_of_shift(self, factor: f64) -> (i32, f64) {
        if is_far(self.shift, factor) {
            // Equal values alone add up.
            return (0, 1.0);
        }
        let [high, low] = products(factor, self.shift);
        let y = high + low;
        let n = (y * core::f64::consts::LOG2_E + ROUND) - ROUND;
        // All but the product with `LN_2_LOW` is exact.
        let rest = (y - n * LN_2_HIGH) - n * LN_2_LOW + ((high - y) + low);
        (n as i32, formula::exp(rest, &mut [0.0; 11]))
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

/// The exponents that the largest term of a block can have under a power of two.
const LOWEST: i32 = LOWEST_ABOVE - HIGHEST;
const LARGEST: i32 = HIGHEST_ABOVE + HIGHEST;

/// Whether values other than v are so far from it that their terms vanish beside each other.
#[inline(never)]
pub(super) fn is_far(v: f32, factor: f64) -> bool {
    v.is_finite() && (factor * f64::from(v)).abs() >= FAR
}

/// x · v as two numbers that f64 has, of which the first is the larger.
#[inline(always)]
pub(super) fn products(x: f64, v: f32) -> [f64; 2] {
    let high = f64::from_bits(x.to_bits() >> 24 << 24);
    let v = f64::from(v);
    [high * v, (x - high) * v]
}

/// The integer nearest to log2 e^(k·v), if it is small.
#[inline(always)]
fn exponent(v: f32, factor: f64) -> Option<i32> {
    // By that the bits of the sum exceed those of `ROUND`.
    let sum = f64::from(v) * factor * core::f64::consts::LOG2_E + ROUND;
    let exponent = sum.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    i32::try_from(exponent).ok().filter(|exponent| exponent.unsigned_abs() < 1 << 20)
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
