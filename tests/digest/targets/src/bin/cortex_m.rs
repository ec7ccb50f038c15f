//! Cortex-M, through semihosting: both suites where memory allows, the small one on ARMv6-M.

#![no_std]
#![no_main]

use core::fmt::Write;
use core::panic::PanicInfo;

use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hio;
use dpo_kernel_digest::report;
use dpo_kernel_digest::suite::{SMALL, SmallBuffers};

#[entry]
fn main() -> ! {
    let mut out = hio::hstdout().unwrap();
    let small = report(&SMALL, &mut SmallBuffers::new(), &mut out) == Ok(true);
    #[cfg(not(feature = "full"))]
    let full = true;
    #[cfg(feature = "full")]
    let full = {
        use dpo_kernel_digest::suite::{FULL, FullBuffers};
        report(&FULL, &mut FullBuffers::new(), &mut out) == Ok(true)
    };
    loop {
        debug::exit(if small && full { EXIT_SUCCESS } else { EXIT_FAILURE });
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
