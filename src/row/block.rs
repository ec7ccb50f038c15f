//! A row cut into blocks at fixed positions, and blocks into quads of vectors.
//!
//! The quad that holds the target, and the last one, go through a copy: the first with the target's
//! column masked, the second filled up.

use super::values::Values;
use crate::Element;
use crate::simd::{LANES, Simd};

/// Columns that are summed in f32 before they are added up in f64.
///
/// Tiles that begin at multiples of it give the same bits as the whole row.
pub const BLOCK: usize = 512;

/// Vectors that are summed before they meet the block's sums.
pub(super) const QUAD: usize = 4;

/// Their elements.
pub(super) type Quad<E> = [[E; LANES]; QUAD];

/// A tile's blocks, one at a time, and where its target is.
pub(super) struct Blocks<'a, E> {
    pub(super) tile: &'a [E],
    pub(super) hole: Option<usize>,
    pub(super) at: usize,
}

impl<'a, E: Element> Blocks<'a, E> {
    #[inline(always)]
    pub(super) fn block(&self) -> Option<Block<'a, E>> {
        let rest = self.tile.get(self.at..).filter(|rest| !rest.is_empty())?;
        let elements = rest.get(..BLOCK).unwrap_or(rest);
        let hole = self.hole.and_then(|hole| hole.checked_sub(self.at)).unwrap_or(usize::MAX);
        Some(Block { elements, hole })
    }
}

/// Up to [`BLOCK`] columns, and which of them is the target's.
pub(super) struct Block<'a, E> {
    elements: &'a [E],
    hole: usize,
}

impl<E: Element> Block<'_, E> {
    #[inline(always)]
    pub(super) fn quads(&self) -> usize {
        self.elements.len().div_ceil(QUAD * LANES)
    }

    /// Quad q with the target's column and what lies past the end masked, in `patch` if need be.
    #[inline(always)]
    pub(super) fn masked<'a>(&'a self, q: usize, patch: &'a mut Quad<E>) -> &'a Quad<E> {
        let (quads, _) = self.elements.as_chunks::<LANES>().0.as_chunks::<QUAD>();
        match quads.get(q) {
            Some(quad) if self.hole / (QUAD * LANES) != q => quad,
            _ => {
                let patch = self.copied(q, patch, E::NEG_INFINITY);
                if self.hole / (QUAD * LANES) == q
                    && let Some(x) = patch.as_flattened_mut().get_mut(self.hole % (QUAD * LANES))
                {
                    *x = E::NEG_INFINITY;
                }
                patch
            }
        }
    }

    /// Whether the target's column is all there is.
    pub(super) fn is_target_alone(&self) -> bool {
        self.elements.len() == 1 && self.hole == 0
    }

    /// Quad q as it is, filled up with zeros.
    #[inline(always)]
    pub(super) fn unmasked<'a>(&'a self, q: usize, patch: &'a mut Quad<E>) -> &'a Quad<E> {
        let (quads, _) = self.elements.as_chunks::<LANES>().0.as_chunks::<QUAD>();
        match quads.get(q) {
            Some(quad) => quad,
            None => self.copied(q, patch, E::ZERO),
        }
    }

    /// A copy of quad q, filled up with `fill`.
    #[inline(always)]
    fn copied<'a>(&self, q: usize, patch: &'a mut Quad<E>, fill: E) -> &'a mut Quad<E> {
        let (quads, rest) = self.elements.as_chunks::<LANES>().0.as_chunks::<QUAD>();
        if let Some(quad) = quads.get(q) {
            *patch = *quad;
        } else {
            *patch = [[fill; LANES]; QUAD];
            let (_, tail) = self.elements.as_chunks::<LANES>();
            for (to, from) in patch.iter_mut().zip(rest) {
                *to = *from;
            }
            if let Some(to) = patch.get_mut(rest.len()) {
                for (to, &from) in to.iter_mut().zip(tail) {
                    *to = from;
                }
            }
        }
        patch
    }

    /// The first column whose value is at least `top`, the target's left out.
    #[inline(always)]
    pub(super) fn position<S: Simd>(&self, s: S, values: &Values<S>, top: f32) -> usize {
        let mut patch = [[E::NEG_INFINITY; LANES]; QUAD];
        for q in 0..self.quads() {
            for (i, chunk) in self.masked(q, &mut patch).iter().enumerate() {
                let lanes = s.to_array(values.value(s, E::load(s, chunk)));
                if let Some(lane) = lanes.iter().position(|&v| v >= top) {
                    return (q * QUAD + i) * LANES + lane;
                }
            }
        }
        usize::MAX
    }

    /// Asked only of blocks without a number.
    #[cold]
    #[inline(never)]
    pub(super) fn has_nan(&self) -> bool {
        self.elements.iter().any(|x| x.to_f32().is_nan())
    }
}
