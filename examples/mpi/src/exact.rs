//! Sums over ranks whose bits depend on no order: of integers.
//!
//! A float sum of many ranks has another value for each order, and MPI promises none. So numbers
//! become multiples of one power of two before they are added, as 64-bit integers, which MPI may
//! add as it likes:
//!
//! ```text
//! every rank      e = max exponent of its numbers            Allreduce MAX of i32
//! every rank      q = Σ round(x · 2^s), s = 61 − e − ⌈log₂ parts⌉
//! all             Q = Σ q                                    Allreduce or Reduce_scatter SUM of i64
//! every rank      Σ x ≈ Q · 2^−s
//! ```
//!
//! `parts` is how many numbers an element is summed of in all, whichever rank has them: |Q| ≤ 2^61.
//!
//! # Numerics
//! A number is rounded to a multiple of 2^−s: by at most 2^(e − 62) · parts, that is 2^−62 · parts
//! of the largest. f32 has 24 bits, so what is within 2^−37 / parts of the largest is not rounded at
//! all. The result is rounded once, to f32.
//!
//! # Cost
//! 8 bytes an element in the place of 4, and a maximum before.

/// Of numbers that are not all finite.
pub const NOT_FINITE: i32 = i32::MAX;
/// Of numbers that are all 0, or of none.
pub const ZERO: i32 = i32::MIN;

/// The least e with |x| < 2^e for all of them.
#[must_use]
pub fn exponent<'a>(values: impl IntoIterator<Item = &'a f32>) -> i32 {
    // Bits of |x| grow with |x|, and those of infinities and NaN are above all others.
    let top = values.into_iter().map(|value| value.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
    match top {
        0 => ZERO,
        0x7f80_0000.. => NOT_FINITE,
        // Below 2^−126 the one exponent covers all.
        _ => i32::try_from(top >> 23).map_or(NOT_FINITE, |biased| biased - 126),
    }
}

/// The multiples of a power of two that a sum is made of.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    to: f64,
    from: f64,
}

impl Fixed {
    /// For `parts` numbers below 2^exponent. None where that is [`ZERO`] or [`NOT_FINITE`].
    #[must_use]
    pub fn new(exponent: i32, parts: usize) -> Option<Self> {
        if !(-149..=128).contains(&exponent) {
            return None;
        }
        let bits = parts.max(1).next_power_of_two().trailing_zeros();
        let shift = 61 - exponent - i32::try_from(bits).ok()?;
        Some(Self { to: power_of_two(shift)?, from: power_of_two(-shift)? })
    }

    /// x · 2^s, rounded to even at ties.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "below 2^62")]
    pub fn integer(self, x: f32) -> i64 {
        (f64::from(x) * self.to).round_ties_even() as i64
    }

    /// q · 2^−s as f32.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the rounding of the result"
    )]
    pub fn float(self, q: i64) -> f32 {
        (q as f64 * self.from) as f32
    }
}

/// None beyond f64's normal numbers.
fn power_of_two(power: i32) -> Option<f64> {
    let biased = u64::try_from(power + 1023).ok().filter(|biased| (1..=2046).contains(biased))?;
    Some(f64::from_bits(biased << 52))
}
