//! Numbers of 106 bits, for the few inputs that an f64 value cannot round to f32.
//!
//! A number is the unevaluated sum `hi + lo` with |lo| ≤ ½ ulp(hi). The operations are algorithms
//! 6, 10 and 17 of Joldes, Muller, Popescu, "Tight and rigorous error bounds for basic building
//! blocks of double-word arithmetic" (ACM TOMS 44(2), 2017), in their forms without fused
//! multiply-add: only +, −, × and ÷ of f64, so the bits are the same on every target. Relative
//! errors: + 3u², × 7u², ÷ 15u², where u = 2⁻⁵³.
//!
//! The functions are plain series, which take a microsecond or two: they run for one input in some
//! million, and the fewer constants they have, the less there is to get wrong.

use core::ops::{Add, Div, Mul, Neg, Sub};

/// `hi + lo`, unevaluated.
#[derive(Clone, Copy, Debug)]
pub(super) struct DoubleDouble {
    hi: f64,
    lo: f64,
}

/// The sum of `a` and `b` and its rounding error, exactly (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// [`two_sum`] for |a| ≥ |b| (Dekker).
fn fast_two_sum(a: f64, b: f64) -> DoubleDouble {
    let hi = a + b;
    DoubleDouble { hi, lo: b - (hi - a) }
}

/// `a` as a sum of two numbers of 26 bits, whose products are exact (Veltkamp).
fn split(a: f64) -> (f64, f64) {
    const SHIFT: f64 = 134_217_729.0; // 2²⁷ + 1
    let c = SHIFT * a;
    let hi = c - (c - a);
    (hi, a - hi)
}

/// The product of `a` and `b` and its rounding error, exactly (Dekker).
fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    let ((a_hi, a_lo), (b_hi, b_lo)) = (split(a), split(b));
    (product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo)
}

impl From<f64> for DoubleDouble {
    fn from(hi: f64) -> Self {
        Self { hi, lo: 0.0 }
    }
}

impl Neg for DoubleDouble {
    type Output = Self;
    fn neg(self) -> Self {
        Self { hi: -self.hi, lo: -self.lo }
    }
}

impl Add for DoubleDouble {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (hi, hi_error) = two_sum(self.hi, other.hi);
        let (lo, lo_error) = two_sum(self.lo, other.lo);
        let sum = fast_two_sum(hi, hi_error + lo);
        fast_two_sum(sum.hi, lo_error + sum.lo)
    }
}

impl Sub for DoubleDouble {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for DoubleDouble {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let (hi, error) = two_product(self.hi, other.hi);
        fast_two_sum(hi, error + (self.hi * other.lo + self.lo * other.hi))
    }
}

impl Div for DoubleDouble {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let quotient = self.hi / other.hi;
        let product = other * Self::from(quotient);
        let rest = (self.hi - product.hi) + (self.lo - product.lo);
        fast_two_sum(quotient, rest / other.hi)
    }
}

impl DoubleDouble {
    const ONE: Self = Self { hi: 1.0, lo: 0.0 };
    const TWO: Self = Self { hi: 2.0, lo: 0.0 };

    /// eˣ − 1 for |x| ≤ 0.7, by its Taylor series; the first term left out is below 2⁻¹¹² |x|.
    pub(super) fn exp_m1_small(self) -> Self {
        let series = (2..=28_u32)
            .rev()
            .fold(Self::ONE, |sum, n| Self::ONE + self * sum / Self::from(f64::from(n)));
        self * series
    }

    /// eˣ for |x| ≤ 128, as (e^(x/256))²⁵⁶. The squarings magnify the series' error of a few u² by
    /// 2⁸, so the relative error is below 2⁻⁹².
    pub(super) fn exp(self) -> Self {
        const SCALE: f64 = 1.0 / 256.0;
        let reduced = Self { hi: self.hi * SCALE, lo: self.lo * SCALE };
        (0..8).fold(Self::ONE + reduced.exp_m1_small(), |power, _| power * power)
    }

    /// log(1 + x) for −½ ≤ x ≤ 1, as 2 artanh s = 2 Σ s²ᵏ⁺¹ / (2k+1) with s = x / (2 + x), so
    /// |s| ≤ ⅓; the first term left out is below 2⁻¹¹¹ |s|.
    pub(super) fn ln_1p(self) -> Self {
        let s = self / (Self::TWO + self);
        let square = s * s;
        let series = (0..=33_u32).rev().fold(Self::from(0.0), |sum, k| {
            sum * square + Self::ONE / Self::from(f64::from(2 * k + 1))
        });
        Self::TWO * s * series
    }

    /// log x for 2⁻¹⁸⁰ ≤ x ≤ ½, by one step of Halley's method from the f64 logarithm y: the step
    /// 2 (x − eʸ) / (x + eʸ) leaves a third-order error, below 2⁻¹³⁰.
    pub(super) fn ln(self) -> Self {
        let start = Self::from(libm::log(self.hi));
        let power = start.exp();
        start + Self::TWO * (self - power) / (self + power)
    }

    /// The nearest f32, ties to even.
    ///
    /// Rounding `hi` alone would round twice. So `hi` is first replaced by the f64 that truncation
    /// with a sticky last bit gives ("round to odd"): it is never a midpoint of two f32, subnormal
    /// ones included, unless `hi + lo` is one.
    pub(super) fn to_f32(self) -> f32 {
        let Self { hi, lo } = self;
        let even = hi.to_bits() & 1 == 0;
        let sticky = match lo {
            lo if even && lo > 0.0 => hi.next_up(),
            lo if even && lo < 0.0 => hi.next_down(),
            _ => hi,
        };
        #[expect(clippy::cast_possible_truncation, reason = "this is the rounding")]
        let nearest = sticky as f32;
        nearest
    }
}
