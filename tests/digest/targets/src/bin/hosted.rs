//! Both suites, on an operating system.

use std::process::ExitCode;

use dpo_kernel_digest::report;
use dpo_kernel_digest::suite::{FULL, FullBuffers, SMALL, SmallBuffers};

fn main() -> ExitCode {
    let mut text = String::new();
    let small = report(&SMALL, &mut Box::new(SmallBuffers::new()), &mut text);
    let full = report(&FULL, &mut Box::new(FullBuffers::new()), &mut text);
    print!("{text}");
    if small == Ok(true) && full == Ok(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
