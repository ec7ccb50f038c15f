//! The loop: x ↦ −c · p(x) · dy/dx over a row, in place or not, and the target's gradient.
//!
//! A row has the loop of its kind: its logits are its elements, or multiples of them, or are under
//! a softcap. Where code is scarce, that of the last serves all.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::batch::{RowGrad, is_zero};
use crate::element::{GradElement, Stores};
use crate::math::frexp::frexp;
use crate::row::copy;
use crate::simd::exp::{Exp, drift};
use crate::simd::quad::QUAD;
use crate::simd::softcap::{self, Softcap, capped};
use crate::simd::stream::Stream;
use crate::simd::{Dispatch, Kernel, LANES, SHORT_LOOPS, Simd, fetch_ahead};
use crate::{Arithmetic, Element, Transform};

/// Vectors of a step under a softcap: there is much to do for each.
const CAPPED: usize = if SHORT_LOOPS { 2 } else { 1 };

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
    is_unit: bool,
}

impl Factors {
    /// Whether both rows have one loop.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        (self.is_unit, self.softcap.is_some()) == (other.is_unit, other.softcap.is_some())
    }

    /// Of no row.
    const NONE: Self =
        Self { k: 1.0, softcap: None, shift: 0.0, exponent: 0, first: 0.0, is_unit: true };

    /// Not inlined where memory is scarce: its variables are not on the stack during sweeps.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn new(dispatch: Dispatch, transform: Transform, grad: &RowGrad) -> Self {
        let norm = grad.norm;
        let is_unit = transform.is_none() && norm.shift.to_bits() == 0;
        let one_word = is_unit && dispatch.arithmetic() == Arithmetic::Fused;
        let drift = if one_word { drift(norm.exponent.into()) } else { 0.0 };
        let factor = -grad.coefficient * transform.slope() * f64::from(norm.inverse);
        let (half, power) = frexp(factor * (1.0 + drift));
        // 4 · half ∈ ±[2, 4) keeps every product a normal number while 2^(n − N) is one.
        let exponent = norm.exponent.saturating_sub(power.saturating_sub(2));
        let (k, softcap) = (transform.factor(), transform.softcap());
        Self { k, softcap, shift: norm.shift, exponent, first: 4.0 * half, is_unit }
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
        if let Some(softcap) = factors.softcap {
            inner = Some(s.splat(softcap.inner));
        }
        Self { exp, inner, shift, powers: Exp::powers(s, first) }
    }

    /// M vectors of gradients.
    #[inline(always)]
    fn apply<
        const UNIT: bool,
        const CAP: bool,
        E: Element,
        O: Element + GradElement<E>,
        const M: usize,
    >(
        &self,
        s: S,
        vectors: &[[E; LANES]; M],
    ) -> [S::F; M] {
        let mut x = [s.splat(0.0); M];
        for i in 0..M {
            x[i] = O::load_logits(s, &vectors[i]);
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
        let [c, c2, c3, c4, c5, c6] = &self.powers;
        let mut p = f;
        for p in &mut p {
            *p = s.mul_add(*c6, *p, s.addend(c5));
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], s.addend(c4));
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], s.addend(c3));
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], s.addend(c2));
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], s.addend(c));
        }
        for i in 0..M {
            p[i] = s.mul_add(p[i], f[i], s.addend(c));
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
    fn grad_alone<const UNIT: bool, const CAP: bool>(
        &self,
        s: S,
        factors: &Factors,
        x: f32,
    ) -> f32 {
        if SHORT_LOOPS {
            let [grad] = self.grads::<UNIT, CAP, 1>(s, [s.splat(x)]);
            return s.first(grad);
        }
        // By calls: few rows have a softcap, and few programs.
        let softcap = factors.softcap;
        let v = softcap.map_or(x, |softcap| softcap.value_alone(S::FUSED, x));
        let [mut grad] = self.grads::<UNIT, false, 1>(s, [s.splat(v)]);
        if let Some(softcap) = softcap {
            grad = s.mul(grad, s.splat(softcap.slope_alone(S::FUSED, x)));
        }
        s.first(grad)
    }

    /// A row, M vectors at a time. The last columns, filled up with masked ones, go through copies,
    /// by the same loop: its code once is enough.
    #[inline(always)]
    fn row<
        const UNIT: bool,
        const CAP: bool,
        E: Element,
        O: Element + GradElement<E>,
        const M: usize,
    >(
        &self,
        s: S,
        factors: &Factors,
        row: Stream<'_, E, O>,
        Last { from, to }: &mut Last<E, O, M>,
    ) {
        if S::SMALL {
            for (x, to) in row.elements() {
                *to = O::from_f32(self.grad_alone::<UNIT, CAP>(s, factors, x.to_f32()));
            }
            return;
        }
        let (mut steps, mut rest) = row.steps::<M>();
        let mut is_last = rest.source().is_empty();
        loop {
            for mut step in steps {
                fetch_ahead(step.source());
                for s in s.parts() {
                    let ys = self.apply::<UNIT, CAP, E, O, M>(s, step.source());
                    let out = step.target();
                    for i in 0..M {
                        <O as Stores<E>>::store_grads(s, ys[i], &mut out[i]);
                    }
                }
            }
            if is_last {
                break;
            }
            is_last = true;
            let filled = from.as_flattened_mut().as_flattened_mut();
            filled.fill(E::NEG_INFINITY);
            copy(rest.source(), filled);
            steps = Stream::apart(filled, to.as_flattened_mut().as_flattened_mut()).steps().0;
        }
        copy(to.as_flattened().as_flattened(), rest.target());
    }
}

/// Copies of the last columns of a row, and their gradients.
struct Last<E, O, const M: usize> {
    from: [[[E; LANES]; M]; 1],
    to: [[[O; LANES]; M]; 1],
}

impl<E: Element, O: Element, const M: usize> Last<E, O, M> {
    const NEW: Self = Self { from: [[[E::ZERO; LANES]; M]], to: [[[O::ZERO; LANES]; M]] };
}

/// A row's place among the elements, its numbers, and its target's gradient.
pub(super) struct Place {
    /// Its first logit, among those that are read.
    pub(super) from: usize,
    /// Its first gradient, among those that are written.
    pub(super) to: usize,
    /// V, or 0 of a row that is done.
    pub(super) len: usize,
    pub(super) factors: Factors,
    pub(super) column: usize,
    pub(super) target: f32,
}

impl Place {
    /// No row.
    pub(super) const NONE: Self =
        Self { from: 0, to: 0, len: 0, factors: Factors::NONE, column: usize::MAX, target: 0.0 };

    fn write_target<O: Element>(&self, grads: &mut [O]) {
        if self.column < self.len
            && let Some(to) = grads.get_mut(self.to.saturating_add(self.column))
        {
            *to = O::from_f32(self.target);
        }
    }
}

/// The kernel, of rows of one kind. `UNIT` says that logits are elements, `CAP` that there may be a
/// softcap.
struct Rows<'a, 'b, E, O, const UNIT: bool, const CAP: bool> {
    stream: &'a mut Stream<'b, E, O>,
    places: &'a [Place],
}

impl<E, O, const UNIT: bool, const CAP: bool> Kernel for Rows<'_, '_, E, O, UNIT, CAP>
where
    E: Element,
    O: Element + GradElement<E>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if CAP {
            self.map::<S, CAPPED>(s);
        } else if S::FUSED && size_of::<S::F>() == size_of::<S::Lanes>() {
            self.map::<S, 2>(s);
        } else {
            // A part of a vector is too little to hide the latency of a chain of multiply-adds.
            self.map::<S, QUAD>(s);
        }
    }
}

impl<E: Element, O: Element + GradElement<E>, const UNIT: bool, const CAP: bool>
    Rows<'_, '_, E, O, UNIT, CAP>
{
    #[inline(always)]
    fn map<S: Simd, const M: usize>(self, s: S) {
        let mut last = Last::<E, O, M>::NEW;
        for &Place { from, to, len, ref factors, .. } in self.places {
            let map = Map::new::<UNIT>(s, factors);
            let row = self.stream.part(from, to, len);
            map.row::<UNIT, CAP, E, O, M>(s, factors, row, &mut last);
        }
    }
}

/// Writes the gradients of rows, all of one kind.
pub(super) fn map_rows<E: Element, O: Element + GradElement<E>>(
    dispatch: Dispatch,
    stream: &mut Stream<'_, E, O>,
    places: &[Place],
) {
    match places.first() {
        Some(Place { factors, .. }) if factors.is_unit && SHORT_LOOPS => {
            dispatch.run(Rows::<_, _, true, false> { stream: &mut *stream, places });
        }
        Some(Place { factors, .. }) if factors.softcap.is_none() && SHORT_LOOPS => {
            dispatch.run(Rows::<_, _, false, false> { stream: &mut *stream, places });
        }
        _ => dispatch.run(Rows::<_, _, false, true> { stream: &mut *stream, places }),
    }
    for place in places {
        place.write_target(stream.target());
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
    pub(crate) fn is_without_gradient(&self) -> bool {
        is_zero(self.coefficient)
    }

    /// c · (1 − p) · dy/dx of the target, rounded once; 0 if it is masked or not among `row`.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    #[allow(clippy::cast_possible_truncation, reason = "the one rounding to f32")]
    pub(crate) fn target_grad<E: Element>(
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
