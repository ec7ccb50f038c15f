//! What the loop adds up over a block, lane by lane.

use crate::simd::Simd;

/// One block's sums per lane, relative to a reference.
pub(super) struct BlockSums<L> {
    pub(super) scales: L,
    pub(super) mantissas: L,
    /// The largest t of [`Exp::split`], the target's left out; where moments are wanted, that of their `top`.
    ///
    /// [`Exp::split`]: crate::simd::exp::Exp::split
    pub(super) largest_t: L,
}

impl<L: Copy> BlockSums<L> {
    #[inline(always)]
    pub(super) fn new<S: Simd<Lanes = L>>(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { scales: none, mantissas: none, largest_t: none }
    }

    /// In place: a copy would take as much memory again.
    #[inline(always)]
    pub(super) fn clear<S: Simd<Lanes = L>>(&mut self, s: S) {
        for s in s.parts() {
            s.put(&mut self.scales, s.splat(0.0));
            s.put(&mut self.mantissas, s.splat(0.0));
            s.put(&mut self.largest_t, s.splat(0.0));
        }
    }
}

/// What moments want beside. Apart, so that it takes no memory where they are not wanted.
pub(super) struct MoreSums<L> {
    /// Σ term · (d − middle)
    pub(super) about: L,
    /// Σ term²
    pub(super) squares: L,
    /// The largest value, the target's left out.
    pub(super) top: L,
}

impl<L: Copy> MoreSums<L> {
    #[inline(always)]
    pub(super) fn new<S: Simd<Lanes = L>>(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { about: none, squares: none, top: none }
    }

    #[inline(always)]
    pub(super) fn clear<S: Simd<Lanes = L>>(&mut self, s: S) {
        for s in s.parts() {
            s.put(&mut self.about, s.splat(0.0));
            s.put(&mut self.squares, s.splat(0.0));
            s.put(&mut self.top, s.splat(f32::NEG_INFINITY));
        }
    }
}

/// Whether any lane exceeds a bound.
#[inline(always)]
pub(super) fn exceed<S: Simd>(s: S, lanes: &S::Lanes, bound: S::F) -> bool {
    for s in s.parts() {
        if s.any_gt(s.get(lanes), bound) {
            return true;
        }
    }
    false
}
