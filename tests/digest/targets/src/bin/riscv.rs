//! RISC-V without an operating system, through semihosting: both suites.

#![no_std]
#![no_main]

use core::fmt::Write;
use core::panic::PanicInfo;

use dpo_kernel_digest::report;
use dpo_kernel_digest::suite::{FULL, FullBuffers, SMALL, SmallBuffers};
// For its critical section, which semihosting needs.
use riscv as _;
use riscv_rt::entry;
use riscv_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use riscv_semihosting::hio;

#[entry]
fn main() -> ! {
    let mut out = hio::hstdout().unwrap();
    let small = report(&SMALL, &mut SmallBuffers::new(), &mut out) == Ok(true);
    let full = report(&FULL, &mut FullBuffers::new(), &mut out) == Ok(true);
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
