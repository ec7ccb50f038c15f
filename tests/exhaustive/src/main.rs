//! Checks the scalar f32 functions on every input, against arbitrary precision.
//!
//! ```text
//! cargo run --release -p dpo-kernel-exhaustive                  every function, minutes
//! cargo run --release -p dpo-kernel-exhaustive -- sigmoid       one function
//! cargo run --release -p dpo-kernel-exhaustive -- --ulps 4e5    worst errors of the f64 functions
//! ```
//!
//! The exit status is 0 if every result is correctly rounded, 1 if one is not, 2 if the check
//! itself is not to be trusted: unoptimised, or one of its controls failed.

mod controls;
mod oracle;
mod random;
mod sweep;
mod ulps;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use oracle::FUNCTIONS;

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        eprintln!("unoptimised this takes hours: add --release");
        return ExitCode::from(2);
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Err(fault) = controls::run() {
        eprintln!("controls: {fault}");
        return ExitCode::from(2);
    }
    if arguments.first().is_some_and(|argument| argument == "--ulps") {
        let samples = arguments.get(1).and_then(|count| count.parse::<f64>().ok()).unwrap_or(1e5);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        ulps::run(samples as u64, arguments.get(2..).unwrap_or(&[]));
        return ExitCode::SUCCESS;
    }
    let mut mismatches = 0;
    for function in &FUNCTIONS {
        if !arguments.is_empty() && arguments.iter().all(|name| name != function.name) {
            continue;
        }
        let start = Instant::now();
        let found = sweep::sweep(function, 0..1 << 32);
        println!(
            "{}: {} inputs, {} of them in arbitrary precision, {} mismatches, {:.1} s",
            function.name,
            found.inputs,
            found.hard,
            found.mismatches,
            start.elapsed().as_secs_f64()
        );
        if let Some((distance, x)) = found.hardest {
            println!("    nearest to a boundary: 2^{:.2} at {x:e}", distance.log2());
        }
        for (x, result, correct) in found.examples {
            println!("    {x:e} ({:#010x}): {result:e}, not {correct:e}", x.to_bits());
        }
        mismatches += found.mismatches;
    }
    ExitCode::from(u8::from(mismatches > 0))
}
