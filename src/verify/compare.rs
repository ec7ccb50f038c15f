//! Comparing a figure with what it should be.
//!
//! ```text
//! |found − expected| ≤ ulps · ulp(expected) + relative · |expected| + absolute
//! ```
//!
//! The unit in the last place is that of the type the figure was found in, at the size of the
//! expected value, which is an f64: nothing is rounded before it is compared. NaN agrees with NaN
//! alone, an infinity with itself alone, and 0 with what `absolute` allows: there is no size from
//! which on everything passes. Where they disagree, the [`Mismatch`] says what was put in, expected
//! and found.

use core::fmt;

use half::{bf16, f16};

/// A type that figures are found in.
pub trait Figure: Copy {
    /// The least size that rounds to infinity.
    const OVERFLOW: f64;

    /// The number itself, exactly.
    fn value(self) -> f64;

    /// The distance of neighbouring numbers at the size of `x`, down to subnormal ones.
    #[must_use]
    fn ulp(x: f64) -> f64;
}

macro_rules! figure {
    ($t:ty, $digits:literal, $least:literal, $overflow:expr, $value:expr) => {
        impl Figure for $t {
            const OVERFLOW: f64 = $overflow;

            fn value(self) -> f64 {
                $value(self)
            }

            fn ulp(x: f64) -> f64 {
                ulp_of($digits, $least, x)
            }
        }
    };
}

// Binary digits, least exponent, and the midpoint between the largest number and the next power of
// two.
figure!(f64, 53, -1022, f64::INFINITY, |x| x);
figure!(f32, 24, -126, 340_282_356_779_733_661_637_539_395_458_142_568_448.0, f64::from);
figure!(f16, 11, -14, 65520.0, |x: f16| f64::from(x.to_f32()));
figure!(bf16, 8, -126, 339_617_752_923_046_005_526_922_703_901_628_039_168.0, |x: bf16| {
    f64::from(x.to_f32())
});

fn ulp_of(digits: i32, least: i32, x: f64) -> f64 {
    // x = f · 2^power with f in [½, 1).
    let (_, power) = libm::frexp(x);
    let exponent = if x.abs() > 0.0 { (power - 1).max(least) } else { least };
    libm::scalbn(1.0, exponent - (digits - 1))
}

/// How far a figure may be off.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerance {
    /// In units in the last place of the figure's own type.
    pub ulps: f64,
    /// As a part of the expected value.
    pub relative: f64,
    /// In the figure's own unit.
    pub absolute: f64,
}

impl Tolerance {
    /// None at all; +0 and −0 are equal.
    pub const EXACT: Self = Self { ulps: 0.0, relative: 0.0, absolute: 0.0 };

    /// So many units in the last place: ½ for one rounding.
    #[must_use]
    pub const fn ulps(ulps: f64) -> Self {
        Self { ulps, ..Self::EXACT }
    }

    /// And so much of the expected value.
    #[must_use]
    pub const fn and_relative(mut self, relative: f64) -> Self {
        self.relative += relative;
        self
    }

    /// And so much whatever the expected value.
    #[must_use]
    pub const fn and_absolute(mut self, absolute: f64) -> Self {
        self.absolute += absolute;
        self
    }

    /// The sum of all three.
    #[must_use]
    pub fn allowed<F: Figure>(&self, expected: f64) -> f64 {
        // An infinite part of 0 is 0.
        let part = |factor: f64, size: f64| {
            if factor > 0.0 && size > 0.0 { factor * size } else { 0.0 }
        };
        part(self.ulps, F::ulp(expected)) + part(self.relative, expected.abs()) + self.absolute
    }
}

/// Where something was found that was not expected.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Mismatch {
    /// A number.
    Value {
        /// What was compared.
        what: &'static str,
        /// Its place among others of the kind.
        index: usize,
        /// What it was computed from: the logit of a gradient, the argument of a function.
        input: f64,
        /// What it should be.
        expected: f64,
        /// What it is.
        found: f64,
        /// The difference in units in the last place; NaN where one of both is not a number.
        ulps: f64,
        /// The difference that was allowed.
        allowed: f64,
    },
    /// The number of figures.
    Length {
        /// What was compared.
        what: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Value { what, index, input, expected, found, ulps, allowed } => write!(
                f,
                "{what}[{index}] of input {input:e}: expected {expected:e}, found {found:e}, {ulps:.2} ulp \
                 apart where {allowed:e} is allowed"
            ),
            Self::Length { what, expected, found } => {
                write!(f, "{what}: {expected} expected, {found} found")
            }
        }
    }
}

impl core::error::Error for Mismatch {}

/// One figure, computed from `input`, against its exact value.
///
/// # Errors
/// [`Mismatch::Value`] if it is further off than the tolerance allows.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::verify::{Tolerance, compare};
/// let found = 0.1_f32 + 0.2;
/// assert!(compare("sum", 0.1, 0.3, found, Tolerance::ulps(1.0)).is_ok());
/// let mismatch = compare("sum", 0.1, 0.3, found, Tolerance::EXACT).unwrap_err();
/// assert!(mismatch.to_string().starts_with("sum[0] of input 1e-1: expected 3e-1, found 3.0000001"));
/// ```
pub fn compare<F: Figure>(
    what: &'static str,
    input: f64,
    expected: f64,
    found: F,
    tolerance: Tolerance,
) -> Result<(), Mismatch> {
    compare_at(what, 0, input, expected, found, tolerance)
}

/// Figures of one kind against their exact values, each with its own tolerance.
///
/// # Errors
/// [`Mismatch::Length`] if there are fewer or more of them, [`Mismatch::Value`] for the first that
/// is further off than its tolerance allows.
///
/// # Panics
/// Never.
pub fn compare_all<F: Figure, T: Fn(usize) -> Tolerance>(
    what: &'static str,
    inputs: &[f64],
    expected: &[f64],
    found: &[F],
    tolerance: T,
) -> Result<(), Mismatch> {
    for other in [inputs.len(), found.len()] {
        if other != expected.len() {
            return Err(Mismatch::Length { what, expected: expected.len(), found: other });
        }
    }
    for (index, ((&input, &expected), &found)) in inputs.iter().zip(expected).zip(found).enumerate()
    {
        compare_at(what, index, input, expected, found, tolerance(index))?;
    }
    Ok(())
}

fn compare_at<F: Figure>(
    what: &'static str,
    index: usize,
    input: f64,
    expected: f64,
    found: F,
    tolerance: Tolerance,
) -> Result<(), Mismatch> {
    let found = found.value();
    let allowed = tolerance.allowed::<F>(expected);
    let difference = (found - expected).abs();
    let is_overflow = expected.abs() + allowed >= F::OVERFLOW && found.is_infinite();
    let agrees = if expected.is_nan() {
        found.is_nan()
    } else if is_overflow || expected.is_infinite() {
        // What rounds to infinity may be found there, on its side.
        found.is_infinite() && (found > 0.0) == (expected > 0.0)
    } else {
        // NaN is within no bound.
        difference <= allowed
    };
    if agrees {
        return Ok(());
    }
    let ulps = difference / F::ulp(expected);
    Err(Mismatch::Value { what, index, input, expected, found, ulps, allowed })
}
