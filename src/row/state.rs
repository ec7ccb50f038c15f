//! Statistics of a row as plain numbers, for hosts that keep them in memory of their own.

use super::base::Base;
use super::extra::{DetailSums, Details, Extra};
use super::stats::RowStats;
use crate::Transform;
use crate::simd::exp::MAX_EXPONENT;

/// What [`RowStats`] holds beside transform, target and details.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowState {
    /// The target's value, once its column was folded.
    pub(crate) target_value: Option<f32>,
    /// Shift and exponent of the base, once there is one.
    pub(crate) base: Option<(f32, i32)>,
    /// Σ term over the columns other than the target's, by the base.
    pub(crate) others: f64,
    pub(crate) columns: u64,
}

impl RowState {
    /// Whether a fold can have made it. Other numbers could overflow.
    fn is_made(&self) -> bool {
        let is_base = |(shift, exponent): (f32, i32)| {
            shift.is_finite()
                && exponent.unsigned_abs() <= MAX_EXPONENT.unsigned_abs()
                && (exponent == 0 || shift.to_bits() == 0)
        };
        // A row with NaN or +inf has the sum NaN.
        let is_sum = self.others >= 0.0 || self.others.is_nan();
        self.base.is_none_or(is_base) && is_sum && self.columns < 1 << 53
    }
}

impl<D: Extra> RowStats<D> {
    /// What it holds, as plain numbers.
    pub(crate) const fn state(&self) -> RowState {
        RowState {
            target_value: self.target_value,
            base: match self.base {
                Some(Base { shift, exponent }) => Some((shift, exponent)),
                None => None,
            },
            others: self.others,
            columns: self.columns,
        }
    }

    /// The statistics that held these numbers, if a fold can have made them.
    pub(crate) fn from_state(
        transform: Transform,
        target: Option<u32>,
        state: RowState,
        extra: D::Sums,
    ) -> Option<Self> {
        let RowState { target_value, base, others, columns } = state;
        if !state.is_made() || (target.is_none() && target_value.is_some()) {
            return None;
        }
        let base = base.map(|(shift, exponent)| Base { shift, exponent });
        Some(Self { transform, target, target_value, base, others, columns, extra })
    }
}

impl RowStats<Details> {
    /// The sums of the details.
    pub(crate) const fn detail_sums(&self) -> DetailSums {
        self.extra
    }
}
