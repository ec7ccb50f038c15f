//! RISC-V under semihosting.

// For its critical section, which semihosting needs.
use riscv as _;
use riscv_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS};

pub use riscv_rt::entry;

/// Where text goes.
pub fn output() -> Option<impl core::fmt::Write> {
    riscv_semihosting::hio::hstdout().ok()
}

/// Ends the emulator.
pub fn exit(good: bool) -> ! {
    loop {
        riscv_semihosting::debug::exit(if good { EXIT_SUCCESS } else { EXIT_FAILURE });
    }
}

/// Bits of [`ticks`].
pub(super) const TICK_BITS: u32 = 32;

/// The processor's own count of instructions; exact under `qemu -icount shift=0`.
pub(super) fn ticks() -> u64 {
    let count: u32;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("csrr {}, minstret", out(reg) count, options(nomem, nostack)) };
    count.into()
}

/// Takes two instructions `count` times.
#[inline(never)]
pub(super) fn spin(count: u32) {
    // SAFETY: counts a register down.
    unsafe {
        core::arch::asm!(
            "2: addi {n}, {n}, -1", "bnez {n}, 2b",
            n = inout(reg) count => _,
            options(nomem, nostack),
        );
    }
}

/// The stack pointer, and where the stack may not go: the end of the statics.
#[inline(always)]
pub(super) fn stack() -> (usize, usize) {
    unsafe extern "C" {
        static __sheap: u32;
    }
    let pointer;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack)) };
    (pointer, &raw const __sheap as usize)
}
