//! Both suites, on an operating system.

use std::process::ExitCode;

use dpo_kernel_digest::suite::{Buffers, FULL, FULL_LEN, SMALL, SMALL_LEN, report};

fn main() -> ExitCode {
    let mut text = String::new();
    let small = report(&SMALL, &mut Box::new(Buffers::<SMALL_LEN>::new()), &mut text);
    let full = report(&FULL, &mut Box::new(Buffers::<FULL_LEN>::new()), &mut text);
    print!("{text}");
    if small == Ok(true) && full == Ok(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
