//! Cortex-M under semihosting.

use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS};

pub use cortex_m_rt::entry;

/// Where text goes.
pub fn output() -> Option<impl core::fmt::Write> {
    cortex_m_semihosting::hio::hstdout().ok()
}

/// Ends the emulator.
pub fn exit(good: bool) -> ! {
    loop {
        cortex_m_semihosting::debug::exit(if good { EXIT_SUCCESS } else { EXIT_FAILURE });
    }
}

/// Bits of [`ticks`].
pub(super) const TICK_BITS: u32 = 24;

/// `SysTick`'s counter, counted up. Under `qemu -icount shift=0` an instruction takes one
/// nanosecond of the machine's time, and the counter runs on that.
pub(super) fn ticks() -> u64 {
    const CONTROL: *mut u32 = 0xe000_e010 as *mut u32;
    const RELOAD: *mut u32 = 0xe000_e014 as *mut u32;
    const VALUE: *mut u32 = 0xe000_e018 as *mut u32;
    // SAFETY: three registers of the processor, which nothing else here uses. The counter is
    // started at the first call, on the processor's clock and without its interrupt.
    unsafe {
        if CONTROL.read_volatile() & 1 == 0 {
            RELOAD.write_volatile(0x00ff_ffff);
            VALUE.write_volatile(0);
            CONTROL.write_volatile(0b101);
        }
        u64::from(0x00ff_ffff - VALUE.read_volatile())
    }
}

/// Takes two instructions `count` times.
#[inline(never)]
pub(super) fn spin(count: u32) {
    // SAFETY: counts a register down.
    unsafe {
        core::arch::asm!(
            "2: subs {n}, {n}, #1", "bne 2b",
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
    unsafe {
        core::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    (pointer, &raw const __sheap as usize)
}
