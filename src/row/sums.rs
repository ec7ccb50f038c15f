//! What the loop adds up over a block, lane by lane.

use crate::simd::Simd;

/// The sums of one block in each lane, relative to the row's base: Σ term = Σ scales + Σ mantissas.
pub(super) struct LaneSums<S: Simd> {
    pub(super) scales: S::Lanes,
    pub(super) mantissas: S::Lanes,
    /// The largest t of [`Exp::split`] over the columns other than the target's, of all parts.
    /// Where details are collected, the t of [`LaneDetails::max`], found after the block.
    ///
    /// [`Exp::split`]: crate::simd::exp::Exp::split
    pub(super) largest_t: S::F,
}

impl<S: Simd> LaneSums<S> {
    #[inline(always)]
    pub(super) fn new(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { scales: none, mantissas: none, largest_t: s.splat(0.0) }
    }

    /// Zeros, in place: a new value would take as much memory again.
    #[inline(always)]
    pub(super) fn clear(&mut self, s: S) {
        self.largest_t = s.splat(0.0);
        for s in s.parts() {
            s.put(&mut self.scales, s.splat(0.0));
            s.put(&mut self.mantissas, s.splat(0.0));
        }
    }
}

/// The sums behind the details, in each lane. A struct of its own, so that it takes no memory where
/// details are not collected.
pub(super) struct LaneDetails<S: Simd> {
    /// Σ term · (d − middle)
    pub(super) weighted: S::Lanes,
    /// Σ term²
    pub(super) squares: S::Lanes,
    /// The largest value over the columns other than the target's, of all parts.
    pub(super) max: S::F,
}

impl<S: Simd> LaneDetails<S> {
    #[inline(always)]
    pub(super) fn new(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { weighted: none, squares: none, max: s.splat(0.0) }
    }

    /// Before the first column of a block, in place.
    #[inline(always)]
    pub(super) fn clear(&mut self, s: S) {
        self.max = s.splat(f32::NEG_INFINITY);
        for s in s.parts() {
            s.put(&mut self.weighted, s.splat(0.0));
            s.put(&mut self.squares, s.splat(0.0));
        }
    }
}
