//! Cortex-M, through semihosting: both suites where memory allows, the small one on ARMv6-M.

#![no_std]
#![no_main]

use core::fmt::Write;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hio;
use dpo_kernel_digest::suite::{Buffers, SMALL, SMALL_LEN, report};

#[entry]
fn main() -> ! {
    let mut out = hio::hstdout().unwrap();
    let mut all = report(&SMALL, &mut Buffers::<SMALL_LEN>::new(), &mut out) == Ok(true);
    #[cfg(feature = "full")]
    {
        use dpo_kernel_digest::suite::{FULL, FULL_LEN};
        all &= report(&FULL, &mut Buffers::<FULL_LEN>::new(), &mut out) == Ok(true);
    }
    loop {
        debug::exit(if all { EXIT_SUCCESS } else { EXIT_FAILURE });
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if let Ok(mut out) = hio::hstdout() {
        let _ = writeln!(out, "{info}");
    }
    loop {
        debug::exit(EXIT_FAILURE);
    }
}
