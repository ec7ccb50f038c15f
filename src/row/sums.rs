//! What the loop adds up over a block, lane by lane.

use crate::simd::Simd;

/// The sums of one block in each lane, relative to the row's base: Σ term = Σ scales + Σ mantissas.
pub(super) struct LaneSums<L> {
    pub(super) scales: L,
    pub(super) mantissas: L,
    /// The largest t of [`Exp::split`] over the columns other than the target's. Where details are
    /// collected, the t of [`LaneDetails::max`], found after the block.
    ///
    /// [`Exp::split`]: crate::simd::exp::Exp::split
    pub(super) largest_t: L,
}

impl<L: Copy> LaneSums<L> {
    #[inline(always)]
    pub(super) fn new<S: Simd<Lanes = L>>(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { scales: none, mantissas: none, largest_t: none }
    }

    /// Zeros, in place: a new value would take as much memory again.
    #[inline(always)]
    pub(super) fn clear<S: Simd<Lanes = L>>(&mut self, s: S) {
        for s in s.parts() {
            s.put(&mut self.scales, s.splat(0.0));
            s.put(&mut self.mantissas, s.splat(0.0));
            s.put(&mut self.largest_t, s.splat(0.0));
        }
    }
}

/// The sums behind the details, in each lane. A struct of its own, so that it takes no memory where
/// details are not collected.
pub(super) struct LaneDetails<L> {
    /// Σ term · (d − middle)
    pub(super) weighted: L,
    /// Σ term²
    pub(super) squares: L,
    /// The largest value over the columns other than the target's.
    pub(super) max: L,
}

impl<L: Copy> LaneDetails<L> {
    #[inline(always)]
    pub(super) fn new<S: Simd<Lanes = L>>(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { weighted: none, squares: none, max: none }
    }

    /// Before the first column of a block, in place.
    #[inline(always)]
    pub(super) fn clear<S: Simd<Lanes = L>>(&mut self, s: S) {
        for s in s.parts() {
            s.put(&mut self.weighted, s.splat(0.0));
            s.put(&mut self.squares, s.splat(0.0));
            s.put(&mut self.max, s.splat(f32::NEG_INFINITY));
        }
    }
}

/// Whether any lane exceeds a bound.
#[inline(always)]
pub(super) fn any_exceeds<S: Simd>(s: S, lanes: &S::Lanes, bound: S::F) -> bool {
    for s in s.parts() {
        if s.any_gt(s.get(lanes), bound) {
            return true;
        }
    }
    false
}
