//! The hardware multiply-add of targets without vector registers: one rounding for a · b ± c.
//!
//! On Cortex-M with an FPU it is one instruction, which `core` does not offer: `f32::mul_add` needs
//! `std`, and `libm`'s takes hundreds of instructions.

pub(in crate::simd) use hardware::{PRESENT, mul_add, neg_mul_add};

/// Stable Rust does not tell the features of a 32-bit Arm, but hard-float ABI without 64-bit
/// atomics is the M profile: the A and R profiles had 64-bit atomics (`ldrexd`) before they had an
/// FPU with this ABI. Every FPU of the M profile has a fused multiply-add (`FPv4-SP` and later). If
/// this is wrong for some target, its assembler refuses the instruction: the build fails, not the
/// program.
#[cfg(all(
    target_arch = "arm",
    target_os = "none",
    target_abi = "eabihf",
    not(target_has_atomic = "64"),
))]
mod hardware {
    #![allow(unsafe_code, reason = "one instruction")]

    use core::arch::asm;

    pub(in crate::simd) const PRESENT: bool = true;

    /// Operands pass through general registers: Rust offers FPU registers as operands only where
    /// the FPU has f64.
    macro_rules! fused {
        ($instruction:literal, $a:ident, $b:ident, $c:ident) => {{
            let mut c = $c;
            // SAFETY: the target has the instruction, or it would not assemble; all registers that
            // are written are named. The FPU may set status flags, which `preserves_flags` would
            // deny and is left out.
            unsafe {
                asm!(
                    "vmov s0, {a}",
                    "vmov s1, {b}",
                    "vmov s2, {c}",
                    concat!($instruction, " s2, s0, s1"),
                    "vmov {c}, s2",
                    a = in(reg) $a,
                    b = in(reg) $b,
                    c = inout(reg) c,
                    out("s0") _, out("s1") _, out("s2") _,
                    options(pure, nomem, nostack),
                );
            }
            c
        }};
    }

    /// a · b + c
    #[inline(always)]
    pub(in crate::simd) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        fused!("vfma.f32", a, b, c)
    }

    /// c − a · b
    #[inline(always)]
    pub(in crate::simd) fn neg_mul_add(a: f32, b: f32, c: f32) -> f32 {
        fused!("vfms.f32", a, b, c)
    }
}

#[cfg(not(all(
    target_arch = "arm",
    target_os = "none",
    target_abi = "eabihf",
    not(target_has_atomic = "64"),
)))]
mod hardware {
    pub(in crate::simd) const PRESENT: bool = false;

    /// a · b + c, for code that is compiled but never dispatched to.
    #[inline(always)]
    pub(in crate::simd) fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        libm::fmaf(a, b, c)
    }

    /// c − a · b, for code that is compiled but never dispatched to.
    #[inline(always)]
    pub(in crate::simd) fn neg_mul_add(a: f32, b: f32, c: f32) -> f32 {
        libm::fmaf(-a, b, c)
    }
}
