//! The command.

use std::io::{self, Write};
use std::process::ExitCode;

use smollm2::args::{self, Request};
use smollm2::run::run;

/// How many threads candle's element-wise operations take.
const ELEMENT_WISE_THREADS: &str = "CANDLE_NUM_THREADS";

fn main() -> ExitCode {
    // Their threads are not rayon's: they spin for a while after every operation, and take a core
    // from the product of matrices that follows, which is where the time goes.
    if std::env::var_os(ELEMENT_WISE_THREADS).is_none() {
        #[allow(unsafe_code, reason = "candle reads this number from nowhere else")]
        // SAFETY: this is the first thing that the process does; it has no other thread.
        unsafe {
            std::env::set_var(ELEMENT_WISE_THREADS, "1");
        }
    }
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
