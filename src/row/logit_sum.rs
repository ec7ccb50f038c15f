//! Σ v of a block, for the mean logit: a second sweep over a block that the cache holds by then.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::block::{Block, filled_up};
use crate::Element;
use crate::simd::Simd;
use crate::simd::quad::{QUAD, quads};

/// Factor on the values where their plain sum overflows: a lane's 32 values, whatever their size,
/// then add up to less than f32's largest. Exact for values above 2^−120.
pub(super) const SCALE: f32 = 1.0 / 64.0;

/// Σ v over all columns, the target's included.
#[inline(always)]
pub(super) fn block_logit_sum<S: Simd, E: Element>(s: S, block: &Block<'_, E>) -> f64 {
    let zero = s.lanes(0.0);
    let mut scale = 1.0;
    loop {
        let sum = s.sum_f64(&lane_sums(s, block, scale), &zero) / f64::from(scale);
        if sum.is_finite() || scale < 1.0 {
            return sum;
        }
        scale = SCALE;
    }
}

/// The sum of each lane, times `scale`.
#[inline(always)]
fn lane_sums<S: Simd, E: Element>(s: S, block: &Block<'_, E>, scale: f32) -> S::Lanes {
    let mut lanes = s.lanes(0.0);
    let (whole, rest) = quads(block.elements());
    // Made only where it is needed: this is asked of each block.
    let filled;
    let last = match whole.last() {
        Some(last) if rest.is_empty() => last,
        _ => {
            filled = filled_up(rest, E::ZERO);
            &filled
        }
    };
    for s in s.parts() {
        // Four sums at once: with one, each addition would wait for the one before.
        let mut sums = [s.splat(0.0); QUAD];
        for i in 0..block.len {
            let quad = whole.get(i).unwrap_or(last);
            for i in 0..QUAD {
                sums[i] = s.mul_add(E::load(s, &quad[i]), s.splat(scale), sums[i]);
            }
        }
        let [a, b, c, d] = sums;
        s.put(&mut lanes, s.add(s.add(a, b), s.add(c, d)));
    }
    lanes
}
