//! A row cut into blocks at fixed positions, and blocks into quads of vectors.
//!
//! The quad that holds the target, and the last one, are copies: the first with the target's column
//! masked, the second filled up. So the loops over a block's quads take as many steps wherever the target is,
//! and the compiler is asked for no branch that depends on it.

use core::hint::select_unpredictable;

use super::values::Values;
use crate::Element;
use crate::simd::quad::{QUAD, QUAD_LEN, Quad, opaque, quads};
use crate::simd::{LANES, Simd};

/// Columns that are summed in f32 before they are added up in f64.
///
/// Tiles that begin at multiples of it give the same bits as the whole row.
pub const BLOCK: usize = 512;

/// The number of each lane.
const NUMBERS: [f32; LANES] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

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
    /// The quads that they fill.
    whole: &'a [Quad<E>],
    /// What stands for the target's quad, and for what is left of the elements.
    copies: &'a Copies<E>,
    /// The quad that holds the target; past the end where none does.
    target_quad: usize,
    /// Quads, the last filled up.
    pub(super) len: usize,
}

impl<'a, E: Element> Blocks<'a, E> {
    #[inline(always)]
    pub(super) fn new(tile: &'a [E], hole: Option<usize>, copies: &'a mut Copies<E>) -> Self {
        Self { tile, hole, at: 0, copies, copied: None }
    }

    /// The block at hand; `None` past the end.
    #[inline(always)]
    pub(super) fn block<S: Simd>(&mut self, s: S) -> Option<Block<'_, E>> {
        let rest = self.tile.get(self.at..).filter(|rest| !rest.is_empty())?;
        let elements = rest.get(..BLOCK).unwrap_or(rest);
        let (whole, rest) = quads(elements);
        let hole = self.hole.and_then(|hole| hole.checked_sub(self.at)).unwrap_or(usize::MAX);
        let (target_quad, column) = (hole / QUAD_LEN, hole % QUAD_LEN);
        if self.copied != Some(self.at) {
            self.copied = Some(self.at);
            let Copies([around_target, end]) = &mut *self.copies;
            if !rest.is_empty() {
                fill_up(rest, end, E::NEG_INFINITY);
            }
            if let Some(quad) = whole.get(target_quad) {
                mask(s, quad, column, around_target);
            } else if !rest.is_empty() && target_quad == whole.len() {
                mask(s, end, column, around_target);
            }
        }
        let len = whole.len() + usize::from(!rest.is_empty());
        Some(Block { elements, whole, copies: self.copies, target_quad, len })
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

/// A copy of the quad with one column masked: where vectors are loaded whole, the column's is stored whole,
/// because who loads it soon would have to wait until a smaller store has left the core.
#[inline(always)]
fn mask<S: Simd, E: Element>(s: S, quad: &Quad<E>, column: usize, to: &mut Quad<E>) {
    *to = *quad;
    let (vector, lane) = (column / LANES, column % LANES);
    if let (Some(from), Some(to), Some(&lane_number)) =
        (quad.get(vector), to.get_mut(vector), NUMBERS.get(lane))
    {
        if S::SMALL {
            if let Some(x) = to.get_mut(lane) {
                *x = E::NEG_INFINITY;
            }
        } else {
            // Every level but the small ones holds all lanes in one part.
            let distance = s.abs(s.sub(s.load_f32(&NUMBERS), s.splat(lane_number)));
            let masked = s.splat(f32::NEG_INFINITY);
            E::store(s, s.select_lt(distance, s.splat(0.5), masked, E::load(s, from)), to);
        }
    }
}

impl<E: Element> Block<'_, E> {
    /// The i-th of its quads, the target's masked. Chosen by address, not by a branch: every row has its target
    /// elsewhere.
    #[inline(always)]
    pub(super) fn quad(&self, i: usize) -> &Quad<E> {
        let Copies([around_target, end]) = self.copies;
        let quad = self.whole.get(i).unwrap_or(end);
        opaque(select_unpredictable(i == self.target_quad, around_target, quad))
    }

    /// The first column whose value is at least `top`, the target's left out; 0 if there is none.
    #[inline(always)]
    pub(super) fn position<S: Simd>(&self, s: S, values: &Values<S>, top: f32) -> usize {
        let mut column = 0;
        // Looked for lane by lane only where it may be. That is asked loosely: a host may have its machine take
        // subnormal numbers for 0.
        let below = s.splat((top - f32::MIN_POSITIVE).next_down());
        for i in 0..self.len {
            for vector in self.quad(i) {
                for s in s.parts() {
                    let v = values.value(s, E::load(s, vector));
                    if s.any_gt(v, below)
                        && let Some(lane) = s.position(v, top)
                    {
                        return column + lane;
                    }
                }
                column += LANES;
            }
        }
        0
    }

    /// Asked only of blocks without a number.
    #[cold]
    #[inline(never)]
    pub(super) fn has_nan(&self) -> bool {
        self.elements.iter().any(|x| x.to_f32().is_nan())
    }
}
