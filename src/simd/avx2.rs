//! x86 with AVX2, FMA and F16C: two registers a vector.

#![allow(unsafe_code, reason = "intrinsics of a level that the token proves")]
#![allow(unused_unsafe, reason = "calls of `op!` nest")]
#![allow(clippy::cast_ptr_alignment, reason = "the loads and stores are unaligned ones")]
#![allow(clippy::unused_self, reason = "`self` is the proof that the instructions exist")]

#[cfg(target_arch = "x86")]
use core::arch::x86 as arch;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as arch;

use super::{Kernel, LANES, Simd};
use arch::{__m128i, __m256, __m256d, __m256i};
use half::{bf16, f16};

/// Proof that AVX2, FMA and F16C exist here; made by [`run`] only.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const FUSED: bool>(());

/// Enters the level.
///
/// # Safety
/// The machine has AVX2, FMA and F16C (see `Level::is_present`).
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<const FUSED: bool, K: Kernel>(kernel: K) -> K::Output {
    core::hint::black_box(&mut super::CacheLine([0; 64]));
    kernel.run(Avx2::<FUSED>(()))
}

/// Calls an intrinsic of the level.
macro_rules! op {
    ($($call:tt)*) => {
        // SAFETY: the token at hand was made inside `run`, whose caller proved avx2, fma and f16c;
        // pointers, if any, come from arrays of exactly the elements accessed.
        unsafe { arch::$($call)* }
    };
}

/// One instruction on both halves.
macro_rules! both {
    ($f:ident, $($a:ident),+) => { (op!($f($($a.0),+)), op!($f($($a.1),+))) };
}

impl<const FUSED: bool> Avx2<FUSED> {
    /// Lanes 0 to 3 in f64.
    #[inline(always)]
    fn lower(self, v: __m256) -> __m256d {
        op!(_mm256_cvtps_pd(op!(_mm256_castps256_ps128(v))))
    }

    /// Lanes 4 to 7 in f64.
    #[inline(always)]
    fn upper(self, v: __m256) -> __m256d {
        op!(_mm256_cvtps_pd(op!(_mm256_extractf128_ps::<1>(v))))
    }

    /// The order of lanes in memory, from columns of even and of odd number.
    #[inline(always)]
    fn ordered(self, (even, odd): (__m256, __m256)) -> (__m256, __m256) {
        let low = op!(_mm256_unpacklo_ps(even, odd));
        let high = op!(_mm256_unpackhi_ps(even, odd));
        let lower = op!(_mm256_permute2f128_ps::<0x20>(low, high));
        (lower, op!(_mm256_permute2f128_ps::<0x31>(low, high)))
    }

    /// Four lanes from each of two places.
    #[inline(always)]
    fn halves(self, a: &[f32; 4], b: &[f32; 4]) -> __m256 {
        let low = op!(_mm256_castps128_ps256(op!(_mm_loadu_ps(a.as_ptr()))));
        op!(_mm256_insertf128_ps::<1>(low, op!(_mm_loadu_ps(b.as_ptr()))))
    }

    /// Four columns of eight rows.
    #[inline(always)]
    fn eight_rows(self, rows: [&[f32; 4]; 8]) -> [__m256; 4] {
        let [a, b, c, d, e, f, g, h] = rows;
        // A half of each register is a square of its own.
        let (a, b) = (self.halves(a, e), self.halves(b, f));
        let (c, d) = (self.halves(c, g), self.halves(d, h));
        let (ab, cd) = (op!(_mm256_unpacklo_ps(a, b)), op!(_mm256_unpacklo_ps(c, d)));
        let (ab, cd) = (op!(_mm256_castps_pd(ab)), op!(_mm256_castps_pd(cd)));
        let first = op!(_mm256_castpd_ps(op!(_mm256_unpacklo_pd(ab, cd))));
        let second = op!(_mm256_castpd_ps(op!(_mm256_unpackhi_pd(ab, cd))));
        let (ab, cd) = (op!(_mm256_unpackhi_ps(a, b)), op!(_mm256_unpackhi_ps(c, d)));
        let (ab, cd) = (op!(_mm256_castps_pd(ab)), op!(_mm256_castps_pd(cd)));
        let third = op!(_mm256_castpd_ps(op!(_mm256_unpacklo_pd(ab, cd))));
        [first, second, third, op!(_mm256_castpd_ps(op!(_mm256_unpackhi_pd(ab, cd))))]
    }

    /// bf16 in the upper halves, what it drops in the lower ones. A NaN whose lower half is 0 stays
    /// what it is.
    #[inline(always)]
    fn rounded_bf16(self, a: __m256) -> __m256i {
        let bits = op!(_mm256_castps_si256(a));
        let high = op!(_mm256_srli_epi32::<16>(bits));
        let odd = op!(_mm256_and_si256(high, op!(_mm256_set1_epi32(1))));
        let half = op!(_mm256_add_epi32(odd, op!(_mm256_set1_epi32(0x7fff))));
        op!(_mm256_add_epi32(bits, half))
    }

    #[inline(always)]
    fn narrow_bf16(self, a: __m256) -> __m256i {
        let high = op!(_mm256_srli_epi32::<16>(op!(_mm256_castps_si256(a))));
        let rounded = op!(_mm256_srli_epi32::<16>(self.rounded_bf16(a)));
        let quiet = op!(_mm256_or_si256(high, op!(_mm256_set1_epi32(0x40))));
        let nan = op!(_mm256_castps_si256(op!(_mm256_cmp_ps::<{ arch::_CMP_UNORD_Q }>(a, a))));
        op!(_mm256_blendv_epi8(rounded, quiet, nan))
    }
}

impl<const FUSED: bool> Simd for Avx2<FUSED> {
    all_at_once!();

    type F = (__m256, __m256);
    const FUSED: bool = FUSED;
    const SMALL: bool = false;
    const PRODUCT: (usize, usize) = (6, 1);

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        let v = op!(_mm256_set1_ps(x));
        (v, v)
    }

    #[inline(always)]
    fn load_f32(self, x: &[f32; LANES]) -> Self::F {
        let p = x.as_ptr();
        (op!(_mm256_loadu_ps(p)), op!(_mm256_loadu_ps(p.wrapping_add(8))))
    }

    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> Self::F {
        let p = x.as_ptr().cast::<__m128i>();
        let low = op!(_mm_loadu_si128(p));
        let high = op!(_mm_loadu_si128(p.wrapping_add(1)));
        (op!(_mm256_cvtph_ps(low)), op!(_mm256_cvtph_ps(high)))
    }

    #[inline(always)]
    fn load_bf16(self, x: &[bf16; LANES]) -> Self::F {
        let p = x.as_ptr().cast::<__m128i>();
        let low = op!(_mm256_cvtepu16_epi32(op!(_mm_loadu_si128(p))));
        let high = op!(_mm256_cvtepu16_epi32(op!(_mm_loadu_si128(p.wrapping_add(1)))));
        (
            op!(_mm256_castsi256_ps(op!(_mm256_slli_epi32::<16>(low)))),
            op!(_mm256_castsi256_ps(op!(_mm256_slli_epi32::<16>(high)))),
        )
    }

    #[inline(always)]
    fn store_f32(self, a: Self::F, out: &mut [f32; LANES]) {
        let p = out.as_mut_ptr();
        op!(_mm256_storeu_ps(p, a.0));
        op!(_mm256_storeu_ps(p.wrapping_add(8), a.1));
    }

    #[inline(always)]
    fn columns(self, rows: [&[f32; 4]; LANES]) -> [Self::F; 4] {
        let [a, b, c, d, e, f, g, h, lower @ ..] = rows;
        let low = self.eight_rows([a, b, c, d, e, f, g, h]);
        let high = self.eight_rows(lower);
        let ([a, b, c, d], [e, f, g, h]) = (low, high);
        [(a, e), (b, f), (c, g), (d, h)]
    }

    #[inline(always)]
    fn store_f16(self, a: Self::F, out: &mut [f16; LANES]) {
        let p = out.as_mut_ptr().cast::<__m128i>();
        op!(_mm_storeu_si128(p, op!(_mm256_cvtps_ph::<0>(a.0))));
        op!(_mm_storeu_si128(p.wrapping_add(1), op!(_mm256_cvtps_ph::<0>(a.1))));
    }

    #[inline(always)]
    fn store_bf16(self, a: Self::F, out: &mut [bf16; LANES]) {
        // The pack works within each 128-bit half; the permutation restores the order.
        let packed = op!(_mm256_packus_epi32(self.narrow_bf16(a.0), self.narrow_bf16(a.1)));
        let ordered = op!(_mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        op!(_mm256_storeu_si256(out.as_mut_ptr().cast::<__m256i>(), ordered));
    }

    /// Columns of even number in the lower register, those of odd number in the upper one: half of
    /// the shuffles.
    #[inline(always)]
    fn load_bf16_mixed(self, x: &[bf16; LANES]) -> Self::F {
        let pairs = op!(_mm256_loadu_si256(x.as_ptr().cast::<__m256i>()));
        let even = op!(_mm256_slli_epi32::<16>(pairs));
        let odd = op!(_mm256_and_si256(pairs, op!(_mm256_set1_epi32(-0x1_0000))));
        (op!(_mm256_castsi256_ps(even)), op!(_mm256_castsi256_ps(odd)))
    }

    #[inline(always)]
    fn store_bf16_mixed(self, a: Self::F, out: &mut [bf16; LANES]) {
        let even = op!(_mm256_srli_epi32::<16>(self.rounded_bf16(a.0)));
        let pairs = op!(_mm256_blend_epi16::<0b1010_1010>(even, self.rounded_bf16(a.1)));
        op!(_mm256_storeu_si256(out.as_mut_ptr().cast::<__m256i>(), pairs));
    }

    #[inline(always)]
    fn sum_bf16_mixed(self, &a: &Self::F, &b: &Self::F) -> f64 {
        self.sum_f64(&self.ordered(a), &self.ordered(b))
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_add_ps, a, b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_sub_ps, a, b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_mul_ps, a, b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm256_div_ps, a, b)
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        let sign = self.splat(-0.0);
        both!(_mm256_andnot_ps, sign, a)
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        if FUSED { both!(_mm256_fmadd_ps, a, b, c) } else { self.add(self.mul(a, b), c) }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        if FUSED { both!(_mm256_fnmadd_ps, a, b, c) } else { self.sub(c, self.mul(a, b)) }
    }

    #[inline(always)]
    fn at_least(self, bound: Self::F, x: Self::F) -> Self::F {
        // `maxps` returns its second operand where either is NaN.
        both!(_mm256_max_ps, bound, x)
    }

    #[inline(always)]
    fn max(self, acc: Self::F, x: Self::F) -> Self::F {
        both!(_mm256_max_ps, x, acc)
    }

    #[inline(always)]
    fn max_positive(self, acc: Self::F, x: Self::F) -> Self::F {
        let (acc, x) = (both!(_mm256_castps_si256, acc), both!(_mm256_castps_si256, x));
        let top = both!(_mm256_max_epi32, acc, x);
        both!(_mm256_castsi256_ps, top)
    }

    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        let m = (
            op!(_mm256_cmp_ps::<{ arch::_CMP_LT_OQ }>(a.0, b.0)),
            op!(_mm256_cmp_ps::<{ arch::_CMP_LT_OQ }>(a.1, b.1)),
        );
        both!(_mm256_blendv_ps, y, x, m)
    }

    #[inline(always)]
    fn any_gt(self, a: Self::F, b: Self::F) -> bool {
        let low = op!(_mm256_cmp_ps::<{ arch::_CMP_GT_OQ }>(a.0, b.0));
        let high = op!(_mm256_cmp_ps::<{ arch::_CMP_GT_OQ }>(a.1, b.1));
        op!(_mm256_movemask_ps(op!(_mm256_or_ps(low, high)))) != 0
    }

    #[inline(always)]
    fn to_exponent(self, a: Self::F) -> Self::F {
        let low = op!(_mm256_slli_epi32::<23>(op!(_mm256_castps_si256(a.0))));
        let high = op!(_mm256_slli_epi32::<23>(op!(_mm256_castps_si256(a.1))));
        (op!(_mm256_castsi256_ps(low)), op!(_mm256_castsi256_ps(high)))
    }

    #[inline(always)]
    fn bits_as_number(self, a: Self::F) -> Self::F {
        let low = op!(_mm256_cvtepi32_ps(op!(_mm256_castps_si256(a.0))));
        (low, op!(_mm256_cvtepi32_ps(op!(_mm256_castps_si256(a.1)))))
    }

    #[inline(always)]
    fn largest(self, a: Self::F) -> f32 {
        let eight = op!(_mm256_max_ps(a.0, a.1));
        let four = op!(_mm256_extractf128_ps::<1>(eight));
        let four = op!(_mm_max_ps(op!(_mm256_castps256_ps128(eight)), four));
        let two = op!(_mm_max_ps(four, op!(_mm_movehl_ps(four, four))));
        op!(_mm_cvtss_f32(op!(_mm_max_ss(two, op!(_mm_movehdup_ps(two))))))
    }

    #[inline(always)]
    fn sum_f64(self, &a: &Self::F, &b: &Self::F) -> f64 {
        let d0 = op!(_mm256_add_pd(self.lower(a.0), self.lower(b.0)));
        let d4 = op!(_mm256_add_pd(self.upper(a.0), self.upper(b.0)));
        let d8 = op!(_mm256_add_pd(self.lower(a.1), self.lower(b.1)));
        let d12 = op!(_mm256_add_pd(self.upper(a.1), self.upper(b.1)));
        let e0 = op!(_mm256_add_pd(d0, d8));
        let e4 = op!(_mm256_add_pd(d4, d12));
        let f = op!(_mm256_add_pd(e0, e4));
        let high = op!(_mm256_extractf128_pd::<1>(f));
        let g = op!(_mm_add_pd(op!(_mm256_castpd256_pd128(f)), high));
        op!(_mm_cvtsd_f64(op!(_mm_add_sd(g, op!(_mm_unpackhi_pd(g, g))))))
    }
}
