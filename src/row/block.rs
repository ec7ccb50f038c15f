//! A row cut into blocks at fixed positions, and blocks into quads of vectors.
//!
//! The quad that holds the target, and the last one, are copies: the first with the target's column
//! masked, the second filled up. So the loops over a block's quads hold no condition that depends on where
//! the target is.

use super::values::Values;
use crate::Element;
use crate::simd::quad::{QUAD, QUAD_LEN, Quad, quads};
use crate::simd::{LANES, Simd};

/// Columns that are summed in f32 before they are added up in f64.
///
/// Tiles that begin at multiples of it give the same bits as the whole row.
pub const BLOCK: usize = 512;

/// A tile's blocks, one at a time, and where its target is.
pub(super) struct Blocks<'a, E> {
    tile: &'a [E],
    hole: Option<usize>,
    /// First column of the block at hand.
    pub(super) at: usize,
    copies: &'a mut Copies<E>,
    /// The block that the copies are of.
    copied: Option<usize>,
}

/// Room for the quads of a block that are copied: the target's, and the last. One serves many rows.
pub(crate) struct Copies<E>([Quad<E>; 2]);

impl<E: Element> Copies<E> {
    /// A constant, not a function: what that returns would lie in memory twice.
    pub(crate) const NEW: Self = Self([[[E::ZERO; LANES]; QUAD]; 2]);
}

/// Up to [`BLOCK`] columns.
pub(super) struct Block<'a, E> {
    /// As they are.
    pub(super) elements: &'a [E],
    /// In quads and in order, the target's masked: those before it, its own, those after it, the last.
    /// Slices to loop over, because a choice at every quad costs a sixth of the speed.
    pub(super) masked: [&'a [Quad<E>]; 4],
}

impl<'a, E: Element> Blocks<'a, E> {
    #[inline(always)]
    pub(super) fn new(tile: &'a [E], hole: Option<usize>, copies: &'a mut Copies<E>) -> Self {
        Self { tile, hole, at: 0, copies, copied: None }
    }

    /// The block at hand; `None` past the end.
    #[inline(always)]
    pub(super) fn block(&mut self) -> Option<Block<'_, E>> {
        let rest = self.tile.get(self.at..).filter(|rest| !rest.is_empty())?;
        let elements = rest.get(..BLOCK).unwrap_or(rest);
        let (whole, rest) = quads(elements);
        let hole = self.hole.and_then(|hole| hole.checked_sub(self.at)).unwrap_or(usize::MAX);
        let (target, column) = (hole / QUAD_LEN, hole % QUAD_LEN);
        let is_new = self.copied != Some(self.at);
        self.copied = Some(self.at);
        let Copies([around_target, end]) = &mut *self.copies;
        let mut masked = [whole, &[], &[], &[]];
        if let Some((before, [quad, after @ ..])) = whole.split_at_checked(target) {
            if is_new {
                *around_target = *quad;
                mask(around_target, column);
            }
            masked = [before, core::slice::from_ref(around_target), after, &[]];
        }
        if !rest.is_empty() {
            if is_new {
                fill_up(rest, end, E::NEG_INFINITY);
                if target == whole.len() {
                    mask(end, column);
                }
            }
            let [.., last] = &mut masked;
            *last = core::slice::from_ref(end);
        }
        Some(Block { elements, masked })
    }
}

/// Less than a quad, filled up.
#[inline(always)]
pub(super) fn fill_up<E: Element>(rest: &[E], to: &mut Quad<E>, fill: E) {
    to.as_flattened_mut().fill(fill);
    for (to, &from) in to.as_flattened_mut().iter_mut().zip(rest) {
        *to = from;
    }
}

#[inline(always)]
fn mask<E: Element>(quad: &mut Quad<E>, column: usize) {
    if let Some(x) = quad.as_flattened_mut().get_mut(column) {
        *x = E::NEG_INFINITY;
    }
}

impl<E: Element> Block<'_, E> {
    /// The first column whose value is at least `top`, the target's left out.
    #[inline(always)]
    pub(super) fn position<S: Simd>(&self, s: S, values: &Values<S>, top: f32) -> usize {
        let mut column = 0;
        for run in self.masked {
            for vector in run.as_flattened() {
                for s in s.parts() {
                    if let Some(lane) = s.position(values.value(s, E::load(s, vector)), top) {
                        return column + lane;
                    }
                }
                column += LANES;
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
