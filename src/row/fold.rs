//! The loop: blocks of a tile, each summed relative to a base of its own.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use core::f64::consts::LOG2_E;
use core::slice::from_mut;

use super::base::{Base, HIGHEST_ABOVE, LOWEST_ABOVE};
use super::block::{BLOCK, Block, Copies, HELD, Quads, has_nan};
use super::extra::{Block as BlockSums, Extra, ExtraSums};
use super::logit_sum::Values;
use super::stats::RowStats;
use super::sums::{Distance, LaneDetails, LaneSums, sum_quad};
use super::values::cap;
use crate::simd::exp::{Exp, LN_2, t_at};
use crate::simd::{Dispatch, Kernel, Loop, SHORT_LOOPS, Simd, fetch_ahead};
use crate::{Element, Transform};

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
    /// What the terms of that block are relative to, if that is not left to chance.
    pub(super) next: Option<Base>,
    /// Whether its largest value has said so.
    pub(super) is_found: bool,
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
        next: None,
        is_found: false,
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
        let next = stats.near();
        Self { stats, tile, first_column, target, at: 0, next, is_found: false, held: false }
    }

    /// Takes down the target's value.
    pub(super) fn see_target(&mut self, value: f32) {
        // NaN and +inf; and the same column again: a row has one target.
        let is_number = value < f32::INFINITY;
        self.stats.is_broken |= !is_number || self.stats.target_value.is_some();
        self.stats.target_value = Some(value);
    }

    /// Takes down the target's value, where values are the elements themselves.
    fn see_target_element(&mut self) {
        if let Some(x) = self.tile.get(self.target) {
            self.see_target(x.to_f32());
        }
    }

    fn count(&mut self) {
        self.stats.columns = self.stats.columns.saturating_add(self.tile.len() as u64);
    }

    /// Whether y = x, and the next block's base is a power of two.
    fn is_unit(&self) -> bool {
        let shift = self.next.map_or(0.0, |base| base.shift);
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
            fold.count();
        }
        dispatch.run(Advance::<_, _, false> { folds: &mut *folds, copies });
        forget_broken(folds);
        return;
    }
    let is_plain = folds.iter().all(|fold| fold.stats.transform.is_none());
    for fold in &mut *folds {
        fold.count();
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
    forget_broken(folds);
}

fn forget_broken<E, D: Extra>(folds: &mut [Fold<'_, E, D>]) {
    for fold in folds {
        fold.stats.forget_if_broken();
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

/// The kernel: takes each fold on until its tile ends or, where it is one of `UNIT` rows alone, the row
/// is none.
struct Advance<'a, 'b, E, D: Extra, const UNIT: bool> {
    folds: &'a mut [Fold<'b, E, D>],
    copies: &'a mut [Copies<E>],
}

impl<E: Element, D: Extra, const UNIT: bool> Kernel for Advance<'_, '_, E, D, UNIT> {
    type Output = ();

    const LOOP: Loop = if D::ON { Loop::Details } else { Loop::Sums };

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
        // Made for the most common rows; those that are not such make another.
        let mut at = At::new::<UNIT>(s, Transform::NONE, Base::ONE);
        for (fold, copies) in folds.iter_mut().zip(copies) {
            fold.advance::<S, UNIT>(s, copies, &mut at);
        }
    }
}

impl<E: Element, D: Extra> Fold<'_, E, D> {
    /// Takes down what the terms of the next block are relative to, by its largest value, the
    /// target left out; or goes on to the next block if this has none.
    #[cold]
    #[inline(never)]
    pub(super) fn find(&mut self, max: f32, elements: &[E]) {
        if !max.is_finite() || has_nan(elements) {
            self.stats.is_broken |= max > f32::NEG_INFINITY || has_nan(elements);
            self.is_found = false;
            self.skip(elements.len());
            return;
        }
        self.next = Some(if self.is_found {
            // It has said so before, and the terms have contradicted.
            Base::of_value(max)
        } else {
            Base::of_block(max, self.stats.transform.factor())
        });
        self.is_found = true;
    }

    /// Goes on to the next block after one of `columns` that is all masked. Only the target can be
    /// above −inf: the logits add up to −inf unless it is the whole block.
    #[inline(always)]
    pub(super) fn skip(&mut self, columns: usize) {
        let alone = columns == 1 && self.target == self.at;
        let value = self.stats.target_value.filter(|_| alone);
        let values = value.map_or(f64::NEG_INFINITY, f64::from);
        self.stats.extra.add_values(values);
        self.at += BLOCK;
    }

    /// Adds blocks to the sums.
    #[inline(always)]
    fn advance<S: Simd, const UNIT: bool>(&mut self, s: S, copies: &Copies<E>, at: &mut At<S>) {
        let quads = Quads::new(self.tile, self.target, copies);
        let mut leader = Leader { max: f32::NEG_INFINITY, block: 0 };
        while self.at < self.tile.len() {
            if UNIT && !self.is_unit() {
                break;
            }
            let wide =
                self.next.take().unwrap_or(if at.wide.is_power() { at.wide } else { Base::ONE });
            // A branch, so that terms do not wait for constants that are there.
            if !at.is_of::<UNIT>(self.stats.transform, wide) {
                *at = At::new::<UNIT>(s, self.stats.transform, wide);
            }
            let before = self.at;
            let run = (&mut self.stats, &mut self.at, &mut leader);
            let top = at.sum_blocks::<E, D, UNIT>(s, quads, run, self.target);
            self.is_found &= self.at == before;
            let Some(top) = top else { continue };
            self.next = at.wide.relative(top);
            if self.next.is_none()
                && let Some(block) = quads.block(self.at)
            {
                let elements = block.elements();
                self.find(largest_of(elements, self.target.wrapping_sub(self.at)), elements);
            }
        }
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

/// The largest value of a tile so far.
struct Leader {
    max: f32,
    /// Where its block begins.
    block: usize,
}

/// The constants of what terms are relative to.
struct At<S: Simd> {
    wide: Base,
    exp: Exp<S>,
    /// The t of a block's largest term is above the first and not above the second.
    below: S::F,
    highest: S::F,
    /// Of the values that distances are measured from.
    most: f32,
    shift: S::F,
    factor: f64,
    /// Whether y = x, and the base is a power of two.
    is_unit: bool,
}

impl<S: Simd> At<S> {
    #[inline(always)]
    fn new<const UNIT: bool>(s: S, transform: Transform, wide: Base) -> Self {
        let factor = if UNIT { 1.0 } else { transform.factor() };
        let is_unit = UNIT || (transform.is_none() && wide.is_power());
        Self {
            wide,
            exp: Exp::new(s, factor, wide.exponent, is_unit),
            below: s.splat(t_at(LOWEST_ABOVE - 1)),
            highest: s.splat(t_at(HIGHEST_ABOVE)),
            most: wide.most(factor),
            shift: s.splat(wide.shift),
            factor,
            is_unit,
        }
    }

    /// Whether these are the constants of a transform and a base.
    #[inline(always)]
    fn is_of<const UNIT: bool>(&self, transform: Transform, wide: Base) -> bool {
        self.wide == wide
            && self.factor.to_bits() == transform.factor().to_bits()
            && (UNIT || self.is_unit == (transform.is_none() && wide.is_power()))
    }

    /// Whether the largest of these t is that of a block whose terms are relative to this.
    #[inline(always)]
    fn is_at(&self, s: S, t: S::F) -> bool {
        let is_within = s.any_gt(t, self.below) && !s.any_gt(t, self.highest);
        is_within || !self.wide.is_power()
    }

    /// Adds up the next block and those after it, as long as their terms are relative to the same.
    /// Returns the t of the largest term of a block that has to be relative to something else.
    #[inline(always)]
    fn sum_blocks<E: Element, D: Extra, const UNIT: bool>(
        &self,
        s: S,
        quads: Quads<'_, E>,
        (stats, column, leader): (&mut RowStats<D>, &mut usize, &mut Leader),
        target: usize,
    ) -> Option<f32> {
        let (mut at_hand, mut values) = (None, Values::NONE);
        let mut before = None;
        let start = *column;
        let mut next = start;
        loop {
            // Shifts differ from block to block.
            let goes_on = self.wide.is_power() || next == start;
            let block = if goes_on { quads.block(next) } else { None };
            // Values are looked at ahead of the sums of the block before, which do not wait for it.
            let next_values = match block {
                Some(block) if D::ON => Values::of(s, &block),
                _ => Values::NONE,
            };
            // Not `map`: a closure is not compiled for the level's instructions.
            let found = match at_hand {
                Some(block) => Some(self.sum_block::<E, D, UNIT>(s, &block, values)),
                None => None,
            };
            // Not before: these terms would wait for it.
            if let Some(before) = before.take() {
                stats.add(self.wide, &before);
            }
            if let Some(found) = found {
                if !self.is_at(s, found.sums.largest_t) {
                    return Some(s.largest(found.sums.largest_t));
                }
                if D::ON && values.max > leader.max {
                    // The column is searched once a tile, at its end: in n blocks the leader changes
                    // some ln n times.
                    *leader = Leader { max: values.max, block: *column };
                }
                let mut sums = self.sums_of::<E, D>(s, found);
                if let (true, Some(block)) = (D::ON && sums.lacks_room(), at_hand) {
                    let others = others(block.elements(), target.wrapping_sub(*column));
                    sums.weighted = weighted_alone(others, self.wide, self.factor);
                }
                before = Some(sums);
                *column = next;
            } else if block.is_none() {
                return None;
            }
            (at_hand, values) = (block, next_values);
            next += BLOCK;
        }
    }

    /// Sums the terms of a block, of whose values distances are measured from the largest.
    #[inline(always)]
    fn sum_block<E: Element, D: Extra, const UNIT: bool>(
        &self,
        s: S,
        block: &Block<'_, E>,
        values: Values,
    ) -> Found<S> {
        let Self { wide, exp, shift, .. } = self;
        let (mut sums, mut details) = (LaneSums::new(s), LaneDetails::new(s));
        let middle = wide.middle(values.max, self.most);
        for i in 0..block.len {
            let quad = block.quad(i);
            // After a copied quad, of which a row has two at most, this prefetches something
            // useless.
            fetch_ahead(quad);
            for s in s.parts() {
                let from = Distance { shift: *shift, middle: s.splat(middle) };
                sum_quad::<S, E, D, UNIT>(s, quad, exp, &from, &mut sums, &mut details);
            }
        }
        Found { middle, values, sums, details }
    }

    /// The sums of a block.
    #[inline(always)]
    fn sums_of<E: Element, D: Extra>(&self, s: S, found: Found<S>) -> BlockSums {
        let Self { wide, is_unit, factor, .. } = self;
        let Found { mut sums, details, middle, values } = found;
        for s in s.parts() {
            let (scales, mantissas) = (s.get(&sums.scales), s.get(&sums.mantissas));
            s.put(&mut sums.mantissas, Exp::<S>::restored(*is_unit, s, scales, mantissas));
        }
        let drift = 1.0 + Exp::<S>::drift(*is_unit, wide.exponent.into());
        let others = E::sum_mixed(s, &sums.scales, &sums.mantissas) * drift;
        let mut of = BlockSums { others, weighted: 0.0, squares: 0.0, values: 0.0 };
        if D::ON {
            let zero = s.lanes(0.0);
            // Near the largest terms.
            let exponent = f64::from(middle) * (*factor * LOG2_E);
            let drift = 1.0 + Exp::<S>::drift(*is_unit, exponent);
            of.weighted =
                E::sum_mixed(s, &details.weighted, &zero) * drift + f64::from(middle) * others;
            of.squares = E::sum_mixed(s, &details.squares, &zero) * drift * drift;
            of.values = values.sum;
        }
        of
    }
}

/// What is found of a block.
struct Found<S: Simd> {
    /// What distances are measured from, where details are collected.
    middle: f32,
    values: Values,
    sums: LaneSums<S>,
    details: LaneDetails<S>,
}

/// The values of a block but the target's.
fn others<E: Element>(elements: &[E], target: usize) -> impl Iterator<Item = f32> {
    let others = elements.iter().enumerate().filter(move |(column, _)| *column != target);
    others.map(|(_, x)| x.to_f32())
}

/// The largest value, the target left out, of a block that is seldom like that.
#[cold]
#[inline(never)]
fn largest_of<E: Element>(elements: &[E], target: usize) -> f32 {
    let mut max = f32::NEG_INFINITY;
    for x in others(elements, target) {
        if x > max {
            max = x;
        }
    }
    max
}

/// Σ term · (v − shift) in f64, where the factor k is so small that f32 has no room for the
/// distances.
#[cold]
#[inline(never)]
pub(super) fn weighted_alone(others: impl Iterator<Item = f32>, base: Base, factor: f64) -> f64 {
    let mut sum = 0.0;
    for v in others.filter(|v| v.is_finite()) {
        let v = f64::from(v) - f64::from(base.shift);
        sum += libm::exp(factor * v - f64::from(base.exponent) * LN_2) * v;
    }
    sum
}

/// A column's number as u32, the type of target ids.
pub(super) fn low_u32(x: usize) -> u32 {
    u32::try_from(x).unwrap_or(u32::MAX)
}
