//! The head beside bare products of matrices, on one thread.
//!
//! ```sh
//! cargo run --release --manifest-path benches/head/Cargo.toml                      # all with AVX2
//! cargo run --release --manifest-path benches/head/Cargo.toml --features avx512    # with AVX-512
//! ```
//!
//! Everybody takes turns on the same hidden states and weights, and keeps the best time, of what the
//! thread computed; results are checked against f64 first. Only ratios within a run count. Options: `--rounds N`, `--size 0`,
//! `1` or `2` for one size alone, `--type bf16` for one type alone, `--check` to check results at
//! small sizes and time nothing.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "sizes of matrices are far below 2^32"
)]

mod bare;
mod clock;
mod step;
mod table;
mod timed;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use dpo_kernel::head::Linear;
use dpo_kernel::{Arithmetic, Dispatch, Element, Level, bf16};
use dpo_kernel_products::{GemmHead, MatrixMultiplyHead};

use bare::Bare;
use clock::Start;
use step::Step;
use timed::Timed;
use work::Work;

/// N × H × V: of SmolLM2-135M, of Llama 3.2 1B, and a small one.
const SIZES: [(usize, usize, usize); 3] =
    [(512, 576, 49_152), (256, 2048, 128_256), (256, 64, 256)];

/// Sizes to check at: multiples of nothing.
const SMALL: [(usize, usize, usize); 2] = [(26, 77, 1100), (4, 1, 3)];

/// What a turn takes at least: short work is repeated.
const TURN: Duration = Duration::from_millis(50);

struct Options {
    rounds: usize,
    size: Option<usize>,
    kind: Option<String>,
    check: bool,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let mut options = Self { rounds: 5, size: None, kind: None, check: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if argument == "--check" {
                options.check = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{value} is no number"));
            match argument.as_str() {
                "--rounds" => options.rounds = number()?.max(1),
                "--size" => options.size = Some(number()?),
                "--type" if value == "f32" || value == "bf16" => options.kind = Some(value),
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
    let options = match Options::parse() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("head: {message}");
            return ExitCode::from(2);
        }
    };
    if options.check {
        for shape in SMALL {
            check(&Work::<f32>::new(shape));
            check(&Work::<bf16>::new(shape));
        }
        println!("results: ok");
        return ExitCode::SUCCESS;
    }
    for (i, shape) in SIZES.into_iter().enumerate() {
        if options.size.is_some_and(|only| only != i) {
            continue;
        }
        if options.kind.as_ref().is_none_or(|only| only == "f32") {
            measure(&Work::<f32>::new(shape), "f32", i == 0, options.rounds);
        }
        if options.kind.as_ref().is_none_or(|only| only == "bf16") {
            measure(&Work::<bf16>::new(shape), "bf16", false, options.rounds);
        }
    }
    ExitCode::SUCCESS
}

fn linear<E: Element>(work: &Work<E>) -> Linear<'_, E> {
    Linear::new(&work.weights, work.vocab, work.size).expect("the shapes are right")
}

/// Heads by the products of others.
fn others<E: Element>(work: &Work<E>) -> (GemmHead<'_, E>, MatrixMultiplyHead<'_, E>) {
    let gemm = GemmHead::new(&work.weights, work.vocab, work.size);
    let other = MatrixMultiplyHead::new(&work.weights, work.vocab, work.size);
    let heads = gemm.ok().zip(other.ok()).expect("the shapes are right");
    (heads.0.with_rows(work.rows), heads.1.with_rows(work.rows))
}

/// Everybody's results against f64.
fn check<E: Element>(work: &Work<E>) {
    let (dispatch, (gemm, other)) = (dispatch(), others(work));
    work.check("built-in", Step::new(work, dispatch, linear(work)).frozen());
    work.check("gemm", Step::new(work, dispatch, gemm).frozen());
    work.check("matrixmultiply", Step::new(work, dispatch, other).frozen());
    // bf16 keeps eight bits.
    let rounding = if size_of::<E>() == 4 { 0.0 } else { 1.0 / 256.0 };
    let mut weights = vec![E::NEG_INFINITY; work.weights.len()];
    let mut trained = |name: &str, found: &mut dyn FnMut(&mut [E]) -> work::Found| {
        let found = found(&mut weights);
        work.check(name, &found);
        work.check_weights(name, &found, &weights, rounding);
        weights.fill(E::NEG_INFINITY);
    };
    let heads = others(work);
    trained("built-in, trained", &mut |to| {
        Step::new(work, dispatch, linear(work)).trained(to).clone()
    });
    trained("gemm, trained", &mut |to| Step::new(work, dispatch, heads.0).trained(to).clone());
    trained("matrixmultiply, trained", &mut |to| {
        Step::new(work, dispatch, heads.1).trained(to).clone()
    });
    Bare::new(work, bare::by_gemm).check("gemm");
    Bare::new(work, bare::by_matrixmultiply).check("matrixmultiply");
}

/// The time of one of several runs that fill a turn.
fn turn<const N: usize>(mut run: impl FnMut() -> [Duration; N]) -> [f64; N] {
    let (start, mut sums, mut count) = (Start::now(), [0.0; N], 0.0);
    while count == 0.0 || start.elapsed() < TURN {
        for (sum, time) in sums.iter_mut().zip(run()) {
            *sum += time.as_secs_f64();
        }
        count += 1.0;
    }
    sums.map(|sum| sum / count)
}

fn timed(run: impl FnOnce()) -> [Duration; 1] {
    let start = Start::now();
    run();
    [start.elapsed()]
}

fn best<const N: usize>(of: &mut [f64; N], found: [f64; N]) {
    for (best, found) in of.iter_mut().zip(found) {
        *best = best.min(found);
    }
}

fn measure<E: Element>(work: &Work<E>, kind: &str, has_bar: bool, rounds: usize) {
    check(work);
    let dispatch = dispatch();
    let (gemm, other) = others(work);
    let mut step = Step::new(work, dispatch, linear(work));
    let mut inside = Step::new(work, dispatch, Timed::new(linear(work)));
    let mut by_gemm = Step::new(work, dispatch, gemm);
    let mut by_other = Step::new(work, dispatch, other);
    let mut bare_gemm = Bare::new(work, bare::by_gemm);
    let mut bare_other = Bare::new(work, bare::by_matrixmultiply);
    let mut weights = vec![E::ZERO; work.weights.len()];
    let mut times = table::Times::default();
    for _ in 0..rounds {
        best(&mut times.forward, turn(|| timed(|| step.forward())));
        best(&mut times.frozen[0], turn(|| timed(|| _ = step.frozen())));
        best(
            &mut times.products[0],
            turn(|| {
                inside.frozen();
                inside.head.take()
            }),
        );
        best(&mut times.products[1], turn(|| bare_gemm.run()));
        best(&mut times.products[2], turn(|| bare_other.run()));
        best(&mut times.trained[0], turn(|| timed(|| _ = step.trained(&mut weights))));
        best(&mut times.frozen[1], turn(|| timed(|| _ = by_gemm.frozen())));
        best(&mut times.frozen[2], turn(|| timed(|| _ = by_other.frozen())));
        best(&mut times.trained[1], turn(|| timed(|| _ = by_gemm.trained(&mut weights))));
        best(&mut times.trained[2], turn(|| timed(|| _ = by_other.trained(&mut weights))));
    }
    let Work { rows, size, vocab, .. } = work;
    println!(
        "{rows} x {size} x {vocab}, {kind}, {:?}; ms, best of {rounds} turns",
        dispatch.level()
    );
    times.print(has_bar);
}
