//! The baseline of x86: SSE2, two registers a part, or all four.
//!
//! There are sixteen registers. Eight chains of instructions, two registers of each vector of a
//! quad, take them all: of whole vectors most of a kernel is stores to the stack and loads from
//! there. The fold without details is made of whole vectors nevertheless ([`Loop::Sums`]).

#![allow(unsafe_code, reason = "intrinsics of what the target has")]
#![allow(unused_unsafe, reason = "calls of `op!` nest, and many are safe from Rust 1.87 on")]
#![allow(clippy::cast_ptr_alignment, reason = "the loads and stores are unaligned ones")]
#![allow(clippy::unused_self, reason = "operations are methods on every level")]
#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

#[cfg(target_arch = "x86")]
use core::arch::x86 as arch;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as arch;

use core::arch::asm;

use super::{Kernel, LANES, Loop, Simd};
use arch::{__m128, __m128d, __m128i};
use half::{bf16, f16};

/// Whether this build has a multiply-add with one rounding.
pub(super) const HAS_FMA: bool = cfg!(target_feature = "fma");

/// Lanes of a register.
const REGISTER: usize = 4;
/// Registers of a vector.
const REGISTERS: usize = LANES / REGISTER;

/// A part of the sixteen lanes, `N` registers: two, or all four. `FUSED` only where [`HAS_FMA`].
#[derive(Clone, Copy)]
pub(super) struct Baseline<const FUSED: bool, const N: usize> {
    /// Below [`Self::PARTS`].
    part: usize,
}

/// Enters the level.
#[inline(always)]
pub(super) fn run<const FUSED: bool, K: Kernel>(kernel: K) -> K::Output {
    // Each logit of a sum is a chain of instructions that wait for each other. Of whole vectors more
    // of them overlap than have registers, which costs less than to wait.
    if matches!(K::LOOP, Loop::Sums) {
        kernel.run(Baseline::<FUSED, REGISTERS> { part: 0 })
    } else {
        kernel.run(Baseline::<FUSED, 2> { part: 0 })
    }
}

/// Calls an intrinsic.
macro_rules! op {
    ($($call:tt)*) => {
        // SAFETY: the build has SSE2 (the `cfg` of this module), and FMA where `HAS_FMA` says so;
        // pointers, if any, come from `part_of` and `part_of_mut`, which return exactly the
        // elements accessed.
        unsafe { arch::$($call)* }
    };
}

/// One instruction on each register of one operand or two.
macro_rules! each {
    ($f:ident $(::<$imm:literal>)?, $a:expr) => {{
        let a = $a;
        let mut all = [op!($f$(::<$imm>)?(a[0])); N];
        for i in 1..N {
            all[i] = op!($f$(::<$imm>)?(a[i]));
        }
        all
    }};
    ($f:ident, $a:expr, $b:expr) => {{
        let (a, b) = ($a, $b);
        let mut all = [op!($f(a[0], b[0])); N];
        for i in 1..N {
            all[i] = op!($f(a[i], b[i]));
        }
        all
    }};
}

type V<const N: usize> = [__m128; N];
type I<const N: usize> = [__m128i; N];

impl<const FUSED: bool, const N: usize> Baseline<FUSED, N> {
    /// Parts of a vector.
    const PARTS: usize = {
        assert!(N == 2 || N == REGISTERS, "pairs of registers are packed into one");
        REGISTERS / N
    };

    /// The first element of this part.
    #[inline(always)]
    fn part_of<T>(self, x: &[T; LANES]) -> *const T {
        // SAFETY: `part` is below `PARTS`, in `run` and in `parts`, which alone make it.
        unsafe { x.as_ptr().add(self.part * N * REGISTER) }
    }

    #[inline(always)]
    fn part_of_mut<T>(self, x: &mut [T; LANES]) -> *mut T {
        // SAFETY: as above.
        unsafe { x.as_mut_ptr().add(self.part * N * REGISTER) }
    }

    /// Eight elements of sixteen bits, the i-th of this part.
    #[inline(always)]
    fn load_u16<T>(self, x: &[T; LANES], i: usize) -> __m128i {
        const { assert!(size_of::<T>() == size_of::<u16>(), "elements of sixteen bits") };
        op!(_mm_loadu_si128(self.part_of(x).cast::<__m128i>().wrapping_add(i)))
    }

    #[inline(always)]
    fn store_u16<T>(self, a: __m128i, out: &mut [T; LANES], i: usize) {
        const { assert!(size_of::<T>() == size_of::<u16>(), "elements of sixteen bits") };
        op!(_mm_storeu_si128(self.part_of_mut(out).cast::<__m128i>().wrapping_add(i), a));
    }
}

/// The same, of whole vectors in registers whose order the compiler keeps. It would otherwise put
/// more in memory than it must.
#[inline(always)]
fn in_order<const N: usize>(mut all: V<N>) -> V<N> {
    if let [a, b, c, d] = all.as_mut_slice() {
        // SAFETY: the assembly is a comment, without an instruction.
        unsafe {
            asm!(
                "/* {0} {1} {2} {3} */",
                inout(xmm_reg) * a,
                inout(xmm_reg) * b,
                inout(xmm_reg) * c,
                inout(xmm_reg) * d,
                options(nomem, nostack, preserves_flags)
            );
        }
    }
    all
}

#[inline(always)]
fn bits<const N: usize>(a: V<N>) -> I<N> {
    each!(_mm_castps_si128, a)
}

#[inline(always)]
fn from_bits<const N: usize>(a: I<N>) -> V<N> {
    each!(_mm_castsi128_ps, a)
}

#[inline(always)]
fn ints<const N: usize>(x: i32) -> I<N> {
    [op!(_mm_set1_epi32(x)); N]
}

#[inline(always)]
fn shorts(x: u16) -> __m128i {
    op!(_mm_set1_epi16(x.cast_signed()))
}

/// Two registers of the low halves and the high halves of eight lanes.
#[inline(always)]
fn unpacked(low: __m128i, high: __m128i) -> [__m128; 2] {
    from_bits([op!(_mm_unpacklo_epi16(low, high)), op!(_mm_unpackhi_epi16(low, high))])
}

/// bf16 in the upper halves, what it drops in the lower ones. A NaN whose lower half is 0 stays
/// what it is.
#[inline(always)]
fn rounded_bf16<const N: usize>(a: V<N>) -> I<N> {
    // Adds half of the dropped bits' range, less one where the kept part is even: nearest, ties to
    // even.
    let odd = each!(_mm_and_si128, each!(_mm_srli_epi32::<16>, bits(a)), ints::<N>(1));
    each!(_mm_add_epi32, each!(_mm_add_epi32, bits(a), ints::<N>(0x7fff)), odd)
}

/// a + b of two f64 each.
#[inline(always)]
fn add_f64(a: [__m128d; 2], b: [__m128d; 2]) -> [__m128d; 2] {
    let ([a0, a1], [b0, b1]) = (a, b);
    [op!(_mm_add_pd(a0, b0)), op!(_mm_add_pd(a1, b1))]
}

/// The lanes in f64.
#[inline(always)]
fn widened(x: __m128) -> [__m128d; 2] {
    [op!(_mm_cvtps_pd(x)), op!(_mm_cvtps_pd(op!(_mm_movehl_ps(x, x))))]
}

/// a + b in f64.
#[inline(always)]
fn wide_sum(a: __m128, b: __m128) -> [__m128d; 2] {
    add_f64(widened(a), widened(b))
}

impl<const FUSED: bool, const N: usize> Simd for Baseline<FUSED, N> {
    type F = V<N>;
    type Lanes = V<REGISTERS>;
    const FUSED: bool = FUSED;
    const SMALL: bool = false;
    const PRODUCT: (usize, usize) = (6, 1);

    #[inline(always)]
    fn parts(self) -> impl Iterator<Item = Self> {
        (0..Self::PARTS).map(|part| Self { part })
    }

    #[inline(always)]
    fn lanes(self, x: f32) -> Self::Lanes {
        [op!(_mm_set1_ps(x)); REGISTERS]
    }

    #[inline(always)]
    fn get(self, lanes: &Self::Lanes) -> V<N> {
        // SAFETY: `part` is below `PARTS`, as in `part_of`.
        unsafe { *lanes.as_chunks().0.get_unchecked(self.part) }
    }

    #[inline(always)]
    fn put(self, lanes: &mut Self::Lanes, a: V<N>) {
        // SAFETY: as above.
        unsafe { *lanes.as_chunks_mut().0.get_unchecked_mut(self.part) = a };
    }

    #[inline(always)]
    fn first(self, a: V<N>) -> f32 {
        op!(_mm_cvtss_f32(a[0]))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> V<N> {
        [op!(_mm_set1_ps(x)); N]
    }

    #[inline(always)]
    fn load_f32(self, x: &[f32; LANES]) -> V<N> {
        let p = self.part_of(x);
        let mut all = [op!(_mm_loadu_ps(p)); N];
        for i in 1..N {
            all[i] = op!(_mm_loadu_ps(p.wrapping_add(i * REGISTER)));
        }
        all
    }

    /// Moves f16's fields into those of f32, as halves of sixteen bits, and corrects the bias by an
    /// exact product, which also normalises subnormals; infinities and NaN get the full exponent.
    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> V<N> {
        let bias = op!(_mm_set1_ps(f32::from_bits(0x7780_0000)));
        let mut all = self.splat(0.0);
        for i in 0..N / 2 {
            let x = self.load_u16(x, i);
            let low = op!(_mm_slli_epi16::<13>(x));
            let high = op!(_mm_and_si128(op!(_mm_srai_epi16::<3>(x)), shorts(0x8fff)));
            let size = op!(_mm_and_si128(x, shorts(0x7fff)));
            let infinite = op!(_mm_cmpgt_epi16(size, shorts(0x7bff)));
            let exponent = op!(_mm_and_si128(infinite, shorts(0x7f80)));
            let [a, b] = unpacked(low, high);
            let [more_a, more_b] = unpacked(op!(_mm_setzero_si128()), exponent);
            all[2 * i] = op!(_mm_or_ps(op!(_mm_mul_ps(a, bias)), more_a));
            all[2 * i + 1] = op!(_mm_or_ps(op!(_mm_mul_ps(b, bias)), more_b));
        }
        all
    }

    #[inline(always)]
    fn load_bf16(self, x: &[bf16; LANES]) -> V<N> {
        let mut all = self.splat(0.0);
        for i in 0..N / 2 {
            [all[2 * i], all[2 * i + 1]] = unpacked(op!(_mm_setzero_si128()), self.load_u16(x, i));
        }
        all
    }

    #[inline(always)]
    fn store_f32(self, a: V<N>, out: &mut [f32; LANES]) {
        let p = self.part_of_mut(out);
        for i in 0..N {
            op!(_mm_storeu_ps(p.wrapping_add(i * REGISTER), a[i]));
        }
    }

    #[inline(always)]
    fn columns(self, rows: [&[f32; 4]; LANES]) -> [V<N>; 4] {
        let mut all = [self.splat(0.0); 4];
        for i in 0..N {
            let mut four = [op!(_mm_setzero_ps()); 4];
            for j in 0..4 {
                let row = rows[((self.part * N + i) * REGISTER + j) % LANES];
                four[j] = op!(_mm_loadu_ps(row.as_ptr()));
            }
            let [a, b, c, d] = four;
            let (low, high) = (op!(_mm_unpacklo_ps(a, b)), op!(_mm_unpacklo_ps(c, d)));
            all[0][i] = op!(_mm_movelh_ps(low, high));
            all[1][i] = op!(_mm_movehl_ps(high, low));
            let (low, high) = (op!(_mm_unpackhi_ps(a, b)), op!(_mm_unpackhi_ps(c, d)));
            all[2][i] = op!(_mm_movelh_ps(low, high));
            all[3][i] = op!(_mm_movehl_ps(high, low));
        }
        all
    }

    #[inline(always)]
    fn store_f16(self, a: V<N>, out: &mut [f16; LANES]) {
        // 2^16 is where f16 has infinity: the bit pattern after that of its largest number.
        let size = each!(_mm_min_ps, self.abs(a), self.splat(65_536.0));
        // `power` is 2^E, E the exponent of the size, or 2^-14 for subnormals. The addition rounds
        // the size to r, the eleven significant bits of f16:
        //   sum = 2^(E+13) + (15·1024 + r)·2^(E-10)
        // f16's bit pattern is r + (E + 14)·1024. That of `power`, shifted right by 13, is (E +
        // 127)·1024; with the 15·1024 of `sum` this is the pattern, because 15 + 127 ≡ 14 modulo 32
        // and the mask drops the multiples.
        let power = each!(_mm_and_ps, size, self.splat(f32::INFINITY));
        let power = bits(each!(_mm_max_ps, power, self.splat(f32::from_bits(0x3880_0000))));
        let sum = from_bits(each!(_mm_add_epi32, power, ints::<N>((13 << 23) + 15 * 1024)));
        let sum = bits(self.add(size, sum));
        let rounded = each!(_mm_add_epi32, sum, each!(_mm_srli_epi32::<13>, power));
        let rounded = each!(_mm_and_si128, rounded, ints::<N>(0x7fff));
        let nan = bits(each!(_mm_cmpunord_ps, a, a));
        let signs = each!(_mm_srai_epi32::<16>, bits(a));
        for i in 0..N / 2 {
            let (low, high) = (2 * i, 2 * i + 1);
            let rounded = op!(_mm_packs_epi32(rounded[low], rounded[high]));
            let nan = op!(_mm_packs_epi32(nan[low], nan[high]));
            let nan = op!(_mm_and_si128(nan, shorts(0x7e00)));
            let sign = op!(_mm_packs_epi32(signs[low], signs[high]));
            let sign = op!(_mm_and_si128(sign, shorts(0x8000)));
            self.store_u16(op!(_mm_or_si128(op!(_mm_or_si128(rounded, nan)), sign)), out, i);
        }
    }

    #[inline(always)]
    fn store_bf16(self, a: V<N>, out: &mut [bf16; LANES]) {
        // Quiet NaN, with lower halves of 0.
        let nan = bits(each!(_mm_cmpunord_ps, a, a));
        let quiet = each!(_mm_or_si128, bits(a), ints::<N>(0x40_0000));
        let quiet = each!(_mm_and_si128, each!(_mm_and_si128, nan, quiet), ints::<N>(-0x1_0000));
        let number = each!(_mm_andnot_si128, nan, bits(a));
        self.store_bf16_mixed(from_bits(each!(_mm_or_si128, quiet, number)), out);
    }

    #[inline(always)]
    fn store_bf16_mixed(self, a: V<N>, out: &mut [bf16; LANES]) {
        let high = each!(_mm_srai_epi32::<16>, rounded_bf16(a));
        for i in 0..N / 2 {
            self.store_u16(op!(_mm_packs_epi32(high[2 * i], high[2 * i + 1])), out, i);
        }
    }

    #[inline(always)]
    fn add(self, a: V<N>, b: V<N>) -> V<N> {
        each!(_mm_add_ps, a, b)
    }

    #[inline(always)]
    fn sub(self, a: V<N>, b: V<N>) -> V<N> {
        each!(_mm_sub_ps, a, b)
    }

    #[inline(always)]
    fn mul(self, a: V<N>, b: V<N>) -> V<N> {
        each!(_mm_mul_ps, a, b)
    }

    #[inline(always)]
    fn div(self, a: V<N>, b: V<N>) -> V<N> {
        each!(_mm_div_ps, a, b)
    }

    #[inline(always)]
    fn abs(self, a: V<N>) -> V<N> {
        each!(_mm_andnot_ps, self.splat(-0.0), a)
    }

    #[inline(always)]
    fn mul_add(self, a: V<N>, b: V<N>, c: V<N>) -> V<N> {
        if FUSED && HAS_FMA {
            let mut all = c;
            for i in 0..N {
                all[i] = op!(_mm_fmadd_ps(a[i], b[i], c[i]));
            }
            all
        } else {
            self.add(self.mul(a, b), c)
        }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: V<N>, b: V<N>, c: V<N>) -> V<N> {
        if FUSED && HAS_FMA {
            let mut all = c;
            for i in 0..N {
                all[i] = op!(_mm_fnmadd_ps(a[i], b[i], c[i]));
            }
            all
        } else {
            in_order(self.sub(c, self.mul(a, b)))
        }
    }

    #[inline(always)]
    fn at_least(self, bound: V<N>, x: V<N>) -> V<N> {
        // `maxps` returns its second operand where either is NaN.
        each!(_mm_max_ps, bound, x)
    }

    #[inline(always)]
    fn max(self, acc: V<N>, x: V<N>) -> V<N> {
        each!(_mm_max_ps, x, acc)
    }

    #[inline(always)]
    fn max_positive(self, acc: V<N>, x: V<N>) -> V<N> {
        self.max(acc, x)
    }

    #[inline(always)]
    fn select_lt(self, a: V<N>, b: V<N>, x: V<N>, y: V<N>) -> V<N> {
        let mask = each!(_mm_cmplt_ps, a, b);
        each!(_mm_or_ps, each!(_mm_and_ps, mask, x), each!(_mm_andnot_ps, mask, y))
    }

    #[inline(always)]
    fn any_gt(self, a: V<N>, b: V<N>) -> bool {
        let greater = each!(_mm_cmpgt_ps, a, b);
        let mut any = greater[0];
        for i in 1..N {
            any = op!(_mm_or_ps(any, greater[i]));
        }
        op!(_mm_movemask_ps(any)) != 0
    }

    #[inline(always)]
    fn to_exponent(self, a: V<N>) -> V<N> {
        from_bits(each!(_mm_slli_epi32::<23>, bits(a)))
    }

    #[inline(always)]
    fn bits_as_number(self, a: V<N>) -> V<N> {
        each!(_mm_cvtepi32_ps, bits(a))
    }

    #[inline(always)]
    fn largest(self, a: V<N>) -> f32 {
        let mut four = a[0];
        for i in 1..N {
            four = op!(_mm_max_ps(four, a[i]));
        }
        let two = op!(_mm_max_ps(four, op!(_mm_movehl_ps(four, four))));
        op!(_mm_cvtss_f32(op!(_mm_max_ss(two, op!(_mm_shuffle_ps::<1>(two, two))))))
    }

    #[inline(always)]
    fn sum_f64(self, a: &Self::Lanes, b: &Self::Lanes) -> f64 {
        let ([a0, a4, a8, a12], [b0, b4, b8, b12]) = (*a, *b);
        let e0 = add_f64(wide_sum(a0, b0), wide_sum(a8, b8));
        let e4 = add_f64(wide_sum(a4, b4), wide_sum(a12, b12));
        let [low, high] = add_f64(e0, e4);
        let f = op!(_mm_add_pd(low, high));
        op!(_mm_cvtsd_f64(op!(_mm_add_sd(f, op!(_mm_unpackhi_pd(f, f))))))
    }
}
