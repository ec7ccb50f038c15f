//! The scalar functions: identities that tie each to `exp` by another path, f32 against f64, order,
//! and special values.

use arbitrary::{Arbitrary, Result as Made, Unstructured};
use dpo_kernel::math;
use dpo_kernel::verify::{Tolerance, compare};

/// Two arguments, f32 ones among them.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    pub a: f64,
    pub b: f64,
}

impl<'a> Arbitrary<'a> for Arguments {
    fn arbitrary(u: &mut Unstructured<'a>) -> Made<Self> {
        let one = |u: &mut Unstructured<'a>| {
            Ok(match u.int_in_range(0..=3_u8)? {
                0 => f64::from_bits(u.arbitrary()?),
                1 => f64::from(f32::from_bits(u.arbitrary()?)),
                2 => f64::from(u.arbitrary::<i32>()?) / 2_097_152.0,
                _ => f64::from(u.arbitrary::<i16>()?) / 32.0,
            })
        };
        Ok(Self { a: one(u)?, b: one(u)? })
    }
}

/// The name of a function, its f32 form, and its f64 form.
type OfF32 = (&'static str, fn(f32) -> f32, fn(f64) -> f64);

/// The functions under test, so that a wrong one can be put among them.
#[derive(Clone, Copy, Debug)]
pub struct Functions {
    pub sigmoid: fn(f64) -> f64,
    pub log_sigmoid: fn(f64) -> f64,
    pub softplus: fn(f64) -> f64,
    pub log1mexp: fn(f64) -> f64,
    pub logaddexp: fn(f64, f64) -> f64,
    pub f32: [OfF32; 4],
    pub logaddexp_f32: fn(f32, f32) -> f32,
}

pub const CRATE: Functions = Functions {
    sigmoid: math::sigmoid,
    log_sigmoid: math::log_sigmoid,
    softplus: math::softplus,
    log1mexp: math::log1mexp,
    logaddexp: math::logaddexp,
    f32: [
        ("sigmoid", math::f32::sigmoid, math::sigmoid),
        ("log_sigmoid", math::f32::log_sigmoid, math::log_sigmoid),
        ("softplus", math::f32::softplus, math::softplus),
        ("log1mexp", math::f32::log1mexp, math::log1mexp),
    ],
    logaddexp_f32: math::f32::logaddexp,
};

pub fn check(arguments: &Arguments) -> Result<(), String> {
    accepts(&CRATE, arguments)
}

const ULP: f64 = f64::EPSILON;

pub fn accepts(functions: &Functions, &Arguments { a, b }: &Arguments) -> Result<(), String> {
    for x in [a, b] {
        of_one(functions, x)?;
        of_one_f32(functions, x as f32)?;
    }
    of_two(functions, a, b)
}

fn of_one(functions: &Functions, x: f64) -> Result<(), String> {
    let Functions { sigmoid, log_sigmoid, softplus, log1mexp, .. } = *functions;
    let (s, mirrored, plus) = (sigmoid(x), sigmoid(-x), softplus(x));
    let within = |what, expected: f64, found: f64, allowed: f64| {
        compare(what, x, expected, found, Tolerance::EXACT.and_absolute(allowed))
            .map_err(|why| why.to_string())
    };
    if x.is_nan() {
        let all = [s, plus, log_sigmoid(x), log1mexp(x)];
        return if all.iter().all(|y| y.is_nan()) { Ok(()) } else { Err(format!("NaN: {all:?}")) };
    }
    let exp = libm::exp(x);
    within("σ(x) + σ(−x)", 1.0, s + mirrored, ULP)?;
    // σ(x) = eˣ σ(−x), to the last digits of a tail.
    if x < 0.0 {
        within("σ(x)/σ(−x)", exp, s / mirrored, 4.0 * ULP * exp + 1e-323)?;
    }
    if log_sigmoid(x).to_bits() != (-softplus(-x)).to_bits() {
        return Err(format!("log σ({x:e}) is {:e}", log_sigmoid(x)));
    }
    if x.is_finite() {
        within("softplus(x) − softplus(−x)", x, plus - softplus(-x), 2.0 * ULP * (1.0 + x.abs()))?;
    }
    // expm1(softplus(x)) = eˣ, where an error of the logarithm counts plus times as much.
    if exp.is_finite() && libm::expm1(plus).is_finite() {
        let allowed = (4.0 + 4.0 * plus) * ULP * exp + 1e-323;
        within("expm1(softplus(x))", exp, libm::expm1(plus), allowed)?;
    }
    let complement = log1mexp(x);
    if x > 0.0 {
        return if complement.is_nan() { Ok(()) } else { Err(format!("log1mexp({x:e})")) };
    }
    let rest = libm::exp(complement);
    let size = if complement.is_finite() { complement.abs() } else { 0.0 };
    within("−expm1(log1mexp(x))", exp, -libm::expm1(complement), 4.0 * ULP * (rest * size + exp))?;
    // Near 0, where the rest vanishes, by the other exponential.
    let allowed = (4.0 + 4.0 * size) * ULP * rest + 1e-323;
    within("exp(log1mexp(x))", -libm::expm1(x), rest, allowed)
}

/// The f32 functions are the roundings of the exact value, so they are in order too.
fn of_one_f32(functions: &Functions, x: f32) -> Result<(), String> {
    for (name, narrow, wide) in functions.f32 {
        let (found, exact) = (narrow(x), wide(x.into()));
        rounded(name, x.into(), exact, found, 0.0)?;
        let (before, after) = (narrow(x.next_down()), narrow(x.next_up()));
        let (before, after) = if name == "log1mexp" { (after, before) } else { (before, after) };
        if before > found || found > after {
            return Err(format!("{name} is out of order at {x:e}: {before:e} {found:e} {after:e}"));
        }
    }
    Ok(())
}

/// ½ ulp, and what the f64 value may be off.
fn rounded(
    what: &'static str,
    x: f64,
    exact: f64,
    found: f32,
    of_terms: f64,
) -> Result<(), String> {
    let wide = if of_terms > 0.0 { 8.0 * ULP * of_terms } else { 8.0 * ULP * exact.abs() };
    let tolerance = Tolerance::ulps(0.5).and_absolute(if wide.is_finite() { wide } else { 0.0 });
    compare(what, x, exact, found, tolerance).map_err(|why| why.to_string())
}

fn of_two(functions: &Functions, a: f64, b: f64) -> Result<(), String> {
    let Functions { logaddexp, softplus, .. } = *functions;
    let sum = logaddexp(a, b);
    if sum.to_bits() != logaddexp(b, a).to_bits() && !sum.is_nan() {
        return Err(format!("logaddexp({a:e}, {b:e}) is {sum:e}, {:e} turned", logaddexp(b, a)));
    }
    let top = a.max(b);
    let expected = if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a.is_infinite() || b.is_infinite() {
        // −inf is neutral, +inf is not.
        top
    } else {
        top + softplus(-(a - b).abs())
    };
    let size = if expected.is_finite() { top.abs() + 1.0 } else { 0.0 };
    let tolerance = Tolerance::EXACT.and_absolute(4.0 * ULP * size);
    compare("logaddexp", a, expected, sum, tolerance).map_err(|why| why.to_string())?;
    let (a, b) = (a as f32, b as f32);
    let exact = logaddexp(a.into(), b.into());
    let terms = f64::from(a.max(b)).abs() + 1.0;
    rounded("logaddexp of f32", a.into(), exact, (functions.logaddexp_f32)(a, b), terms)
}
