//! Holds the crate to what another framework found: logits that it dumped, and its own figures.
//!
//! ```text
//! cargo run --release --example replay -- MANIFEST.json [--level baseline|avx2|avx512|all]
//!                                                       [--arithmetic fused|portable|all]
//!
//! MANIFEST.json ─┐                                        expected figures ──┐
//! its logits ────┴─▶ token_log_probs ─▶ … ─▶ preference_loss ─▶ logit_grads ─┴─▶ errors, ok or not
//! ```
//!
//! The exit status is 0 if every figure is within its tolerance, 1 if one is not or if the manifest
//! or its logits cannot be used, 2 if the command line cannot be understood.
//!
//! # The manifest
//!
//! One JSON object. R rows of logits, N sequences, P pairs; row t scores `targets[t]`.
//!
//! | field | value |
//! |---|---|
//! | `source` | where the figures come from; only shown |
//! | `file` | the logits, beside the manifest: R · stride numbers, little-endian, row after row |
//! | `dtype` | `f32`, `f16` or `bf16`; more words may follow |
//! | `rows`, `vocab` | R and V |
//! | `stride`, optional | elements from row to row, ≥ V; V without |
//! | `transform`, optional | `scale`, `softcap`, `temperature`, each optional |
//! | `targets` | R token ids, negative ones too: trainers' i64 targets as they are |
//! | `ignore_index`, optional | the id of rows that are not scored, such as −1; −100 without |
//! | `spans` | N objects with `start` and `end` (rows), `pair` (0 to P − 1), `role` (`chosen`, `rejected`) |
//! | `beta`, `label_smoothing` (optional) | of the loss |
//! | `reference_token_logps` or `reference_sequence_logps` | R or N log-probs of the reference |
//! | `expected`, optional | below |
//! | `tolerances`, optional | below |
//!
//! What is expected, each part optional: `policy_token_logps` (R; those of rows that are not scored
//! may be `null`), `policy_sequence_logps` and `reference_sequence_logps` (N), `pair_losses` (P),
//! `loss` (their mean), and of its gradient with respect to the logits in the file: the norms
//! `grad_l1` and `grad_l2`, and `grad_entries`, a list of `[row, column, value]`. An infinite
//! number, which JSON cannot write, may stand as the string `"-inf"` or `"inf"`; NaN only for rows
//! that are not scored, as `null`.
//!
//! # The tolerances
//!
//! | field | without it | bounds |
//! |---|---|---|
//! | `token_log_prob` | 1e-5 | the worst error of a token's log-prob |
//! | `token_log_prob_typical` | 2e-6 | the median error |
//! | `sequence_log_prob` | 2e-6 | the error of a sequence's log-prob, for each of its tokens |
//! | `loss` | 1e-6 | the errors of each pair's loss and of their mean |
//! | `grad_norm_relative` | 1e-5 | the relative errors of L1 and L2 |
//! | `grad_entry_relative` | 1e-5 | the error of an entry g: this · abs(g) + 2⁻¹²⁴ |
//!
//! The last two hold for the gradient written to f32; results below 2⁻¹²⁴ are 0 by contract. In
//! place, the gradient is rounded once more, to p bits (24, 11, 8), so that an entry may be off by
//! another u · abs(g) + s, with u = 2⁻ᵖ and s half the smallest subnormal (2⁻²⁵ for f16, 2⁻¹³⁴ for
//! bf16), L1 by u · L1 + n · s and L2 by u · L2 + √n · s over the n elements of the scored rows.
//! Sharper than all that: every element in place must be the element in f32, rounded.

pub(crate) mod args;
pub(crate) mod compare;
mod fields;
#[path = "../shared/json.rs"]
mod json;
pub(crate) mod manifest;
pub(crate) mod pipeline;
pub(crate) mod report;
pub(crate) mod storage;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use args::Request;
use manifest::Manifest;
use storage::Storage;

pub(crate) fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    ExitCode::from(run(std::env::args_os().skip(1), &mut out, &mut err))
}

/// The whole program; its exit status.
pub(crate) fn run(
    arguments: impl Iterator<Item = OsString>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let (status, last) = match args::parse(arguments) {
        Ok(Request::Help) => (0, args::USAGE.to_owned()),
        Ok(Request::Replay { manifest, choice }) => match replay(&manifest, choice, out) {
            Ok(true) => return 0,
            Ok(false) => return 1,
            Err(message) => (1, format!("replay: {message}")),
        },
        Err(message) => (2, format!("replay: {message}")),
    };
    // Whoever closed the output does not want to read about it.
    let _ = if status == 0 { writeln!(out, "{last}") } else { writeln!(err, "{last}") };
    status
}

/// Runs every dispatch that was chosen; whether all are within the tolerances.
fn replay(path: &Path, choice: args::Choice, out: &mut impl Write) -> Result<bool, String> {
    let manifest = Manifest::read(path)?;
    let storage = Storage::read(&manifest)?;
    let mut dispatches = choice.dispatches()?.into_iter().peekable();
    if dispatches.peek().is_none() {
        return Err("this machine has no such combination of level and arithmetic".to_owned());
    }
    let mut ok = true;
    let mut show = |text: &str| out.write_all(text.as_bytes()).map_err(|error| error.to_string());
    show(&format!("{}\n{}\n", path.display(), manifest.describe()))?;
    for dispatch in dispatches {
        let name = args::name(dispatch);
        let found = pipeline::run(&manifest, &storage, dispatch)
            .map_err(|error| format!("{}: {name}: {error}", path.display()))?;
        let report = compare::compare(&manifest, &found);
        show(&format!("\n{name}\n{}replay: {name}: {}\n", report.lines(), report.summary()))?;
        ok &= report.ok();
    }
    Ok(ok)
}
