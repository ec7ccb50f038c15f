//! The scalar functions on f32: correctly rounded in one variable, on every input.
//!
//! 1. Evaluate in f64, with an error that is known to be below `RELATIVE_ERROR`.
//! 2. If both ends of that interval round to the same f32, so does the exact value: done.
//! 3. Else (one input in some million) evaluate again with 106 bits and round that.
//!
//! This is Ziv's rounding test. Rounding is from the exact value once, also where the result is
//! subnormal. The result does not depend on the last bits of the f64 value, and the second
//! evaluation uses only +, −, ×, ÷, so the bits are the same on every target.
//!
//! Source: Ziv, "Fast evaluation of elementary mathematical functions with correctly rounded last
//! bit" (ACM TOMS 17(3), 1991).

use core::f64::consts::LN_2;

use super::double_double::DoubleDouble;

/// A bound of the relative error of the f64 values.
///
/// `libm` promises `exp`, `expm1`, `log` and `log1p` to within 1 ulp ≤ 2⁻⁵²; a formula has at most
/// two of them and two more roundings of 2⁻⁵³, and no step magnifies the relative error of the one
/// before by more than 1/ln 2. That makes less than 2⁻⁴⁹, and the difference taken by `logaddexp`
/// adds at most 2⁻⁴⁸. What is left is a margin; it makes step 3 a little less rare.
const RELATIVE_ERROR: f64 = 1.0 / 70_368_744_177_664.0; // 2⁻⁴⁶

/// `value` rounded to f32 if every number within `error` of it rounds to the same, else `exact`.
///
/// With NaN or infinities the comparison is false, and `value` stands.
#[inline]
fn round(value: f64, error: f64, exact: impl FnOnce() -> DoubleDouble) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "this is the rounding")]
    let [low, nearest, high] = [value - error, value, value + error].map(|v| v as f32);
    if low < high { exact().to_f32() } else { nearest }
}

/// Logarithm of the logistic function, [`math::log_sigmoid`](super::log_sigmoid) for f32.
///
/// ```text
/// log σ(x) = −softplus(−x)
/// ```
///
/// # Numerics
/// Correctly rounded (to nearest, ties to even) for all 2³² inputs, subnormal results included:
/// `cargo run --release -p dpo-kernel-exhaustive -- log_sigmoid` found no other result. The
/// exact value nearest to a rounding boundary is 2⁻⁵⁷ of its size away, at x = −4.4680992e−4.
/// −inf gives −inf; +inf gives −0, the limit from below, as does any x > 103.97; NaN gives NaN.
///
/// # Panics
/// Never.
#[must_use]
pub fn log_sigmoid(x: f32) -> f32 {
    -softplus(-x)
}

/// The logistic function, [`math::sigmoid`](super::sigmoid) for f32.
///
/// ```text
/// σ(x) = 1 / (1 + e⁻ˣ)
/// ```
///
/// # Numerics
/// Correctly rounded (to nearest, ties to even) for all 2³² inputs, subnormal results included:
/// `cargo run --release -p dpo-kernel-exhaustive -- sigmoid` found no other result. The exact
/// value nearest to a rounding boundary is 2⁻⁷⁶·⁶ of its size away, at x = −2⁻²⁴, where
/// σ = ½ + x/4 − x³/48 + … is all but a midpoint of two f32; f64 sees the midpoint itself.
/// −inf gives 0, +inf gives 1, NaN gives NaN.
///
/// # Panics
/// Never.
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    let x = f64::from(x);
    let value = super::sigmoid(x);
    round(value, value * RELATIVE_ERROR, || exact_sigmoid(x))
}

/// The smooth positive part, [`math::softplus`](super::softplus) for f32.
///
/// ```text
/// softplus(x) = log(1 + eˣ)
/// ```
///
/// # Numerics
/// Correctly rounded for all 2³² inputs, as [`log_sigmoid`] is: each is the other's mirror image,
/// and rounding to nearest is symmetric.
/// −inf gives 0, +inf gives +inf, NaN gives NaN.
///
/// # Panics
/// Never.
#[must_use]
pub fn softplus(x: f32) -> f32 {
    let x = f64::from(x);
    let value = super::softplus(x);
    round(value, value * RELATIVE_ERROR, || exact_logaddexp(x, 0.0))
}

/// Logarithm of the complement, [`math::log1mexp`](super::log1mexp) for f32.
///
/// ```text
/// log(1 − eˣ),  x ≤ 0
/// ```
///
/// # Numerics
/// Correctly rounded (to nearest, ties to even) for all 2³² inputs, subnormal results included:
/// `cargo run --release -p dpo-kernel-exhaustive -- log1mexp` found no other result. The exact
/// value nearest to a rounding boundary is 2⁻⁵⁴·⁶ of its size away, at x = −3.079322e−20.
/// ±0 gives −inf; −inf gives −0, the limit from below; x > 0 and NaN give NaN.
///
/// # Panics
/// Never.
#[must_use]
pub fn log1mexp(x: f32) -> f32 {
    let x = f64::from(x);
    let value = super::log1mexp(x);
    round(value, -value * RELATIVE_ERROR, || exact_log1mexp(x))
}

/// Logarithm of a sum, [`math::logaddexp`](super::logaddexp) for f32.
///
/// ```text
/// log(eᵃ + eᵇ)
/// ```
///
/// # Numerics
/// Correctly rounded unless the exact value is within 2⁻⁹⁰ max(|a|, |b|, 1) of a rounding boundary,
/// and then one of its two neighbours; also where the terms cancel.
/// `cargo run --release -p dpo-kernel-exhaustive -- logaddexp` found no misrounded result among 2³²
/// pairs, of which some 2¹⁷ cancel; 41,019 of them took arbitrary precision to decide.
/// −inf is neutral, two of it give −inf; +inf with anything but NaN gives +inf; NaN gives NaN.
///
/// # Panics
/// Never.
#[must_use]
pub fn logaddexp(a: f32, b: f32) -> f32 {
    let (a, b) = (f64::from(a), f64::from(b));
    let value = super::logaddexp(a, b);
    // The value is max(a, b) + log1p(…), whose terms may cancel: the error is relative to them, of
    // which the second is at most |max(a, b)| + |value|.
    let error = (2.0 * a.max(b).abs() + value.abs()) * RELATIVE_ERROR;
    round(value, error, || exact_logaddexp(a, b))
}

// The exact values are only asked for where an f64 value is undecided. There |x|, or |a − b|, is
// below 110: beyond, e^−|x| is less than the least boundary between two f32, 2⁻¹⁵⁰.

#[cold]
#[inline(never)]
fn exact_sigmoid(x: f64) -> DoubleDouble {
    let one = DoubleDouble::from(1.0);
    let t = DoubleDouble::from(-x.abs()).exp();
    if x >= 0.0 { one / (one + t) } else { t / (one + t) }
}

#[cold]
#[inline(never)]
fn exact_log1mexp(x: f64) -> DoubleDouble {
    let wide = DoubleDouble::from(x);
    if x > -LN_2 { (-wide.exp_m1_small()).ln() } else { (-wide.exp()).ln_1p() }
}

#[cold]
#[inline(never)]
fn exact_logaddexp(a: f64, b: f64) -> DoubleDouble {
    let (larger, smaller) = if a < b { (b, a) } else { (a, b) };
    let (larger, smaller) = (DoubleDouble::from(larger), DoubleDouble::from(smaller));
    larger + (smaller - larger).exp().ln_1p()
}
