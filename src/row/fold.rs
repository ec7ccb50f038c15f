//! The loop: blocks of a tile, summed relative to the row's base.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use core::slice::from_mut;

use super::base::Base;
use super::block::{BLOCK, Block, Copies, HELD, Quads, has_nan};
use super::extra::{BlockDetails, Extra, ExtraSums};
use super::logit_sum::block_logit_sum;
use super::stats::RowStats;
use super::sums::{Distance, LaneDetails, LaneSums, sum_quad};
use super::values::cap;
use crate::Element;
use crate::simd::exp::{Exp, LN_2};
use crate::simd::quad::QUAD;
use crate::simd::{Dispatch, Kernel, Loop, SHORT_LOOPS, Simd, fetch_ahead};

/// By how many powers of two a block's largest term may exceed the base before the block is done
/// again. More would cost the entropy digits: it adds up distances to the base, which are rounded
/// in f32.
pub(super) const HEADROOM: i16 = 7;

/// A row, or a tile of it, on its way through the fold.
#[derive(Clone, Copy)]
pub(crate) struct Fold<'a, E, D: Extra> {
    pub(crate) stats: RowStats<D>,
    pub(super) tile: &'a [E],
    pub(super) first_column: u32,
    /// Where in the tile the target is; past the end if it is not there.
    pub(super) target: usize,
    /// First column of the next block.
    pub(super) at: usize,
    /// Whether that block was too large for the base.
    redo: bool,
    /// Whether the copies of its quads are made.
    held: bool,
}

impl<'a, E: Element, D: Extra> Fold<'a, E, D> {
    /// Nothing to fold.
    pub(crate) const EMPTY: Self = Self {
        stats: RowStats::EMPTY,
        tile: &[],
        first_column: 0,
        target: usize::MAX,
        at: 0,
        redo: false,
        held: false,
    };

    /// A tile, none of it folded yet.
    #[inline]
    pub(crate) fn new(stats: RowStats<D>, tile: &'a [E], first_column: u32) -> Self {
        let target = stats
            .target
            .and_then(|target| target.checked_sub(first_column))
            .and_then(|target| usize::try_from(target).ok())
            .filter(|&target| target < tile.len())
            .unwrap_or(usize::MAX);
        Self { stats, tile, first_column, target, at: 0, redo: false, held: false }
    }

    /// Takes down the target's value.
    pub(super) fn see_target(&mut self, value: f32) {
        if self.stats.target_value.is_some() {
            // The same column again: a row has one target.
            self.stats.others = f64::NAN;
        }
        self.stats.target_value = Some(value);
    }

    /// Takes down the target's value, where values are the elements themselves.
    fn see_target_element(&mut self) {
        if let Some(x) = self.tile.get(self.target) {
            self.see_target(x.to_f32());
        }
    }

    /// Whether y = x, and no value near the row's largest is the base.
    fn is_unit(&self) -> bool {
        let shift = self.stats.base.map_or(0.0, |base| base.shift);
        self.stats.transform.is_none() && shift.to_bits() == 0
    }
}

/// Folds rows or tiles to their ends: all at once as far as they take the short way, then what is
/// left of each. There are as many copies as folds.
pub(crate) fn fold_all<E: Element, D: Extra>(
    dispatch: Dispatch,
    folds: &mut [Fold<'_, E, D>],
    copies: &mut [Copies<E>],
) {
    if !SHORT_LOOPS {
        for fold in &mut *folds {
            fold.stats.columns += fold.tile.len() as u64;
        }
        dispatch.run(Advance::<_, _, false> { folds, copies });
        return;
    }
    let is_plain = folds.iter().all(|fold| fold.stats.transform.is_none());
    for fold in &mut *folds {
        fold.stats.columns += fold.tile.len() as u64;
        if fold.stats.transform.softcap().is_none() {
            fold.see_target_element();
        }
    }
    if SHORT_LOOPS && is_plain {
        dispatch.run(Advance::<_, _, true> { folds: &mut *folds, copies: &mut *copies });
    }
    for (fold, copies) in folds.iter_mut().zip(copies) {
        while fold.at < fold.tile.len() {
            let (is_capped, is_unit) = (fold.stats.transform.softcap().is_some(), fold.is_unit());
            if is_capped && SHORT_LOOPS {
                fold_capped(dispatch, fold);
            } else if is_unit && SHORT_LOOPS {
                dispatch
                    .run(Advance::<_, _, true> { folds: from_mut(fold), copies: from_mut(copies) });
            } else {
                dispatch.run(Advance::<_, _, false> {
                    folds: from_mut(fold),
                    copies: from_mut(copies),
                });
            }
        }
    }
}

/// Columns whose values are made under a softcap before they are folded.
const CAPPED: usize = 4 * BLOCK;

/// Folds the next blocks of a tile under a softcap, as values in f32.
#[inline(never)]
fn fold_capped<E: Element, D: Extra>(dispatch: Dispatch, fold: &mut Fold<'_, E, D>) {
    let columns = fold.tile.get(fold.at..).unwrap_or_default();
    let columns = columns.get(..CAPPED).unwrap_or(columns);
    let mut values = [0.0; CAPPED];
    let values = values.get_mut(..columns.len()).unwrap_or_default();
    cap(dispatch, columns, fold.stats.transform, values);
    let first = fold.first_column.saturating_add(low_u32(fold.at));
    let mut part = Fold::new(fold.stats, values, first);
    part.see_target_element();
    let mut copies = [const { Copies::NEW }; HELD];
    while part.at < part.tile.len() {
        dispatch.run(Advance::<_, _, false> { folds: from_mut(&mut part), copies: &mut copies });
    }
    fold.stats = part.stats;
    fold.at += part.at;
}

/// The kernel: takes each fold on until its tile ends, a block is too large for the base, or, where
/// it is one of `UNIT` rows alone, the row is none.
struct Advance<'a, 'b, E, D: Extra, const UNIT: bool> {
    folds: &'a mut [Fold<'b, E, D>],
    copies: &'a mut [Copies<E>],
}

impl<E: Element, D: Extra, const UNIT: bool> Kernel for Advance<'_, '_, E, D, UNIT> {
    type Output = ();

    const LOOP: Loop = if D::ON { Loop::Details } else { Loop::Sums };

    /// Where there are several, those of one block all get their base before any is folded: a row's
    /// maximum and base are a chain of instructions that wait for each other, and the chains of
    /// different rows overlap. Longer rows would wait there for memory that the fold of the row
    /// before has not asked for yet.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { folds, copies } = self;
        if S::SMALL {
            for fold in folds {
                fold.advance_by_lanes(s);
            }
            return;
        }
        for (fold, copies) in folds.iter_mut().zip(&mut *copies) {
            if !fold.held {
                copies.hold(s, fold.tile, fold.target);
                fold.held = true;
            }
        }
        let is_short = folds.iter().all(|fold| fold.tile.len() <= BLOCK);
        let together = if is_short { folds.len().max(1) } else { 1 };
        for (folds, copies) in folds.chunks_mut(together).zip(copies.chunks(together)) {
            for (fold, copies) in folds.iter_mut().zip(copies) {
                fold.begin(s, copies);
            }
            for (fold, copies) in folds.iter_mut().zip(copies) {
                fold.advance::<S, UNIT>(s, copies);
            }
        }
    }
}

impl<E: Element, D: Extra> Fold<'_, E, D> {
    /// Chooses the base from the next block that is not all masked, unless there is one that does.
    #[inline(always)]
    fn begin<S: Simd>(&mut self, s: S, copies: &Copies<E>) {
        let quads = Quads::new(self.tile, self.target, copies);
        while (self.stats.base.is_none() || self.redo)
            && let Some(block) = quads.block(self.at)
        {
            self.redo = false;
            if !self.stats.choose_base(s, &block) {
                self.skip(block.elements().len());
            }
        }
    }

    /// Goes on to the next block after one of `columns` that is all masked. Only the target can be
    /// above −inf: the logits add up to −inf unless it is the whole block.
    #[inline(always)]
    pub(super) fn skip(&mut self, columns: usize) {
        let alone = columns == 1 && self.target == self.at;
        let value = self.stats.target_value.filter(|_| alone);
        let values = value.map_or(f64::NEG_INFINITY, f64::from);
        self.stats.extra.add(&BlockDetails { values, ..BlockDetails::default() });
        self.at += BLOCK;
    }

    /// Adds blocks to the sums.
    #[inline(always)]
    fn advance<S: Simd, const UNIT: bool>(&mut self, s: S, copies: &Copies<E>) {
        let Some(base) = self.stats.base else { return };
        if UNIT && !self.is_unit() {
            return;
        }
        let quads = Quads::new(self.tile, self.target, copies);
        let mut leader = Leader { max: f32::NEG_INFINITY, block: 0 };
        self.at = self.stats.sum_blocks::<S, E, UNIT>(s, quads, self.at, &mut leader, base);
        self.redo = self.at < self.tile.len();
        if D::ON
            && leader.max > f32::NEG_INFINITY
            && leader.max >= self.stats.extra.max()
            && let Some(block) = quads.block(leader.block)
        {
            let column = low_u32(leader.block.saturating_add(block.position(s, leader.max)));
            self.stats.extra.see(leader.max, self.first_column.saturating_add(column));
        }
    }
}

/// The largest value of a tile so far, the target left out.
struct Leader {
    max: f32,
    /// Where its block begins.
    block: usize,
}

impl<D: Extra> RowStats<D> {
    /// Chooses the base from a block's maximum. Not if the block is all masked, or if it holds
    /// NaN or +inf, which makes the row's sum NaN. The target is left out: however large it is, the
    /// sum of the others must not vanish.
    #[inline(always)]
    fn choose_base<S: Simd, E: Element>(&mut self, s: S, block: &Block<'_, E>) -> bool {
        let mut max = f32::NEG_INFINITY;
        for s in s.parts() {
            // Several, so that no maximum waits for the one before.
            let mut parts = [s.splat(f32::NEG_INFINITY); QUAD];
            for i in 0..block.len {
                let quad = block.quad(i);
                for i in 0..QUAD {
                    parts[i] = s.max(parts[i], E::load_mixed(s, &quad[i]));
                }
            }
            let [a, b, c, d] = parts;
            let top = largest(s, s.max(s.max(a, b), s.max(c, d)));
            // Not `f32::max`, which is a call where the target has no instruction of its meaning.
            if top > max {
                max = top;
            }
        }
        self.set_base(max, block.elements())
    }

    /// Chooses the base from the largest of a block's values, the target left out.
    #[inline(always)]
    pub(super) fn set_base<E: Element>(&mut self, max: f32, elements: &[E]) -> bool {
        if max == f32::INFINITY || (max == f32::NEG_INFINITY && has_nan(elements)) {
            self.others = f64::NAN;
            return false;
        }
        if max == f32::NEG_INFINITY {
            return false;
        }
        let base = Base::at(max, self.transform.factor());
        if self.base.is_none() {
            self.base = Some(base);
        } else {
            self.rebase(base);
        }
        true
    }

    /// Adds blocks from column `at` on to the sums until one is too large for the base. Returns
    /// where that begins, or the end.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "constants are rounded to f32 lanes")]
    fn sum_blocks<S: Simd, E: Element, const UNIT: bool>(
        &mut self,
        s: S,
        quads: Quads<'_, E>,
        mut at: usize,
        leader: &mut Leader,
        base: Base,
    ) -> usize {
        let factor = if UNIT { 1.0 } else { self.transform.factor() };
        let unit = UNIT || (self.transform.is_none() && base.shift.to_bits() == 0);
        let exp = Exp::new(s, factor, base.exponent, unit);
        let shift = s.splat(base.shift);
        let ceiling = s.splat(Exp::<S>::t_at(HEADROOM));
        let middle = (f64::from(base.exponent) * LN_2 / factor) as f32;
        let drift = 1.0 + Exp::<S>::drift(unit, base.exponent);
        // Added to a distance to `middle`, which is ln base / k rounded to f32, it gives the
        // distance to ln base.
        let correction = factor * f64::from(middle) - f64::from(base.exponent) * LN_2;
        let (mut sums, mut details) = (LaneSums::new(s), LaneDetails::new(s));
        while let Some(block) = quads.block(at) {
            sums.clear(s);
            details.clear(s);
            for i in 0..block.len {
                let quad = block.quad(i);
                // After a copied quad, of which a row has two at most, this prefetches something
                // useless.
                fetch_ahead(quad);
                for s in s.parts() {
                    let m = s.splat(middle);
                    let from = Distance { shift, middle: m };
                    sum_quad::<S, E, D, UNIT>(s, quad, &exp, &from, &mut sums, &mut details);
                }
            }
            if D::ON {
                // t grows with the value, so the largest value has the largest t.
                let max = if UNIT { details.max } else { s.sub(details.max, shift) };
                sums.largest_t = exp.t_of(s, max);
            }
            if s.any_gt(sums.largest_t, ceiling) {
                return at;
            }
            for s in s.parts() {
                let (scales, mantissas) = (s.get(&sums.scales), s.get(&sums.mantissas));
                s.put(&mut sums.mantissas, Exp::<S>::restored(unit, s, scales, mantissas));
            }
            let others = E::sum_mixed(s, &sums.scales, &sums.mantissas) * drift;
            self.others += others;
            if D::ON {
                let zero = s.lanes(0.0);
                let logit_sum = block_logit_sum(s, &block);
                let leads = s.any_gt(details.max, s.splat(leader.max));
                self.extra.add(&BlockDetails {
                    weighted: factor * E::sum_mixed(s, &details.weighted, &zero) * drift
                        + correction * others,
                    squares: E::sum_mixed(s, &details.squares, &zero) * drift * drift,
                    values: logit_sum,
                });
                if leads {
                    // The column is searched once a tile, at its end: in n blocks the leader
                    // changes some ln n times.
                    *leader = Leader { max: largest(s, details.max), block: at };
                }
            }
            at += BLOCK;
        }
        at
    }
}

/// A column's number as u32, the type of target ids.
pub(super) fn low_u32(x: usize) -> u32 {
    u32::try_from(x).unwrap_or(u32::MAX)
}

/// The largest lane, −inf if that is NaN.
#[inline(always)]
fn largest<S: Simd>(s: S, a: S::F) -> f32 {
    let max = s.largest(a);
    // Levels differ in which of two zeros is the larger: −0 becomes 0.
    if max.is_nan() { f32::NEG_INFINITY } else { max + 0.0 }
}
