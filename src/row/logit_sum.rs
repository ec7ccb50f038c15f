//! Σ v of a block, for the mean logit: a sweep of its own over what the cache holds by then.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::block::{Block, fill_up};
use super::values::Values;
use crate::Element;
use crate::simd::quad::{QUAD, Quad, quads};
use crate::simd::{LANES, Simd};

/// Keeps the sum of 32 values of any size below f32's largest, where the plain sum is not; exact above
/// 2^−120.
const SCALE: f32 = 1.0 / 64.0;

/// Σ v of all columns, the target's too.
#[inline(always)]
pub(super) fn block_total<S: Simd, E: Element, const UNIT: bool>(
    s: S,
    block: &Block<'_, E>,
    values: &Values<S>,
) -> f64 {
    let zero = s.lanes(0.0);
    let total = s.sum_f64(&lane_totals::<S, E, UNIT, false>(s, block, values), &zero);
    if total.is_finite() {
        return total;
    }
    s.sum_f64(&lane_totals::<S, E, UNIT, true>(s, block, values), &zero) / f64::from(SCALE)
}

/// The sums of each lane, times `SCALE` if `SCALED`.
#[inline(always)]
fn lane_totals<S: Simd, E: Element, const UNIT: bool, const SCALED: bool>(
    s: S,
    block: &Block<'_, E>,
    values: &Values<S>,
) -> S::Lanes {
    let mut lanes = s.lanes(0.0);
    let (whole, rest) = quads(block.elements);
    let mut last = [[E::ZERO; LANES]; QUAD];
    if !rest.is_empty() {
        fill_up(rest, &mut last, E::ZERO);
    }
    for s in s.parts() {
        // Four sums, because one would wait for itself.
        let mut totals = [s.splat(0.0); QUAD];
        for quad in whole {
            add::<S, E, UNIT, SCALED>(s, quad, values, &mut totals);
        }
        if !rest.is_empty() {
            add::<S, E, UNIT, SCALED>(s, &last, values, &mut totals);
        }
        let [a, b, c, d] = totals;
        s.put(&mut lanes, s.add(s.add(a, b), s.add(c, d)));
    }
    lanes
}

/// Adds a quad to the totals.
#[inline(always)]
fn add<S: Simd, E: Element, const UNIT: bool, const SCALED: bool>(
    s: S,
    quad: &Quad<E>,
    values: &Values<S>,
    totals: &mut [S::F; QUAD],
) {
    for i in 0..QUAD {
        let x = E::load(s, &quad[i]);
        let v = if UNIT { x } else { values.value(s, x) };
        let v = if SCALED { s.mul(v, s.splat(SCALE)) } else { v };
        totals[i] = s.add(totals[i], v);
    }
}
