//! The hardware multiply-add of the build's baseline: one rounding for a · b ± c.
//!
//! `wide` has it on x86 (where the build enables `fma`) and on `AArch64`. On Cortex-M with an FPU it is
//! one instruction a lane, which `core` does not offer: `f32::mul_add` needs `std`, and `libm`'s takes
//! hundreds of instructions.

use wide::f32x16;

/// Whether the baseline of this build has one.
pub(super) const PRESENT: bool = cfg!(any(
    all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "fma"),
    all(target_arch = "aarch64", target_feature = "neon"),
)) || lanes::CORTEX_M_FPU;

pub(super) use lanes::{mul_add, neg_mul_add};

/// Stable Rust does not tell the features of a 32-bit Arm, but hard-float ABI without 64-bit atomics
/// is the M profile: A and R have had `ldrexd` for longer than they have had an FPU with this ABI. And
/// every FPU of the M profile multiplies and adds (`FPv4-SP` and later). Were this wrong for some
/// target, its assembler would refuse the instruction: the build would fail, not the program.
#[cfg(all(
    target_arch = "arm",
    target_os = "none",
    target_abi = "eabihf",
    not(target_has_atomic = "64"),
))]
mod lanes {
    #![allow(unsafe_code, reason = "one instruction")]

    use core::arch::asm;

    use super::f32x16;

    pub(super) const CORTEX_M_FPU: bool = true;

    /// Four lanes at a time through memory: the operand class of single registers is closed to FPUs
    /// without f64, and sixteen lanes live in memory anyway.
    macro_rules! each_lane {
        ($instruction:literal, $a:ident, $b:ident, $c:ident) => {{
            let (a, b, mut c) = ($a.to_array(), $b.to_array(), $c.to_array());
            let quads = a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0);
            for ((a, b), c) in quads.zip(c.as_chunks_mut::<4>().0) {
                // SAFETY: the target has the instruction, or it would not have assembled. The pointers
                // are those of four f32 each, and the registers written are named.
                unsafe {
                    asm!(
                        "vldmia {a}, {{s0-s3}}",
                        "vldmia {b}, {{s4-s7}}",
                        "vldmia {c}, {{s8-s11}}",
                        concat!($instruction, " s8, s0, s4"),
                        concat!($instruction, " s9, s1, s5"),
                        concat!($instruction, " s10, s2, s6"),
                        concat!($instruction, " s11, s3, s7"),
                        "vstmia {c}, {{s8-s11}}",
                        a = in(reg) a.as_ptr(),
                        b = in(reg) b.as_ptr(),
                        c = in(reg) c.as_mut_ptr(),
                        out("s0") _, out("s1") _, out("s2") _, out("s3") _,
                        out("s4") _, out("s5") _, out("s6") _, out("s7") _,
                        out("s8") _, out("s9") _, out("s10") _, out("s11") _,
                        options(nostack, preserves_flags),
                    );
                }
            }
            f32x16::new(c)
        }};
    }

    /// a · b + c
    #[inline(always)]
    pub(in crate::simd) fn mul_add(a: f32x16, b: f32x16, c: f32x16) -> f32x16 {
        each_lane!("vfma.f32", a, b, c)
    }

    /// c − a · b
    #[inline(always)]
    pub(in crate::simd) fn neg_mul_add(a: f32x16, b: f32x16, c: f32x16) -> f32x16 {
        each_lane!("vfms.f32", a, b, c)
    }
}

#[cfg(not(all(
    target_arch = "arm",
    target_os = "none",
    target_abi = "eabihf",
    not(target_has_atomic = "64"),
)))]
mod lanes {
    use super::f32x16;

    pub(super) const CORTEX_M_FPU: bool = false;

    /// a · b + c
    #[inline(always)]
    pub(in crate::simd) fn mul_add(a: f32x16, b: f32x16, c: f32x16) -> f32x16 {
        a.mul_add(b, c)
    }

    /// c − a · b
    #[inline(always)]
    pub(in crate::simd) fn neg_mul_add(a: f32x16, b: f32x16, c: f32x16) -> f32x16 {
        a.mul_neg_add(b, c)
    }
}
