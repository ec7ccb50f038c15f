//! The head and its loss by other libraries, beside dpo-kernel: a pair of answers, from hidden states
//! to their gradients, on one thread.
//!
//! ```sh
//! python3 -m venv peers
//! peers/bin/pip install torch==2.15.0 trl==1.16.0 && peers/bin/pip install --no-deps liger-kernel==0.8.5
//! cargo run --release --manifest-path benches/peers/Cargo.toml --no-default-features --bin head \
//!     -- --python peers/bin/python
//! ```
//!
//! Everybody takes turns on the same hidden states and weights and keeps the best time, of what the
//! thread computed; results are compared first, ours with f64 and the others' with ours. Memory is the rise of the resident size
//! in a step, in a process for each, less the gradients themselves. Everything is held to AVX2
//! unless the feature `avx512` is on. Options: `--python FILE`, `--rounds N`, `--size 0`, `1` or `2`
//! for one size alone, `--type bf16` for one type alone, `--draw FILE` to measure over vocabularies
//! and draw that instead.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "sizes of matrices are far below 2^32"
)]

#[allow(unsafe_code, reason = "products of others take pointers")]
#[path = "../../../head/src/bare.rs"]
mod bare;
mod check;
#[path = "../../../head/src/clock.rs"]
mod clock;
mod memory;
mod python;
mod race;
#[allow(dead_code, reason = "the forward alone is timed elsewhere")]
#[path = "../../../head/src/step.rs"]
mod step;
mod svg;
#[path = "../../../head/src/work.rs"]
mod work;

use std::process::ExitCode;

use dpo_kernel::{Arithmetic, Dispatch, Element, Level, bf16};

use python::Setting;
use race::{Race, STEPS, race};
use work::Work;

/// N × H × V: of SmolLM2-135M, of Llama 3.2 1B, and a small one.
const SIZES: [(usize, usize, usize); 3] =
    [(512, 576, 49_152), (256, 2048, 128_256), (256, 64, 256)];

/// Of the picture, with 512 states of 576 numbers.
const VOCABS: [usize; 6] = [8_000, 16_384, 32_768, 65_536, 131_072, 262_144];

struct Options {
    python: String,
    rounds: usize,
    size: Option<usize>,
    kind: Option<String>,
    draw: Option<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (python, rounds) = ("python3".into(), 5);
        let mut options = Self { python, rounds, size: None, kind: None, draw: None };
        while let Some(argument) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{value} is no number"));
            match argument.as_str() {
                "--python" => options.python = value,
                "--rounds" => options.rounds = number()?.max(1),
                "--size" => options.size = Some(number()?),
                "--type" if value == "f32" || value == "bf16" => options.kind = Some(value),
                "--draw" => options.draw = Some(value),
                other => return Err(format!("{other} {value}: no such option")),
            }
        }
        Ok(options)
    }
}

/// As the products of others were built.
fn dispatch() -> Dispatch {
    let level = if cfg!(feature = "avx512") { Level::Avx512 } else { Level::Avx2 };
    Dispatch::new(level, Arithmetic::Fused).unwrap_or_else(|_| Dispatch::detect())
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    // How this program starts itself to weigh dpo-kernel.
    if arguments.next_if_eq("memory").is_some() {
        return memory::child(arguments);
    }
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("head: {message}");
            return ExitCode::from(2);
        }
    };
    if let Some(file) = &options.draw {
        return draw(&options, file);
    }
    for (i, shape) in SIZES.into_iter().enumerate() {
        for kind in ["f32", "bf16"] {
            let is_of = options.size.is_none_or(|only| only == i);
            if is_of && options.kind.as_ref().is_none_or(|only| only == kind) {
                print(&measure(shape, kind, &options, STEPS.len()));
            }
        }
    }
    ExitCode::SUCCESS
}

fn measure(
    shape: (usize, usize, usize),
    kind: &'static str,
    options: &Options,
    steps: usize,
) -> Race {
    fn of<E: Element>(
        shape: (usize, usize, usize),
        kind: &'static str,
        options: &Options,
        steps: usize,
    ) -> std::io::Result<Race> {
        let work = Work::<E>::new(shape);
        let setting = Setting::new(&options.python, dispatch().level(), kind, &work)?;
        race(&work, kind, &setting, options.rounds, steps)
    }
    let race = if kind == "f32" { of::<f32> } else { of::<bf16> };
    race(shape, kind, options, steps).expect("files and children of this process")
}

/// A line for everybody: times, in products of the fastest, and memory.
fn print(race: &Race) {
    let (rows, size, vocab) = race.shape;
    println!("{rows} x {size} x {vocab}, {}, {:?}", race.kind, dispatch().level());
    println!(
        "  {:48} {:>10} {:>6} {:>10} {:>6} {:>9} {:>9} {:>9}",
        "one thread; ms, in products; MiB",
        "frozen",
        "",
        "trained",
        "",
        "frozen",
        "trained",
        "error"
    );
    let of_products = race.product() / 2.0;
    for row in &race.rows {
        let time = |time: Option<f64>| {
            let in_products =
                |time: f64| [format!("{:.3}", time * 1e3), format!("{:.2}", time / of_products)];
            time.map_or([const { String::new() }; 2], in_products)
        };
        let ([frozen, of_frozen], [trained, of_trained]) = (time(row.times[0]), time(row.times[1]));
        let mib = |bytes: Option<f64>| {
            bytes.map_or(String::new(), |bytes| format!("{:.2}", bytes / 1_048_576.0))
        };
        println!(
            "  {:48} {frozen:>10} {of_frozen:>6} {trained:>10} {of_trained:>6} {:>9} {:>9} {:>9.1e}",
            row.name,
            mib(row.memory[0]),
            mib(row.memory[1]),
            row.error
        );
    }
    for (name, time) in &race.products {
        println!("  two bare products: {name:29} {:>10.3}", time * 1e3);
    }
}

fn draw(options: &Options, file: &str) -> ExitCode {
    let races: Vec<Race> = VOCABS
        .into_iter()
        .map(|vocab| {
            // Frozen alone.
            let race = measure((512, 576, vocab), "f32", options, 1);
            print(&race);
            race
        })
        .collect();
    match std::fs::write(file, svg::draw(&races)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("head: {file}: {error}");
            ExitCode::FAILURE
        }
    }
}
