//! The statistics of a row: what they hold, how parts of a row merge, how their sums change base.

use super::base::{Base, is_far};
use super::exact::Sum;
use super::extra::{Block, Extra, ExtraSums};
use crate::{Error, Transform};

/// The statistics of a row, or of the columns of it that were folded so far.
///
/// ```text
/// log Z = ln Σ_j e^(y_j)      log p = y_target − log Z = −ln(1 + Σ_{j ≠ target} e^(y_j) / e^(y_target))
/// ```
///
/// Shapes: a row has V columns, which come in tiles of any length and in any order, each once
/// ([`RowStats::fold`]). Statistics of disjoint tiles of one row merge ([`RowStats::merge`]): a
/// head that makes its logits block by block folds each block, and a vocabulary split over machines
/// is merged from one value a machine. A tile that is folded or merged twice shows in
/// [`RowStats::columns`] alone.
///
/// `D` says what is collected: `()` log Z and the target's log-prob, [`Details`](super::Details)
/// also entropy, argmax, mean logit and log Σp², from the same sweep.
///
/// # Numerics
/// Tiles that begin at multiples of [`BLOCK`](super::BLOCK), in any order, folded into one or into
/// several that are merged in any order, give the bits of the row folded whole: a block's sum does
/// not depend on what is beside it, and sums of blocks are exact to 2^−64 of the largest. Tiles
/// that begin elsewhere have other blocks: log Z then differs by less than 1e-6, which is twice the
/// bound of its own error.
///
/// # Example
/// ```
/// use dpo_kernel::row::RowStats;
/// use dpo_kernel::{Dispatch, Transform};
/// use dpo_kernel::gradient::tile_grads_in_place;
/// let dispatch = Dispatch::detect();
/// let row = [1.0_f32, 2.0, 3.0, 4.0];
/// let (left, right) = row.split_at(2);
/// let mut a: RowStats = RowStats::new(Transform::NONE, Some(3));
/// let mut b = a;
/// a.fold(dispatch, left, 0);
/// b.fold(dispatch, right, 2);
/// a.merge(&b)?;
/// assert!((a.log_z() - 4.440189698561196).abs() < 1e-7);
/// assert_eq!(a.columns(), 4);
/// // The complete row has what the backward of every tile needs.
/// let (norm, mut left) = (a.norm().ok_or(dpo_kernel::Error::MergeOfDifferentRows)?, [1.0_f32, 2.0]);
/// tile_grads_in_place(dispatch, &mut left, 0, Transform::NONE, 3, norm, 1.0)?;
/// assert!((left[0] + 0.0320586).abs() < 1e-6);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(private_bounds, reason = "sealed: () and Details")]
pub struct RowStats<D: Extra = ()> {
    pub(super) transform: Transform,
    pub(super) target: Option<u32>,
    /// The target's value v, once its column was folded.
    pub(super) target_value: Option<f32>,
    /// The largest shift of a block: 0 where that is a power of two, −inf before the first.
    pub(super) shift: f32,
    /// Σ term over the columns other than the target's, by e^0; of rows whose values are far from
    /// each other, by the shift's.
    pub(super) others: Sum,
    /// Whether a column was NaN or +inf, or the target's came twice.
    pub(super) is_broken: bool,
    pub(super) columns: u64,
    pub(super) extra: D::Sums,
}

#[allow(private_bounds, reason = "sealed: () and Details")]
impl<D: Extra> RowStats<D> {
    /// Of no row.
    pub(super) const EMPTY: Self = Self::new(Transform::NONE, None);

    /// No column folded yet. `target` is the column whose log-prob is wanted, if any.
    #[must_use]
    #[inline(always)]
    pub const fn new(transform: Transform, target: Option<u32>) -> Self {
        Self {
            transform,
            target,
            target_value: None,
            shift: f32::NEG_INFINITY,
            others: Sum::NONE,
            is_broken: false,
            columns: 0,
            extra: D::Sums::NONE,
        }
    }

    /// Adds the statistics of other columns of the same row.
    ///
    /// # Numerics
    /// Exact: the order and the grouping of merges change no bit ([`RowStats`]).
    ///
    /// # Errors
    /// [`Error::MergeOfDifferentRows`] if transform or target differ, or if both hold the target's
    /// column; nothing has changed then.
    ///
    /// # Panics
    /// Never.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        let target_twice = self.target_value.is_some() && other.target_value.is_some();
        if self.transform != other.transform || self.target != other.target || target_twice {
            return Err(Error::MergeOfDifferentRows);
        }
        let mut other = *other;
        self.reach(other.shift);
        if self.is_beyond(other.shift) {
            other.clear_terms();
        }
        self.target_value = self.target_value.or(other.target_value);
        self.others.merge(&other.others);
        self.is_broken |= other.is_broken;
        self.columns = self.columns.saturating_add(other.columns);
        self.extra.merge(&other.extra);
        self.forget_if_broken();
        Ok(())
    }

    /// A broken row holds nothing else, so that its bits too depend on no order.
    #[inline(always)]
    pub(super) fn forget_if_broken(&mut self) {
        if self.is_broken {
            (self.shift, self.others) = (f32::NEG_INFINITY, Sum::NONE);
            self.extra = D::Sums::NONE;
        }
    }

    /// Takes down a shift if it is the largest so far. What is too far below it vanishes.
    fn reach(&mut self, shift: f32) {
        if shift > self.shift {
            let factor = self.transform.factor();
            if is_far(shift, factor) || is_far(self.shift, factor) {
                self.clear_terms();
            }
            self.shift = shift;
        }
    }

    /// Whether terms that are relative to a shift vanish beside those of the row.
    fn is_beyond(&self, shift: f32) -> bool {
        let factor = self.transform.factor();
        shift < self.shift && (is_far(shift, factor) || is_far(self.shift, factor))
    }

    fn clear_terms(&mut self) {
        self.others = Sum::NONE;
        self.extra.clear_terms();
    }

    /// Adds a block, whose sums are relative to `base`. Not inlined: there are as many copies of the
    /// loop as levels and types.
    #[inline(never)]
    pub(super) fn add(&mut self, base: Base, block: &Block) {
        if !block.others.is_finite() {
            self.is_broken = true;
            return;
        }
        // No shift, or none yet.
        if base.is_power() && (self.shift.to_bits() == 0 || self.shift == f32::NEG_INFINITY) {
            self.shift = 0.0;
            self.others.add(block.others, base.exponent);
            self.extra.add(base.exponent, block);
        } else {
            self.add_beside_shift(base, block);
        }
    }

    #[cold]
    #[inline(never)]
    fn add_beside_shift(&mut self, base: Base, block: &Block) {
        self.reach(base.shift);
        if self.is_beyond(base.shift) {
            self.extra.add_values(block.values);
            return;
        }
        let factor = self.transform.factor();
        let (power, part) = base.parts(factor);
        self.others.add(block.others * part, power);
        self.extra.add_at(base, (power, part), block, factor);
    }

    /// What the row's sums are taken by; `None` until a column above −inf was folded.
    #[inline(always)]
    pub(super) fn base(&self) -> Option<Base> {
        if self.shift.to_bits() == 0 {
            Some(Base { shift: 0.0, exponent: self.others.power() })
        } else {
            (self.shift != f32::NEG_INFINITY).then_some(Base::of_value(self.shift))
        }
    }

    /// The same sums with others beside them.
    pub(crate) const fn with_extra<F: Extra>(self, extra: F::Sums) -> RowStats<F> {
        let Self { transform, target, target_value, shift, others, is_broken, columns, .. } = self;
        RowStats { transform, target, target_value, shift, others, is_broken, columns, extra }
    }

    /// What terms near those so far are relative to, if that is neither usual nor a value.
    pub(super) fn near(&self) -> Option<Base> {
        let base = self.base().filter(|base| base.is_power())?;
        // Some powers of two below the sum.
        let exponent = base.exponent + self.others.bits_above() - 3;
        Some(Base::near(exponent)).filter(|&near| near != Base::ONE)
    }

    pub(crate) const fn transform(&self) -> Transform {
        self.transform
    }

    pub(crate) const fn target(&self) -> Option<u32> {
        self.target
    }

    /// What was collected beside.
    pub(crate) const fn extra(&self) -> D::Sums {
        self.extra
    }

    /// Columns folded so far. V once the row is complete, which the crate cannot know.
    #[must_use]
    pub const fn columns(&self) -> u64 {
        self.columns
    }
}
