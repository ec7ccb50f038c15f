//! The loop: x ↦ −c · p(x) · dy/dx over a row in place, and the target's gradient.
//!
//! A row has the loop of its kind: its logits are its elements, or multiples of them, or are under
//! a softcap. Where code is scarce, that of the last serves all.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use core::ops::Range;

use super::batch::{RowGrad, is_zero};
use crate::row::copy;
use crate::simd::exp::{Exp, drift};
use crate::simd::quad::QUAD;
use crate::simd::softcap::{self, Softcap, capped};
use crate::simd::{Dispatch, Kernel, LANES, SHORT_LOOPS, Simd, fetch_ahead};
use crate::{Arithmetic, Element, Transform};

/// Vectors of a step under a softcap: there is much to do for each.
const CAPPED: usize = if SHORT_LOOPS { QUAD } else { 1 };

/// The numbers of x ↦ −c · p(x) · dy/dx of one row.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    /// k, with y = k·v
    k: f64,
    /// v = tanh(inner·x), or v = x
    softcap: Option<Softcap>,
    shift: f32,
    exponent: i32,
    /// −c · slope / Z without its power of two, in ±[2, 4).
    first: f64,
    /// Whether y = x without a shift.
    pub(super) is_unit: bool,
}

impl Factors {
    /// Of no row.
    pub(super) const NONE: Self =
        Self { k: 1.0, softcap: None, shift: 0.0, exponent: 0, first: 0.0, is_unit: true };

    /// Not inlined where memory is scarce: its variables are not on the stack during sweeps.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn new(dispatch: Dispatch, transform: Transform, grad: &RowGrad) -> Self {
        let norm = grad.norm;
        let is_unit = transform.is_none() && norm.shift.to_bits() == 0;
        let one_word = is_unit && dispatch.arithmetic() == Arithmetic::Fused;
        let drift = if one_word { drift(norm.exponent) } else { 0.0 };
        let factor = -grad.coefficient * transform.slope() * f64::from(norm.inverse);
        let (half, power) = frexp(factor * (1.0 + drift));
        // 4 · half ∈ ±[2, 4) keeps every product a normal number while 2^(n − N) is one.
        let exponent = norm.exponent.saturating_sub(power.saturating_sub(2));
        let (k, softcap) = (transform.factor(), transform.softcap());
        Self { k, softcap, shift: norm.shift, exponent, first: 4.0 * half, is_unit }
    }
}

/// A number in ±[½, 1), and the power of two that makes it `x`; (x, 0) where there is none.
fn frexp(x: f64) -> (f64, i32) {
    const EXPONENT: u64 = 0x7ff << 52;
    let (mut bits, mut moved) = (x.to_bits(), 0);
    if bits & EXPONENT == 0 {
        // A subnormal number is made normal.
        (bits, moved) = ((x * f64::from_bits(1087 << 52)).to_bits(), 64);
    }
    if bits << 1 == 0 || bits & EXPONENT == EXPONENT {
        return (x, 0);
    }
    #[allow(clippy::cast_possible_truncation, reason = "eleven bits")]
    let exponent = ((bits & EXPONENT) >> 52) as i32;
    (f64::from_bits(bits & !EXPONENT | 1022 << 52), exponent - 1022 - moved)
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
        if let Some(softcap) = factors.softcap {
            inner = Some(s.splat(softcap.inner));
        }
        Self { exp, inner, shift, powers: Exp::powers(s, first) }
    }

    /// M vectors of gradients.
    #[inline(always)]
    fn apply<const UNIT: bool, const CAP: bool, E: Element, const M: usize>(
        &self,
        s: S,
        vectors: &[[E; LANES]; M],
    ) -> [S::F; M] {
        let mut x = [s.splat(0.0); M];
        for i in 0..M {
            x[i] = E::load(s, &vectors[i]);
        }
        self.grads::<UNIT, CAP, M>(s, x)
    }

    /// The gradients of M vectors that were loaded.
    #[inline(always)]
    fn grads<const UNIT: bool, const CAP: bool, const M: usize>(
        &self,
        s: S,
        x: [S::F; M],
    ) -> [S::F; M] {
        let mut d = x;
        if !self.exp.is_unit::<UNIT>() {
            for d in &mut d {
                if let Some(inner) = self.inner
                    && CAP
                {
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
                && CAP
            {
                p[i] = s.mul(p[i], softcap::slope(s, x[i], inner));
            }
        }
        p
    }

    /// One element's gradient, where a level works on one lane: its row needs no vectors.
    #[inline(always)]
    fn grad_alone<const UNIT: bool, const CAP: bool, E: Element, O: Element>(
        &self,
        s: S,
        factors: &Factors,
        x: E,
    ) -> O {
        let x = x.to_f32();
        if SHORT_LOOPS {
            let [grad] = self.grads::<UNIT, CAP, 1>(s, [s.splat(x)]);
            return O::from_f32(s.first(grad));
        }
        // By calls: few rows have a softcap, and few programs.
        let softcap = factors.softcap;
        let v = softcap.map_or(x, |softcap| softcap.value_alone(S::FUSED, x));
        let [mut grad] = self.grads::<UNIT, false, 1>(s, [s.splat(v)]);
        if let Some(softcap) = softcap {
            grad = s.mul(grad, s.splat(softcap.slope_alone(S::FUSED, x)));
        }
        O::from_f32(s.first(grad))
    }

    /// A row in place, M vectors at a time. The last columns, filled up with masked ones, go
    /// through a copy, by the same loop: its code once is enough.
    #[inline(always)]
    fn update<const UNIT: bool, const CAP: bool, E: Element, const M: usize>(
        &self,
        s: S,
        factors: &Factors,
        row: &mut [E],
    ) {
        if S::SMALL {
            for x in row {
                *x = self.grad_alone::<UNIT, CAP, E, E>(s, factors, *x);
            }
            return;
        }
        let (whole, rest) = row.split_at_mut(row.len() - row.len() % (M * LANES));
        let mut last = [[[E::NEG_INFINITY; LANES]; M]];
        copy(rest, last.as_flattened_mut().as_flattened_mut());
        let mut part = whole.as_chunks_mut::<LANES>().0.as_chunks_mut::<M>().0;
        let mut is_last = rest.is_empty();
        loop {
            for vectors in part {
                fetch_ahead(vectors);
                for s in s.parts() {
                    store(s, self.apply::<UNIT, CAP, E, M>(s, vectors), vectors);
                }
            }
            if is_last {
                break;
            }
            (part, is_last) = (&mut last, true);
        }
        copy(last.as_flattened().as_flattened(), rest);
    }

    /// A row into another of its length, as [`Map::update`].
    #[inline(always)]
    fn separate<const UNIT: bool, const CAP: bool, E: Element, O: Element, const M: usize>(
        &self,
        s: S,
        factors: &Factors,
        from: &[E],
        to: &mut [O],
    ) {
        if S::SMALL {
            for (&x, to) in from.iter().zip(to) {
                *to = self.grad_alone::<UNIT, CAP, E, O>(s, factors, x);
            }
            return;
        }
        let (whole_to, rest_to) = to.split_at_mut(to.len() - to.len() % (M * LANES));
        let rest = from.get(whole_to.len()..).unwrap_or_default();
        let (mut last, mut last_to) = ([[[E::NEG_INFINITY; LANES]; M]], [[[O::ZERO; LANES]; M]]);
        copy(rest, last.as_flattened_mut().as_flattened_mut());
        let mut part = from.as_chunks::<LANES>().0.as_chunks::<M>().0;
        let mut part_to = whole_to.as_chunks_mut::<LANES>().0.as_chunks_mut::<M>().0;
        let mut is_last = rest.is_empty();
        loop {
            for (vectors, out) in part.iter().zip(part_to) {
                fetch_ahead(vectors);
                for s in s.parts() {
                    store(s, self.apply::<UNIT, CAP, E, M>(s, vectors), out);
                }
            }
            if is_last {
                break;
            }
            (part, part_to, is_last) = (&last, &mut last_to, true);
        }
        copy(last_to.as_flattened().as_flattened(), rest_to);
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

/// The kernel, in place: of rows of one kind. `UNIT` says that logits are elements, `CAP` that
/// there may be a softcap.
pub(super) struct Update<'a, E, const UNIT: bool, const CAP: bool> {
    pub(super) elements: &'a mut [E],
    pub(super) places: &'a [Place],
}

impl<E: Element, const UNIT: bool, const CAP: bool> Kernel for Update<'_, E, UNIT, CAP> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for Place { range, factors, .. } in self.places {
            let row = self.elements.get_mut(range.start..range.end).unwrap_or_default();
            let map = Map::new::<UNIT>(s, factors);
            if CAP {
                map.update::<UNIT, CAP, E, CAPPED>(s, factors, row);
            } else {
                map.update::<UNIT, CAP, E, QUAD>(s, factors, row);
            }
        }
    }
}

/// The kernel on one row of any kind, where code is scarce.
struct UpdateAlone<'a, E> {
    row: &'a mut [E],
    factors: &'a Factors,
}

impl<E: Element> Kernel for UpdateAlone<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { row, factors } = self;
        Map::new::<false>(s, factors).update::<false, true, E, CAPPED>(s, factors, row);
    }
}

/// The kernel from one row to another, as [`Update`].
struct Separate<'a, E, O, const UNIT: bool, const CAP: bool> {
    from: &'a [E],
    to: &'a mut [O],
    factors: &'a Factors,
}

impl<E, O, const UNIT: bool, const CAP: bool> Kernel for Separate<'_, E, O, UNIT, CAP>
where
    E: Element,
    O: Element,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, to, factors } = self;
        let map = Map::new::<UNIT>(s, factors);
        if CAP {
            map.separate::<UNIT, CAP, E, O, CAPPED>(s, factors, from, to);
        } else {
            map.separate::<UNIT, CAP, E, O, QUAD>(s, factors, from, to);
        }
    }
}

/// Rows of one kind in place.
pub(super) fn update<E: Element>(dispatch: Dispatch, elements: &mut [E], places: &[Place]) {
    match places.first() {
        Some(Place { factors, .. }) if factors.is_unit && SHORT_LOOPS => {
            dispatch.run(Update::<_, true, false> { elements, places });
        }
        Some(Place { factors, .. }) if factors.softcap.is_none() && SHORT_LOOPS => {
            dispatch.run(Update::<_, false, false> { elements, places });
        }
        _ => dispatch.run(Update::<_, false, true> { elements, places }),
    }
}

/// One row in place, where code is scarce.
pub(super) fn update_alone<E: Element>(dispatch: Dispatch, row: &mut [E], factors: &Factors) {
    dispatch.run(UpdateAlone { row, factors });
}

/// One row into another.
pub(super) fn separate<E: Element, O: Element>(
    dispatch: Dispatch,
    from: &[E],
    to: &mut [O],
    factors: &Factors,
) {
    if factors.is_unit && SHORT_LOOPS {
        dispatch.run(Separate::<_, _, true, false> { from, to, factors });
    } else if factors.softcap.is_none() && SHORT_LOOPS {
        dispatch.run(Separate::<_, _, false, false> { from, to, factors });
    } else {
        dispatch.run(Separate::<_, _, false, true> { from, to, factors });
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
        s.first(softcap::slope(s, s.splat(self.x), s.splat(self.inner)))
    }
}

impl RowGrad {
    /// c = 0: every gradient of the row is 0, whatever its logits.
    pub(super) fn is_without_gradient(&self) -> bool {
        is_zero(self.coefficient)
    }

    /// c · (1 − p) · dy/dx of the target, rounded once; 0 if it is masked or not among `row`.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
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
        let bend = transform.softcap().map_or(1.0, |softcap| {
            if SHORT_LOOPS {
                dispatch.run(Slope { x, inner: softcap.inner })
            } else {
                softcap.slope_alone(dispatch.arithmetic() == Arithmetic::Fused, x)
            }
        });
        let bend = f64::from(bend);
        (self.coefficient * f64::from(self.norm.complement) * transform.slope() * bend) as f32
    }
}

pub(super) fn write_target<O: Element>(row: &mut [O], target: usize, grad: f32) {
    if let Some(to) = row.get_mut(target) {
        *to = O::from_f32(grad);
    }
}

#[cfg(test)]
mod tests {
    use super::frexp;

    #[test]
    fn frexp_is_libms() {
        let powers = (-1074..1024).map(|n| libm::scalbn(1.0, n));
        let numbers = powers.flat_map(|x| [x, x * 1.999, -x * 1.5, x.next_down()]);
        for x in numbers.chain([0.0, -0.0, f64::MAX, f64::INFINITY]) {
            let ((half, power), (expected, of)) = (frexp(x), libm::frexp(x));
            assert_eq!((half.to_bits(), power), (expected.to_bits(), of), "{x:e}");
        }
    }
}
