//! The baseline of AArch64: NEON, which every machine of these targets has, one register a part.
//!
//! A part is four lanes. Of whole vectors a quad takes sixteen registers and its scales as many;
//! of parts, what a loop needs at once fits in the thirty-two.
//!
//! Loops are bound by the ports of arithmetic, two to four in a core. A multiply-add overwrites
//! what it adds to, so constants that are added to are loaded each time: loads have other ports.
//!
//! `BFCVTN` rounds to bf16 in builds that require it (`-Ctarget-feature=+bf16`, or a CPU that has
//! it). Elsewhere three to five instructions do. It is not looked for at run time: user space may
//! not read the register that names it (`ID_AA64ISAR1_EL1`) unless the system emulates that, and
//! without `std` there is no other to ask.

#![allow(unsafe_code, reason = "intrinsics of what the target has")]
#![allow(unused_unsafe, reason = "calls of `op!` nest, and many are safe from Rust 1.87 on")]
#![allow(clippy::unused_self, reason = "operations are methods on every level")]

use core::arch::aarch64 as arch;
use core::arch::asm;

use super::{Kernel, LANES, Simd};
use arch::{float32x4_t, float64x2_t, uint16x4_t, uint32x4_t};
use half::{bf16, f16};

/// Every machine has a multiply-add with one rounding.
pub(super) const HAS_FMA: bool = true;

/// Lanes of a part.
const PART: usize = 4;
/// Parts of a vector.
const PARTS: usize = LANES / PART;

/// A part of the sixteen lanes.
#[derive(Clone, Copy)]
pub(super) struct Baseline<const FUSED: bool> {
    /// Below [`PARTS`].
    part: usize,
}

/// Calls an intrinsic.
macro_rules! op {
    ($($call:tt)*) => {
        // SAFETY: the build has NEON (the `cfg` of this module); pointers, if any, come from
        // `part_of` and `part_of_mut`, which return exactly the elements accessed.
        unsafe { arch::$($call)* }
    };
}

impl<const FUSED: bool> Baseline<FUSED> {
    const fn new() -> Self {
        Self { part: 0 }
    }

    /// This part of sixteen elements.
    #[inline(always)]
    fn part_of<T>(self, x: &[T; LANES]) -> &[T; PART] {
        // SAFETY: `part` is below `PARTS`, in `new` and in `parts`, which alone make it.
        unsafe { x.as_chunks().0.get_unchecked(self.part) }
    }

    #[inline(always)]
    fn part_of_mut<T>(self, x: &mut [T; LANES]) -> &mut [T; PART] {
        // SAFETY: as above.
        unsafe { x.as_chunks_mut().0.get_unchecked_mut(self.part) }
    }

    /// The bits of a part in memory.
    #[inline(always)]
    fn load_u16<T>(self, x: &[T; LANES]) -> uint16x4_t {
        const { assert!(size_of::<T>() == size_of::<u16>(), "elements of sixteen bits") };
        op!(vld1_u16(self.part_of(x).as_ptr().cast()))
    }

    #[inline(always)]
    fn store_u16<T>(self, a: uint16x4_t, out: &mut [T; LANES]) {
        const { assert!(size_of::<T>() == size_of::<u16>(), "elements of sixteen bits") };
        op!(vst1_u16(self.part_of_mut(out).as_mut_ptr().cast(), a));
    }
}

/// Enters the level.
#[inline(always)]
pub(super) fn run<const FUSED: bool, K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Baseline::<FUSED>::new())
}

/// The same, in a register that the compiler knows nothing about.
#[inline(always)]
fn opaque(mut a: float32x4_t) -> float32x4_t {
    // SAFETY: the assembly is a comment, without an instruction.
    unsafe {
        asm!("/* {0:v} */", inout(vreg) a, options(pure, nomem, nostack, preserves_flags));
    }
    a
}

#[inline(always)]
fn bits(a: float32x4_t) -> uint32x4_t {
    op!(vreinterpretq_u32_f32(a))
}

#[inline(always)]
fn from_bits(bits: uint32x4_t) -> float32x4_t {
    op!(vreinterpretq_f32_u32(bits))
}

/// Rounds to bf16, by the instruction for it.
#[cfg(target_feature = "bf16")]
#[inline(always)]
fn narrow_bf16(a: float32x4_t) -> uint16x4_t {
    let narrow: uint16x4_t;
    // SAFETY: between registers; the build has it (the `cfg`).
    unsafe {
        asm!(
            "bfcvtn {0:v}.4h, {1:v}.4s",
            out(vreg) narrow, in(vreg) a, options(pure, nomem, nostack)
        );
    }
    narrow
}

/// Rounds to bf16.
#[cfg(not(target_feature = "bf16"))]
#[inline(always)]
fn narrow_bf16(a: float32x4_t) -> uint16x4_t {
    // Another NaN might be carried beyond the NaN. Without `opaque`, each is narrowed by itself.
    narrow_short(opaque(op!(vbslq_f32(op!(vceqq_f32(a, a)), a, op!(vdupq_n_f32(f32::NAN))))))
}

/// Rounds what is no NaN, or one whose lower bits are 0, to bf16: the high half of a sum with half
/// of the dropped bits' range, less one where the kept part is even.
#[cfg(not(target_feature = "bf16"))]
#[inline(always)]
fn narrow_short(a: float32x4_t) -> uint16x4_t {
    // A test of bits is −1 where one is set. Without `opaque` it becomes a shift and a mask.
    let odd = from_bits(op!(vtstq_u32(bits(a), op!(vdupq_n_u32(0x1_0000)))));
    let up = op!(vsubq_u32(bits(a), bits(opaque(odd))));
    op!(vaddhn_u32(up, op!(vdupq_n_u32(0x7fff))))
}

/// a + b of two f64 each.
#[inline(always)]
fn add_f64(a: [float64x2_t; 2], b: [float64x2_t; 2]) -> [float64x2_t; 2] {
    let ([a0, a1], [b0, b1]) = (a, b);
    [op!(vaddq_f64(a0, b0)), op!(vaddq_f64(a1, b1))]
}

/// The lanes in f64.
#[inline(always)]
fn widened(x: float32x4_t) -> [float64x2_t; 2] {
    [op!(vcvt_f64_f32(op!(vget_low_f32(x)))), op!(vcvt_high_f64_f32(x))]
}

/// a + b in f64.
#[inline(always)]
fn wide_sum(a: float32x4_t, b: float32x4_t) -> [float64x2_t; 2] {
    add_f64(widened(a), widened(b))
}

impl<const FUSED: bool> Simd for Baseline<FUSED> {
    type F = float32x4_t;
    type Lanes = [float32x4_t; PARTS];
    const FUSED: bool = FUSED;
    const SMALL: bool = false;
    // A product that is rounded by itself takes a register, of which twelve rows leave too few.
    const PRODUCT: (usize, usize) = if FUSED { (12, 2) } else { (6, 2) };

    #[inline(always)]
    fn parts(self) -> impl Iterator<Item = Self> {
        (0..PARTS).map(|part| Self { part })
    }

    #[inline(always)]
    fn lanes(self, x: f32) -> Self::Lanes {
        [self.splat(x); PARTS]
    }

    #[inline(always)]
    fn get(self, lanes: &Self::Lanes) -> float32x4_t {
        // SAFETY: `part` is below `PARTS`, as in `part_of`.
        unsafe { *lanes.get_unchecked(self.part) }
    }

    #[inline(always)]
    fn put(self, lanes: &mut Self::Lanes, a: float32x4_t) {
        // SAFETY: as above.
        unsafe { *lanes.get_unchecked_mut(self.part) = a };
    }

    #[inline(always)]
    fn first(self, a: float32x4_t) -> f32 {
        op!(vgetq_lane_f32::<0>(a))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        opaque(op!(vdupq_n_f32(x)))
    }

    #[inline(always)]
    fn load_f32(self, x: &[f32; LANES]) -> float32x4_t {
        op!(vld1q_f32(self.part_of(x).as_ptr()))
    }

    #[inline(always)]
    fn load_f16(self, x: &[f16; LANES]) -> float32x4_t {
        let bits = self.load_u16(x);
        let wide: float32x4_t;
        // SAFETY: an instruction of NEON between registers. Its intrinsic is stable from Rust 1.94.
        unsafe {
            asm!(
                "fcvtl {0:v}.4s, {1:v}.4h",
                out(vreg) wide, in(vreg) bits, options(pure, nomem, nostack)
            );
        }
        wide
    }

    #[inline(always)]
    fn load_bf16(self, x: &[bf16; LANES]) -> float32x4_t {
        from_bits(op!(vshll_n_u16::<16>(self.load_u16(x))))
    }

    #[inline(always)]
    fn store_f32(self, a: float32x4_t, out: &mut [f32; LANES]) {
        op!(vst1q_f32(self.part_of_mut(out).as_mut_ptr(), a));
    }

    #[inline(always)]
    fn columns(self, rows: [&[f32; 4]; LANES]) -> [float32x4_t; 4] {
        let &[a, b, c, d] = self.part_of(&rows);
        let (a, b) = (op!(vld1q_f32(a.as_ptr())), op!(vld1q_f32(b.as_ptr())));
        let (c, d) = (op!(vld1q_f32(c.as_ptr())), op!(vld1q_f32(d.as_ptr())));
        let (even, odd) = (op!(vtrn1q_f32(a, b)), op!(vtrn2q_f32(a, b)));
        let (even, odd) = (op!(vreinterpretq_f64_f32(even)), op!(vreinterpretq_f64_f32(odd)));
        let (lower_even, lower_odd) = (op!(vtrn1q_f32(c, d)), op!(vtrn2q_f32(c, d)));
        let lower_even = op!(vreinterpretq_f64_f32(lower_even));
        let lower_odd = op!(vreinterpretq_f64_f32(lower_odd));
        [
            op!(vreinterpretq_f32_f64(op!(vtrn1q_f64(even, lower_even)))),
            op!(vreinterpretq_f32_f64(op!(vtrn1q_f64(odd, lower_odd)))),
            op!(vreinterpretq_f32_f64(op!(vtrn2q_f64(even, lower_even)))),
            op!(vreinterpretq_f32_f64(op!(vtrn2q_f64(odd, lower_odd)))),
        ]
    }

    #[inline(always)]
    fn store_f16(self, a: float32x4_t, out: &mut [f16; LANES]) {
        let narrow: uint16x4_t;
        // SAFETY: as in `load_f16`. It rounds as the host has set the processor to, as every
        // operation does.
        unsafe {
            asm!(
                "fcvtn {0:v}.4h, {1:v}.4s",
                out(vreg) narrow, in(vreg) a, options(pure, nomem, nostack)
            );
        }
        self.store_u16(narrow, out);
    }

    #[inline(always)]
    fn store_bf16(self, a: float32x4_t, out: &mut [bf16; LANES]) {
        self.store_u16(narrow_bf16(a), out);
    }

    #[cfg(not(target_feature = "bf16"))]
    #[inline(always)]
    fn store_bf16_mixed(self, a: float32x4_t, out: &mut [bf16; LANES]) {
        // The order of lanes is the ordinary one.
        self.store_u16(narrow_short(a), out);
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vaddq_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vsubq_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmulq_f32(a, b))
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vdivq_f32(a, b))
    }

    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        op!(vabsq_f32(a))
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        if FUSED { op!(vfmaq_f32(c, a, b)) } else { self.add(self.mul(a, b), c) }
    }

    #[inline(always)]
    fn addend(self, c: &float32x4_t) -> float32x4_t {
        // SAFETY: a reference is read. A load that is not volatile would be made once, before the
        // loop, and be copied in it. Products and sums apart overwrite nothing.
        if FUSED { unsafe { core::ptr::read_volatile(c) } } else { *c }
    }

    #[inline(always)]
    fn neg_mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        if FUSED { op!(vfmsq_f32(c, a, b)) } else { self.sub(c, self.mul(a, b)) }
    }

    #[inline(always)]
    fn at_least(self, bound: float32x4_t, x: float32x4_t) -> float32x4_t {
        // NaN where either is NaN.
        op!(vmaxq_f32(bound, x))
    }

    #[inline(always)]
    fn max(self, acc: float32x4_t, x: float32x4_t) -> float32x4_t {
        op!(vmaxq_f32(acc, x))
    }

    #[inline(always)]
    fn max_positive(self, acc: float32x4_t, x: float32x4_t) -> float32x4_t {
        // The same ports do both.
        self.max(acc, x)
    }

    #[inline(always)]
    fn select_lt(
        self,
        a: float32x4_t,
        b: float32x4_t,
        x: float32x4_t,
        y: float32x4_t,
    ) -> float32x4_t {
        op!(vbslq_f32(op!(vcltq_f32(a, b)), x, y))
    }

    #[inline(always)]
    fn any_gt(self, a: float32x4_t, b: float32x4_t) -> bool {
        op!(vmaxvq_u32(op!(vcgtq_f32(a, b)))) != 0
    }

    #[inline(always)]
    fn to_exponent(self, a: float32x4_t) -> float32x4_t {
        from_bits(op!(vshlq_n_u32::<23>(bits(a))))
    }

    #[inline(always)]
    fn bits_as_number(self, a: float32x4_t) -> float32x4_t {
        op!(vcvtq_f32_s32(op!(vreinterpretq_s32_f32(a))))
    }

    #[inline(always)]
    fn largest(self, a: float32x4_t) -> f32 {
        op!(vmaxvq_f32(a))
    }

    #[inline(always)]
    fn sum_f64(self, a: &Self::Lanes, b: &Self::Lanes) -> f64 {
        let ([a0, a4, a8, a12], [b0, b4, b8, b12]) = (*a, *b);
        let e0 = add_f64(wide_sum(a0, b0), wide_sum(a8, b8));
        let e4 = add_f64(wide_sum(a4, b4), wide_sum(a12, b12));
        let [low, high] = add_f64(e0, e4);
        op!(vaddvq_f64(op!(vaddq_f64(low, high))))
    }
}
