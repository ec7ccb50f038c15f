//! What the loop adds up over a block, lane by lane.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::extra::Extra;
use crate::Element;
use crate::simd::Simd;
use crate::simd::exp::Exp;
use crate::simd::quad::{QUAD, Quad};

/// The sums of one block in each lane, relative to the block's base: Σ term = Σ scales + Σ mantissas.
pub(super) struct LaneSums<S: Simd> {
    pub(super) scales: S::Lanes,
    pub(super) mantissas: S::Lanes,
    /// The largest t of [`Exp::split`] over the columns other than the target's, of all parts.
    pub(super) largest_t: S::F,
}

impl<S: Simd> LaneSums<S> {
    #[inline(always)]
    pub(super) fn new(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { scales: none, mantissas: none, largest_t: s.splat(0.0) }
    }
}

/// The sums behind the details, in each lane. A struct of its own, so that it takes no memory where
/// details are not collected.
pub(super) struct LaneDetails<S: Simd> {
    /// Σ term · (d − middle)
    pub(super) weighted: S::Lanes,
    /// Σ term²
    pub(super) squares: S::Lanes,
}

impl<S: Simd> LaneDetails<S> {
    #[inline(always)]
    pub(super) fn new(s: S) -> Self {
        let none = s.lanes(0.0);
        Self { weighted: none, squares: none }
    }
}

/// What distances are measured from, in every lane.
pub(super) struct Distance<S: Simd> {
    pub(super) shift: S::F,
    pub(super) middle: S::F,
}

/// The body of the loop: adds the terms of four vectors, or of a part of each, to the sums.
#[inline(always)]
pub(super) fn sum_quad<S: Simd, E: Element, D: Extra, const UNIT: bool>(
    s: S,
    quad: &Quad<E>,
    exp: &Exp<S>,
    at: &Distance<S>,
    sums: &mut LaneSums<S>,
    details: &mut LaneDetails<S>,
) {
    let mut d = [s.splat(0.0); QUAD];
    for i in 0..QUAD {
        let x = E::load_mixed(s, &quad[i]);
        d[i] = x;
    }
    if !exp.is_unit::<UNIT>() {
        for d in &mut d {
            *d = s.sub(*d, at.shift);
        }
    }
    let mut w = d;
    // t, and then the scale in its place.
    let mut scale = exp.split::<UNIT, QUAD>(s, &mut w);
    let (mut scales, mut mantissas) = (s.splat(0.0), s.splat(0.0));
    // The order is the one in which most stays in registers.
    if D::ON {
        for scale in &mut scale {
            sums.largest_t = s.max_positive(sums.largest_t, *scale);
            *scale = s.to_exponent(*scale);
        }
        exp.w(s, &mut w);
    }
    for i in 0..QUAD {
        if !D::ON {
            sums.largest_t = s.max_positive(sums.largest_t, scale[i]);
            scale[i] = s.to_exponent(scale[i]);
            let mut one = [w[i]];
            exp.w(s, &mut one);
            [w[i]] = one;
        }
        if i == 0 {
            (scales, mantissas) = (scale[0], s.mul(w[0], scale[0]));
        } else {
            scales = s.add(scales, scale[i]);
            mantissas = s.mul_add(w[i], scale[i], mantissas);
        }
    }
    for i in 0..QUAD {
        let (scale, w, d) = (scale[i], w[i], d[i]);
        if D::ON {
            let term = s.mul_add(w, scale, scale);
            let distance = s.sub(exp.bounded(s, d), at.middle);
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
