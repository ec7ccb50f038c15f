//! The loop: blocks of a tile, summed relative to a reference.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::block::{BLOCK, Block, Blocks, Copies};
use super::moments::{BlockMoments, Extra};
use super::stats::{Reference, RowStats};
use super::sums::{BlockSums, MoreSums, exceed};
use super::total::block_total;
use super::values::{Values, value_of};
use crate::Element;
use crate::simd::exp::{Exp, LN_2};
use crate::simd::quad::{QUAD, Quad};
use crate::simd::{Simd, fetch_ahead};

/// How many powers of two a block's largest scale may exceed the reference's before it is done again.
/// More would cost the entropy: its terms are distances to the reference, rounded in f32.
const HEADROOM: i16 = 7;

/// The largest value of a tile so far, the target's left out.
struct Leader {
    top: f32,
    /// Where its block begins.
    at: usize,
}

impl<D: Extra> RowStats<D> {
    /// The fold inside a level: the kernel's body.
    #[inline(always)]
    pub(crate) fn fold_at<S: Simd, E: Element>(
        &mut self,
        s: S,
        tile: &[E],
        first_column: u32,
        copies: &mut Copies<E>,
    ) {
        if S::SMALL {
            self.fold_apart(s, tile, first_column, copies);
        } else {
            self.fold_blocks(s, tile, first_column, copies);
        }
    }

    /// A function of its own, whose sums are gone from the stack before the row is finished.
    #[inline(never)]
    fn fold_apart<S: Simd, E: Element>(
        &mut self,
        s: S,
        tile: &[E],
        first_column: u32,
        copies: &mut Copies<E>,
    ) {
        self.fold_blocks(s, tile, first_column, copies);
    }

    #[inline(always)]
    fn fold_blocks<S: Simd, E: Element>(
        &mut self,
        s: S,
        tile: &[E],
        first_column: u32,
        copies: &mut Copies<E>,
    ) {
        let hole = self.hole(first_column, tile.len());
        if let Some(x) = hole.and_then(|hole| tile.get(hole)) {
            if self.target_value.is_some() {
                // The same columns again: no row has two targets.
                self.rest = f64::NAN;
            }
            self.target_value = Some(value_of(s, self.transform, x.to_f32()));
        }
        let mut blocks = Blocks::new(tile, hole, copies);
        let mut overflowed = false;
        let mut leader = Leader { top: f32::NEG_INFINITY, at: 0 };
        while let Some(block) = blocks.block(s) {
            // A block whose maximum is far above the reference is done again relative to itself,
            // where nothing overflows; one without a number is left out.
            let known = if overflowed { None } else { self.reference };
            let reference = if known.is_some() { known } else { self.start(s, &block) };
            let Some(reference) = reference else {
                // All masked, but perhaps for the target.
                let alone = block.elements.len() == 1;
                let masked = self.target_value.filter(|_| alone && hole == Some(blocks.at));
                let total = masked.map_or(f64::NEG_INFINITY, f64::from);
                self.moments.add(&BlockMoments { total, ..BlockMoments::default() });
                blocks.at += BLOCK;
                overflowed = false;
                continue;
            };
            overflowed = if self.transform.is_none() && reference.shift.to_bits() == 0 {
                self.sum_blocks::<S, E, true>(s, &mut blocks, &mut leader, reference)
            } else {
                self.sum_blocks::<S, E, false>(s, &mut blocks, &mut leader, reference)
            };
        }
        if D::ON && leader.top > f32::NEG_INFINITY && leader.top >= self.moments.top() {
            self.find_top(s, blocks, &leader, first_column);
        }
        self.columns += tile.len() as u64;
    }

    /// Finds the column of a tile's largest value, and has it compared with those of other tiles.
    #[inline(always)]
    fn find_top<S: Simd, E: Element>(
        &mut self,
        s: S,
        mut blocks: Blocks<'_, E>,
        leader: &Leader,
        first_column: u32,
    ) {
        blocks.at = leader.at;
        if let Some(block) = blocks.block(s) {
            let values = Values::new(s, self.transform, 0.0);
            let column = leader.at.saturating_add(block.position(s, &values, leader.top));
            self.moments.see(leader.top, first_column.saturating_add(low_u32(column)));
        }
    }

    /// Chooses the reference of a row from its first block, as the fold would.
    ///
    /// Of several rows before any is folded: a maximum, its logarithm and what follows from it wait for each
    /// other, those of different rows do not.
    #[inline(always)]
    pub(crate) fn begin<S: Simd, E: Element>(&mut self, s: S, row: &[E], copies: &mut Copies<E>) {
        let hole = self.hole(0, row.len());
        if let Some(block) = Blocks::new(row, hole, copies).block(s) {
            self.start(s, &block);
        }
    }

    /// Where the target lies in a tile.
    #[inline(always)]
    fn hole(&self, first_column: u32, columns: usize) -> Option<usize> {
        self.target
            .and_then(|target| target.checked_sub(first_column))
            .and_then(|hole| usize::try_from(hole).ok())
            .filter(|&hole| hole < columns)
    }

    /// Chooses the reference from a block: `None` if it is all masked, or not numbers (then the sum
    /// has become NaN, for good). The target is left out: however far it leads, the rest must not
    /// vanish beside it.
    #[inline(always)]
    fn start<S: Simd, E: Element>(&mut self, s: S, block: &Block<'_, E>) -> Option<Reference> {
        let values = Values::new(s, self.transform, 0.0);
        let mut top = f32::NEG_INFINITY;
        for s in s.parts() {
            let mut part = s.splat(f32::NEG_INFINITY);
            for i in 0..block.len {
                for vector in block.quad(i) {
                    part = s.max(part, values.value(s, E::load(s, vector)));
                }
            }
            top = top.max(largest(s, part));
        }
        if top == f32::INFINITY || (top == f32::NEG_INFINITY && block.has_nan()) {
            self.rest = f64::NAN;
            return None;
        }
        if top == f32::NEG_INFINITY {
            return None;
        }
        self.rebase(Reference::at(top, self.transform.factor()));
        self.reference
    }

    /// Adds blocks to the sums until one overflows the reference; whether one did.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "constants are rounded to f32 lanes")]
    fn sum_blocks<S: Simd, E: Element, const UNIT: bool>(
        &mut self,
        s: S,
        blocks: &mut Blocks<'_, E>,
        leader: &mut Leader,
        reference: Reference,
    ) -> bool {
        let factor = if UNIT { 1.0 } else { self.transform.factor() };
        let exp = Exp::new::<UNIT>(s, factor, reference.exponent);
        let values = Values::new(s, self.transform, reference.shift);
        let ceiling = s.splat(Exp::<S>::t_at(HEADROOM));
        let middle = (f64::from(reference.exponent) * LN_2 / factor) as f32;
        let drift = 1.0 + Exp::<S>::drift::<UNIT>(reference.exponent);
        // From the distance to `middle` to the distance to the reference.
        let correction = factor * f64::from(middle) - f64::from(reference.exponent) * LN_2;
        let (mut sums, mut more) = (BlockSums::new(s), MoreSums::new(s));
        while let Some(block) = blocks.block(s) {
            sums.clear(s);
            more.clear(s);
            for i in 0..block.len {
                let quad = block.quad(i);
                // Of a copy, one or two a row, it asks for something else.
                fetch_ahead(quad);
                for s in s.parts() {
                    let m = s.splat(middle);
                    sum_quad::<S, E, D, UNIT>(s, quad, &exp, &values, m, &mut sums, &mut more);
                }
            }
            if D::ON {
                // Exponents grow with values: the largest of one is the largest of the other.
                for s in s.parts() {
                    let top = s.get(&more.top);
                    let top = if UNIT { top } else { s.sub(top, values.shift) };
                    s.put(&mut sums.largest_t, exp.t_of(s, top));
                }
            }
            if exceed(s, &sums.largest_t, ceiling) {
                return true;
            }
            for s in s.parts() {
                let (scales, mantissas) = (s.get(&sums.scales), s.get(&sums.mantissas));
                s.put(&mut sums.mantissas, Exp::<S>::restored::<UNIT>(s, scales, mantissas));
            }
            let rest = s.sum_f64(&sums.scales, &sums.mantissas) * drift;
            self.rest += rest;
            if D::ON {
                let zero = s.lanes(0.0);
                let total = block_total::<S, E, UNIT>(s, &block, &values);
                let leads = exceed(s, &more.top, s.splat(leader.top));
                self.moments.add(&BlockMoments {
                    about: factor * s.sum_f64(&more.about, &zero) * drift + correction * rest,
                    squares: s.sum_f64(&more.squares, &zero) * drift * drift,
                    total,
                });
                if leads {
                    let mut top = f32::NEG_INFINITY;
                    for s in s.parts() {
                        top = top.max(largest(s, s.get(&more.top)));
                    }
                    // Its column is looked for once a tile: of n blocks in no order, some ln n lead.
                    *leader = Leader { top, at: blocks.at };
                }
            }
            blocks.at += BLOCK;
        }
        false
    }
}

/// Columns are counted in u32, as target ids are.
fn low_u32(x: usize) -> u32 {
    u32::try_from(x).unwrap_or(u32::MAX)
}

/// The loop: the share of four vectors, or of a part of each.
#[inline(always)]
fn sum_quad<S: Simd, E: Element, D: Extra, const UNIT: bool>(
    s: S,
    quad: &Quad<E>,
    exp: &Exp<S>,
    values: &Values<S>,
    middle: S::F,
    sums: &mut BlockSums<S::Lanes>,
    more: &mut MoreSums<S::Lanes>,
) {
    let mut d = [s.splat(0.0); QUAD];
    for i in 0..QUAD {
        let x = E::load(s, &quad[i]);
        let v = if UNIT { x } else { values.value(s, x) };
        if D::ON {
            let top = s.max(s.get(&more.top), v);
            s.put(&mut more.top, top);
        }
        d[i] = if UNIT { x } else { s.sub(v, values.shift) };
    }
    let (t, f) = exp.split::<UNIT, QUAD>(s, d);
    let (mut largest_t, mut scale) = (s.get(&sums.largest_t), t);
    for i in 0..QUAD {
        if !D::ON {
            largest_t = s.max_positive(largest_t, t[i]);
        }
        scale[i] = s.to_exponent(t[i]);
    }
    s.put(&mut sums.largest_t, largest_t);
    let w = exp.w(s, f);
    let (mut scales, mut mantissas) = (scale[0], s.mul(w[0], scale[0]));
    for i in 1..QUAD {
        scales = s.add(scales, scale[i]);
        mantissas = s.mul_add(w[i], scale[i], mantissas);
    }
    for i in 0..QUAD {
        let (scale, w, d) = (scale[i], w[i], d[i]);
        if D::ON {
            let term = s.mul_add(w, scale, scale);
            let distance = s.sub(exp.bounded(s, d), middle);
            let about = s.mul_add(term, distance, s.get(&more.about));
            s.put(&mut more.about, about);
            let squares = s.mul_add(term, term, s.get(&more.squares));
            s.put(&mut more.squares, squares);
        }
    }
    let before = s.get(&sums.scales);
    let sum = s.add(before, scales);
    // What the addition rounded away, exactly unless the quad outweighs the sum.
    let lost = s.sub(scales, s.sub(sum, before));
    s.put(&mut sums.scales, sum);
    let mantissas = s.add(s.get(&sums.mantissas), s.add(mantissas, lost));
    s.put(&mut sums.mantissas, mantissas);
}

/// The largest lane, NaN left out.
#[inline(always)]
fn largest<S: Simd>(s: S, a: S::F) -> f32 {
    let top = s.largest(a);
    // −0 and 0 are one maximum, of which levels keep either.
    if top.is_nan() { f32::NEG_INFINITY } else { top + 0.0 }
}
