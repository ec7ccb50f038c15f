//! The loop: blocks of a tile, summed relative to the row's base.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use core::marker::PhantomData;

use super::base::Base;
use super::block::{BLOCK, Block, Blocks, Copies};
use super::extra::{BlockDetails, Details, Extra, ExtraSums, Nothing};
use super::logit_sum::block_logit_sum;
use super::stats::RowStats;
use super::sums::{LaneDetails, LaneSums, any_exceeds};
use super::values::{Values, value_of};
use crate::Element;
use crate::element::per_type;
use crate::simd::exp::{Exp, LN_2};
use crate::simd::quad::{QUAD, Quad};
use crate::simd::{Dispatch, Kernel, Simd, fetch_ahead};

/// By how many powers of two a block's largest term may exceed the base before the block is done
/// again. More would cost the entropy digits: it adds up distances to the base, which are rounded
/// in f32.
const HEADROOM: i16 = 7;

/// The largest value of a tile so far, the target left out.
struct Leader {
    max: f32,
    /// Where its block begins.
    block: usize,
}

/// The fold of one tile, as a kernel.
struct FoldTile<'a, E, D: Extra> {
    stats: &'a mut RowStats<D>,
    tile: &'a [E],
    first_column: u32,
}

impl<E: Element, D: Extra> Kernel for FoldTile<'_, E, D> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut copies = Copies::NEW;
        self.stats.fold_at(s, self.tile, self.first_column, &mut copies);
    }
}

/// An [`Extra`] whose fold is compiled here, for each element type.
trait Folded: Extra {
    /// Runs the kernel.
    fn fold<E: Element>(dispatch: Dispatch, tile: FoldTile<'_, E, Self>);
}

macro_rules! folded {
    ($extra:ident, $job:ident) => {
        struct $job<'a>(PhantomData<&'a ()>);
        per_type!($job<'a>, E, (Dispatch, FoldTile<'a, E, $extra>) => (), fold_tile);

        impl Folded for $extra {
            #[inline(always)]
            fn fold<E: Element>(dispatch: Dispatch, tile: FoldTile<'_, E, Self>) {
                E::call::<$job<'_>>((dispatch, tile));
            }
        }
    };
}

folded!(Nothing, PlainFold);
folded!(Details, DetailedFold);

fn fold_tile<E: Element, D: Extra>((dispatch, tile): (Dispatch, FoldTile<'_, E, D>)) {
    dispatch.run(tile);
}

#[allow(private_bounds, reason = "sealed: () and Details")]
impl<D: Folded> RowStats<D> {
    /// Folds the columns `first_column..first_column + tile.len()` of the row, none of which was
    /// folded before.
    ///
    /// # Panics
    /// Never. A column of NaN or +inf makes the results NaN.
    pub fn fold<E: Element>(&mut self, dispatch: Dispatch, tile: &[E], first_column: u32) {
        D::fold(dispatch, FoldTile { stats: self, tile, first_column });
    }
}

impl<D: Extra> RowStats<D> {
    /// [`RowStats::fold`] at a level, for kernels that fold several rows.
    #[inline(always)]
    pub(crate) fn fold_at<S: Simd, E: Element>(
        &mut self,
        s: S,
        tile: &[E],
        first_column: u32,
        copies: &mut Copies<E>,
    ) {
        if S::SMALL {
            self.fold_out_of_line(s, tile, first_column, copies);
        } else {
            self.fold_blocks(s, tile, first_column, copies);
        }
    }

    /// The fold, not inlined: its sums leave the stack before the row is finished.
    #[inline(never)]
    fn fold_out_of_line<S: Simd, E: Element>(
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
        let target = self.target_in(first_column, tile.len());
        if let Some(x) = target.and_then(|target| tile.get(target)) {
            if self.target_value.is_some() {
                // The same column again: a row has one target.
                self.others = f64::NAN;
            }
            self.target_value = Some(value_of(s, self.transform, x.to_f32()));
        }
        let mut blocks = Blocks::new(tile, target, copies);
        let mut overflowed = false;
        let mut leader = Leader { max: f32::NEG_INFINITY, block: 0 };
        while let Some(block) = blocks.block(s) {
            // A block whose maximum is far above the base is done again with a base near that
            // maximum.
            let known = if overflowed { None } else { self.base };
            let base = if known.is_some() { known } else { self.choose_base(s, &block) };
            let Some(base) = base else {
                // Only the target can be above −inf: the logits add up to −inf unless it is the
                // whole block.
                let alone = block.elements.len() == 1;
                let value = self.target_value.filter(|_| alone && target == Some(blocks.at));
                let values = value.map_or(f64::NEG_INFINITY, f64::from);
                self.extra.add(&BlockDetails { values, ..BlockDetails::default() });
                blocks.at += BLOCK;
                overflowed = false;
                continue;
            };
            overflowed = if self.transform.is_none() && base.shift.to_bits() == 0 {
                self.sum_blocks::<S, E, true>(s, &mut blocks, &mut leader, base)
            } else {
                self.sum_blocks::<S, E, false>(s, &mut blocks, &mut leader, base)
            };
        }
        if D::ON && leader.max > f32::NEG_INFINITY && leader.max >= self.extra.max() {
            self.find_argmax(s, blocks, &leader, first_column);
        }
        self.columns += tile.len() as u64;
    }

    /// Finds the column of a tile's largest value, and compares it with those of the tiles before.
    #[inline(always)]
    fn find_argmax<S: Simd, E: Element>(
        &mut self,
        s: S,
        mut blocks: Blocks<'_, E>,
        leader: &Leader,
        first_column: u32,
    ) {
        blocks.at = leader.block;
        if let Some(block) = blocks.block(s) {
            let values = Values::new(s, self.transform, 0.0);
            let column = leader.block.saturating_add(block.position(s, &values, leader.max));
            self.extra.see(leader.max, first_column.saturating_add(low_u32(column)));
        }
    }

    /// Chooses the base of a row from its first block, as the fold would.
    ///
    /// Called for several rows before any is folded. A row's maximum and base are a chain of
    /// instructions that wait for each other; the chains of different rows overlap.
    #[inline(always)]
    pub(crate) fn begin<S: Simd, E: Element>(&mut self, s: S, row: &[E], copies: &mut Copies<E>) {
        let target = self.target_in(0, row.len());
        if let Some(block) = Blocks::new(row, target, copies).block(s) {
            self.choose_base(s, &block);
        }
    }

    /// Where in a tile the target is.
    #[inline(always)]
    fn target_in(&self, first_column: u32, columns: usize) -> Option<usize> {
        self.target
            .and_then(|target| target.checked_sub(first_column))
            .and_then(|target| usize::try_from(target).ok())
            .filter(|&target| target < columns)
    }

    /// Chooses the base from a block's maximum: `None` if the block is all masked, or if it holds
    /// NaN or +inf, which makes the row's sum NaN. The target is left out: however large it is, the
    /// sum of the others must not vanish.
    #[inline(always)]
    fn choose_base<S: Simd, E: Element>(&mut self, s: S, block: &Block<'_, E>) -> Option<Base> {
        let values = Values::new(s, self.transform, 0.0);
        let mut max = f32::NEG_INFINITY;
        for s in s.parts() {
            let mut part = s.splat(f32::NEG_INFINITY);
            for i in 0..block.len {
                for vector in block.quad(i) {
                    part = s.max(part, values.value(s, E::load(s, vector)));
                }
            }
            max = max.max(largest(s, part));
        }
        if max == f32::INFINITY || (max == f32::NEG_INFINITY && block.has_nan()) {
            self.others = f64::NAN;
            return None;
        }
        if max == f32::NEG_INFINITY {
            return None;
        }
        self.rebase(Base::at(max, self.transform.factor()));
        self.base
    }

    /// Adds blocks to the sums until one is too large for the base; whether one was.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "constants are rounded to f32 lanes")]
    fn sum_blocks<S: Simd, E: Element, const UNIT: bool>(
        &mut self,
        s: S,
        blocks: &mut Blocks<'_, E>,
        leader: &mut Leader,
        base: Base,
    ) -> bool {
        let factor = if UNIT { 1.0 } else { self.transform.factor() };
        let exp = Exp::new::<UNIT>(s, factor, base.exponent);
        let values = Values::new(s, self.transform, base.shift);
        let ceiling = s.splat(Exp::<S>::t_at(HEADROOM));
        let middle = (f64::from(base.exponent) * LN_2 / factor) as f32;
        let drift = 1.0 + Exp::<S>::drift::<UNIT>(base.exponent);
        // Added to a distance to `middle`, which is ln base / k rounded to f32, it gives the
        // distance to ln base.
        let correction = factor * f64::from(middle) - f64::from(base.exponent) * LN_2;
        let (mut sums, mut details) = (LaneSums::new(s), LaneDetails::new(s));
        while let Some(block) = blocks.block(s) {
            sums.clear(s);
            details.clear(s);
            for i in 0..block.len {
                let quad = block.quad(i);
                // After a copied quad, of which a row has two at most, this prefetches something
                // useless.
                fetch_ahead(quad);
                for s in s.parts() {
                    let m = s.splat(middle);
                    sum_quad::<S, E, D, UNIT>(s, quad, &exp, &values, m, &mut sums, &mut details);
                }
            }
            if D::ON {
                // t grows with the value, so the largest value has the largest t.
                for s in s.parts() {
                    let max = s.get(&details.max);
                    let max = if UNIT { max } else { s.sub(max, values.shift) };
                    s.put(&mut sums.largest_t, exp.t_of(s, max));
                }
            }
            if any_exceeds(s, &sums.largest_t, ceiling) {
                return true;
            }
            for s in s.parts() {
                let (scales, mantissas) = (s.get(&sums.scales), s.get(&sums.mantissas));
                s.put(&mut sums.mantissas, Exp::<S>::restored::<UNIT>(s, scales, mantissas));
            }
            let others = s.sum_f64(&sums.scales, &sums.mantissas) * drift;
            self.others += others;
            if D::ON {
                let zero = s.lanes(0.0);
                let logit_sum = block_logit_sum::<S, E, UNIT>(s, &block, &values);
                let leads = any_exceeds(s, &details.max, s.splat(leader.max));
                self.extra.add(&BlockDetails {
                    weighted: factor * s.sum_f64(&details.weighted, &zero) * drift
                        + correction * others,
                    squares: s.sum_f64(&details.squares, &zero) * drift * drift,
                    values: logit_sum,
                });
                if leads {
                    let mut max = f32::NEG_INFINITY;
                    for s in s.parts() {
                        max = max.max(largest(s, s.get(&details.max)));
                    }
                    // The column is searched once a tile, at its end: in n blocks the leader
                    // changes some ln n times.
                    *leader = Leader { max, block: blocks.at };
                }
            }
            blocks.at += BLOCK;
        }
        false
    }
}

/// A column's number as u32, the type of target ids.
fn low_u32(x: usize) -> u32 {
    u32::try_from(x).unwrap_or(u32::MAX)
}

/// The body of the loop: adds the terms of four vectors, or of a part of each, to the sums.
#[inline(always)]
fn sum_quad<S: Simd, E: Element, D: Extra, const UNIT: bool>(
    s: S,
    quad: &Quad<E>,
    exp: &Exp<S>,
    values: &Values<S>,
    middle: S::F,
    sums: &mut LaneSums<S::Lanes>,
    details: &mut LaneDetails<S::Lanes>,
) {
    let mut d = [s.splat(0.0); QUAD];
    for i in 0..QUAD {
        let x = E::load(s, &quad[i]);
        let v = if UNIT { x } else { values.value(s, x) };
        if D::ON {
            let max = s.max(s.get(&details.max), v);
            s.put(&mut details.max, max);
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
            let weighted = s.mul_add(term, distance, s.get(&details.weighted));
            s.put(&mut details.weighted, weighted);
            let squares = s.mul_add(term, term, s.get(&details.squares));
            s.put(&mut details.squares, squares);
        }
    }
    let before = s.get(&sums.scales);
    let sum = s.add(before, scales);
    // What the addition rounded away: exact unless the quad is larger than the sum.
    let lost = s.sub(scales, s.sub(sum, before));
    s.put(&mut sums.scales, sum);
    let mantissas = s.add(s.get(&sums.mantissas), s.add(mantissas, lost));
    s.put(&mut sums.mantissas, mantissas);
}

/// The largest lane, −inf if that is NaN.
#[inline(always)]
fn largest<S: Simd>(s: S, a: S::F) -> f32 {
    let max = s.largest(a);
    // Levels differ in which of two zeros is the larger: −0 becomes 0.
    if max.is_nan() { f32::NEG_INFINITY } else { max + 0.0 }
}
