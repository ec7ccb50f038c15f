//! The one check of lengths, and of each kind of domain.

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
