//! What a program needs of its machine: text out, an exit code, and counters to measure with.
//!
//! A program is a function `run(out) -> bool`; [`main!`](crate::main) makes it one for a PC, for
//! Cortex-M or for RISC-V. On a board without an operating system text goes out through
//! semihosting, which QEMU and debug probes offer.

#[cfg(all(target_arch = "arm", target_os = "none"))]
#[path = "cortex_m.rs"]
mod machine;
#[cfg(all(target_arch = "riscv32", target_os = "none"))]
#[path = "riscv.rs"]
mod machine;

#[cfg(target_os = "none")]
pub mod measure;

#[cfg(target_os = "none")]
pub use machine::*;

/// The program whose `run` is given.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! main {
    ($run:path) => {
        fn main() -> std::process::ExitCode {
            let mut text = String::new();
            let good = $run(&mut text);
            print!("{text}");
            if good { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
        }
    };
}

/// The program whose `run` is given.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! main {
    ($run:path) => {
        #[$crate::board::entry]
        fn main() -> ! {
            let good = $crate::board::output().is_some_and(|mut out| $run(&mut out));
            $crate::board::exit(good)
        }

        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            if let Some(mut out) = $crate::board::output() {
                let _ = core::fmt::Write::write_fmt(&mut out, format_args!("{info}\n"));
            }
            $crate::board::exit(false)
        }
    };
}
