//! The scalar functions on f64.
//!
//! Each is written so that neither tail loses its digits: the exponential is only ever taken of a
//! number ≤ 0, so it cannot overflow, and what it is added to is at least as large as it is.
//!
//! The bounds below are the worst that a search found, with the input it was found at; they come
//! from `cargo run --release -p dpo-kernel-exhaustive -- --ulps 4e5`. What `libm` promises, 1 ulp
//! for each of its functions, proves no more than 4 to 5 ulp.

use core::f64::consts::LN_2;

use libm::{exp, expm1, log, log1p};

/// Logarithm of the logistic function: the logarithm of a probability whose log-odds are `x`.
///
/// ```text
/// log σ(x) = −softplus(−x) = min(x, 0) − log(1 + e^−|x|)
/// ```
///
/// # Numerics
/// Worst error found: 1.60 ulp, at x = 1.298243696142423.
/// Both tails keep full relative accuracy: −e⁻ˣ(1 − …) to the right, down to x = 745, where it
/// leaves the range of f64; x to the left.
/// −inf gives −inf; +inf gives −0, the limit from below, as does any x > 745.14; NaN gives NaN.
///
/// # Panics
/// Never.
///
/// The form is that of `PyTorch` and JAX; `log(sigmoid(x))` gives −inf for x < −745 and
/// `log(1 + exp(−x))` gives 0 for x > 37.
#[must_use]
pub fn log_sigmoid(x: f64) -> f64 {
    -softplus(-x)
}

/// The logistic function: the probability whose log-odds are `x`.
///
/// ```text
/// σ(x) = 1 / (1 + t)  for x ≥ 0,   t / (1 + t)  for x < 0,   t = e^−|x|
/// ```
///
/// # Numerics
/// Worst error found: 2.46 ulp, at x = −4.851605461244084.
/// −inf gives 0, +inf gives 1, NaN gives NaN.
///
/// # Panics
/// Never.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    let t = exp(-x.abs());
    // At ±0 both forms are ½. A sign is a bit, also where f64 is software.
    (if x.is_sign_positive() { 1.0 } else { t }) / (1.0 + t)
}

/// The smooth positive part.
///
/// ```text
/// softplus(x) = log(1 + eˣ) = max(x, 0) + log1p(e^−|x|)
/// ```
///
/// # Numerics
/// Worst error found: 1.58 ulp, at x = −1.2800534364568252.
/// −inf gives 0, +inf gives +inf, NaN gives NaN.
///
/// # Panics
/// Never.
#[must_use]
pub fn softplus(x: f64) -> f64 {
    // Of NaN the second term is NaN too.
    let positive = if x.is_sign_positive() { x } else { 0.0 };
    positive + log1p(exp(-x.abs()))
}

/// Logarithm of the complement of a probability whose logarithm is `x`.
///
/// ```text
/// log(1 − eˣ) = log(−expm1(x))  for −ln 2 < x ≤ 0,   log1p(−eˣ)  for x ≤ −ln 2
/// ```
///
/// # Numerics
/// Worst error found: 2.01 ulp, at x = −0.9971048461620003.
/// The cut is where eˣ = ½: on either side of it the other form cancels.
/// ±0 gives −inf; −inf gives −0, the limit from below; x > 0, which is no log-probability, and NaN
/// give NaN.
///
/// # Panics
/// Never.
///
/// Mächler, "Accurately computing log(1 − exp(−|a|))", vignette of the R package Rmpfr, 2012.
#[must_use]
pub fn log1mexp(x: f64) -> f64 {
    if x > 0.0 {
        f64::NAN
    } else if x > -LN_2 {
        log(-expm1(x))
    } else {
        log1p(-exp(x))
    }
}

/// Logarithm of the sum of two numbers whose logarithms are `a` and `b`.
///
/// ```text
/// log(eᵃ + eᵇ) = max(a, b) + log1p(e^−|a − b|)
/// ```
///
/// # Numerics
/// Worst error found: 2.88 ulp of the largest of |max(a, b)|, |result| and |a − b| e^−|a − b|, at
/// a = −0.07692631433931693, b = −0.4119016896435131. It is not a bound relative to the result:
/// near 0 the two terms cancel, and where e^−|a − b| is as small as the larger argument, the
/// rounding of a − b is magnified (61 ulp at a = −3.446300694040653e−15, b = −32.635736272748154).
/// The order of the arguments does not matter. −inf is neutral, two of it give −inf; +inf with
/// anything but NaN gives +inf; NaN gives NaN.
///
/// # Panics
/// Never.
#[must_use]
pub fn logaddexp(a: f64, b: f64) -> f64 {
    // Equal infinities have no difference, but a distance of 0.
    let distance = if a.to_bits() == b.to_bits() { 0.0 } else { (a - b).abs() };
    let larger = if a < b { b } else { a };
    larger + log1p(exp(-distance))
}

/// σ(p) − σ(q) = −σ(p) σ(−q) (e^(q − p) − 1), which does not cancel.
///
/// Of its two forms it takes the one whose exponential is ≤ 1; swapping p and q, or the signs of
/// both, changes the sign of the result and no other bit. `distance` is p − q, which the caller may
/// know more exactly than the subtraction gives it.
pub(crate) fn sigmoid_difference(p: f64, q: f64, distance: f64) -> f64 {
    if distance < 0.0 {
        sigmoid(q) * sigmoid(-p) * libm::expm1(distance)
    } else {
        -(sigmoid(p) * sigmoid(-q) * libm::expm1(-distance))
    }
}
