//! The command.

use std::env::{set_var, var};
use std::io::{self, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use smollm2::args::{self, Options, Request};
use smollm2::run::run;
use smollm2::{Fault, Outcome};

fn main() -> ExitCode {
    let (status, why) = match args::parse(std::env::args_os().skip(1)) {
        Err(why) => (2, why),
        Ok(Request::Help) => match io::stdout().write_all(args::help().as_bytes()) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (1, error.to_string()),
        },
        Ok(Request::Run(options)) => match start(&options) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (1, error.to_string()),
        },
    };
    // Whoever closed the output does not want to read about it.
    let _ = writeln!(io::stderr(), "smollm2: {why}");
    ExitCode::from(status)
}

/// Runs on as many threads as `RAYON_NUM_THREADS` says, or the machine has.
fn start(options: &Options) -> Outcome {
    const THREADS: &str = "RAYON_NUM_THREADS";
    let given = var(THREADS).ok().and_then(|text| text.parse().ok()).filter(|count| *count > 0);
    let threads = given.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
    let micro_batches = options.batch.div_ceil(options.micro_batch);
    let of_each = (threads / micro_batches).max(1);
    // Micro-batches run beside one another, which leaves candle one thread or some for each of them.
    // Its threads for element-wise operations spin after every one, and would take a core from the
    // products of matrices, where the time goes.
    for (name, count) in [(THREADS, of_each), ("CANDLE_NUM_THREADS", 1)] {
        #[allow(unsafe_code, reason = "candle takes these numbers from nowhere else")]
        // SAFETY: the process has read its arguments so far; it has no other thread.
        unsafe {
            set_var(name, count.to_string());
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(Fault::from)?;
    pool.install(|| run(options, &mut io::stdout()))
}
