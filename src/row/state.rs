//! Statistics of a row as plain numbers, for hosts that keep them in memory of their own.

use super::moments::{Extra, Moments};
use super::stats::{Reference, RowStats};
use crate::Transform;
use crate::simd::exp::MAX_EXPONENT;

/// What [`RowStats`] holds beside its transform and target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowParts {
    /// Value of the target once its column was folded.
    pub(crate) target_value: Option<f32>,
    /// Shift and exponent of the reference, once there is one.
    pub(crate) reference: Option<(f32, i32)>,
    pub(crate) rest: f64,
    pub(crate) columns: u64,
}

impl RowParts {
    /// Whether a fold can have made them: what is not so could overflow.
    fn is_made(&self) -> bool {
        let is_reference = |(shift, exponent): (f32, i32)| {
            shift.is_finite()
                && exponent.unsigned_abs() <= MAX_EXPONENT.unsigned_abs()
                && (exponent == 0 || shift.to_bits() == 0)
        };
        // NaN is what a row with NaN or +inf leaves.
        let is_sum = self.rest >= 0.0 || self.rest.is_nan();
        self.reference.is_none_or(is_reference) && is_sum && self.columns < 1 << 53
    }
}

impl<D: Extra> RowStats<D> {
    pub(crate) const fn parts(&self) -> RowParts {
        RowParts {
            target_value: self.target_value,
            reference: match self.reference {
                Some(Reference { shift, exponent }) => Some((shift, exponent)),
                None => None,
            },
            rest: self.rest,
            columns: self.columns,
        }
    }

    /// The statistics of these parts, if a fold can have made them.
    pub(crate) fn of_parts(
        transform: Transform,
        target: Option<u32>,
        parts: RowParts,
        moments: D,
    ) -> Option<Self> {
        let RowParts { target_value, reference, rest, columns } = parts;
        if !parts.is_made() || (target.is_none() && target_value.is_some()) {
            return None;
        }
        let reference = reference.map(|(shift, exponent)| Reference { shift, exponent });
        let stats = Self::with_moments(transform, target, moments);
        Some(Self { target_value, reference, rest, columns, ..stats })
    }
}

impl RowStats<Moments> {
    /// Σ term · (y − reference), Σ term², Σ v, the largest value, its column.
    pub(crate) const fn moments(&self) -> (f64, f64, f64, f32, u32) {
        let Moments { about, squares, total, top, top_column } = self.moments;
        (about, squares, total, top, top_column)
    }
}

impl Moments {
    pub(crate) const fn of(
        about: f64,
        squares: f64,
        total: f64,
        top: f32,
        top_column: u32,
    ) -> Self {
        Self { about, squares, total, top, top_column }
    }
}
