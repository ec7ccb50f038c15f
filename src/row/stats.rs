//! The statistics of a row: what they hold, how parts of a row merge, how their sums change base.

use super::base::Base;
use super::extra::{Extra, ExtraSums};
use super::norm::RowNorm;
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
/// A row folded in ascending tiles that begin at multiples of [`BLOCK`](super::BLOCK) gives the
/// bits of the row folded whole. Other tiles, and merges, add the same terms in another order: log
/// Z then differs by less than 1e-6, which is twice the bound of its own error; the largest
/// difference found is 2e-7.
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
    /// `None` until a column above −inf was folded.
    pub(super) base: Option<Base>,
    /// Σ term over the columns other than the target's, by the base.
    pub(super) others: f64,
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
            base: None,
            others: 0.0,
            columns: 0,
            extra: D::Sums::NONE,
        }
    }

    /// Adds the statistics of other columns of the same row.
    ///
    /// # Numerics
    /// Sums are added in f64, after those with the smaller base are scaled to the larger one,
    /// exactly where the scale is a power of two. [`RowStats`] says by how much the order of merges
    /// may change log Z.
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
        if let (Some(a), Some(b)) = (self.base, other.base) {
            let factor = self.transform.factor();
            let higher = if a.ln(factor) >= b.ln(factor) { a } else { b };
            self.rebase(higher);
            other.rebase(higher);
        }
        self.base = self.base.or(other.base);
        self.target_value = self.target_value.or(other.target_value);
        self.others += other.others;
        self.columns += other.columns;
        self.extra.merge(&other.extra);
        Ok(())
    }

    /// The same sums with others beside them.
    pub(crate) const fn with_extra<F: Extra>(self, extra: F::Sums) -> RowStats<F> {
        let Self { transform, target, target_value, base, others, columns, .. } = self;
        RowStats { transform, target, target_value, base, others, columns, extra }
    }

    /// The norm by which the backward's map gives the terms of the sums: relative to their base, and
    /// the target's 0. None as long as there is no base.
    pub(crate) fn terms(&self) -> Option<RowNorm> {
        let Base { shift, exponent } = self.base?;
        Some(RowNorm { shift, exponent, inverse: 1.0, complement: 0.0 })
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

    /// Changes the base of the sums: exactly between powers of two.
    #[inline(never)]
    pub(super) fn rebase(&mut self, to: Base) {
        if let Some(from) = self.base
            && from != to
        {
            let (part, power, ln) = from.over(to, self.transform.factor());
            let scale = |x: f64| libm::scalbn(x * part, power);
            self.extra.rescale(scale, ln, self.others);
            self.others = scale(self.others);
        }
        self.base = Some(to);
    }
}
