//! The same work by other libraries, beside dpo-kernel: token log-probs of logits, and their
//! gradients, on one thread. Of bf16 and f16 logits by PyTorch alone.
//!
//! ```sh
//! python3 -m venv peers && peers/bin/pip install torch trl     # once, for PyTorch
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --python peers/bin/python
//! ```
//!
//! Everybody takes turns on the same logits and keeps the best time; results are checked against
//! f64 first. Options: `--python FILE`, `--rounds N`, `--vocab V` for one vocabulary alone, `--rows N`
//! for less work in a turn, which a busy machine interrupts less, `--type bfloat16` for one type
//! alone, `--level avx2` for fewer instructions than the machine has, PyTorch too.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "numbers of logits are far below 2^32"
)]

mod burn;
mod candle;
mod ours;
mod rten;
mod torch;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use dpo_kernel::{Arithmetic, Dispatch, Level, bf16, f16};

use work::{Kind, Peer, Work};

/// Vocabularies, and rows that make 67 MB of f32 of each: more than caches hold.
const SHAPES: [(usize, usize); 2] = [(32_000, 512), (131_072, 128)];

/// How many times faster dpo-kernel must be with f32: part of the peer's name, forward, forward and
/// backward.
const BARS: [(&str, Option<f64>, Option<f64>); 3] = [
    ("PyTorch", Some(7.0), Some(17.0)),
    ("candle", Some(40.0), Some(40.0)),
    ("rten", Some(6.0), None),
];

/// The same with bf16.
const BARS_BF16: [(&str, Option<f64>, Option<f64>); 1] = [("PyTorch", None, Some(10.0))];

/// What errors a peer may have before it counts as doing other work: log-prob, gradient. Sums of V
/// terms in f32 lose much: candle's gradients are off by 7e-3 at V = 131,072.
const TOLERANCE: (f64, f64) = (5e-3, 2e-2);

/// The same with 16 bits: PyTorch rounds log-probs to bf16, whose step at −20 is 0.125, and makes p
/// of that.
const TOLERANCE_16: (f64, f64) = (0.125, 0.125);

struct Options {
    python: String,
    rounds: usize,
    vocab: Option<usize>,
    rows: Option<usize>,
    kind: Option<Kind>,
    dispatch: Dispatch,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let (python, dispatch) = ("python3".into(), Dispatch::detect());
        let mut options = Self { python, rounds: 8, vocab: None, rows: None, kind: None, dispatch };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{value} is no number"));
            match argument.as_str() {
                "--python" => options.python = value,
                "--rounds" => options.rounds = number()?.max(1),
                "--vocab" => options.vocab = Some(number()?),
                "--rows" => options.rows = Some(number()?.max(2)),
                "--type" => {
                    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == value);
                    options.kind = Some(kind.ok_or_else(|| format!("{value}: no such type"))?);
                }
                "--level" => {
                    let level = match value.as_str() {
                        "avx2" => Level::Avx2,
                        "avx512" => Level::Avx512,
                        other => return Err(format!("{other}: no such level")),
                    };
                    options.dispatch = Dispatch::new(level, Arithmetic::Fused)
                        .map_err(|error| format!("{value}: {error}"))?;
                }
                other => return Err(format!("{other}: no such option")),
            }
        }
        Ok(options)
    }
}

/// A peer's best times, in nanoseconds per logit, and its errors.
struct Row {
    name: String,
    forward: f64,
    step: Option<f64>,
    errors: (f64, Option<f64>),
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("peers: {message}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(1).build_global() {
        eprintln!("peers: {error}");
        return ExitCode::FAILURE;
    }
    println!(
        "{:9} {:40} {:>8} {:>7} {:16} {:>8} {:>7} {:16} {:>9} {:>9}",
        "V",
        "one thread; ns per logit",
        "forward",
        "ratio",
        "",
        "fwd+bwd",
        "ratio",
        "",
        "error",
        "of grad"
    );
    let mut missed = 0;
    for kind in Kind::ALL {
        if options.kind.is_some_and(|only| only != kind) {
            continue;
        }
        println!("{}", kind.name());
        for (vocab, rows) in SHAPES {
            if options.vocab.is_none_or(|only| only == vocab) {
                let rows = options.rows.unwrap_or(rows);
                let found = measure(&Work::new(kind, rows, vocab), &options);
                missed += print(kind, vocab, &found);
            }
        }
    }
    println!("{missed} bars missed");
    ExitCode::SUCCESS
}

fn measure(work: &Work, options: &Options) -> Vec<Row> {
    let dispatch = options.dispatch;
    let mut peers: Vec<Box<dyn Peer + '_>> = vec![match work.kind {
        Kind::F32 => Box::new(ours::Ours::<f32>::new(dispatch, work)),
        Kind::F16 => Box::new(ours::Ours::<f16>::new(dispatch, work)),
        Kind::Bf16 => Box::new(ours::Ours::<bf16>::new(dispatch, work)),
    }];
    match torch::Torch::new(&options.python, dispatch.level(), work) {
        Ok(torch) => peers.push(Box::new(torch)),
        Err(error) => println!("PyTorch is not measured: {}: {error}", options.python),
    }
    if work.kind == Kind::F32 {
        peers.push(Box::new(rten::Rten::new(work)));
        peers.push(Box::new(candle::Candle::new(work).expect("candle's tensors")));
        peers.push(Box::new(burn::Burn::new(work)));
    }
    let tolerance = if work.kind == Kind::F32 { TOLERANCE } else { TOLERANCE_16 };
    let mut found = Vec::new();
    for peer in &mut peers {
        let log_prob = work.log_prob_error(&peer.forward().1);
        let grad = peer.step().map(|(_, grads)| work.grad_error(&grads));
        let name = peer.name();
        assert!(log_prob <= tolerance.0, "{name}: log-probs are off by {log_prob}");
        assert!(grad.is_none_or(|grad| grad <= tolerance.1), "{name}: gradients by {grad:?}");
        found.push(Row { name, forward: f64::INFINITY, step: None, errors: (log_prob, grad) });
    }
    let per_logit = |time: Duration| time.as_nanos() as f64 / work.logits.len() as f64;
    for _ in 0..options.rounds {
        for (peer, row) in peers.iter_mut().zip(&mut found) {
            row.forward = row.forward.min(per_logit(peer.forward().0));
            if let Some((time, _)) = peer.step() {
                row.step = Some(row.step.unwrap_or(f64::INFINITY).min(per_logit(time)));
            }
        }
    }
    found
}

/// Prints a vocabulary's rows; how many bars were missed.
fn print(kind: Kind, vocab: usize, found: &[Row]) -> usize {
    let bars: &[_] = match kind {
        Kind::F32 => &BARS,
        Kind::Bf16 => &BARS_BF16,
        Kind::F16 => &[],
    };
    let mut missed = 0;
    let mut against = |name: &str, time: Option<f64>, ours: Option<f64>, bar: Option<f64>| {
        let Some((time, ours)) = time.zip(ours) else { return [const { String::new() }; 3] };
        let ratio = time / ours;
        let verdict =
            bar.filter(|_| !name.starts_with("dpo-kernel")).map_or(String::new(), |bar| {
                missed += usize::from(ratio < bar);
                format!(">= {bar}: {}", if ratio < bar { "MISSED" } else { "met" })
            });
        [format!("{time:.3}"), format!("{ratio:.1}"), verdict]
    };
    for row in found {
        let ours = &found[0];
        let bar = bars.iter().find(|(name, ..)| row.name.contains(name));
        let forward =
            against(&row.name, Some(row.forward), Some(ours.forward), bar.and_then(|bar| bar.1));
        let step = against(&row.name, row.step, ours.step, bar.and_then(|bar| bar.2));
        println!(
            "{vocab:<9} {:40} {:>8} {:>7} {:16} {:>8} {:>7} {:16} {:>9.1e} {:>9}",
            row.name,
            forward[0],
            forward[1],
            forward[2],
            step[0],
            step[1],
            step[2],
            row.errors.0,
            row.errors.1.map_or(String::new(), |error| format!("{error:.1e}"))
        );
    }
    missed
}
