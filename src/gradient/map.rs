//! The loop: x ↦ −c · p(x) · dy/dx over a row in place, and the target's gradient.
//!
//! Rows whose logits are their elements have a loop for each element type; all others have one, in
//! f32.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use core::ops::Range;

use super::batch::RowGrad;
use crate::row::{BLOCK, capped, copy, narrow, widen};
use crate::simd::exp::{Exp, drift};
use crate::simd::quad::{QUAD, QUAD_LEN};
use crate::simd::tanh::tanh_slope;
use crate::simd::{Dispatch, Kernel, LANES, SHORT_LOOPS, Simd, fetch_ahead};
use crate::{Arithmetic, Element, Transform};

/// Columns that are copied before their gradients are found in place: as many as a cache holds.
const COPIED: usize = 4096;

/// The numbers of x ↦ −c · p(x) · dy/dx of one row.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    /// k, with y = k·v
    k: f64,
    /// v = tanh(inner·x), or v = x
    inner: Option<f32>,
    shift: f32,
    exponent: i32,
    /// −c · slope / Z without its power of two, in ±[2, 4).
    first: f64,
    /// Whether y = x without a shift.
    is_unit: bool,
}

impl Factors {
    /// Of no row.
    pub(super) const NONE: Self =
        Self { k: 1.0, inner: None, shift: 0.0, exponent: 0, first: 0.0, is_unit: true };

    pub(super) fn new(dispatch: Dispatch, transform: Transform, grad: &RowGrad) -> Self {
        let norm = grad.norm;
        let is_unit = transform.is_none() && norm.shift.to_bits() == 0;
        let one_word = is_unit && dispatch.arithmetic() == Arithmetic::Fused;
        let drift = if one_word { drift(norm.exponent) } else { 0.0 };
        let factor = -grad.coefficient * transform.slope() * f64::from(norm.inverse);
        let (half, power) = libm::frexp(factor * (1.0 + drift));
        // 4 · half ∈ ±[2, 4) keeps every product a normal number while 2^(n − N) is one.
        let exponent = norm.exponent.saturating_sub(power.saturating_sub(2));
        let (k, inner) = (transform.factor(), transform.inner());
        Self { k, inner, shift: norm.shift, exponent, first: 4.0 * half, is_unit }
    }
}

impl Factors {
    /// Whether the row has a loop for its own type.
    pub(super) fn is_direct(&self) -> bool {
        self.is_unit || !SHORT_LOOPS
    }
}

/// The same in every lane.
struct Map<S: Simd> {
    exp: Exp<S>,
    inner: Option<S::F>,
    shift: S::F,
    /// −c · slope / Z · e^f in powers of f.
    powers: [S::F; 6],
}

impl<S: Simd> Map<S> {
    #[inline(always)]
    fn new<const UNIT: bool>(s: S, factors: &Factors) -> Self {
        let Factors { k, exponent, first, shift, .. } = *factors;
        let exp = Exp::new(s, if UNIT { 1.0 } else { k }, exponent, factors.is_unit);
        let (mut inner, shift) = (None, s.splat(shift));
        // Not `map`: a closure is not compiled for the level's instructions.
        if let Some(x) = factors.inner {
            inner = Some(s.splat(x));
        }
        Self { exp, inner, shift, powers: Exp::powers(s, first) }
    }

    /// M vectors of gradients.
    #[inline(always)]
    fn apply<const UNIT: bool, E: Element, const M: usize>(
        &self,
        s: S,
        vectors: &[[E; LANES]; M],
    ) -> [S::F; M] {
        let mut d = [s.splat(0.0); M];
        for i in 0..M {
            d[i] = E::load(s, &vectors[i]);
        }
        let x = d;
        if !self.exp.is_unit::<UNIT>() {
            for d in &mut d {
                if let Some(inner) = self.inner {
                    *d = capped(s, *d, inner);
                }
                *d = s.sub(*d, self.shift);
            }
        }
        let t = self.exp.split::<UNIT, M>(s, &mut d);
        let f = d;
        let [c, c2, c3, c4, c5, c6] = self.powers;
        let mut p = f;
        for p in &mut p {
            *p = s.mul_add(c6, *p, c5);
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], c4);
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], c3);
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], c2);
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], c);
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], c);
        }
        for i in 0..M {
            p[i] = s.mul(p[i], s.to_exponent(t[i]));
            if let Some(inner) = self.inner
                && !UNIT
            {
                p[i] = s.mul(p[i], tanh_slope(s, s.mul(x[i], inner)));
            }
        }
        p
    }

    /// A row whose logits are its elements, a quad at a time. The last quad, filled up with masked
    /// columns, goes through a copy.
    #[inline(always)]
    fn update_unit<E: Element>(&self, s: S, row: &mut [E]) {
        let taken = row.len() - row.len() % QUAD_LEN;
        let (whole, rest) = row.split_at_mut(taken);
        for quad in whole.as_chunks_mut::<LANES>().0.as_chunks_mut::<QUAD>().0 {
            fetch_ahead(quad);
            for s in s.parts() {
                store(s, self.apply::<true, E, QUAD>(s, quad), quad);
            }
        }
        if !rest.is_empty() {
            let mut last = [[E::NEG_INFINITY; LANES]; QUAD];
            copy(rest, last.as_flattened_mut());
            for s in s.parts() {
                store(s, self.apply::<true, E, QUAD>(s, &last), &mut last);
            }
            copy(last.as_flattened(), rest);
        }
    }

    /// Any row, a vector at a time, and the copy of the last in the same loop: there is much to do
    /// for each, and its code once is enough.
    #[inline(always)]
    fn update_any<E: Element>(&self, s: S, row: &mut [E]) {
        let (vectors, rest) = row.as_chunks_mut::<LANES>();
        let whole = vectors.as_chunks_mut::<1>().0;
        let mut last = [[E::NEG_INFINITY; LANES]];
        copy(rest, last.as_flattened_mut());
        for i in 0..whole.len() + usize::from(!rest.is_empty()) {
            let vector = whole.get_mut(i).unwrap_or(&mut last);
            fetch_ahead(vector);
            for s in s.parts() {
                store(s, self.apply::<false, E, 1>(s, vector), vector);
            }
        }
        copy(last.as_flattened(), rest);
    }
}

#[inline(always)]
fn store<S: Simd, E: Element, const M: usize>(s: S, ys: [S::F; M], out: &mut [[E; LANES]; M]) {
    for i in 0..M {
        E::store(s, ys[i], &mut out[i]);
    }
}

/// A row's place among the elements, its numbers, and its target's gradient.
pub(super) struct Place {
    pub(super) range: Range<usize>,
    pub(super) factors: Factors,
    pub(super) column: usize,
    pub(super) target: f32,
}

impl Place {
    /// No row.
    pub(super) const NONE: Self =
        Self { range: 0..0, factors: Factors::NONE, column: usize::MAX, target: 0.0 };

    pub(super) fn write_target<E: Element>(&self, elements: &mut [E]) {
        let row = elements.get_mut(self.range.start..self.range.end).unwrap_or_default();
        write_target(row, self.column, self.target);
    }
}

/// The kernel: of rows whose logits are their elements, or of any.
pub(super) struct Update<'a, E, const UNIT: bool> {
    pub(super) elements: &'a mut [E],
    pub(super) places: &'a [Place],
}

impl<E: Element, const UNIT: bool> Kernel for Update<'_, E, UNIT> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for Place { range, factors, .. } in self.places {
            let row = self.elements.get_mut(range.start..range.end).unwrap_or_default();
            if UNIT {
                Map::new::<true>(s, factors).update_unit(s, row);
            } else {
                Map::new::<false>(s, factors).update_any(s, row);
            }
        }
    }
}

/// One row, or part of it, in place.
pub(super) fn update<E: Element>(dispatch: Dispatch, row: &mut [E], factors: &Factors) {
    let places = &[Place { range: 0..row.len(), factors: *factors, ..Place::NONE }];
    if factors.is_direct() {
        dispatch.run(Update::<_, SHORT_LOOPS> { elements: row, places });
    } else if let Some(elements) = E::as_f32_mut(row) {
        dispatch.run(Update::<_, false> { elements, places });
    } else {
        update_in_f32(dispatch, row, factors);
    }
}

/// The same through f32, block by block.
#[inline(never)]
fn update_in_f32<E: Element>(dispatch: Dispatch, row: &mut [E], factors: &Factors) {
    let mut buffer = [0.0; BLOCK];
    for block in row.chunks_mut(BLOCK) {
        let values = buffer.get_mut(..block.len()).unwrap_or_default();
        widen(dispatch, block, None, values);
        update(dispatch, &mut *values, factors);
        narrow(dispatch, values, block);
    }
}

/// One row into another: copied, widened where it must be, then in place.
pub(super) fn separate<E: Element, O: Element>(
    dispatch: Dispatch,
    from: &[E],
    to: &mut [O],
    factors: &Factors,
) {
    if let Some(to) = O::as_f32_mut(to) {
        for (from, to) in from.chunks(COPIED).zip(to.chunks_mut(COPIED)) {
            widen(dispatch, from, None, to);
            update(dispatch, to, factors);
        }
    } else if let Some(from) = O::same(from) {
        for (from, to) in from.chunks(COPIED).zip(to.chunks_mut(COPIED)) {
            copy(from, to);
            update(dispatch, to, factors);
        }
    } else {
        let mut buffer = [0.0; BLOCK];
        for (from, to) in from.chunks(BLOCK).zip(to.chunks_mut(BLOCK)) {
            let values = buffer.get_mut(..from.len()).unwrap_or_default();
            widen(dispatch, from, None, values);
            update(dispatch, values, factors);
            narrow(dispatch, values, to);
        }
    }
}

/// dy/dx of one element, relative to its largest: 1 without a softcap.
struct Slope {
    x: f32,
    inner: f32,
}

impl Kernel for Slope {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        s.first(tanh_slope(s, s.mul(s.splat(self.x), s.splat(self.inner))))
    }
}

impl RowGrad {
    /// c = 0: every gradient of the row is 0, whatever its logits.
    pub(super) fn is_without_gradient(&self) -> bool {
        self.coefficient.abs() <= 0.0
    }

    /// c · (1 − p) · dy/dx of the target, rounded once; 0 if it is masked or not among `row`.
    #[allow(clippy::cast_possible_truncation, reason = "the one rounding to f32")]
    pub(super) fn target_grad<E: Element>(
        &self,
        dispatch: Dispatch,
        transform: Transform,
        row: &[E],
    ) -> f32 {
        // A masked target stays masked, as every −inf grad.
        let x = match row.get(self.target) {
            Some(x) if x.to_f32() > f32::NEG_INFINITY => x.to_f32(),
            _ => return 0.0,
        };
        let bend = transform.inner().map_or(1.0, |inner| dispatch.run(Slope { x, inner }));
        let bend = f64::from(bend);
        (self.coefficient * f64::from(self.norm.complement) * transform.slope() * bend) as f32
    }
}

pub(super) fn write_target<O: Element>(row: &mut [O], target: usize, grad: f32) {
    if let Some(to) = row.get_mut(target) {
        *to = O::from_f32(grad);
    }
}
