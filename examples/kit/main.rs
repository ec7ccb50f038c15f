//! The conformance kit for hosts that do not call Rust: cases in a folder, answers in another.
//!
//! ```text
//! cargo run --release --features verify,alloc --example kit -- write CASES [--dtype f32|f16|bf16]
//!                                                                   [--seed N] [--full]
//! python3 your_host.py CASES ANSWERS
//! cargo run --release --features verify,alloc --example kit -- check CASES ANSWERS [--json FILE]
//! ```
//!
//! `check` prints the report of `verify::kit`: every row with a wrong figure, what was given, expected
//! and found, the bound that follows from the precision that the host declares, and the mistake that
//! explains it. The exit status is 0 if all is right, 1 if a figure is wrong, a row has other bits in
//! other surroundings, an answer is missing or too short (then all of its call has failed), or of an
//! output that is offered as many calls are skipped as are answered, 2 if the command line, the
//! manifest or `answers.json` cannot be used.
//!
//! # Cases
//!
//! `manifest.json` has `format` (`dpo-kernel-kit 1`), `seed`, `size`, `dtype`, the `digest` of all
//! inputs and the list `cases`.
//! Arrays are raw and little-endian, in files beside it. R rows, V columns, S their stride, P pairs,
//! H the hidden size. Each case has a `name`, its `input` in words, an `operation`, and the names of
//! the files that its `answers` go to.
//!
//! A `transform` has `scale`, `softcap` (null for none) and `temperature`.
//!
//! | operation | given | answers |
//! |---|---|---|
//! | `rows` | `rows`, `vocab`, `stride`, `file` (R · S of dtype), `transform`, `targets`, `ignore_index`, `coefficients` | `log_probs`, `log_z`, `entropy`, `argmax`, `mean_logit`, `log_sum_sq_probs` (R each), `grads` (R · S of dtype) |
//! | `pairs` | `pairs`, `beta`, `label_smoothing`, `file` (P × 6 f64: policy chosen, policy rejected, reference chosen, reference rejected, weight, offset) | `pairs` (P × 6: loss, chosen reward, rejected reward, margin, ∂L/∂chosen, ∂L/∂rejected) |
//! | `head` | `rows`, `hidden_size`, `vocab`, `hidden` (R × H), `weight` (V × H), `bias` (V, or null), `transform`, `targets`, `ignore_index`, `coefficients` | `log_probs`, `log_z` (R each), `d_hidden` (R × H) |
//!
//! Formulas and special values are those of `verify::kit::Backend` and of the crate: `y =
//! softcap(scale · x)/temperature`, row t scores `targets[t]`, −inf is masked vocabulary and stays so:
//! under a softcap too, where the formula alone would make it −c.
//!
//! # Answers
//!
//! A file for each answer that the host offers, and `answers.json`, which is removed before the first
//! and written last: answers of a host that died half way, or to other cases, are refused.
//!
//! | field | value |
//! |---|---|
//! | `digest` | the manifest's: these are answers to its cases |
//! | `backend` | name and version |
//! | `offers` | of `log_prob`, `log_z`, `entropy`, `argmax`, `mean_logit`, `log_sum_sq_probs`, `logit_grads`, `pair_loss`, `head_log_prob`, `head_log_z`, `hidden_grads` |
//! | `types` | how each answer is stored: `f64`, `f32`, `f16` or `bf16`; `argmax` `u32`; `grads` in the cases' dtype |
//! | `unscored`, optional | `untouched` or `zero`: what outputs of rows that are not scored hold. Untouched is NaN here |
//! | `precision` | `arithmetic` and `output` (formats); optional `pair`, `product`, `head_logits`, `head_grads`, `hidden_grads` (formats), `exp`, `log`, `tanh`, `division` (`constant` and `slope` ulps), `log_absolute`, `additions` of a row and `product_additions` of a head (`any` or the longest chain), `rescales`, `difference` (`whole` or `shifted`), `target` (`in_sum` or `apart`), as `verify::kit::Precision`; what `Precision::check` refuses is refused |
//! | `skipped`, optional | reasons by the names of cases that the host does not claim to do: fewer than half of an output's |
//! | `errors`, optional | messages by the names of cases in which the host failed |
//!
//! What `grads` holds past the vocabulary, NaN or 0, is taken for untouched; so is NaN in rows that are
//! not scored, where `argmax` may be anything.
//!
//! The cases are made again from the seed to be checked, not read: `check` refuses those of a version
//! whose digest is another.

pub(crate) mod answers;
mod args;
#[path = "../replay/fields.rs"]
#[allow(dead_code, reason = "replay uses more of it")]
mod fields;
#[path = "../shared/json.rs"]
mod json;
mod precision;
mod recorded;
mod report;
mod write;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use args::Request;
use dpo_kernel::verify::kit::{Format, run};
use dpo_kernel::{bf16, f16};
use recorded::{Cases, Recorded};

/// What reading and checking may take exception to: the whole line.
type Complaint = String;

pub(crate) fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    ExitCode::from(kit(std::env::args_os().skip(1), &mut out, &mut err))
}

/// The program; its exit status.
pub(crate) fn kit(
    arguments: impl Iterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let done = args::parse(arguments).and_then(|request| match request {
        Request::Help => say(out, args::USAGE).map(|()| 0),
        Request::Write { cases, dtype, plan } => {
            let count = match dtype {
                Format::F16 => write::cases::<f16>(&cases, plan),
                Format::Bf16 => write::cases::<bf16>(&cases, plan),
                _ => write::cases::<f32>(&cases, plan),
            }?;
            say(out, &format!("{count} cases in {}", cases.display())).map(|()| 0)
        }
        Request::Check { cases, answers, json } => check(&cases, &answers, json.as_deref(), out),
    });
    done.unwrap_or_else(|complaint| {
        // Nobody is left to tell if this fails too.
        let _ = writeln!(err, "kit: {complaint}");
        2
    })
}

fn check(
    cases: &Path,
    answers: &Path,
    json: Option<&Path>,
    out: &mut dyn Write,
) -> Result<u8, Complaint> {
    let Cases { dtype, plan } = Cases::read(cases)?;
    let report = match dtype {
        Format::F16 => run(&mut Recorded::<f16>::open(answers, plan)?, plan),
        Format::Bf16 => run(&mut Recorded::<bf16>::open(answers, plan)?, plan),
        _ => run(&mut Recorded::<f32>::open(answers, plan)?, plan),
    };
    if let Some(path) = json {
        let text = format!("{:#}\n", report::json(&report));
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    say(out, report.to_string().trim_end())?;
    Ok(u8::from(!report.is_clean()))
}

fn say(out: &mut dyn Write, text: &str) -> Result<(), Complaint> {
    writeln!(out, "{text}").map_err(|error| format!("cannot write: {error}"))
}
