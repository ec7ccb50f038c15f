//! Fine-tunes a language model on a device: DPO on a low-rank adapter, with this crate between
//! hidden states and their gradients. Logits exist a tile at a time.
//!
//! ```text
//! cargo run --release --example finetune -- --help
//!
//! pairs.jsonl ─▶ pretrain (both answers) ─▶ supervise (chosen answers) ─▶ base weights, frozen
//!                                                                               │
//!              ┌────────────── one set of weights, two models ──────────────────┤
//!     adapter off: reference                                          adapter on: policy
//!              │ once                                                           │ every step
//!              ▼ hidden states                                                  ▼
//!     head_token_log_probs ─▶ sequence_log_probs ── log π_ref ──▶ the same stages, a loss, then
//!                                                                 head_grads: hidden gradients
//!                                                                               │
//!                      Adam ◀── adapter's gradients ◀── the model's backward ◀──┘
//! ```
//!
//! The host brings the model (`model`, `linear`, `norm`), its last matrix (`head`), the optimiser and
//! the order of things (`train`), the loss (`objective`, DPO's own unless `--loss` names another) and
//! the buffers (`batch`); `head`, `objective` and `batch` make the calls into the crate. Everything
//! follows from `--seed`, on two threads whatever the machine has. `jsonl` reads the pairs in the
//! forms that trainers read, `text` cuts them to what the model reads and splits them by that. A
//! fifth of the prompts is held out and never trained on: a small model soon knows its few training
//! pairs by heart, and only the held-out accuracy tells what carries over. Nor does it write good
//! English: it has read some 25 kilobytes.

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
pub(crate) mod batch;
pub(crate) mod compare;
pub(crate) mod curves;
mod defaults;
pub(crate) mod grid;
pub(crate) mod head;
pub(crate) mod jsonl;
pub(crate) mod linear;
pub(crate) mod model;
pub(crate) mod norm;
pub(crate) mod objective;
pub(crate) mod random;
pub(crate) mod sample;
pub(crate) mod setup;
pub(crate) mod svg;
pub(crate) mod text;
pub(crate) mod train;

use std::f64::consts::LN_2;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use dpo_kernel::Dispatch;
use dpo_kernel::loss::LossName;

use args::{Options, Request};
use curves::Curves;
use linear::Adapter;
use model::Model;
use objective::Objective;
use train::{Outcome, Recipe, Score, Scoreboard};

pub(crate) fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    ExitCode::from(start(arguments, &Recipe::default(), &mut io::stdout(), &mut io::stderr()))
}

/// The whole program; its exit status.
pub(crate) fn start(
    arguments: impl Iterator<Item = OsString>,
    recipe: &Recipe,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let (status, why) = match args::parse(arguments) {
        Err(why) => (2, why),
        Ok(Request::Help) => match out.write_all(args::help().as_bytes()) {
            Ok(()) => return 0,
            Err(error) => (1, error.to_string()),
        },
        Ok(Request::Run(options)) => match run(&options, recipe, out) {
            Ok(()) => return 0,
            Err(error) => (1, error.to_string()),
        },
    };
    // Whoever closed the output does not want to read about it.
    let _ = writeln!(err, "finetune: {why}");
    status
}

/// The whole job; what it has to tell goes to `out`.
pub(crate) fn run(options: &Options, recipe: &Recipe, out: &mut dyn Write) -> Outcome {
    match options.loss {
        Some(loss) => fine_tune(options, loss, recipe, out),
        None => compare::run(options, recipe, out),
    }
}

/// One loss, with samples before and after.
fn fine_tune(options: &Options, loss: LossName, recipe: &Recipe, out: &mut dyn Write) -> Outcome {
    let start = Instant::now();
    let objective = Objective::new(loss, options.beta)?;
    let (examples, mut random) = setup::load(options, out)?;
    writable(&options.out)?;
    let dispatch = Dispatch::detect();
    let mut model = setup::reference(recipe, dispatch, &examples, &mut random, out)?;

    let train = Scoreboard::new(&model, dispatch, &examples.train)?;
    let held_out = Scoreboard::new(&model, dispatch, &examples.held_out)?;
    let evaluate = |model: &Model, objective: &Objective| -> Outcome<(Score, Score)> {
        let score = train.evaluate(model, dispatch, objective)?;
        Ok((score, held_out.evaluate(model, dispatch, objective)?))
    };
    let (mut score, mut held_score) = evaluate(&model, &objective)?;
    let label = if loss == LossName::Sigmoid { "dpo" } else { loss.name() };
    let fresh = step_zero(loss, &score)?;
    writeln!(out, "{label:<9} step    0: policy = reference, {fresh}")?;
    let boards = [("trained on", &train, &score), ("held out", &held_out, &held_score)];
    sample::show("before", (&model, Adapter::Off), boards, options.seed, out)?;

    let mut curves = Curves::default();
    curves.add(0, &score, &held_score);
    let steps = options.steps.unwrap_or_else(|| recipe.preference.steps(examples.train.len()));
    let report = |step, model: &Model, objective: &Objective, batch: f64| {
        curves.batch_losses.push((step - 1, batch));
        if is_milestone(step, steps, 12) {
            (score, held_score) = evaluate(model, objective)?;
            curves.add(step, &score, &held_score);
            let figures = figures(&score, &held_score, 3, "  ");
            writeln!(out, "{label:<9} step {step:>4}/{steps}  {figures}")?;
        }
        Ok(())
    };
    let plan = (&recipe.preference, steps);
    let memory =
        train::preference(&mut model, (dispatch, objective), plan, &train, &mut random, report)?;
    let boards = [("trained on", &train, &score), ("held out", &held_out, &held_score)];
    sample::show("after", (&model, Adapter::On), boards, options.seed, out)?;

    let subtitle = format!(
        "{}, {} training pairs, {} held out, seed {}",
        objective.parameter(),
        train.examples.len(),
        held_out.examples.len(),
        options.seed
    );
    fs::write(&options.out, curves.svg(loss, &subtitle))?;
    writeln!(out, "head: {memory}")?;
    let seconds = start.elapsed().as_secs_f64();
    writeln!(out, "curves in {}; {seconds:.0} s in all", options.out.display())?;
    writeln!(out, "result: {}", figures(&score, &held_score, 4, " "))?;
    Ok(())
}

/// A path that cannot be written is better found before the work than after it.
fn writable(path: &Path) -> Outcome {
    (OpenOptions::new().write(true).create(true).truncate(false))
        .open(path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(())
}

/// What holds of the loss before the first step, to the bit.
fn step_zero(loss: LossName, score: &Score) -> Outcome<&'static str> {
    if !score.is_reference {
        return Err("a fresh adapter changed the model: a log-prob is not the reference's".into());
    }
    if loss != LossName::Sigmoid {
        return Ok("every log-prob to the bit");
    }
    if score.found.losses.iter().any(|pair| pair.loss.to_bits() != LN_2.to_bits()) {
        return Err("a fresh adapter changed the model: a loss at step 0 is not ln 2".into());
    }
    Ok("every pair's loss is ln 2 exactly")
}

/// Loss, margin and both accuracies, to so many digits.
fn figures(train: &Score, held_out: &Score, digits: usize, gap: &str) -> String {
    let held_out_accuracy = match held_out.found.summary.pairs {
        0 => "n/a".to_owned(),
        _ => format!("{:.digits$}", held_out.found.summary.accuracy()),
    };
    format!(
        "loss={:.digits$}{gap}margin={:.digits$}{gap}train_accuracy={:.digits$}{gap}\
         heldout_accuracy={}",
        train.found.loss,
        train.found.summary.mean_margin(),
        train.found.summary.accuracy(),
        held_out_accuracy,
    )
}

/// Whether to report at this step: `count` times in all, the last step included.
fn is_milestone(step: usize, steps: usize, count: usize) -> bool {
    step * count / steps > (step - 1) * count / steps
}
