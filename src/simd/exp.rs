//! The exponential that every kernel shares: e^(k·d) / 2^N as a power of two times 1 + w.
//!
//! ```text
//! n = round(k·d / ln 2)        d in row units, k the factor of the logit transform
//! f = k·(d − n·ln2/k)          |f| ≤ ln 2 / 2
//! e^(k·d) / 2^N = 2^(n−N) · (1 + w),   w = e^f − 1 = f + f²·q(f)
//! ```
//!
//! The simple version is `exp(k * d - N * LN_2)`. This one differs in that
//! 1. N costs nothing: it hides in the constant that rounds `k·d/ln 2` to an integer, together with
//!    f32's exponent bias, so the low bits of the rounded sum *are* the exponent field of 2^(n−N);
//! 2. `ln2/k` is two words, the first of 12 bits, so `n · first` is exact for |n| < 2048 and so is its
//!    difference from `d`: the reduction rounds once, by at most 2⁻²⁶. With a multiply-add that rounds
//!    once, and k = 1, one word does: c = ln 2 + 1.9e-9 in f32 leaves `d − n·c` exact, and makes every term
//!    too small by e^(−n·1.9e-9), which is given back to sums and factors (see [`Exp::drift`]);
//! 3. scale and w leave apart: sums of the scales are exact (powers of two), and w, which is smaller
//!    than the sum, carries the only rounding errors;
//! 4. the polynomial is evaluated in pairs (Estrin): as many operations as Horner's rule, a shorter chain;
//! 5. anything below 2^(N−126.5), −inf included, is raised to the point whose exponent field is zero:
//!    its scale is +0 exactly, without a mask, and NaN passes.
//!
//! N is an integer, so choosing another one scales every term by an exact power of two: results do
//! not depend on when a row's large logits turn up.
//!
//! # Numerics
//! q is the minimax fit of degree 4 on |f| ≤ 0.3475 with f32 coefficients (`docs/coefficients.py` makes
//! it): |error of 1 + w| ≤ 3.9e-9 relative, before the roundings of f and w, 2⁻²⁶ each at most, and of
//! one more product where k ≠ 1. `tests/common/bounds.rs` says what they come to in results.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::Simd;

/// q's coefficients, lowest first.
const Q: [f32; 5] = [
    f32::from_bits(0x3eff_fffe), // 0.49999994
    f32::from_bits(0x3e2a_aa48), // 0.1666652
    f32::from_bits(0x3d2a_ac7c), // 0.0416684
    f32::from_bits(0x3c09_1db6), // 0.0083689
    f32::from_bits(0x3ab5_10d5), // 0.00138142
];

/// 1.5 · 2²³: adding it leaves the nearest integer in the low bits.
const ROUND: i32 = 12_582_912;
/// f32's exponent bias.
const BIAS: i32 = 127;
/// Largest |N| at which all |n| stay below 2048, where the reduction is exact.
pub(crate) const MAX_EXPONENT: i32 = 1900;

/// c − ln 2, c = 0x3f317218 the f32 nearest to ln 2: what a one-word reduction misses at every n.
const ONE_WORD: f64 = 1.904_654_299_957_768e-9;
/// Bits of entropy in the terms of a block that fall into one lane: 0 to 5, and low where it matters most,
/// in rows of few large terms.
const LANE_BITS: f64 = 1.5;

/// ln 2.
pub(crate) const LN_2: f64 = core::f64::consts::LN_2;

/// Five coefficients in every lane. Not `map`: closures do not take part in a level's instructions.
#[inline(always)]
pub(super) fn splat_all<S: Simd>(s: S, [a, b, c, d, e]: [f32; 5]) -> [S::F; 5] {
    [s.splat(a), s.splat(b), s.splat(c), s.splat(d), s.splat(e)]
}

/// The constants of one (k, N), in every lane.
pub(crate) struct Exp<S: Simd> {
    log2e: S::F,
    magic: S::F,
    ln2_high: S::F,
    ln2_low: S::F,
    factor: S::F,
    floor: S::F,
    q: [S::F; 5],
}

impl<S: Simd> Exp<S> {
    /// The constants of k and N; `UNIT` where k = 1, of which `split` must hear the same.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "constants are split into f32 words")]
    pub(crate) fn new<const UNIT: bool>(s: S, factor: f64, exponent: i32) -> Self {
        let exponent = exponent.clamp(-ROUND / 8, ROUND / 8);
        let ln2 = LN_2 / factor;
        let high = f32::from_bits((ln2 as f32).to_bits() & 0xffff_f000);
        Self {
            log2e: s.splat((factor * core::f64::consts::LOG2_E) as f32),
            magic: s.splat(f64::from(ROUND + BIAS - exponent) as f32),
            ln2_high: s.splat(if UNIT && S::FUSED { ln2 as f32 } else { high }),
            ln2_low: s.splat((ln2 - f64::from(high)) as f32),
            factor: s.splat(factor as f32),
            floor: s.splat((f64::from(exponent - BIAS) * ln2) as f32),
            q: splat_all(s, Q),
        }
    }

    /// (t, f) of M vectors; `UNIT` where k = 1. [`Simd::to_exponent`] makes 2^(n−N) of a t; t grows with n, as
    /// [`Exp::t_at`] says.
    #[inline(always)]
    pub(crate) fn split<const UNIT: bool, const M: usize>(
        &self,
        s: S,
        mut d: [S::F; M],
    ) -> ([S::F; M], [S::F; M]) {
        for d in &mut d {
            *d = s.at_least(self.floor, *d);
        }
        let mut t = d;
        for t in &mut t {
            *t = s.mul_add(*t, self.log2e, self.magic);
        }
        let mut f = d;
        for i in 0..M {
            let n = s.sub(t[i], self.magic);
            f[i] = s.neg_mul_add(n, self.ln2_high, f[i]);
            if !(UNIT && S::FUSED) {
                f[i] = s.neg_mul_add(n, self.ln2_low, f[i]);
            }
            if !UNIT {
                f[i] = s.mul(f[i], self.factor);
            }
        }
        (t, f)
    }

    /// The t of d, as `split` finds it.
    #[inline(always)]
    pub(crate) fn t_of(&self, s: S, d: S::F) -> S::F {
        s.mul_add(self.bounded(s, d), self.log2e, self.magic)
    }

    /// The t of which n − N = `above`.
    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "below 2^24")]
    pub(crate) const fn t_at(above: i16) -> f32 {
        (ROUND + BIAS + above as i32) as f32
    }

    /// w = e^f − 1 = f + f²·((q0 + q1·f) + f²·((q2 + q3·f) + f²·q4))
    #[inline(always)]
    pub(crate) fn w<const M: usize>(&self, s: S, f: [S::F; M]) -> [S::F; M] {
        let [q0, q1, q2, q3, q4] = self.q;
        let mut w = f;
        for w in &mut w {
            let f = *w;
            let f2 = s.mul(f, f);
            let low = s.mul_add(q1, f, q0);
            let high = s.mul_add(f2, q4, s.mul_add(q3, f, q2));
            *w = s.mul_add(f2, s.mul_add(high, f2, low), f);
        }
        w
    }

    /// By what factor a term near 2^exponent is too small, less 1.
    #[inline(always)]
    pub(crate) fn drift<const UNIT: bool>(exponent: i32) -> f64 {
        if UNIT && S::FUSED { f64::from(exponent) * ONE_WORD } else { 0.0 }
    }

    /// The mantissas of a lane's terms, given back what these miss beyond the drift at N.
    ///
    /// A term misses (n − N)·1.9e-9 of itself. Their weighted mean n − N lies H below the binary logarithm of
    /// their sum, H the entropy of the 32 terms in bits, 0 to 5: taken as 1.5, so log Z is within 6.7e-9, and
    /// within 2.9e-9 where few terms lead.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "constants are rounded to f32 lanes")]
    pub(crate) fn restored<const UNIT: bool>(s: S, scales: S::F, mantissas: S::F) -> S::F {
        if !(UNIT && S::FUSED) {
            return mantissas;
        }
        // A float's bits, as a number, are its logarithm: 2²³·(log2 x + 127), within 0.09 · 2²³.
        let per_bit = s.splat((ONE_WORD / f64::from(1 << 23)) as f32);
        let at_zero = s.splat(((f64::from(-BIAS) - LANE_BITS) * ONE_WORD) as f32);
        let missing = s.mul_add(s.bits_as_number(scales), per_bit, at_zero);
        s.mul_add(scales, missing, mantissas)
    }

    /// d as `split` sees it: raised to where terms vanish.
    #[inline(always)]
    pub(crate) fn bounded(&self, s: S, d: S::F) -> S::F {
        s.at_least(self.floor, d)
    }

    /// The coefficients of c·e^f in powers of f from 1 on; that of f⁰ is that of f.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "each is rounded once")]
    pub(crate) fn powers(s: S, c: f64) -> [S::F; 6] {
        let q = Q.map(|q| (c * f64::from(q)) as f32);
        let ([q0, q1, q2, q3, q4], first) = (splat_all(s, q), s.splat(c as f32));
        [first, q0, q1, q2, q3, q4]
    }
}
