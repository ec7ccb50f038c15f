//! The hyperbolic tangent of the softcap, and its derivative.
//!
//! ```text
//! tanh u  = u + u³·p(u²)                 |u| < 0.55
//!         = ±(1 − e)/(1 + e)             elsewhere, e = exp(−2|u|)
//! 1 − tanh² u = 4e/(1 + e)²
//! ```
//!
//! The derivative is computed from e. As 1 − tanh² it would lose all digits where tanh is close to
//! ±1.
//!
//! # Numerics
//! p is the minimax fit of degree 4 in u² on |u| ≤ 0.56, relative error 4.9e-9 before roundings.
//! `docs/coefficients.py` makes it. Division is IEEE-754's, as reproducible as + − ×.

use super::Simd;
use super::exp::{Exp, splat_all};

/// p's coefficients, lowest first.
const P: [f32; 5] = [
    f32::from_bits(0xbeaa_aaa4), // −0.33333313
    f32::from_bits(0x3e08_864c), // 0.1333248
    f32::from_bits(0xbd5c_87e0), // −0.05384052
    f32::from_bits(0x3cac_334d), // 0.02102056
    f32::from_bits(0xbbcb_1eb1), // −0.00619873
];

/// The polynomial is used below it, where (1 − e)/(1 + e) cancels.
const SMALL: f32 = 0.55;

/// tanh of each lane.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, u: S::F) -> S::F {
    let a = s.abs(u);
    let e = exp_of_minus_twice(s, a);
    let one = s.splat(1.0);
    let large = s.div(s.sub(one, e), s.add(one, e));
    let signed = s.select_lt(u, s.splat(0.0), s.sub(s.splat(0.0), large), large);
    let u2 = s.mul(u, u);
    let [p0, p1, p2, p3, p4] = splat_all(s, P);
    let p = s.mul_add(p4, u2, p3);
    let p = s.mul_add(p, u2, p2);
    let p = s.mul_add(p, u2, p1);
    let p = s.mul_add(p, u2, p0);
    let small = s.mul_add(s.mul(u, u2), p, u);
    s.select_lt(a, s.splat(SMALL), small, signed)
}

/// 1 − tanh² of each lane.
#[inline(always)]
pub(crate) fn tanh_slope<S: Simd>(s: S, u: S::F) -> S::F {
    let e = exp_of_minus_twice(s, s.abs(u));
    let d = s.add(s.splat(1.0), e);
    s.div(s.mul(s.splat(4.0), e), s.mul(d, d))
}

#[inline(always)]
fn exp_of_minus_twice<S: Simd>(s: S, a: S::F) -> S::F {
    let exp = Exp::new(s, 1.0, 0, false);
    let mut w = [s.mul(a, s.splat(-2.0))];
    let [t] = exp.split::<false, 1>(s, &mut w);
    exp.w(s, &mut w);
    let ([w], scale) = (w, s.to_exponent(t));
    s.mul_add(w, scale, scale)
}
