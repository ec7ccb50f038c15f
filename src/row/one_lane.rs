//! The loop where a level works on one lane at a time ([`Simd::SMALL`]): a block lane by lane, so
//! that a lane's sums stay in registers from its first column to its last.
//!
//! The terms, and the order in which they are added, are those of [`fold`](super::fold). Columns
//! that it masks, the target's and those past the end, have terms of exactly 0 there. Here they are
//! left out, so no quad is copied.

use core::f64::consts::LOG2_E;

use super::base::{Base, HIGHEST_ABOVE, LOWEST_ABOVE};
use super::block::BLOCK;
use super::extra::{Block, Extra, ExtraSums};
use super::fold::{Fold, low_u32, weighted_alone};
use super::logit_sum::SCALE;
use crate::Element;
use crate::simd::exp::{Exp, t_at};
use crate::simd::quad::QUAD;
use crate::simd::softcap::Softcap;
use crate::simd::{LANES, SHORT_LOOPS, Simd};

/// The largest value of a block, and its first column.
struct Leader {
    max: f32,
    column: usize,
}

impl<'a, E: Element, D: Extra> Fold<'a, E, D> {
    /// Takes the fold on to the end of its tile.
    #[inline(always)]
    pub(super) fn advance_by_lanes<S: Simd>(&mut self, s: S) {
        if !SHORT_LOOPS && let Some(&x) = self.tile.get(self.target) {
            self.see_target(s.first(self.value(s, x)));
        }
        let (mut wide, mut first) = (Base::ONE, Leader::NONE);
        while self.at < self.tile.len() {
            wide = match self.next.take() {
                Some(base) => base,
                None if wide.is_power() => wide,
                None => Base::ONE,
            };
            let leader = if D::ON { self.leader(s, usize::MAX) } else { Leader::NONE };
            match self.sum_by_lanes(s, wide, &leader) {
                Ok(()) => {
                    if leader.max > first.max {
                        first = Leader { column: self.at.saturating_add(leader.column), ..leader };
                    }
                    self.is_found = false;
                    self.at += BLOCK;
                }
                Err(top) => {
                    self.next = wide.relative(top);
                    if self.next.is_none() {
                        let others = self.leader(s, self.target.wrapping_sub(self.at));
                        self.find(others.max, self.block());
                    }
                }
            }
        }
        if D::ON && first.max > f32::NEG_INFINITY {
            let column = self.first_column.saturating_add(low_u32(first.column));
            self.stats.extra.see(first.max, column);
        }
    }

    /// The columns of the next block.
    fn block(&self) -> &'a [E] {
        let rest = self.tile.get(self.at..).unwrap_or_default();
        rest.get(..BLOCK).unwrap_or(rest)
    }

    /// The softcap of rows whose values are not capped before they come here.
    #[inline(always)]
    fn softcap(&self) -> Option<Softcap> {
        if SHORT_LOOPS { None } else { self.stats.transform.softcap() }
    }

    #[inline(always)]
    fn value<S: Simd>(&self, s: S, x: E) -> S::F {
        let x = x.to_f32();
        s.splat(self.softcap().map_or(x, |softcap| softcap.value_alone(S::FUSED, x)))
    }

    /// The largest value of the next block, but for one column, and where it is.
    #[inline(always)]
    fn leader<S: Simd>(&self, s: S, without: usize) -> Leader {
        let mut leader = Leader::NONE;
        for (column, &x) in self.block().iter().enumerate() {
            let x = s.first(self.value(s, x));
            if x > leader.max && column != without {
                leader = Leader { max: x, column };
            }
        }
        // −0 becomes 0, as on other levels.
        Leader { max: leader.max + 0.0, ..leader }
    }

    /// Adds the next block to the sums, if its terms are relative to what they have to be.
    #[inline(always)]
    fn sum_by_lanes<S: Simd>(&mut self, s: S, wide: Base, leader: &Leader) -> Result<(), f32> {
        let (transform, zero) = (self.stats.transform, s.splat(0.0));
        let factor = transform.factor();
        let unit = transform.is_none() && wide.is_power();
        let exp = Exp::new(s, factor, wide.exponent, unit);
        let shift = s.splat(wide.shift);
        let middle = wide.middle(leader.max, wide.most(factor));
        let (block, target) = (self.block(), self.target.wrapping_sub(self.at));
        let mut largest_t = zero;
        let (mut of_weighted, mut of_squares) = (Tree::NEW, Tree::NEW);
        let mut terms = Tree::NEW;
        for (n, lane) in Tree::lanes() {
            let (mut scales, mut mantissas, mut weighted, mut squares) = (zero, zero, zero, zero);
            let mut column = lane;
            while column < block.len() {
                let (mut quad, mut quad_mantissas) = (zero, zero);
                for _ in 0..QUAD {
                    if let Some(&x) = block.get(column)
                        && column != target
                    {
                        let x = self.value(s, x);
                        let d = if exp.is_unit::<false>() { x } else { s.sub(x, shift) };
                        let mut w = [d];
                        let [t] = exp.split::<false, 1>(s, &mut w);
                        largest_t = s.max_positive(largest_t, t);
                        exp.w(s, &mut w);
                        let ([w], scale) = (w, s.to_exponent(t));
                        quad = s.add(quad, scale);
                        quad_mantissas = s.mul_add(w, scale, quad_mantissas);
                        if D::ON {
                            let term = s.mul_add(w, scale, scale);
                            let distance = s.sub(exp.bounded(s, d), s.splat(middle));
                            weighted = s.mul_add(term, distance, weighted);
                            squares = s.mul_add(term, term, squares);
                        }
                    }
                    column += LANES;
                }
                let sum = s.add(scales, quad);
                // What the addition rounded away: exact unless the quad is larger than the sum.
                let lost = s.sub(quad, s.sub(sum, scales));
                scales = sum;
                mantissas = s.add(mantissas, s.add(quad_mantissas, lost));
            }
            let mantissas = Exp::<S>::restored(unit, s, scales, mantissas);
            terms.add(n, s.first(scales), s.first(mantissas));
            if D::ON {
                of_weighted.add(n, s.first(weighted), 0.0);
                of_squares.add(n, s.first(squares), 0.0);
            }
        }
        let top = s.first(largest_t);
        if wide.is_power() && !(top > t_at(LOWEST_ABOVE - 1) && top <= t_at(HIGHEST_ABOVE)) {
            return Err(top);
        }
        let others = terms.sum() * (1.0 + Exp::<S>::drift(unit, wide.exponent.into()));
        let mut of = Block { others, weighted: 0.0, squares: 0.0, values: 0.0 };
        if D::ON {
            // Near the largest terms.
            let exponent = f64::from(middle) * (factor * LOG2_E);
            let drift = 1.0 + Exp::<S>::drift(unit, exponent);
            of.weighted = of_weighted.sum() * drift + f64::from(middle) * others;
            if of.lacks_room() {
                let others = block.iter().enumerate().filter(|(column, _)| *column != target);
                let others = others.map(|(_, &x)| s.first(self.value(s, x)));
                of.weighted = weighted_alone(others, wide, factor);
            }
            of.squares = of_squares.sum() * drift * drift;
            of.values = self.sum_of_values(s);
        }
        self.stats.add(wide, &of);
        Ok(())
    }

    /// Σ v of the next block, the target's included, as
    /// [`Values`](super::logit_sum::Values).
    #[inline(always)]
    fn sum_of_values<S: Simd>(&self, s: S) -> f64 {
        let block = self.block();
        let mut scale = 1.0;
        loop {
            let mut tree = Tree::NEW;
            for (n, lane) in Tree::lanes() {
                let mut sums = [s.splat(0.0); QUAD];
                let mut column = lane;
                while column < block.len() {
                    for sum in &mut sums {
                        if let Some(&x) = block.get(column) {
                            *sum = s.mul_add(self.value(s, x), s.splat(scale), *sum);
                        }
                        column += LANES;
                    }
                }
                let [a, b, c, d] = sums;
                tree.add(n, s.first(s.add(s.add(a, b), s.add(c, d))), 0.0);
            }
            let sum = tree.sum() / f64::from(scale);
            if sum.is_finite() || scale < 1.0 {
                return sum;
            }
            scale = SCALE;
        }
    }
}

/// A sum over the lanes in the order of [`Simd::sum_f64`], of which few parts are kept: where lanes
/// come in the order of their numbers' reversed bits, sums of halves are sums of neighbours.
struct Tree {
    /// The i-th, of 2^i lanes, waits for the sum of as many others.
    waiting: [f64; 5],
}

impl Tree {
    const NEW: Self = Self { waiting: [0.0; 5] };

    /// The lanes, and when each comes.
    fn lanes() -> impl Iterator<Item = (u8, usize)> {
        const UNUSED: u32 = u8::BITS - LANES.ilog2();
        (0..16_u8).map(|n| (n, usize::from(n.reverse_bits() >> UNUSED)))
    }

    /// Adds a + b, the n-th.
    #[inline(never)]
    fn add(&mut self, mut n: u8, a: f32, b: f32) {
        let mut sum = f64::from(a) + f64::from(b);
        for to in &mut self.waiting {
            if n & 1 == 0 {
                *to = sum;
                return;
            }
            sum += *to;
            n >>= 1;
        }
    }

    fn sum(&self) -> f64 {
        let [.., sum] = self.waiting;
        sum
    }
}

impl Leader {
    const NONE: Self = Self { max: f32::NEG_INFINITY, column: 0 };
}
