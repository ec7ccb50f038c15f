//! What the loop adds up over a block, lane by lane.

use crate::simd::Simd;

/// One block's sums per lane, relative to a reference.
pub(super) struct BlockSums<L> {
    pub(super) scales: L,
    pub(super) mantissas: L,
    /// The largest value, the target's left out.
    pub(super) top: L,
}

impl<L: Copy> BlockSums<L> {
    #[inline(always)]
    pub(super) fn new<S: Simd<Lanes = L>>(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { scales: none, mantissas: none, top: none }
    }

    /// In place: a copy would take as much memory again.
    #[inline(always)]
    pub(super) fn clear<S: Simd<Lanes = L>>(&mut self, s: S) {
        for s in s.parts() {
            s.put(&mut self.scales, s.splat(0.0));
            s.put(&mut self.mantissas, s.splat(0.0));
            s.put(&mut self.top, s.splat(f32::NEG_INFINITY));
        }
    }

    /// Whether the largest value exceeds a bound.
    #[inline(always)]
    pub(super) fn exceed<S: Simd<Lanes = L>>(&self, s: S, bound: S::F) -> bool {
        for s in s.parts() {
            if s.any_gt(s.get(&self.top), bound) {
                return true;
            }
        }
        false
    }
}

/// What moments want beside. Apart, so that it takes no memory where they are not wanted.
pub(super) struct MoreSums<L> {
    /// Σ term · (d − middle)
    pub(super) about: L,
    /// Σ term²
    pub(super) squares: L,
}

impl<L: Copy> MoreSums<L> {
    #[inline(always)]
    pub(super) fn new<S: Simd<Lanes = L>>(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { about: none, squares: none }
    }

    #[inline(always)]
    pub(super) fn clear<S: Simd<Lanes = L>>(&mut self, s: S) {
        for s in s.parts() {
            s.put(&mut self.about, s.splat(0.0));
            s.put(&mut self.squares, s.splat(0.0));
        }
    }
}
