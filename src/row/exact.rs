//! Sums that do not depend on the order of what is added: integers at fixed binary places.
//!
//! A number is cut at the multiples of 32 binary places, whatever they are, and each piece is added
//! to the integer of its place. Three places are kept: the highest that a number has had, and two
//! below it. When a larger number comes, the lowest places fall out; what falls out of one part of
//! a sum would have fallen out of another. So every place that is kept holds the exact sum of its
//! pieces, in any order and any grouping, and what falls out is below 2^−64 of the largest number.

/// Binary places of a piece.
const PIECE: i32 = 32;
/// What fits a piece.
const MASK: u64 = (1 << PIECE) - 1;
/// Places that are kept.
pub(crate) const PLACES: usize = 3;
/// The sums of pieces, highest place first. A piece takes 32 bits of the 64: 2^31 numbers do not
/// fill it.
pub(crate) type Places = [i64; PLACES];

/// An exact sum, but for what is below 2^−64 of the largest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    pub(crate) places: Places,
    /// The number of the highest place, whose lowest bit is 2^(32·top).
    pub(crate) top: i32,
}

impl Sum {
    /// Of nothing.
    pub(crate) const NONE: Self = Self { places: [0; PLACES], top: i32::MIN };

    /// Whether a sum can be kept so: its places have numbers whose lowest bits are i32.
    pub(super) fn is_made(&self) -> bool {
        const HIGHEST: u32 = 1 << 26;
        self.top.unsigned_abs() < HIGHEST || *self == Self::NONE
    }

    /// Adds x · 2^power, x finite. Once a block, so in few instructions. Numbers below 2^−1022 are 0.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    #[cfg_attr(not(target_pointer_width = "32"), inline(always))]
    pub(crate) fn add(&mut self, x: f64, power: i32) {
        let bits = x.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32;
        if exponent == 0 {
            return;
        }
        // Of the lowest bit.
        let place = exponent - (1023 + 52) + power;
        let top = (place + 52) >> PIECE.trailing_zeros();
        if self.top == i32::MIN {
            self.top = top;
        }
        if top > self.top {
            self.raise(top);
        }
        let digits = bits & ((1 << 52) - 1) | 1 << 52;
        // At most 43: above the places there is nothing.
        let up = place.saturating_sub(self.lowest());
        let (digits, up) = match u8::try_from(up) {
            Ok(up) => (digits, up & 63),
            Err(_) => (digits >> up.unsigned_abs().min(63), 0),
        };
        let low = digits << up;
        // In two steps, because a shift by 64 is none.
        let high = digits >> 1 >> (63 - up);
        // Of the size, not of the two's complement: that has ones in the places above.
        let sign = bits.cast_signed() >> 63;
        let pieces = [high, low >> PIECE, low & MASK];
        for (to, piece) in self.places.iter_mut().zip(pieces) {
            *to = to.wrapping_add((piece.cast_signed() ^ sign).wrapping_sub(sign));
        }
    }

    /// The binary place of the lowest bit that is kept.
    #[inline(always)]
    const fn lowest(&self) -> i32 {
        self.top.wrapping_sub(2) << PIECE.trailing_zeros()
    }

    #[cold]
    #[inline(never)]
    fn raise(&mut self, top: i32) {
        let [high, middle, _] = self.places;
        self.places = match top.wrapping_sub(self.top) {
            1 => [0, high, middle],
            2 => [0, 0, high],
            _ => [0; PLACES],
        };
        self.top = top;
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = *other;
        if other.top > self.top {
            self.raise(other.top);
        } else if self.top > other.top {
            other.raise(self.top);
        }
        for (to, from) in self.places.iter_mut().zip(other.places) {
            *to = to.wrapping_add(from);
        }
    }

    /// What every place holds, relative to 2^power, which is near the highest.
    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "below 2^53 for 2^21 numbers")]
    pub(super) fn parts(&self, power: i32) -> [f64; PLACES] {
        const NEXT: f64 = (1_u64 << PIECE) as f64;
        let [high, middle, low] = self.places.map(|place| place as f64);
        let unit = power_of_two(self.lowest().wrapping_sub(power));
        [high * NEXT * NEXT * unit, middle * NEXT * unit, low * unit]
    }

    /// The sum by 2^power, which is near the highest place.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    #[cfg_attr(not(target_pointer_width = "32"), inline(always))]
    pub(crate) fn by_power(&self, power: i32) -> f64 {
        let [high, middle, low] = self.parts(power);
        high + (middle + low)
    }

    /// The binary logarithm of a positive sum over [`Sum::power`], rounded down.
    #[inline(always)]
    pub(super) const fn bits_above(&self) -> i32 {
        let [high, ..] = self.places;
        63 - high.leading_zeros().cast_signed()
    }

    /// The power of two at the highest place, by which the sum of positive numbers is above 1.
    #[inline(always)]
    pub(super) const fn power(&self) -> i32 {
        self.top << PIECE.trailing_zeros()
    }
}

/// 2^n, for |n| < 1000.
#[inline(always)]
fn power_of_two(n: i32) -> f64 {
    f64::from_bits(u64::from((n.clamp(-1000, 1000) + 1023).cast_unsigned()) << 52)
}
