//! The loop: x ↦ −c · p(x) · dy/dx over a row, and the target's gradient after it.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::batch::RowGrad;
use crate::row::Values;
use crate::simd::exp::Exp;
use crate::simd::quad::{QUAD, Quad, quads, quads_mut};
use crate::simd::tanh::tanh_slope;
use crate::simd::{LANES, Simd, fetch_ahead};
use crate::{Element, Transform};

/// x ↦ −c · p(x) · dy/dx, for one row.
pub(super) struct Map<S: Simd> {
    exp: Exp<S>,
    values: Values<S>,
    /// −c · slope / Z · e^f in powers of f, without its power of two: the first in ±[2, 4).
    powers: [S::F; 6],
    /// Whether y = x without a shift.
    pub(super) short: bool,
}

impl<S: Simd> Map<S> {
    #[inline(always)]
    pub(super) fn new(s: S, transform: Transform, grad: &RowGrad) -> Self {
        let norm = grad.norm;
        let short = transform.is_none() && norm.shift.to_bits() == 0;
        let drift = if short { Exp::<S>::drift::<true>(norm.exponent) } else { 0.0 };
        let factor = -grad.coefficient * transform.slope() * f64::from(norm.inverse);
        let (half, power) = libm::frexp(factor * (1.0 + drift));
        // 4 · half ∈ ±[2, 4) keeps every product a normal number while 2^(n − N) is one.
        let exponent = norm.exponent.saturating_sub(power.saturating_sub(2));
        let exp = if short {
            Exp::new::<true>(s, 1.0, exponent)
        } else {
            Exp::new::<false>(s, transform.factor(), exponent)
        };
        let (values, powers) = (Values::new(s, transform, norm.shift), Exp::powers(s, 4.0 * half));
        Self { exp, values, powers, short }
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
        if !UNIT {
            for d in &mut d {
                *d = s.sub(self.values.value(s, *d), self.values.shift);
            }
        }
        let (t, f) = self.exp.split::<UNIT, M>(s, d);
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
            if let Some(inner) = self.values.inner
                && !UNIT
            {
                p[i] = s.mul(p[i], tanh_slope(s, s.mul(x[i], inner)));
            }
        }
        p
    }

    /// A row in place. The last quad, filled up with masked columns, goes through a copy.
    #[inline(always)]
    fn update<const UNIT: bool, E: Element>(&self, s: S, row: &mut [E]) {
        let (quads, rest) = quads_mut(row);
        for quad in quads {
            fetch_ahead(quad);
            for s in s.parts() {
                store(s, self.apply::<UNIT, E, QUAD>(s, quad), quad);
            }
        }
        if !rest.is_empty() {
            let mut tail = [[E::NEG_INFINITY; LANES]; QUAD];
            copy(rest, tail.as_flattened_mut());
            for s in s.parts() {
                store(s, self.apply::<UNIT, E, QUAD>(s, &tail), &mut tail);
            }
            copy(tail.as_flattened(), rest);
        }
    }

    /// A row into another.
    #[inline(always)]
    pub(super) fn separate<const UNIT: bool, E: Element, O: Element>(
        &self,
        s: S,
        from: &[E],
        to: &mut [O],
    ) {
        let (quads, rest) = quads(from);
        let (quads_out, rest_out) = quads_mut(to);
        for (quad, out) in quads.iter().zip(quads_out) {
            fetch_ahead(quad);
            for s in s.parts() {
                store(s, self.apply::<UNIT, E, QUAD>(s, quad), out);
            }
        }
        if !rest.is_empty() {
            let mut tail = [[E::NEG_INFINITY; LANES]; QUAD];
            copy(rest, tail.as_flattened_mut());
            let mut tail_out = [[O::ZERO; LANES]; QUAD];
            for s in s.parts() {
                store(s, self.apply::<UNIT, E, QUAD>(s, &tail), &mut tail_out);
            }
            copy(tail_out.as_flattened(), rest_out);
        }
    }
}

#[inline(always)]
fn store<S: Simd, O: Element>(s: S, ys: [S::F; QUAD], out: &mut Quad<O>) {
    for i in 0..QUAD {
        O::store(s, ys[i], &mut out[i]);
    }
}

/// As many elements as both have.
fn copy<E: Element>(from: &[E], to: &mut [E]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from;
    }
}

impl RowGrad {
    /// c = 0: every gradient of the row is 0, whatever its logits.
    pub(super) fn is_without_gradient(&self) -> bool {
        self.coefficient.abs() <= 0.0
    }

    /// c · (1 − p) · dy/dx of the target, rounded once; 0 if it is masked or not among `row`.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the one rounding to f32")]
    pub(super) fn target_grad<S: Simd, E: Element>(
        &self,
        s: S,
        transform: Transform,
        row: &[E],
    ) -> f32 {
        // A masked target stays masked, as every −inf grad.
        let x = match row.get(self.target) {
            Some(x) if x.to_f32() > f32::NEG_INFINITY => x,
            _ => return 0.0,
        };
        let bend = match transform.inner() {
            None => 1.0,
            Some(inner) => {
                let u = s.mul(s.splat(x.to_f32()), s.splat(inner));
                f64::from(s.first(tanh_slope(s, u)))
            }
        };
        (self.coefficient * f64::from(self.norm.complement) * transform.slope() * bend) as f32
    }
}

#[inline(always)]
pub(super) fn in_place<S: Simd, E: Element>(
    s: S,
    row: &mut [E],
    transform: Transform,
    grad: &RowGrad,
) {
    if grad.is_without_gradient() {
        row.fill(E::ZERO);
        return;
    }
    let target = grad.target_grad(s, transform, row);
    let map = Map::new(s, transform, grad);
    if map.short {
        map.update::<true, E>(s, row);
    } else {
        map.update::<false, E>(s, row);
    }
    write_target(row, grad.target, target);
}

pub(super) fn write_target<O: Element>(row: &mut [O], target: usize, grad: f32) {
    if let Some(to) = row.get_mut(target) {
        *to = O::from_f32(grad);
    }
}
