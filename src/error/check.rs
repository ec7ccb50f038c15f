//! The one check of lengths, of values in a slice, and of each kind of domain.

use super::{Buffer, Error, Parameter};

impl Parameter {
    /// The value, if it lies in the domain.
    pub(crate) fn check(self, value: f64, is_valid: bool) -> Result<f64, Error> {
        if is_valid { Ok(value) } else { Err(Error::Parameter { parameter: self, value }) }
    }

    /// 1/(2x) of a value that is finite and > 0, if it is finite too: values below 2.8e-309 have
    /// none.
    pub(crate) fn half_inverse(self, value: f64) -> Result<f64, Error> {
        let inverse = 0.5 / value;
        self.check(value, value > 0.0 && value.is_finite() && inverse.is_finite())?;
        Ok(inverse)
    }

    /// The value, if it is finite and > 0.
    pub(crate) fn positive(self, value: f64) -> Result<f64, Error> {
        self.check(value, value.is_finite() && value > 0.0)
    }

    /// The value, if it is finite and ≥ 0.
    pub(crate) fn not_negative(self, value: f64) -> Result<f64, Error> {
        self.check(value, value.is_finite() && value >= 0.0)
    }

    /// The value, if it is finite.
    pub(crate) fn finite(self, value: f64) -> Result<f64, Error> {
        self.check(value, value.is_finite())
    }
}

/// The one length check.
pub(crate) fn check_length(buffer: Buffer, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { buffer, expected, found }) }
}

/// One value each, all of them valid but those whose weight is 0. Neither generic nor inlined: a
/// program holds its loop once.
#[inline(never)]
pub(crate) fn check_values(
    buffer: Buffer,
    values: Option<&[f32]>,
    expected: usize,
    weights: Option<&[f32]>,
    valid: fn(f32) -> bool,
) -> Result<(), Error> {
    let Some(values) = values else { return Ok(()) };
    check_length(buffer, expected, values.len())?;
    let is_left_out = |i| weights.and_then(|weights| weights.get(i)).is_some_and(|&w| w == 0.0);
    match values.iter().enumerate().find(|&(i, &value)| !valid(value) && !is_left_out(i)) {
        None => Ok(()),
        Some((index, &value)) => {
            Err(Error::InvalidValue { buffer, index, value: f64::from(value) })
        }
    }
}
