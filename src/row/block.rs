//! A row cut into blocks at fixed positions, and blocks into quads of vectors.
//!
//! The loops read copies of two quads: of the one that holds the target, with the target's column
//! masked, and of the last, filled up with masked columns. So they take the same steps wherever the
//! target is, without a branch that depends on it. They are made once, before the tile is folded.

#![allow(
    clippy::indexing_slicing,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use core::hint::select_unpredictable;

use crate::Element;
use crate::simd::quad::{QUAD, QUAD_LEN, Quad, opaque, opaque_count, quads};
use crate::simd::{LANES, SHORT_LOOPS, Simd};

/// Columns of a block: so many are summed in f32 before blocks are added in f64.
///
/// A row folded in tiles that begin at multiples of it, in any order, gives the same bits as the row
/// folded whole.
pub const BLOCK: usize = 512;

/// The number of each lane.
const NUMBERS: [f32; LANES] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// Room for the two quads of a tile that are copied: the target's, and the last. Aligned for the
/// widest vectors: one that crosses a cache line is stored and loaded again at a third of the speed.
#[cfg_attr(any(target_arch = "x86", target_arch = "x86_64"), repr(align(64)))]
pub(crate) struct Copies<E>([Quad<E>; 2]);

/// Copies of a fold: none where the only level works on one lane, which copies nothing.
pub(crate) const HELD: usize = if SHORT_LOOPS { 1 } else { 0 };

impl<E: Element> Copies<E> {
    /// A constant, because the result of a function would be in memory twice.
    pub(crate) const NEW: Self = Self([[[E::ZERO; LANES]; QUAD]; 2]);

    /// Copies the quads of a tile whose column `target` is to be masked, if it has that column.
    #[inline(always)]
    pub(super) fn hold<S: Simd>(&mut self, s: S, tile: &[E], target: usize) {
        let (whole, rest) = quads(tile);
        let Self([around_target, end]) = self;
        if !rest.is_empty() {
            *end = filled_up(rest, E::NEG_INFINITY);
        }
        if target < tile.len() {
            let quad = whole.get(target / QUAD_LEN).unwrap_or(end);
            mask(s, quad, target % QUAD_LEN, around_target);
        }
    }
}

/// The quads of a tile, and the copies of two of them.
#[derive(Clone, Copy)]
pub(super) struct Quads<'a, E> {
    /// The quads that the tile fills completely, as they are in memory.
    whole: &'a [Quad<E>],
    /// These, and the elements after them.
    elements: &'a [E],
    copies: &'a Copies<E>,
    /// The quad that holds the target; past the end if none does.
    target: usize,
}

/// Up to [`BLOCK`] columns.
#[derive(Clone, Copy)]
pub(super) struct Block<'a, E> {
    /// The tile's quads from its first on.
    quads: Quads<'a, E>,
    /// Quads, with the one that is filled up.
    pub(super) len: usize,
}

impl<'a, E: Element> Quads<'a, E> {
    #[inline(always)]
    pub(super) fn new(tile: &'a [E], target: usize, copies: &'a Copies<E>) -> Self {
        Self { whole: quads(tile).0, elements: tile, copies, target: target / QUAD_LEN }
    }

    /// The block that begins at a column; `None` past the end.
    #[inline(always)]
    pub(super) fn block(self, at: usize) -> Option<Block<'a, E>> {
        let elements = self.elements.get(at..).filter(|elements| !elements.is_empty())?;
        let (first, len) = (at / QUAD_LEN, elements.len().min(BLOCK).div_ceil(QUAD_LEN));
        let (whole, target) = (self.whole.get(first..)?, self.target.wrapping_sub(first));
        Some(Block { quads: Self { whole, elements, target, ..self }, len: opaque_count(len) })
    }
}

/// A copy of less than a quad, filled up. Not inlined: a tile has one at most, and levels would
/// unroll it.
#[inline(never)]
pub(super) fn filled_up<E: Element>(rest: &[E], fill: E) -> Quad<E> {
    let mut quad = [[fill; LANES]; QUAD];
    for (to, &from) in quad.as_flattened_mut().iter_mut().zip(rest) {
        *to = from;
    }
    quad
}

/// A copy of the quad with one column masked. The vector with the column is stored whole: a load of a
/// vector that follows a store of one element waits until the store has left the core.
#[inline(always)]
fn mask<S: Simd, E: Element>(s: S, quad: &Quad<E>, column: usize, to: &mut Quad<E>) {
    *to = *quad;
    let (vector, lane) = (column / LANES, column % LANES);
    if let (Some(from), Some(to), Some(&lane_number)) =
        (quad.get(vector), to.get_mut(vector), NUMBERS.get(lane))
    {
        for s in s.parts() {
            let distance = s.abs(s.sub(s.load_f32(&NUMBERS), s.splat(lane_number)));
            let masked = s.splat(f32::NEG_INFINITY);
            E::store(s, s.select_lt(distance, s.splat(0.5), masked, E::load(s, from)), to);
        }
    }
}

impl<'a, E: Element> Block<'a, E> {
    /// The i-th of its quads, with the target masked. The address is selected without a branch,
    /// which would be mispredicted: every row has its target elsewhere.
    #[inline(always)]
    pub(super) fn quad(&self, i: usize) -> &'a Quad<E> {
        let Quads { whole, copies: Copies([around_target, end]), target, .. } = self.quads;
        let quad = whole.get(i).unwrap_or(end);
        opaque(select_unpredictable(i == target, around_target, quad))
    }

    /// The last of the tile's quads, filled up with masked columns, if it has to be filled.
    #[inline(always)]
    pub(super) const fn end(&self) -> &'a Quad<E> {
        let Copies([_, end]) = self.quads.copies;
        end
    }

    /// The columns as they are in memory.
    #[inline(always)]
    pub(super) fn elements(&self) -> &'a [E] {
        self.quads.elements.get(..BLOCK).unwrap_or(self.quads.elements)
    }

    /// The first column whose value is at least `max`, the target among them; 0 if there is none.
    #[inline(always)]
    pub(super) fn position<S: Simd>(&self, s: S, max: f32) -> usize {
        // A quick test finds the quads that may hold it. Its bound is a little lower, because the
        // host may have set the processor to take subnormal numbers for 0.
        let below = s.splat((max - f32::MIN_POSITIVE).next_down());
        let mut values = [[0.0; LANES]; QUAD];
        for i in 0..self.len {
            let quad = self.quads.whole.get(i).unwrap_or(self.end());
            let mut may_hold = false;
            for s in s.parts() {
                let mut top = E::load_mixed(s, &quad[0]);
                for vector in &quad[1..] {
                    top = s.max(top, E::load_mixed(s, vector));
                }
                may_hold |= s.any_gt(top, below);
            }
            if may_hold {
                for s in s.parts() {
                    for (vector, values) in quad.iter().zip(&mut values) {
                        s.store_f32(E::load(s, vector), values);
                    }
                }
                if let Some(column) = first_at_least(&values, max) {
                    return i * QUAD_LEN + column;
                }
            }
        }
        0
    }
}

/// Whether a column is NaN. Asked only of blocks without a finite maximum.
#[cold]
#[inline(never)]
pub(super) fn has_nan<E: Element>(elements: &[E]) -> bool {
    elements.iter().any(|x| x.to_f32().is_nan())
}

/// The first of a quad's values that is at least `max`.
#[inline(never)]
fn first_at_least(values: &Quad<f32>, max: f32) -> Option<usize> {
    values.as_flattened().iter().position(|&x| x >= max)
}
