//! How near each kernel is to what the machine allows.
//!
//! ```sh
//! cargo bench --bench limits                                  # everything, about a minute
//! cargo bench --bench limits -- --only tokens/f32 --seconds 2
//! cargo bench --bench limits -- --only sweep-v --svg cost.svg
//! ```
//!
//! Every kernel races against the limit of its memory on the same buffer ([`machine`]) in
//! interleaved short laps, the best of which counts ([`race`]); results are checked first
//! ([`check`]). The bars are in [`bars`]: fractions of the measured limit, or nanoseconds scaled by
//! it. Ratios between races mean little: other processes and neighbours change the machine.
//!
//! | race | what |
//! |---|---|
//! | `tokens/TYPE/memory` | token log-probs, with and without statistics, T = 512, V = 131,072 |
//! | `grads/TYPE/memory` | gradients in place, the same |
//! | `tokens/f32/cache` | V = 32,000 in cache, 4 rows; V = 256, 500 rows |
//! | `grads/f32/cache` | the same in place |
//! | `threads/f32/cache` | one thread and two of a pool, 64 rows of V = 32,000, backward after forward, with `--features rayon` |
//! | `tokens/f32/sweep-v`, `grads/f32/sweep-v` | V = 1,000 to 262,144, out of cache |
//! | `tokens/f32/sweep-t`, `grads/f32/sweep-t` | T = 1 to 4,096 rows a call, V = 16,384, out of cache |
//!
//! The race of threads also tells what two do where each call comes from outside and wakes the
//! pool.
//!
//! `--only` takes parts of these names, separated by commas; `--seconds` is the time of one race;
//! `--offset` moves the logits so many elements past a cache line. Without `--bench`, which Cargo
//! passes on `cargo bench`, results are checked and nothing is timed.

#![allow(missing_docs, reason = "a program")]
#![allow(unreachable_pub, reason = "modules of a program")]
#![allow(clippy::panic, clippy::expect_used, clippy::indexing_slicing, reason = "a bench may stop")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of logits are far below 2^32"
)]

mod arena;
mod bars;
mod check;
mod machine;
mod race;
mod races;
mod svg;
mod sweep;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use dpo_kernel::{bf16, f16};

use arena::{Arena, Storage};
use bars::Score;
use races::{KERNELS, T, V};
use sweep::Sweep;

struct Options {
    only: Vec<String>,
    time: Duration,
    svg: Option<String>,
    offset: usize,
    timed: bool,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let mut options = Self {
            only: Vec::new(),
            time: Duration::from_secs(2),
            svg: None,
            offset: 0,
            timed: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => options.timed = true,
                "--only" => options.only.extend(value()?.split(',').map(String::from)),
                "--svg" => options.svg = Some(value()?),
                "--offset" => options.offset = number(&value()?)?,
                "--seconds" => {
                    let seconds = number::<f64>(&value()?)?;
                    options.time = Duration::try_from_secs_f64(seconds)
                        .map_err(|error| format!("{seconds} seconds: {error}"))?;
                }
                other => return Err(format!("{other}: no such option")),
            }
        }
        Ok(options)
    }

    fn wants(&self, race: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| race.contains(part.as_str()))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("limits: {message}");
            return ExitCode::from(2);
        }
    };
    #[cfg(feature = "rayon")]
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(races::THREADS).build_global() {
        eprintln!("limits: {error}");
        return ExitCode::FAILURE;
    }
    machine::check();
    check::all::<f32>();
    check::all::<bf16>();
    check::all::<f16>();
    println!("limits: every kernel is right on every level; planted faults were found");
    if !options.timed {
        return ExitCode::SUCCESS;
    }
    let mut score = Score::default();
    let mut f32s = Arena::<f32>::new(T * V, options.offset);
    for kernel in KERNELS {
        races::memory::<f32>(kernel, &mut f32s, None, &options, &mut score);
    }
    sixteen_bits::<bf16>(&mut f32s, &options, &mut score);
    sixteen_bits::<f16>(&mut f32s, &options, &mut score);
    for kernel in KERNELS {
        races::cache(kernel, &mut f32s, &options, &mut score);
    }
    #[cfg(feature = "rayon")]
    races::threads(&mut f32s, &options, &mut score);
    println!("\n{} bars met, {} missed", score.met, score.missed);
    let mut drawn = Vec::new();
    for kernel in KERNELS {
        if options.wants(&format!("{kernel}/f32/sweep-v")) {
            println!("\n{kernel}/f32/sweep-v");
            let sweep = Sweep::over_vocabularies(kernel, &mut f32s, 4 * options.time);
            sweep.print();
            drawn.push(sweep);
        }
        if options.wants(&format!("{kernel}/f32/sweep-t")) {
            println!("\n{kernel}/f32/sweep-t, V = {}", sweep::VOCAB);
            Sweep::over_rows(kernel, &mut f32s, 4 * options.time).print();
        }
    }
    if let Some(file) = &options.svg {
        if let Err(error) = std::fs::write(file, svg::draw(&drawn)) {
            eprintln!("limits: {file}: {error}");
            return ExitCode::FAILURE;
        }
        println!("\nwrote {file}");
    }
    ExitCode::SUCCESS
}

/// The races of a 16-bit type, in a buffer of their own while they last.
fn sixteen_bits<E: Storage>(f32s: &mut Arena<f32>, options: &Options, score: &mut Score) {
    if KERNELS.iter().any(|kernel| options.wants(&format!("{kernel}/{}/memory", E::NAME))) {
        let mut arena = Arena::<E>::new(T * V, options.offset);
        for kernel in KERNELS {
            races::memory(kernel, f32s, Some(&mut arena), options, score);
        }
    }
}
