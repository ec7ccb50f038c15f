//! What each function should give, by formulas that share nothing with the crate's.
//!
//! First in f64 with the platform's `exp` and `ln_1p` and a wide margin of error; only where a
//! boundary between two f32 lies within the margin, by the definition in arbitrary precision.

use dashu_float::{FBig, round::mode::HalfEven};

pub(crate) type Big = FBig<HalfEven, 2>;

/// The relative error that the f64 estimates are trusted to, 2⁻⁴⁵.
///
/// Each takes at most two library calls and three roundings, and no step magnifies the relative
/// error of the one before by more than 7 (`log1mexp` at −2): below 2⁻⁴⁸ if the library is within
/// 1 ulp. `controls::margins` checks on this machine that it is.
pub(crate) const MARGIN: f64 = 1.0 / 35_184_372_088_832.0;

/// One function of the crate with its two oracles.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// The function under test.
    pub(crate) tested: fn(f32) -> f32,
    /// An f64 value and a bound of its error.
    pub(crate) estimate: fn(f64) -> (f64, f64),
    /// The definition, right to at least 150 bits.
    pub(crate) precise: fn(f64) -> Big,
}

pub(crate) const FUNCTIONS: [Function; 4] = [
    Function {
        name: "sigmoid",
        tested: dpo_kernel::math::f32::sigmoid,
        estimate: |x| relative(1.0 / (1.0 + (-x).exp())),
        precise: sigmoid,
    },
    Function {
        name: "log_sigmoid",
        tested: dpo_kernel::math::f32::log_sigmoid,
        // Below −700, where e⁻ˣ nears overflow, the value is x to more digits than f64 has.
        estimate: |x| relative(if x < -700.0 { x } else { -(-x).exp().ln_1p() }),
        precise: log_sigmoid,
    },
    Function {
        name: "log1mexp",
        tested: dpo_kernel::math::f32::log1mexp,
        estimate: |x| relative(if x > -2.0 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }),
        precise: log1mexp,
    },
    Function {
        name: "logaddexp",
        tested: |a| dpo_kernel::math::f32::logaddexp(a, partner(a)),
        estimate: |a| logaddexp_estimate(a, partner_f64(a)),
        precise: |a| logaddexp(a, partner_f64(a)),
    },
];

fn relative(value: f64) -> (f64, f64) {
    (value, value.abs() * MARGIN)
}

/// Enough bits for the plain definitions: 1 ± e^±x loses at most 1.45 |x| or |log₂ |x|| of them to
/// cancellation, and 192 are left.
fn bits(x: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to some 3000")]
    let bits = (192.0 + 1.5 * x.abs().min(1100.0) + x.abs().log2().abs().min(1100.0)) as usize;
    bits
}

/// 1 and `x` with that many bits.
fn one_and(x: f64) -> (Big, Big) {
    let widen = |number: Big| number.with_precision(bits(x)).value();
    (widen(Big::ONE), widen(exact(x)))
}

/// `x` itself.
pub(crate) fn exact(x: f64) -> Big {
    Big::try_from(x).expect("only finite numbers come here")
}

pub(crate) fn sigmoid(x: f64) -> Big {
    let (one, x) = one_and(x);
    &one / (&one + (-x).exp())
}

pub(crate) fn log_sigmoid(x: f64) -> Big {
    let (one, x) = one_and(x);
    -(one + (-x).exp()).ln()
}

pub(crate) fn log1mexp(x: f64) -> Big {
    let (one, x) = one_and(x);
    (one - x.exp()).ln()
}

pub(crate) fn logaddexp(a: f64, b: f64) -> Big {
    let (larger, smaller) = if a < b { (b, a) } else { (a, b) };
    // Past this the smaller term is no more than 2⁻¹⁵⁰⁰, which moves no sum's rounding.
    if larger - smaller > 1100.0 {
        return exact(larger);
    }
    let (one, x) = one_and(smaller - larger);
    // The difference is exact: an f64 has no digits below 2⁻¹⁰⁷⁴.
    let gap = exact(smaller).with_precision(2300).value() - exact(larger);
    let gap = gap.with_precision(x.precision()).value();
    exact(larger) + (one + gap.exp()).ln()
}

fn logaddexp_estimate(a: f64, b: f64) -> (f64, f64) {
    let (larger, smaller) = if a < b { (b, a) } else { (a, b) };
    if larger.is_infinite() && !smaller.is_nan() {
        return (larger, 0.0);
    }
    let rest = (smaller - larger).exp().ln_1p();
    // The terms may cancel, so the error is relative to them.
    (larger + rest, (larger.abs() + rest) * MARGIN)
}

/// The second argument that goes with `a`: for most inputs one within ±512 of it, for a quarter any
/// number at all, for a sixteenth `a` itself, and for one negative input in 2¹⁴ a number that
/// cancels `a` to within an ulp, which needs arbitrary precision as a rule.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "any number near it will do"
)]
fn partner(a: f32) -> f32 {
    let hash = a.to_bits().wrapping_mul(0x9E37_79B1) ^ (a.to_bits() >> 15);
    let hash = (hash ^ (hash >> 13)).wrapping_mul(0x85EB_CA6B);
    if a < 0.0 && hash >> 18 == 0 {
        let root = (-f64::from(a).exp_m1()).ln() as f32;
        return [root, root.next_up(), root.next_down()][(hash % 3) as usize];
    }
    match hash & 15 {
        0 => a,
        1..5 => f32::from_bits(hash.rotate_left(11)),
        _ => a + hash.cast_signed() as f32 / 4_194_304.0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`a` is an f32 here")]
fn partner_f64(a: f64) -> f64 {
    f64::from(partner(a as f32))
}

/// The correctly rounded value, and if it took arbitrary precision the distance of the exact value
/// to the nearest rounding boundary, relative to the value.
#[expect(clippy::cast_possible_truncation, reason = "these are the roundings")]
pub(crate) fn correctly_rounded(function: &Function, x: f32) -> (f32, Option<f64>) {
    let x = f64::from(x);
    let (value, error) = (function.estimate)(x);
    let (low, high) = ((value - error) as f32, (value + error) as f32);
    // Where they are NaN or infinite the estimate is exact.
    let undecided = low < high;
    if !undecided {
        return (value as f32, None);
    }
    let precise = (function.precise)(x);
    let near = precise.to_f64().value();
    let nudge = near.abs() * f64::EPSILON;
    let (low, high) = ((near - nudge) as f32, (near + nudge) as f32);
    if low.to_bits() == high.to_bits() {
        return (low, Some(1.0));
    }
    // Two neighbours; half their sum is exact in f64. The value cannot be equal to it: it is
    // transcendental.
    let boundary = exact(f64::midpoint(f64::from(low), f64::from(high)));
    let distance = ((&precise - &boundary) / &precise).to_f64().value().abs();
    (if precise < boundary { low } else { high }, Some(distance))
}
