//! Sums that do not depend on the order of what is added: integers at fixed places.
//!
//! A number is cut at the multiples of 32 binary places, whatever they are, each piece rounded to its
//! place, and added to the integer there. Three places are kept: those from the largest number that the row
//! can have downwards, [`Window`]. When a larger one comes, the window moves up and the lowest
//! places fall out; what falls out of one part of a row would have fallen out of another. So every
//! place that is kept holds the exact sum of its pieces, in any order and any grouping.

/// Binary places of a piece.
const PIECE: u32 = 32;
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

    /// For numbers that are multiples of 2^power.
    #[inline(always)]
    pub(crate) fn knife(self, power: i64) -> Knife {
        /// 1.5 · 2⁵²: adding it leaves the nearest integer.
        const ROUND: f64 = 6_755_399_441_055_744.0;
        let lowest = self.lowest() - power;
        let place = |i: i64| ROUND * power_of_two(lowest + i * i64::from(PIECE));
        Knife { at: [place(2), place(1), place(0)] }
    }

    /// Sums of pieces of numbers that are multiples of 2^power.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "integers below 2^53")]
    pub(crate) fn places(self, [high, middle, low]: [f64; PLACES], power: i64) -> Places {
        let lowest = self.lowest() - power;
        let place = |i: i64| power_of_two(-lowest - i * i64::from(PIECE));
        [(high * place(2)) as i64, (middle * place(1)) as i64, (low * place(0)) as i64]
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

/// Cuts numbers at the places of a window.
#[derive(Clone, Copy)]
pub(crate) struct Knife {
    at: [f64; PLACES],
}

impl Knife {
    /// The pieces of x, each rounded to its place. What is below the window is dropped.
    #[inline(always)]
    fn cut(&self, x: f64) -> [f64; PLACES] {
        let [a, b, c] = self.at;
        let high = (x + a) - a;
        let rest = x - high;
        let middle = (rest + b) - b;
        let low = ((rest - middle) + c) - c;
        [high, middle, low]
    }

    /// Adds the pieces of x: exact, up to some 2^20 numbers.
    #[inline(always)]
    pub(crate) fn add(&self, x: f64, to: &mut [f64; PLACES]) {
        let [high, middle, low] = self.cut(x);
        let [to_high, to_middle, to_low] = to;
        *to_high += high;
        *to_middle += middle;
        *to_low += low;
    }
}

/// 2^n, for |n| < 1000.
#[inline(always)]
pub(crate) fn power_of_two(n: i64) -> f64 {
    f64::from_bits((n.clamp(-1000, 1000) + 1023).cast_unsigned() << 52)
}
