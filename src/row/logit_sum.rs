//! Σ v of a block, for the mean logit: a second sweep over a block that the cache holds by then.

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

/// Factor on the values where their plain sum overflows: a lane's 32 values, whatever their size,
/// then add up to less than f32's largest. Exact for values above 2^−120.
const SCALE: f32 = 1.0 / 64.0;

/// Σ v over all columns, the target's included.
#[inline(always)]
pub(super) fn block_logit_sum<S: Simd, E: Element, const UNIT: bool>(
    s: S,
    block: &Block<'_, E>,
    values: &Values<S>,
) -> f64 {
    let zero = s.lanes(0.0);
    let sum = s.sum_f64(&lane_sums::<S, E, UNIT, false>(s, block, values), &zero);
    if sum.is_finite() {
        return sum;
    }
    s.sum_f64(&lane_sums::<S, E, UNIT, true>(s, block, values), &zero) / f64::from(SCALE)
}

/// The sum of each lane, times `SCALE` if `SCALED`.
#[inline(always)]
fn lane_sums<S: Simd, E: Element, const UNIT: bool, const SCALED: bool>(
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
        // Four sums at once: with one, each addition would wait for the one before.
        let mut sums = [s.splat(0.0); QUAD];
        for quad in whole {
            add::<S, E, UNIT, SCALED>(s, quad, values, &mut sums);
        }
        if !rest.is_empty() {
            add::<S, E, UNIT, SCALED>(s, &last, values, &mut sums);
        }
        let [a, b, c, d] = sums;
        s.put(&mut lanes, s.add(s.add(a, b), s.add(c, d)));
    }
    lanes
}

/// Adds the four vectors of a quad, one to each sum.
#[inline(always)]
fn add<S: Simd, E: Element, const UNIT: bool, const SCALED: bool>(
    s: S,
    quad: &Quad<E>,
    values: &Values<S>,
    sums: &mut [S::F; QUAD],
) {
    for i in 0..QUAD {
        let x = E::load(s, &quad[i]);
        let v = if UNIT { x } else { values.value(s, x) };
        let v = if SCALED { s.mul(v, s.splat(SCALE)) } else { v };
        sums[i] = s.add(sums[i], v);
    }
}
