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
//!    difference from `d`: the reduction rounds once, by at most 2⁻²⁶;
//! 3. scale and w leave apart: sums of the scales are exact (powers of two), and w, which is smaller
//!    than the sum, carries the only rounding errors;
//! 4. anything below 2^(N−126.5), −inf included, is raised to the point whose exponent field is zero:
//!    its scale is +0 exactly, without a mask, and NaN passes.
//!
//! N is an integer, so choosing another one scales every term by an exact power of two: results do
//! not depend on when a row's large logits turn up.
//!
//! # Numerics
//! q is the minimax fit of degree 4 on |f| ≤ 0.3475 with f32 coefficients (`docs/coefficients.py` makes
//! it): |error of 1 + w| ≤ 3.9e-9 relative, before the roundings of f and w, 2⁻²⁶ each at most, and of
//! one more product where k ≠ 1. `tests/common/bounds.rs` says what they come to in results.

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
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "constants are split into f32 words")]
    pub(crate) fn new(s: S, factor: f64, exponent: i32) -> Self {
        let exponent = exponent.clamp(-ROUND / 8, ROUND / 8);
        let ln2 = LN_2 / factor;
        let high = f32::from_bits((ln2 as f32).to_bits() & 0xffff_f000);
        Self {
            log2e: s.splat((factor * core::f64::consts::LOG2_E) as f32),
            magic: s.splat(f64::from(ROUND + BIAS - exponent) as f32),
            ln2_high: s.splat(high),
            ln2_low: s.splat((ln2 - f64::from(high)) as f32),
            factor: s.splat(factor as f32),
            floor: s.splat((f64::from(exponent - BIAS) * ln2) as f32),
            q: splat_all(s, Q),
        }
    }

    /// (2^(n−N), w) of each lane; `UNIT` where k = 1.
    #[inline(always)]
    pub(crate) fn eval<const UNIT: bool>(&self, s: S, d: S::F) -> (S::F, S::F) {
        let d = s.at_least(self.floor, d);
        let t = s.mul_add(d, self.log2e, self.magic);
        let n = s.sub(t, self.magic);
        let r = s.neg_mul_add(n, self.ln2_high, d);
        let f = s.neg_mul_add(n, self.ln2_low, r);
        let f = if UNIT { f } else { s.mul(f, self.factor) };
        let [q0, q1, q2, q3, q4] = self.q;
        let q = s.mul_add(q4, f, q3);
        let q = s.mul_add(q, f, q2);
        let q = s.mul_add(q, f, q1);
        let q = s.mul_add(q, f, q0);
        let w = s.mul_add(s.mul(f, f), q, f);
        (s.to_exponent(t), w)
    }

    /// d as `eval` sees it: raised to where terms vanish.
    #[inline(always)]
    pub(crate) fn bounded(&self, s: S, d: S::F) -> S::F {
        s.at_least(self.floor, d)
    }
}
