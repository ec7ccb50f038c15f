//! The largest value of a block and Σ v, for argmax, distances and the mean logit: a sweep ahead of
//! that over the terms, which finds the block in the cache.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::block::{Block, filled_up};
use crate::Element;
use crate::simd::Simd;
use crate::simd::quad::{QUAD, Quad, quads};

/// Factor on the values where their plain sum overflows: a lane's 32 values, whatever their size,
/// then add up to less than f32's largest. Exact for values above 2^−120.
pub(super) const SCALE: f32 = 1.0 / 64.0;

/// What is looked at of a block's values, the target's included, where details are collected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    /// The largest; −inf if all are masked, or NaN.
    pub(super) max: f32,
    pub(super) sum: f64,
}

impl Values {
    /// Of a fold that collects no details.
    pub(super) const NONE: Self = Self { max: 0.0, sum: 0.0 };

    #[inline(always)]
    pub(super) fn of<S: Simd, E: Element>(s: S, block: &Block<'_, E>) -> Self {
        let zero = s.lanes(0.0);
        let mut scale = 1.0;
        loop {
            let (sums, top) = lanes_of(s, block, scale);
            let sum = s.sum_f64(&sums, &zero) / f64::from(scale);
            if sum.is_finite() || scale < 1.0 {
                let max = s.largest(top);
                // Levels differ in which of two zeros is the larger: −0 becomes 0.
                return Self { max: if max.is_nan() { f32::NEG_INFINITY } else { max + 0.0 }, sum };
            }
            scale = SCALE;
        }
    }
}

/// The sum of each lane, times `scale`, and the largest of each.
#[inline(always)]
fn lanes_of<S: Simd, E: Element>(s: S, block: &Block<'_, E>, scale: f32) -> (S::Lanes, S::F) {
    let (mut lanes, mut top) = (s.lanes(0.0), s.splat(f32::NEG_INFINITY));
    let (whole, rest) = quads(block.elements());
    for s in s.parts() {
        // Four at once: with one, each would wait for the one before.
        let mut sums = [s.splat(0.0); QUAD];
        let mut tops = [s.splat(f32::NEG_INFINITY); QUAD];
        for quad in whole {
            add(s, (&mut sums, &mut tops), (quad, quad), scale);
        }
        if !rest.is_empty() {
            add(s, (&mut sums, &mut tops), (&filled_up(rest, E::ZERO), block.end()), scale);
        }
        let [a, b, c, d] = sums;
        s.put(&mut lanes, s.add(s.add(a, b), s.add(c, d)));
        let [a, b, c, d] = tops;
        top = s.max(top, s.max(s.max(a, b), s.max(c, d)));
    }
    (lanes, top)
}

/// Adds a quad of values, of which one copy is filled up for the sums, the other for the largest.
#[inline(always)]
fn add<S: Simd, E: Element>(
    s: S,
    (sums, tops): (&mut [S::F; QUAD], &mut [S::F; QUAD]),
    (of_sum, of_max): (&Quad<E>, &Quad<E>),
    scale: f32,
) {
    for i in 0..QUAD {
        sums[i] = s.mul_add(E::load(s, &of_sum[i]), s.splat(scale), sums[i]);
        tops[i] = s.max(tops[i], E::load(s, &of_max[i]));
    }
}
