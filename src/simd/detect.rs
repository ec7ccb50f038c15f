//! Which levels this machine has: detection without `std`.

use crate::level::Level;

impl Level {
    /// The highest level that this machine has.
    #[must_use]
    #[inline]
    pub fn detect() -> Self {
        if Self::Avx512.is_present() {
            Self::Avx512
        } else if Self::Avx2.is_present() {
            Self::Avx2
        } else {
            Self::Baseline
        }
    }

    /// Whether this machine, its operating system and this build have the level.
    #[must_use]
    #[inline]
    pub fn is_present(self) -> bool {
        match self {
            Self::Baseline => true,
            Self::Avx2 => x86::has_avx2(),
            Self::Avx512 => x86::has_avx512(),
        }
    }

    /// Whether the level multiplies and adds with one rounding in hardware.
    #[inline]
    pub(super) const fn has_fma(self) -> bool {
        match self {
            Self::Baseline => super::baseline::HAS_FMA,
            Self::Avx2 | Self::Avx512 => true,
        }
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86 {
    //! `cpufeatures` asks CPUID and, for the wide registers, XCR0; it does not know F16C.

    #[cfg(target_arch = "x86")]
    use core::arch::x86 as arch;
    #[cfg(target_arch = "x86_64")]
    use core::arch::x86_64 as arch;

    use core::sync::atomic::{AtomicU8, Ordering};

    cpufeatures::new!(avx2_fma, "avx2", "fma");
    cpufeatures::new!(avx512, "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl");

    pub(super) fn has_avx2() -> bool {
        avx2_fma::get() && has_f16c()
    }

    pub(super) fn has_avx512() -> bool {
        avx512::get() && has_f16c()
    }

    /// CPUID leaf 1, ECX bit 29. F16C uses the registers whose state the operating system saves for
    /// AVX2. The answer is kept, because CPUID traps in virtual machines: 0 not asked, 1 no, 2 yes.
    #[allow(unsafe_code, unused_unsafe, reason = "CPUID is a safe call from Rust 1.94 on")]
    fn has_f16c() -> bool {
        static ANSWER: AtomicU8 = AtomicU8::new(0);
        match ANSWER.load(Ordering::Relaxed) {
            0 => {
                // SAFETY: every x86 with the AVX2 that the caller found has CPUID and its leaf 1.
                let leaf = unsafe { arch::__cpuid(1) };
                let found = leaf.ecx & (1 << 29) != 0;
                ANSWER.store(if found { 2 } else { 1 }, Ordering::Relaxed);
                found
            }
            answer => answer == 2,
        }
    }
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
mod x86 {
    pub(super) const fn has_avx2() -> bool {
        false
    }

    pub(super) const fn has_avx512() -> bool {
        false
    }
}
