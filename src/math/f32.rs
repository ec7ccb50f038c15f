//! The scalar functions on f32: correctly rounded in one variable, on every input.
//!
//! 1. Evaluate in f64, with an error that is known to be below `RELATIVE_ERROR`.
//! 2. If both ends of that interval round to the same f32, so does the exact value: done.
//! 3. Else (one input in some hundred thousand) evaluate again with 106 bits and round that.
//!
//! This is Ziv's rounding test. Rounding is from the exact value once, also where the result is
//! subnormal. The result does not depend on the last bits of the f64 value, and the second
//! evaluation uses only +, −, ×, ÷, so the bits are the same on every target.

use core::f64::consts::LN_2;

use super::double_double::DoubleDouble;

/// A bound of the relative error of the f64 values.
///
/// `libm` promises `exp`, `expm1`, `log` and `log1p` to within 1 ulp ≤ 2⁻⁵²; a formula has at most
/// two of them and two more roundings of 2⁻⁵³, and no step magnifies the relative error of the one
/// before by more than 1/ln 2. That makes less than 2⁻⁴⁹, and the difference taken by `logaddexp`
/// adds at most 2⁻⁴⁸. The rest is room, which costs nothing: it only makes step 3 less rare.
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

/// Logarithm of the logistic function.
#[must_use]
pub fn log_sigmoid(x: f32) -> f32 {
    -softplus(-x)
}

/// The logistic function.
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    let x = f64::from(x);
    let value = super::sigmoid(x);
    round(value, value * RELATIVE_ERROR, || exact_sigmoid(x))
}

/// The smooth positive part, log(1 + eˣ).
#[must_use]
pub fn softplus(x: f32) -> f32 {
    let x = f64::from(x);
    let value = super::softplus(x);
    round(value, value * RELATIVE_ERROR, || exact_logaddexp(x, 0.0))
}

/// Logarithm of 1 − eˣ.
#[must_use]
pub fn log1mexp(x: f32) -> f32 {
    let x = f64::from(x);
    let value = super::log1mexp(x);
    round(value, -value * RELATIVE_ERROR, || exact_log1mexp(x))
}

/// Logarithm of the sum of two exponentials.
#[must_use]
pub fn logaddexp(a: f32, b: f32) -> f32 {
    let (a, b) = (f64::from(a), f64::from(b));
    let value = super::logaddexp(a, b);
    // The value is max(a, b) + log1p(…), whose terms may cancel: the error is relative to them, of
    // which the second is at most |max(a, b)| + |value|.
    let error = (2.0 * a.max(b).abs() + value.abs()) * RELATIVE_ERROR;
    round(value, error, || exact_logaddexp(a, b))
}

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
