//! The loop: x ↦ −c · p(x) · dy/dx over a row, and the target's gradient after it.

use super::batch::Column;
use crate::row::Values;
use crate::simd::exp::Exp;
use crate::simd::tanh::tanh_slope;
use crate::simd::{LANES, Simd};
use crate::{Element, Transform};

/// x ↦ −c · p(x) · dy/dx, for one row.
pub(super) struct Map<S: Simd> {
    exp: Exp<S>,
    values: Values<S>,
    /// −c · slope / Z without its power of two, in ±[2, 4); 0 where the row has no gradient.
    factor: S::F,
    /// Whether y = x without a shift.
    pub(super) short: bool,
}

impl<S: Simd> Map<S> {
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the one rounding of the row's factor")]
    pub(super) fn new(s: S, transform: Transform, column: &Column) -> Self {
        let norm = column.norm;
        let factor = -column.coefficient * transform.slope() * f64::from(norm.inverse);
        let (half, power) = libm::frexp(factor);
        // 4 · half ∈ ±[2, 4) keeps every product a normal number while 2^(n − N) is one.
        let exponent = norm.exponent.saturating_sub(power.saturating_sub(2));
        Self {
            exp: Exp::new(s, transform.factor(), exponent),
            values: Values::new(s, transform, norm.shift),
            factor: s.splat((4.0 * half) as f32),
            short: transform.is_none() && norm.shift.to_bits() == 0,
        }
    }

    #[inline(always)]
    fn apply<const UNIT: bool>(&self, s: S, x: S::F) -> S::F {
        let d = if UNIT { x } else { s.sub(self.values.value(s, x), self.values.shift) };
        let (scale, w) = self.exp.eval::<UNIT>(s, d);
        let scale = s.mul(self.factor, scale);
        let y = s.mul_add(w, scale, scale);
        match self.values.inner {
            Some(inner) if !UNIT => s.mul(y, tanh_slope(s, s.mul(x, inner))),
            _ => y,
        }
    }

    /// A row in place. The last vector, filled up with masked columns, goes through a copy.
    #[inline(always)]
    fn update<const UNIT: bool, E: Element>(&self, s: S, row: &mut [E]) {
        let (whole, rest) = row.as_chunks_mut::<LANES>();
        for chunk in whole {
            let y = self.apply::<UNIT>(s, E::load(s, chunk));
            E::store(s, y, chunk);
        }
        if !rest.is_empty() {
            let mut tail = [E::NEG_INFINITY; LANES];
            copy(rest, &mut tail);
            let y = self.apply::<UNIT>(s, E::load(s, &tail));
            E::store(s, y, &mut tail);
            copy(&tail, rest);
        }
    }

    /// A row into another.
    #[inline(always)]
    pub(super) fn apart<const UNIT: bool, E: Element, O: Element>(
        &self,
        s: S,
        from: &[E],
        to: &mut [O],
    ) {
        let (whole, rest) = from.as_chunks::<LANES>();
        let (whole_out, rest_out) = to.as_chunks_mut::<LANES>();
        for (chunk, out) in whole.iter().zip(whole_out) {
            let y = self.apply::<UNIT>(s, E::load(s, chunk));
            O::store(s, y, out);
        }
        if !rest.is_empty() {
            let mut tail = [E::NEG_INFINITY; LANES];
            copy(rest, &mut tail);
            let mut tail_out = [O::ZERO; LANES];
            O::store(s, self.apply::<UNIT>(s, E::load(s, &tail)), &mut tail_out);
            copy(&tail_out, rest_out);
        }
    }
}

/// As many elements as both have.
fn copy<E: Element>(from: &[E], to: &mut [E]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from;
    }
}

impl Column {
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
        // A masked target stays masked, as every −inf column.
        let x = match row.get(self.target) {
            Some(x) if x.to_f32() > f32::NEG_INFINITY => x,
            _ => return 0.0,
        };
        let bend = match transform.inner() {
            None => 1.0,
            Some(inner) => {
                let u = s.mul(s.splat(x.to_f32()), s.splat(inner));
                let [slope, ..] = s.to_array(tanh_slope(s, u));
                f64::from(slope)
            }
        };
        (self.coefficient * f64::from(self.norm.rest) * transform.slope() * bend) as f32
    }
}

#[inline(always)]
pub(super) fn in_place<S: Simd, E: Element>(
    s: S,
    row: &mut [E],
    transform: Transform,
    column: &Column,
) {
    if column.is_without_gradient() {
        row.fill(E::ZERO);
        return;
    }
    let target = column.target_grad(s, transform, row);
    let map = Map::new(s, transform, column);
    if map.short {
        map.update::<true, E>(s, row);
    } else {
        map.update::<false, E>(s, row);
    }
    write_target(row, column.target, target);
}

pub(super) fn write_target<O: Element>(row: &mut [O], target: usize, grad: f32) {
    if let Some(to) = row.get_mut(target) {
        *to = O::from_f32(grad);
    }
}
