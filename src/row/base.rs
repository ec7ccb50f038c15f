//! The base of a row's sums: what they are kept relative to, so that they neither overflow nor
//! vanish.

use super::exact::{Window, power_of_two};
use crate::math::branchless::ROUND;
use crate::simd::exp::{BIAS, LN_2, MAX_EXPONENT, t_at};

/// Exponents of what the loop's terms are relative to are multiples of it. So all blocks of most
/// rows, and most rows, have the same, whose constants the loop has ready: 2^0 for logits between
/// ±22.
const WIDE_STEP: i32 = 64;

/// By how many powers of two the terms of a block may exceed its base together: 512 · 2^½.
const ROOM: i64 = 10;
/// The squares of the terms: 512 · 2.
const ROOM_OF_SQUARES: i64 = 11;

/// ln 2 less its f64.
const LN_2_LOW: f64 = 2.319_046_813_846_299_6e-17;

/// Sums of a row are divided by e^(k·shift) · 2^exponent, of which either shift or exponent is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Base {
    pub(super) shift: f32,
    pub(super) exponent: i32,
}

impl Base {
    /// In the place of none.
    pub(super) const NONE: Self = Self { shift: 0.0, exponent: 0 };

    /// The base near e^(k·v), `factor` being k: a power of two where the exponential's reduction is
    /// exact, the value itself elsewhere.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    #[cfg_attr(not(target_pointer_width = "32"), inline(always))]
    pub(super) fn at(v: f32, factor: f64) -> Self {
        Self::within(MAX_EXPONENT, v, factor)
    }

    /// What the terms of a block are relative to, `v` being its largest value. At the last of the
    /// powers of two, which f32 rounds otherwise than f64, the terms say whether it is right.
    pub(super) fn wide_at(v: f32, factor: f64) -> Self {
        Self::within(MAX_EXPONENT + 2, v, factor).wide()
    }

    #[inline(always)]
    fn within(limit: i32, v: f32, factor: f64) -> Self {
        // The nearest integer, as long as it is small, is by how much the bits of the sum exceed
        // those of `ROUND`.
        let sum = f64::from(v) * factor * core::f64::consts::LOG2_E + ROUND;
        match i32::try_from(sum.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed()) {
            Ok(exponent) if exponent.abs() <= limit => Self { shift: 0.0, exponent },
            _ => Self { shift: v, exponent: 0 },
        }
    }

    /// The logarithm of the base.
    #[inline(always)]
    pub(super) fn ln(self, factor: f64) -> f64 {
        factor * f64::from(self.shift) + f64::from(self.exponent) * LN_2
    }

    /// What the loop's terms are relative to.
    #[inline(always)]
    pub(super) const fn wide(self) -> Self {
        let exponent = (self.exponent + WIDE_STEP / 2) & -WIDE_STEP;
        Self { shift: self.shift, exponent }
    }

    /// What terms are relative to, by the base that it was made of.
    #[inline(always)]
    pub(super) fn by(self, base: Self) -> f64 {
        power_of_two(i64::from(self.exponent - base.exponent))
    }

    /// The same for a block that may have another base.
    #[inline(always)]
    pub(super) fn without_shift(self) -> Self {
        if self.shift.to_bits() == 0 { self } else { Self::NONE }
    }

    /// The base of a block whose terms are relative to this, by the t of the largest; or what they
    /// have to be relative to.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "out of range, it saturates out of range")]
    pub(super) fn base_of(self, top: f32) -> Result<Self, Relative> {
        if self.shift.to_bits() != 0 {
            return Ok(self);
        }
        let above = (top - t_at(0)) as i32;
        let base = Self { shift: 0.0, exponent: self.exponent.saturating_add(above) };
        if above <= -BIAS + 1 || above > 4 * MAX_EXPONENT || base.exponent.abs() > MAX_EXPONENT {
            return Err(Relative::Unknown);
        }
        let wide = base.wide();
        if wide == self { Ok(base) } else { Err(Relative::To(wide)) }
    }

    /// A value near some of a block's, from which distances are measured so that they have digits;
    /// less the shift.
    #[inline(always)]
    pub(super) fn middle(self, some: f32, factor: f64) -> f32 {
        if some.is_finite() {
            some - self.shift
        } else {
            (f64::from(self.exponent) * LN_2 / factor) as f32
        }
    }

    /// What makes distances from `middle`, multiplied by k, distances from ln base.
    #[inline(always)]
    pub(super) fn beyond(self, middle: f32, factor: f64) -> f64 {
        factor * f64::from(middle) - f64::from(self.exponent) * LN_2
    }

    /// As a power of two and a number near 1. The power grows with the base.
    #[inline(always)]
    pub(super) fn place(self, factor: f64) -> Place {
        if self.shift.to_bits() == 0 {
            Place { power: i64::from(self.exponent), part: 1.0, rest: 0.0 }
        } else {
            self.place_of_shift(factor)
        }
    }

    #[cold]
    #[inline(never)]
    #[allow(clippy::cast_possible_truncation, reason = "an integer below 2^41")]
    fn place_of_shift(self, factor: f64) -> Place {
        /// 2^40: from here on the values next to each other are e^60,000 apart or more.
        const FAR: f64 = 1_099_511_627_776.0;
        let v = f64::from(self.shift);
        let y = factor * v;
        if y.abs() >= FAR {
            // Equal values alone add up, so any power will do that is larger than all below and
            // grows with the value.
            let bits = i64::from(self.shift.to_bits() & 0x7fff_ffff);
            let power = (1 << 41) + bits * 4096;
            let power = if v < 0.0 { -power } else { power };
            return Place { power, part: 1.0, rest: 0.0 };
        }
        let n = (y * core::f64::consts::LOG2_E + ROUND) - ROUND;
        let lost = libm::fma(factor, v, -y);
        let rest = libm::fma(-n, LN_2, y) - n * LN_2_LOW + lost;
        Place { power: n as i64, part: libm::exp(rest), rest }
    }

    /// Whether sums are relative to this one where they have both.
    pub(super) fn is_above(self, other: Self, factor: f64) -> bool {
        let [power, other_power] = [self, other].map(|base| base.place(factor).power);
        power > other_power || (power == other_power && self.shift > other.shift)
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

/// What the terms of a block have to be relative to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relative {
    To(Base),
    /// Its largest value says.
    Unknown,
}

/// A base as 2^power · part, where ln part = rest.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub(super) power: i64,
    pub(super) part: f64,
    pub(super) rest: f64,
}

impl Place {
    /// What is relative to 2^power, relative to the base.
    #[inline(always)]
    pub(super) fn by_part(&self, x: f64) -> f64 {
        // Compared as bits: where there is no part, there is no division.
        if self.part.to_bits() == 1.0_f64.to_bits() { x } else { x / self.part }
    }

    /// Where sums of terms are kept.
    #[inline(always)]
    pub(super) const fn terms(&self) -> Window {
        Window::below(self.power + ROOM)
    }

    /// Where sums of squared terms are kept.
    #[inline(always)]
    pub(super) const fn squares(&self) -> Window {
        Window::below(2 * self.power + ROOM_OF_SQUARES)
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
