//! Fine-tunes a language model on a device: DPO on a low-rank adapter, with this crate between
//! logits and gradients.
//!
//! ```text
//! cargo run --release --example finetune -- --help
//!
//! pairs.jsonl ─▶ pretrain (both answers) ─▶ supervise (chosen answers) ─▶ base weights, frozen
//!                                                                               │
//!              ┌────────────── one set of weights, two models ──────────────────┤
//!     adapter off: reference                                          adapter on: policy
//!              │ once                                                           │ every step
//!              ▼                                                                ▼
//!     token_log_probs ─▶ sequence_log_probs ── log π_ref ──▶ preference_step: logits become gradients
//!                                                                               │
//!                      Adam ◀── adapter's gradients ◀── the model's backward ◀──┘
//! ```
//!
//! The host brings the model (`model`, `linear`), the optimiser and the order of things (`train`),
//! and the buffers (`batch`, which makes the calls into the crate). Everything follows from
//! `--seed`, on two threads whatever the machine has. A fifth of the prompts is held out and never
//! trained on: a small model soon knows its few training pairs by heart, and only the held-out
//! accuracy tells what carries over. Nor does it write good English: it has read some 25 kilobytes.

#![allow(
    clippy::indexing_slicing,
    reason = "offsets come from the shapes of buffers made a few lines above"
)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts are small, and a host may compute in f32"
)]
#![allow(unreachable_pub, reason = "the modules of an example have no outside")]

pub(crate) mod args;
mod batch;
mod curves;
pub(crate) mod jsonl;
pub(crate) mod linear;
pub(crate) mod model;
pub(crate) mod random;
mod sample;
mod svg;
pub(crate) mod text;
pub(crate) mod train;

use std::f64::consts::LN_2;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use dpo_kernel::{Dispatch, Dpo, Summary};

use args::{Options, Request, USAGE};
use curves::Curves;
use linear::Adapter;
use model::Model;
use random::Random;
use text::{ANSWER_LIMIT, Examples, PROMPT_LIMIT, Sequence};
use train::{Outcome, Recipe, Score, Scoreboard};

/// Pairs of this crate's own writing: helpful or brief answers against rude or rambling ones.
const BUILT_IN: &[u8] = include_bytes!("pairs.jsonl");

fn main() -> ExitCode {
    let mut out = io::stdout();
    let outcome = match args::parse(std::env::args_os().skip(1)) {
        Err(why) => {
            eprintln!("finetune: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
        Ok(Request::Help) => out.write_all(USAGE.as_bytes()).map_err(Into::into),
        Ok(Request::Run(options)) => run(&options, &Recipe::default(), &mut out),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("finetune: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole job; what it has to tell goes to `out`.
pub(crate) fn run(options: &Options, recipe: &Recipe, out: &mut dyn Write) -> Outcome {
    let start = Instant::now();
    let mut random = Random(options.seed);
    let examples = load(options, &mut random, out)?;
    // A path that cannot be written is better found before the work than after it.
    (OpenOptions::new().write(true).create(true).truncate(false))
        .open(&options.out)
        .map_err(|error| format!("{}: {error}", options.out.display()))?;
    let (dispatch, dpo) = (Dispatch::detect(), Dpo::new(options.beta)?);

    let mut model = Model::new(recipe.shape, &mut random);
    let (base, adapter) = (model.weights.base.len(), model.weights.adapter.len());
    writeln!(out, "model: {base} base weights, {adapter} adapter weights")?;
    let chosen: Vec<&Sequence> = examples.train.iter().map(|pair| &pair.chosen).collect();
    let both: Vec<&Sequence> =
        examples.train.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).collect();
    let phases = [("pretrain", both, recipe.pretraining), ("supervise", chosen, recipe.supervised)];
    for (name, texts, phase) in phases {
        let report = |step, steps, loss| {
            if is_milestone(step, steps, 4) {
                writeln!(out, "{name:<9} step {step:>4}/{steps}  {loss:.3} nats a byte")?;
            }
            Ok(())
        };
        train::supervised(&mut model, dispatch, &phase, &texts, &mut random, report)?;
    }

    let train = Scoreboard::new(&model, dispatch, &examples.train)?;
    let held_out = Scoreboard::new(&model, dispatch, &examples.held_out)?;
    let evaluate = |model: &Model| -> Outcome<(Score, Score)> {
        let score = train.evaluate(model, dispatch, &dpo)?;
        Ok((score, held_out.evaluate(model, dispatch, &dpo)?))
    };
    let (mut score, mut held_score) = evaluate(&model)?;
    if score.losses.iter().any(|pair| pair.loss.to_bits() != LN_2.to_bits()) {
        return Err("a fresh adapter changed the model: a loss at step 0 is not ln 2".into());
    }
    writeln!(out, "dpo       step    0: policy = reference, every pair's loss is ln 2 exactly")?;
    let boards = [("trained on", &train, &score), ("held out", &held_out, &held_score)];
    sample::show("before", (&model, Adapter::Off), boards, options.seed, out)?;

    let mut curves = Curves::default();
    curves.evaluations.push((0, score.summary, held_score.summary));
    let steps = options.steps.unwrap_or_else(|| recipe.preference.steps(examples.train.len()));
    let report = |step, model: &Model, batch: Summary| {
        curves.batch_losses.push((step - 1, batch.mean_loss()));
        if is_milestone(step, steps, 12) {
            (score, held_score) = evaluate(model)?;
            curves.evaluations.push((step, score.summary, held_score.summary));
            let figures = figures(&score.summary, &held_score.summary, 3, "  ");
            writeln!(out, "dpo       step {step:>4}/{steps}  {figures}")?;
        }
        Ok(())
    };
    let plan = (&recipe.preference, steps);
    train::preference(&mut model, (dispatch, &dpo), plan, &train, &mut random, report)?;
    let boards = [("trained on", &train, &score), ("held out", &held_out, &held_score)];
    sample::show("after", (&model, Adapter::On), boards, options.seed, out)?;

    let subtitle = format!(
        "β = {}, {} training pairs, {} held out, seed {}",
        options.beta,
        train.examples.len(),
        held_out.examples.len(),
        options.seed
    );
    fs::write(&options.out, curves.svg(&subtitle))?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(out, "curves in {}; {seconds:.0} s in all", options.out.display())?;
    writeln!(out, "result: {}", figures(&score.summary, &held_score.summary, 4, " "))?;
    Ok(())
}

/// Loss, margin and both accuracies, to so many digits.
fn figures(train: &Summary, held_out: &Summary, digits: usize, gap: &str) -> String {
    let held_out_accuracy = match held_out.pairs {
        0 => "n/a".to_owned(),
        _ => format!("{:.digits$}", held_out.accuracy()),
    };
    format!(
        "loss={:.digits$}{gap}margin={:.digits$}{gap}train_accuracy={:.digits$}{gap}\
         heldout_accuracy={}",
        train.mean_loss(),
        train.mean_margin(),
        train.accuracy(),
        held_out_accuracy,
    )
}

/// Reads the pairs and splits them, and tells what became of them.
fn load(options: &Options, random: &mut Random, out: &mut dyn Write) -> Outcome<Examples> {
    let (name, pairs) = match &options.data {
        None => ("built-in pairs".to_owned(), jsonl::parse("pairs.jsonl", BUILT_IN)?),
        Some(path) => {
            let name = path.display().to_string();
            let bytes = fs::read(path).map_err(|error| format!("{name}: {error}"))?;
            let pairs = jsonl::parse(&name, &bytes)?;
            (name, pairs)
        }
    };
    let examples = Examples::new(&pairs, random);
    let (train, held_out) = (examples.train.len(), examples.held_out.len());
    writeln!(out, "data: {name}: {train} pairs to train on, {held_out} held out")?;
    if examples.cut > 0 {
        writeln!(
            out,
            "data: {} pairs cut: prompts to their last {PROMPT_LIMIT} bytes, answers to their \
             first {ANSWER_LIMIT}",
            examples.cut,
        )?;
    }
    if examples.dropped > 0 {
        writeln!(out, "data: {} pairs dropped: cut, their answers are equal", examples.dropped)?;
    }
    if train == 0 {
        return Err(format!("{name}: no pair is left to train on").into());
    }
    Ok(examples)
}

/// Whether to report at this step: `count` times in all, the last step included.
fn is_milestone(step: usize, steps: usize, count: usize) -> bool {
    step * count / steps > (step - 1) * count / steps
}
