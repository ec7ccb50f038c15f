//! The statistics of a row: what they hold, how tiles are folded in, how parts merge.

use super::block::Copies;
use super::moments::Extra;
use crate::math::settle::ROUND;
use crate::simd::exp::{LN_2, MAX_EXPONENT};
use crate::simd::{Dispatch, Kernel, Simd};
use crate::{Element, Error, Transform};

/// Sums are kept relative to e^(k·shift) · 2^exponent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reference {
    pub(super) shift: f32,
    pub(super) exponent: i32,
}

impl Reference {
    /// A reference at the value v, exact where the reduction allows it, at a shift elsewhere.
    #[inline(always)]
    pub(super) fn at(v: f32, factor: f64) -> Self {
        // Rounded to an integer, as far as it is small enough to matter.
        let n = (f64::from(v) * factor * core::f64::consts::LOG2_E + ROUND) - ROUND;
        if n.abs() <= f64::from(MAX_EXPONENT) {
            #[allow(clippy::cast_possible_truncation, reason = "|n| ≤ 1900")]
            Self { shift: 0.0, exponent: n as i32 }
        } else {
            Self { shift: v, exponent: 0 }
        }
    }

    /// The logarithm of the reference.
    #[inline(always)]
    pub(super) fn ln(self, factor: f64) -> f64 {
        factor * f64::from(self.shift) + f64::from(self.exponent) * LN_2
    }
}

/// What a fold over (part of) a row has learnt. Parts of one row merge, each once: a shard merged twice
/// shows only in [`RowStats::columns`].
///
/// `D` is `()` for log Z and the target alone, or [`Moments`](crate::Moments) for entropy, argmax, mean logit and
/// log Σp² from the same sweep.
///
/// # Numerics
/// A row folded in ascending tiles that begin at multiples of [`BLOCK`](crate::BLOCK) gives the bits of the row
/// folded whole. Other tiles, and merges of shards, add the same terms in another order: log Z then
/// differs by less than 1e-6, twice the bound of its own error; the worst found is 2e-7.
///
/// # Example
/// ```
/// use dpo_kernel::{Dispatch, RowStats, Transform, tile_grads_in_place};
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
/// // The complete row has what the backward of every shard needs.
/// let (norm, mut left) = (a.norm().ok_or(dpo_kernel::Error::MergeOfDifferentRows)?, [1.0_f32, 2.0]);
/// tile_grads_in_place(dispatch, &mut left, 0, Transform::NONE, 3, norm, 1.0)?;
/// assert!((left[0] + 0.0320586).abs() < 1e-6);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowStats<D = ()> {
    pub(super) transform: Transform,
    pub(super) target: Option<u32>,
    /// Value of the target once its column was folded.
    pub(super) target_value: Option<f32>,
    /// `None` until a column above −inf turned up.
    pub(super) reference: Option<Reference>,
    /// Σ over the other columns, relative to the reference.
    pub(super) rest: f64,
    pub(super) columns: u64,
    pub(super) moments: D,
}

#[allow(private_bounds, reason = "sealed: () and Moments")]
impl<D: Extra> RowStats<D> {
    /// Nothing folded yet. With a target, its logit is kept apart when its column comes by.
    #[must_use]
    pub fn new(transform: Transform, target: Option<u32>) -> Self {
        Self::with_moments(transform, target, D::NONE)
    }

    #[inline(always)]
    pub(crate) const fn with_moments(
        transform: Transform,
        target: Option<u32>,
        moments: D,
    ) -> Self {
        Self {
            transform,
            target,
            target_value: None,
            reference: None,
            rest: 0.0,
            columns: 0,
            moments,
        }
    }

    /// Folds the columns `first_column..first_column + tile.len()`, each of which must come once.
    ///
    /// # Panics
    /// Never. NaN and +inf show in the results, which become NaN.
    pub fn fold<E: Element>(&mut self, dispatch: Dispatch, tile: &[E], first_column: u32) {
        dispatch.run(FoldTile { stats: self, tile, first_column });
    }

    /// Adds what another part of the same row learnt.
    ///
    /// # Errors
    /// [`Error::MergeOfDifferentRows`] if transform or target differ or both saw the target; nothing
    /// has changed then.
    ///
    /// # Panics
    /// Never.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        let target_twice = self.target_value.is_some() && other.target_value.is_some();
        if self.transform != other.transform || self.target != other.target || target_twice {
            return Err(Error::MergeOfDifferentRows);
        }
        let mut other = *other;
        if let (Some(a), Some(b)) = (self.reference, other.reference) {
            let factor = self.transform.factor();
            let higher = if a.ln(factor) >= b.ln(factor) { a } else { b };
            self.rebase(higher);
            other.rebase(higher);
        }
        self.reference = self.reference.or(other.reference);
        self.target_value = self.target_value.or(other.target_value);
        self.rest += other.rest;
        self.columns += other.columns;
        self.moments.merge(&other.moments);
        Ok(())
    }

    /// Expresses the sums relative to another reference: exact between references at shift 0.
    pub(super) fn rebase(&mut self, to: Reference) {
        if let Some(from) = self.reference
            && from != to
        {
            let factor = self.transform.factor();
            let delta = factor * (f64::from(from.shift) - f64::from(to.shift));
            let power = libm::rint(delta * core::f64::consts::LOG2_E).clamp(-1e6, 1e6);
            let part = if delta == 0.0 { 1.0 } else { libm::exp(delta - power * LN_2) };
            #[allow(clippy::cast_possible_truncation, reason = "clamped")]
            let power = power as i32 + from.exponent - to.exponent;
            let scale = |x: f64| libm::scalbn(x * part, power);
            let ln = delta + f64::from(from.exponent - to.exponent) * LN_2;
            self.moments.rescale(scale, ln, self.rest);
            self.rest = scale(self.rest);
        }
        self.reference = Some(to);
    }
}

struct FoldTile<'a, E, D> {
    stats: &'a mut RowStats<D>,
    tile: &'a [E],
    first_column: u32,
}

impl<E: Element, D: Extra> Kernel for FoldTile<'_, E, D> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut copies = Copies::NEW;
        self.stats.fold_at(s, self.tile, self.first_column, &mut copies);
    }
}
