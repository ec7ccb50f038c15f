//! A row cut into blocks at fixed positions, and blocks into quads of vectors.
//!
//! The loops read copies of two quads: of the one that holds the target, with the target's column
//! masked, and of the last, filled up with masked columns. So they take the same steps wherever the
//! target is, without a branch that depends on it.

use core::hint::select_unpredictable;

use crate::Element;
use crate::simd::quad::{QUAD, QUAD_LEN, Quad, opaque, quads};
use crate::simd::{LANES, SHORT_LOOPS, Simd};

/// Columns of a block: so many are summed in f32 before blocks are added in f64.
///
/// A row folded in ascending tiles that begin at multiples of it gives the same bits as the row
/// folded whole.
pub const BLOCK: usize = 512;

/// The number of each lane.
const NUMBERS: [f32; LANES] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];

/// A tile's blocks, one at a time, and where its target is.
pub(super) struct Blocks<'a, E> {
    tile: &'a [E],
    /// Where in the tile the target is; past the end if it is not there.
    target: usize,
    /// First column of the current block.
    pub(super) at: usize,
    copies: &'a mut Copies<E>,
    /// First column of the block whose quads were copied last; past the end if none was.
    pub(super) copied: usize,
}

/// Room for the two quads of a block that are copied: the target's, and the last. It is reused from
/// row to row. Aligned for the widest vectors: one that crosses a cache line is stored and loaded
/// again at a third of the speed.
#[cfg_attr(any(target_arch = "x86", target_arch = "x86_64"), repr(align(64)))]
pub(crate) struct Copies<E>([Quad<E>; 2]);

/// The copies of a fold, or none where the only level works on one lane, which copies nothing.
pub(crate) type Room<E> = [Copies<E>; COPIES];

const COPIES: usize = if SHORT_LOOPS { 1 } else { 0 };

impl<E: Element> Copies<E> {
    /// A constant, because the result of a function would be in memory twice.
    const NEW: Self = Self([[[E::ZERO; LANES]; QUAD]; 2]);
    /// Room for the copies of a fold.
    pub(crate) const ROOM: Room<E> = [const { Self::NEW }; COPIES];
}

/// Up to [`BLOCK`] columns.
pub(super) struct Block<'a, E> {
    /// The columns as they are in memory.
    pub(super) elements: &'a [E],
    /// The quads that they fill completely.
    whole: &'a [Quad<E>],
    /// What the loops read instead of the target's quad, and after the whole ones.
    copies: &'a Copies<E>,
    /// The quad that holds the target; past the end if none does.
    target_quad: usize,
    /// Quads, with the one that is filled up.
    pub(super) len: usize,
}

impl<'a, E: Element> Blocks<'a, E> {
    #[inline(always)]
    pub(super) fn new(tile: &'a [E], target: usize, at: usize, copies: &'a mut Copies<E>) -> Self {
        Self { tile, target, at, copies, copied: usize::MAX }
    }

    /// The current block; `None` past the end.
    #[inline(always)]
    pub(super) fn block<S: Simd>(&mut self, s: S) -> Option<Block<'_, E>> {
        let rest = self.tile.get(self.at..).filter(|rest| !rest.is_empty())?;
        let elements = rest.get(..BLOCK).unwrap_or(rest);
        let (whole, rest) = quads(elements);
        let target = self.target.checked_sub(self.at).unwrap_or(usize::MAX);
        let (target_quad, column) = (target / QUAD_LEN, target % QUAD_LEN);
        if self.copied != self.at {
            self.copied = self.at;
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

/// Copies less than a quad, and fills the quad up.
#[inline(always)]
pub(super) fn fill_up<E: Element>(rest: &[E], to: &mut Quad<E>, fill: E) {
    to.as_flattened_mut().fill(fill);
    for (to, &from) in to.as_flattened_mut().iter_mut().zip(rest) {
        *to = from;
    }
}

/// A copy of the quad with one column masked. Where a level loads whole vectors, the one with the
/// column is also stored whole: a load of a vector that follows a store of one element waits until
/// the store has left the core.
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
            // Levels that are not small hold all lanes in one part.
            let distance = s.abs(s.sub(s.load_f32(&NUMBERS), s.splat(lane_number)));
            let masked = s.splat(f32::NEG_INFINITY);
            E::store(s, s.select_lt(distance, s.splat(0.5), masked, E::load(s, from)), to);
        }
    }
}

impl<E: Element> Block<'_, E> {
    /// The i-th of its quads, with the target masked. The address is selected without a branch,
    /// which would be mispredicted: every row has its target elsewhere.
    #[inline(always)]
    pub(super) fn quad(&self, i: usize) -> &Quad<E> {
        let Copies([around_target, end]) = self.copies;
        let quad = self.whole.get(i).unwrap_or(end);
        opaque(select_unpredictable(i == self.target_quad, around_target, quad))
    }

    /// The first column whose value is at least `max`, the target left out; 0 if there is none.
    #[inline(always)]
    pub(super) fn position<S: Simd>(&self, s: S, max: f32) -> usize {
        let mut column = 0;
        // A quick test finds the vectors that may hold it. Its bound is a little lower, because the
        // host may have set the processor to take subnormal numbers for 0.
        let below = s.splat((max - f32::MIN_POSITIVE).next_down());
        for i in 0..self.len {
            for vector in self.quad(i) {
                for s in s.parts() {
                    let v = E::load(s, vector);
                    if s.any_gt(v, below)
                        && let Some(lane) = s.position(v, max)
                    {
                        return column + lane;
                    }
                }
                column += LANES;
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
