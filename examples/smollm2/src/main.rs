//! The command.

use std::io::{self, Write};
use std::process::ExitCode;

use smollm2::args::{self, Request};
use smollm2::run::run;

fn main() -> ExitCode {
    let (status, why) = match args::parse(std::env::args_os().skip(1)) {
        Err(why) => (2, why),
        Ok(Request::Help) => match io::stdout().write_all(args::help().as_bytes()) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (1, error.to_string()),
        },
        // On a thread of the pool: handing work to it from outside costs a wake each time.
        Ok(Request::Run(options)) => match rayon::scope(|_| run(&options, &mut io::stdout())) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (1, error.to_string()),
        },
    };
    // Whoever closed the output does not want to read about it.
    let _ = writeln!(io::stderr(), "smollm2: {why}");
    ExitCode::from(status)
}
