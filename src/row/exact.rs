//! Sums that do not depend on the order of what is added: integers at fixed places.
//!
//! A number is rounded to some places behind its block's base and cut at the multiples of 32 binary places,
//! whatever they are; each piece is added to the integer of its place. Three places are kept: those from the largest number that the row
//! can have downwards, [`Window`]. When a larger one comes, the window moves up and the lowest
//! places fall out; what falls out of one part of a row would have fallen out of another. So every
//! place that is kept holds the exact sum of its pieces, in any order and any grouping.

/// Binary places of a piece.
const PIECE: u32 = 32;
/// What fits a piece.
const MASK: u64 = (1 << PIECE) - 1;
/// Places that are kept.
pub(crate) const PLACES: usize = 3;
/// The sums of pieces, highest place first. A piece takes 32 bits of the 64: some 2^24 blocks do not
/// fill it, whatever their distances to the base are.
pub(crate) type Places = [i64; PLACES];

/// Which places are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Number of the highest.
    top: i64,
}

impl Window {
    /// For numbers below 2^power, of which the largest are not far below.
    #[inline(always)]
    pub(crate) const fn below(power: i64) -> Self {
        Self { top: power >> PIECE.trailing_zeros() }
    }

    /// The binary place of the window's lowest bit.
    #[inline(always)]
    const fn lowest(self) -> i64 {
        (self.top - 2) << PIECE.trailing_zeros()
    }

    /// The pieces of x · 2^power, |x| < 2^11 rounded to 2^−40: once a block, so in few instructions.
    /// NaN gives any.
    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "a power of two")]
    pub(crate) fn pieces(self, x: f64, power: i64) -> Places {
        const DIGITS: i64 = 40;
        /// 1.5 · 2^52 · 2^−40: a sum with it has the rounded number in its low bits.
        const ROUND: f64 = 6_755_399_441_055_744.0 / (1_u64 << DIGITS) as f64;
        let digits = (x + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
        self.pieces_of_digits(digits, power - DIGITS)
    }

    /// The pieces of x · 2^power, |x| < 2^18 rounded to 2^−38.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the rounding")]
    pub(crate) fn finer_pieces(self, x: f64, power: i64) -> Places {
        const DIGITS: i64 = 38;
        // Of the size, not of the two's complement: that has ones in the places above.
        let pieces = self.pieces_of_digits((x.abs() * power_of_two(DIGITS)) as i64, power - DIGITS);
        if x < 0.0 { pieces.map(i64::wrapping_neg) } else { pieces }
    }

    /// The pieces of digits · 2^power. Below the window they are cut off.
    #[inline(always)]
    fn pieces_of_digits(self, digits: i64, power: i64) -> Places {
        let place = power - self.lowest();
        // At most 57: above the window there is nothing.
        let (digits, place) = match u8::try_from(place) {
            Ok(place) => (digits, place & 63),
            Err(_) => (digits >> place.unsigned_abs().min(63), 0),
        };
        let low = (digits << place).cast_unsigned();
        // In two steps, because a shift by 64 is none.
        let high = digits >> 1 >> (63 - place);
        [high, (low >> PIECE).cast_signed(), (low & MASK).cast_signed()]
    }

    /// What is left of the places of a lower window.
    #[inline(always)]
    pub(crate) fn moved(self, places: Places, from: Self) -> Places {
        let [high, middle, _] = places;
        match self.top - from.top {
            0 => places,
            1 => [0, high, middle],
            2 => [0, 0, high],
            _ => [0; PLACES],
        }
    }

    /// The sum by 2^power, which is near the window.
    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "the sum is rounded to f64")]
    pub(crate) fn sum(self, [high, middle, low]: Places, power: i64) -> f64 {
        const NEXT: f64 = (1_u64 << PIECE) as f64;
        let sum = (high as f64 * NEXT + middle as f64) * NEXT + low as f64;
        sum * power_of_two(self.lowest() - power)
    }
}

/// 2^n, for |n| < 1000.
#[inline(always)]
pub(crate) fn power_of_two(n: i64) -> f64 {
    f64::from_bits((n.clamp(-1000, 1000) + 1023).cast_unsigned() << 52)
}
