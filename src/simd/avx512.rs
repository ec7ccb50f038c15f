//! x86 with AVX-512 F, BW, DQ and VL: one register a vector.

#![allow(unsafe_code, reason = "intrinsics of a level that the token proves")]
#![allow(unused_unsafe, reason = "calls of `op!` nest")]
#![allow(clippy::cast_ptr_alignment, reason = "the loads and stores are unaligned ones")]
#![allow(clippy::unused_self, reason = "`self` is the proof that the instructions exist")]

#[cfg(target_arch = "x86")]
use core::arch::x86 as arch;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as arch;

use super::{Kernel, LANES, Simd};
use arch::{__m256i, __m512, __m512d, __m512i};
use half::{bf16, f16};

/// Proof that AVX-512 F, BW, DQ, VL, FMA and F16C exist here; made by [`run`] only.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const FUSED: bool>(());

/// Enters the level.
///
/// # Safety
/// The machine has AVX-512 F, BW, DQ and VL, FMA and F16C (see `Level::is_present`).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) unsafe fn run<const FUSED: bool, K: Kernel>(kernel: K) -> K::Output {
    core::hint::black_box(&mut super::CacheLine([0; 64]));
    kernel.run(Avx512::<FUSED>(()))
}

/// Calls an intrinsic of the level.
macro_rules! op {
    ($($call:tt)*) => {
        // SAFETY: the token at hand was made inside `run`, whose caller proved the level's
        // features; pointers, if any, come from arrays of exactly the elements accessed.
        unsafe { arch::$($call)* }
    };
}

impl<const FUSED: bool> Avx512<FUSED> {
    /// Lanes 0 to 7 in f64.
    #[inline(always)]
    fn lower(self, v: __m512) -> __m512d {
        op!(_mm512_cvtps_pd(op!(_mm512_castps512_ps256(v))))
    }

    /// Lanes 8 to 15 in f64.
    #[inline(always)]
    fn upper(self, v: __m512) -> __m512d {
        op!(_mm512_cvtps_pd(op!(_mm512_extractf32x8_ps::<1>(v))))
    }

    /// Four lanes from each of four places.
    #[inline(always)]
    fn quarters(self, [a, b, c, d]: [&[f32; 4]; 4]) -> __m512 {
        let (b, c) = (op!(_mm_loadu_ps(b.as_ptr())), op!(_mm_loadu_ps(c.as_ptr())));
        let one = op!(_mm512_castps128_ps512(op!(_mm_loadu_ps(a.as_ptr()))));
        let three = op!(_mm512_insertf32x4::<2>(op!(_mm512_insertf32x4::<1>(one, b)), c));
        op!(_mm512_insertf32x4::<3>(three, op!(_mm_loadu_ps(d.as_ptr()))))
    }

    /// The bits of bf16 in the lower halves. A NaN that drops no bits stays what it is.
    #[inline(always)]
    fn rounded_bf16(self, a: __m512) -> __m512i {
        let bits = op!(_mm512_castps_si512(a));
        let high = op!(_mm512_srli_epi32::<16>(bits));
        let odd = op!(_mm512_and_si512(high, op!(_mm512_set1_epi32(1))));
        let half = op!(_mm512_add_epi32(odd, op!(_mm512_set1_epi32(0x7fff))));
        op!(_mm512_srli_epi32::<16>(op!(_mm512_add_epi32(bits, half))))
    }
}

impl<const FUSED: bool> Simd for Avx512<FUSED> {
    all_at_once!();

    type F = __m512;
    const FUSED: bool = FUSED;
    const SMALL: bool = false;
    const PRODUCT: (usize, usize) = (12, 2);

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        op!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load_f32(self, x: &[f32; LANES]) -> __m512 {
        op!(_mm512_loadu_ps(x.as_ptr()))
    }

    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> __m512 {
        op!(_mm512_cvtph_ps(op!(_mm256_loadu_si256(x.as_ptr().cast::<__m256i>()))))
    }

    #[inline(always)]
    fn load_bf16(self, x: &[bf16; LANES]) -> __m512 {
        let h = op!(_mm256_loadu_si256(x.as_ptr().cast::<__m256i>()));
        op!(_mm512_castsi512_ps(op!(_mm512_slli_epi32::<16>(op!(_mm512_cvtepu16_epi32(h))))))
    }

    #[inline(always)]
    fn store_f32(self, a: __m512, out: &mut [f32; LANES]) {
        op!(_mm512_storeu_ps(out.as_mut_ptr(), a));
    }

    #[inline(always)]
    fn columns(self, rows: [&[f32; 4]; LANES]) -> [__m512; 4] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = rows;
        // A quarter of each register is a square of its own.
        let (a, b) = (self.quarters([a, e, i, m]), self.quarters([b, f, j, n]));
        let (c, d) = (self.quarters([c, g, k, o]), self.quarters([d, h, l, p]));
        let (ab, cd) = (op!(_mm512_unpacklo_ps(a, b)), op!(_mm512_unpacklo_ps(c, d)));
        let (ab, cd) = (op!(_mm512_castps_pd(ab)), op!(_mm512_castps_pd(cd)));
        let first = op!(_mm512_castpd_ps(op!(_mm512_unpacklo_pd(ab, cd))));
        let second = op!(_mm512_castpd_ps(op!(_mm512_unpackhi_pd(ab, cd))));
        let (ab, cd) = (op!(_mm512_unpackhi_ps(a, b)), op!(_mm512_unpackhi_ps(c, d)));
        let (ab, cd) = (op!(_mm512_castps_pd(ab)), op!(_mm512_castps_pd(cd)));
        let third = op!(_mm512_castpd_ps(op!(_mm512_unpacklo_pd(ab, cd))));
        [first, second, third, op!(_mm512_castpd_ps(op!(_mm512_unpackhi_pd(ab, cd))))]
    }

    #[inline(always)]
    fn store_f16(self, a: __m512, out: &mut [f16; LANES]) {
        let h = op!(_mm512_cvtps_ph::<0>(a));
        op!(_mm256_storeu_si256(out.as_mut_ptr().cast::<__m256i>(), h));
    }

    #[inline(always)]
    fn store_bf16(self, a: __m512, out: &mut [bf16; LANES]) {
        let high = op!(_mm512_srli_epi32::<16>(op!(_mm512_castps_si512(a))));
        let quiet = op!(_mm512_or_si512(high, op!(_mm512_set1_epi32(0x40))));
        let nan = op!(_mm512_cmp_ps_mask::<{ arch::_CMP_UNORD_Q }>(a, a));
        let kept = op!(_mm512_mask_blend_epi32(nan, self.rounded_bf16(a), quiet));
        let h = op!(_mm512_cvtepi32_epi16(kept));
        op!(_mm256_storeu_si256(out.as_mut_ptr().cast::<__m256i>(), h));
    }

    #[inline(always)]
    fn store_bf16_mixed(self, a: __m512, out: &mut [bf16; LANES]) {
        let h = op!(_mm512_cvtepi32_epi16(self.rounded_bf16(a)));
        op!(_mm256_storeu_si256(out.as_mut_ptr().cast::<__m256i>(), h));
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        op!(_mm512_abs_ps(a))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        if FUSED { op!(_mm512_fmadd_ps(a, b, c)) } else { self.add(self.mul(a, b), c) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        if FUSED { op!(_mm512_fnmadd_ps(a, b, c)) } else { self.sub(c, self.mul(a, b)) }
    }

    #[inline(always)]
    fn at_least(self, bound: __m512, x: __m512) -> __m512 {
        // `maxps` returns its second operand where either is NaN.
        op!(_mm512_max_ps(bound, x))
    }

    #[inline(always)]
    fn max(self, acc: __m512, x: __m512) -> __m512 {
        op!(_mm512_max_ps(x, acc))
    }

    #[inline(always)]
    fn max_positive(self, acc: __m512, x: __m512) -> __m512 {
        let (acc, x) = (op!(_mm512_castps_si512(acc)), op!(_mm512_castps_si512(x)));
        op!(_mm512_castsi512_ps(op!(_mm512_max_epi32(acc, x))))
    }

    #[inline(always)]
    fn select_lt(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        let m = op!(_mm512_cmp_ps_mask::<{ arch::_CMP_LT_OQ }>(a, b));
        op!(_mm512_mask_blend_ps(m, y, x))
    }

    #[inline(always)]
    fn any_gt(self, a: __m512, b: __m512) -> bool {
        op!(_mm512_cmp_ps_mask::<{ arch::_CMP_GT_OQ }>(a, b)) != 0
    }

    #[inline(always)]
    fn to_exponent(self, a: __m512) -> __m512 {
        op!(_mm512_castsi512_ps(op!(_mm512_slli_epi32::<23>(op!(_mm512_castps_si512(a))))))
    }

    #[inline(always)]
    fn bits_as_number(self, a: __m512) -> __m512 {
        op!(_mm512_cvtepi32_ps(op!(_mm512_castps_si512(a))))
    }

    #[inline(always)]
    fn largest(self, a: __m512) -> f32 {
        let eight = op!(_mm512_extractf32x8_ps::<1>(a));
        let eight = op!(_mm256_max_ps(op!(_mm512_castps512_ps256(a)), eight));
        let four = op!(_mm256_extractf128_ps::<1>(eight));
        let four = op!(_mm_max_ps(op!(_mm256_castps256_ps128(eight)), four));
        let two = op!(_mm_max_ps(four, op!(_mm_movehl_ps(four, four))));
        op!(_mm_cvtss_f32(op!(_mm_max_ss(two, op!(_mm_movehdup_ps(two))))))
    }

    #[inline(always)]
    fn sum_f64(self, &a: &__m512, &b: &__m512) -> f64 {
        let d0 = op!(_mm512_add_pd(self.lower(a), self.lower(b)));
        let d8 = op!(_mm512_add_pd(self.upper(a), self.upper(b)));
        let e = op!(_mm512_add_pd(d0, d8));
        let high = op!(_mm512_extractf64x4_pd::<1>(e));
        let f = op!(_mm256_add_pd(op!(_mm512_castpd512_pd256(e)), high));
        let high = op!(_mm256_extractf128_pd::<1>(f));
        let g = op!(_mm_add_pd(op!(_mm256_castpd256_pd128(f)), high));
        op!(_mm_cvtsd_f64(op!(_mm_add_sd(g, op!(_mm_unpackhi_pd(g, g))))))
    }
}
