//! The exponential that every kernel shares: e^(k·d) / 2^N as a power of two times 1 + w.
//!
//! ```text
//! n = round(k·d / ln 2)        d a difference of values v, k the factor of the logit transform
//! f = k·(d − n·ln2/k)          |f| ≤ ln 2 / 2
//! e^(k·d) / 2^N = 2^(n−N) · (1 + w),   w = e^f − 1 = f + f²·q(f)
//! ```
//!
//! The simple version is `exp(k * d - N * LN_2)`. This one differs in that
//! 1. N costs nothing: it is part of the constant that rounds `k·d/ln 2` to an integer, and so is
//!    f32's exponent bias. The low bits of the rounded sum, called t, *are* the exponent field of
//!    2^(n−N);
//! 2. `ln2/k` is two words, the first of 12 bits, so `n · first` is exact for |n| < 2048 and so is
//!    its difference from `d`: the reduction rounds once, by at most 2⁻²⁶. With a multiply-add that
//!    rounds once, and k = 1, one word is enough: c = ln 2 + 1.9e-9 in f32 leaves `d − n·c` exact,
//!    and makes every term too small by e^(−n·1.9e-9). Sums and factors are corrected for that
//!    ([`Exp::drift`], [`Exp::restored`]);
//! 3. scale and w are returned separately. Sums of scales, which are powers of two, are exact; w is
//!    smaller than the scale, and the only part with rounding errors;
//! 4. the polynomial is evaluated in pairs (Estrin): as many operations as Horner's rule, a shorter
//!    chain;
//! 5. d is raised to the value whose exponent field is 0 where e^(k·d) is below 2^(N−126.5), −inf
//!    included: the scale is then exactly +0, without a mask. NaN passes.
//!
//! N is an integer, so another N scales every term by an exact power of two: results do not depend
//! on where in a row its large logits are.
//!
//! # Numerics
//! q is the minimax fit of degree 4 on |f| ≤ 0.3475 with f32 coefficients (`docs/coefficients.py`
//! makes it): |error of 1 + w| ≤ 3.9e-9 relative, before the roundings of f and w, 2⁻²⁶ each at
//! most, and of one more product where k ≠ 1. `src/verify/bounds.rs` says what they come to in
//! results.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use core::hint::black_box;

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
pub(crate) const BIAS: i32 = 127;
/// Largest |N| at which all |n| stay below 2048, where the reduction is exact.
pub(crate) const MAX_EXPONENT: i32 = 1900;

/// c − ln 2, c = 0x3f317218 the f32 nearest to ln 2: the error of a one-word reduction, a multiple
/// of n.
const ONE_WORD: f64 = 1.904_654_299_957_768e-9;
/// The entropy that is assumed of the 32 terms of a lane, in bits. It can be 0 to 5, and is low in
/// rows of few large terms, where the correction matters most.
const LANE_BITS: f64 = 1.5;

/// ln 2.
pub(crate) const LN_2: f64 = core::f64::consts::LN_2;

/// Five coefficients in every lane. Not `map`: a closure is not compiled for the level's
/// instructions.
#[inline(always)]
pub(super) fn splat_all<S: Simd>(s: S, [a, b, c, d, e]: [f32; 5]) -> [S::F; 5] {
    [s.splat(a), s.splat(b), s.splat(c), s.splat(d), s.splat(e)]
}

/// The factor that corrects terms near 2^exponent for the one-word reduction, less 1.
pub(crate) fn drift(exponent: f64) -> f64 {
    exponent * ONE_WORD
}

/// The t of [`Exp::split`] where n − N = `above`.
#[inline(always)]
#[allow(clippy::cast_precision_loss, reason = "below 2^24")]
pub(crate) const fn t_at(above: i32) -> f32 {
    (ROUND + BIAS + above) as f32
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
    /// Whether k = 1 and no shift is taken off.
    unit: bool,
}

/// The constants of [`Exp`] that k and N change.
struct Words {
    log2e: f32,
    magic: f32,
    ln2_high: f32,
    ln2_low: f32,
    factor: f32,
    floor: f32,
}

impl Words {
    /// Not inlined where code is scarce: both sweeps over a row have them.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    #[cfg_attr(not(target_pointer_width = "32"), inline(always))]
    #[allow(clippy::cast_possible_truncation, reason = "constants are split into f32 words")]
    fn new(factor: f64, exponent: i32, one_word: bool) -> Self {
        let exponent = exponent.clamp(-ROUND / 8, ROUND / 8);
        let ln2 = LN_2 / factor;
        let nearest = ln2 as f32;
        let high = f32::from_bits(nearest.to_bits() & 0xffff_f000);
        Self {
            log2e: (factor * core::f64::consts::LOG2_E) as f32,
            magic: f64::from(ROUND + BIAS - exponent) as f32,
            ln2_high: if one_word { nearest } else { high },
            ln2_low: if one_word { 0.0 } else { (ln2 - f64::from(high)) as f32 },
            factor: factor as f32,
            floor: (f64::from(exponent - BIAS) * ln2) as f32,
        }
    }
}

impl<S: Simd> Exp<S> {
    /// The constants of k and N. `unit` where y = x: k = 1, and no shift is taken off. A kernel of
    /// such rows alone says so to `split` too, which then leaves out what changes nothing.
    #[inline(always)]
    pub(crate) fn new(s: S, factor: f64, exponent: i32, unit: bool) -> Self {
        let words = Words::new(factor, exponent, unit && S::FUSED);
        Self {
            log2e: s.splat(words.log2e),
            magic: s.splat(words.magic),
            ln2_high: s.splat(words.ln2_high),
            ln2_low: s.splat(words.ln2_low),
            factor: s.splat(words.factor),
            floor: s.splat(words.floor),
            q: splat_all(s, Q),
            unit,
        }
    }

    /// Whether y = x, as far as that is worth a branch: one lane costs more than the branch.
    #[inline(always)]
    pub(crate) fn is_unit<const UNIT: bool>(&self) -> bool {
        UNIT || (S::SMALL && self.unit)
    }

    /// t of M vectors d, and f in their place; `UNIT` where y = x. [`Simd::to_exponent`] turns t
    /// into 2^(n−N); t grows with n ([`t_at`]).
    #[inline(always)]
    pub(crate) fn split<const UNIT: bool, const M: usize>(
        &self,
        s: S,
        f: &mut [S::F; M],
    ) -> [S::F; M] {
        for f in &mut *f {
            *f = s.at_least(self.floor, *f);
        }
        let mut t = *f;
        for t in &mut t {
            *t = s.mul_add(*t, self.log2e, s.addend(&self.magic));
        }
        for i in 0..M {
            let n = s.sub(t[i], self.magic);
            f[i] = s.neg_mul_add(n, self.ln2_high, f[i]);
            if !S::FUSED || !(UNIT || S::SMALL) {
                f[i] = s.neg_mul_add(n, self.ln2_low, f[i]);
            }
            if !(UNIT || S::SMALL) {
                f[i] = s.mul(f[i], self.factor);
            }
        }
        // One branch for M lanes. Other levels have none, and no registers to keep n in.
        if S::SMALL && !self.is_unit::<UNIT>() {
            // Where a product is a call, the compiler would make it ahead of the branch.
            let factor = black_box(self.factor);
            for i in 0..M {
                if S::FUSED {
                    f[i] = s.neg_mul_add(s.sub(t[i], self.magic), self.ln2_low, f[i]);
                }
                f[i] = s.mul(f[i], factor);
            }
        }
        t
    }

    /// In place of f, w = e^f − 1 = f + f²·((q0 + q1·f) + f²·((q2 + q3·f) + f²·q4))
    #[inline(always)]
    pub(crate) fn w<const M: usize>(&self, s: S, f: &mut [S::F; M]) {
        let [q0, q1, q2, q3, q4] = &self.q;
        for w in f {
            let f = *w;
            let f2 = s.mul(f, f);
            let low = s.mul_add(*q1, f, s.addend(q0));
            let high = s.mul_add(f2, *q4, s.mul_add(*q3, f, s.addend(q2)));
            *w = s.mul_add(f2, s.mul_add(high, f2, low), f);
        }
    }

    /// [`drift`], where the reduction is by one word.
    #[inline(always)]
    pub(crate) fn drift(unit: bool, exponent: f64) -> f64 {
        if unit && S::FUSED { drift(exponent) } else { 0.0 }
    }

    /// The mantissas of a lane's terms, corrected for what the one-word reduction loses beyond the
    /// drift at N: that is a factor on sums in f64, while here f32 rounds.
    ///
    /// A term is too small by the share (n − N)·1.9e-9. The mean of n − N, weighted by the terms,
    /// is the binary logarithm of their sum less H, the entropy of the 32 terms in bits, which is 0
    /// to 5. H is taken as 1.5: log Z is then within 6.7e-9, and within 2.9e-9 where few terms are
    /// large.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "constants are rounded to f32 lanes")]
    pub(crate) fn restored(unit: bool, s: S, scales: S::F, mantissas: S::F) -> S::F {
        if !(unit && S::FUSED) {
            return mantissas;
        }
        // The bits of a float, read as an integer, are close to its logarithm: 2²³·(log2 x + 127),
        // within 0.09 · 2²³.
        let per_bit = s.splat((ONE_WORD / f64::from(1 << 23)) as f32);
        let at_zero = s.splat(((f64::from(-BIAS) - LANE_BITS) * ONE_WORD) as f32);
        let missing = s.mul_add(s.bits_as_number(scales), per_bit, at_zero);
        s.mul_add(scales, missing, mantissas)
    }

    /// d, raised to the value where terms are 0, as in `split`.
    #[inline(always)]
    pub(crate) fn bounded(&self, s: S, d: S::F) -> S::F {
        s.at_least(self.floor, d)
    }

    /// The coefficients of c·e^f for the powers of f from f¹ on. The coefficient of f⁰ is that of
    /// f¹.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "each is rounded once")]
    pub(crate) fn powers(s: S, c: f64) -> [S::F; 6] {
        let q = Q.map(|q| (c * f64::from(q)) as f32);
        let ([q0, q1, q2, q3, q4], first) = (splat_all(s, q), s.splat(c as f32));
        [first, q0, q1, q2, q3, q4]
    }
}
