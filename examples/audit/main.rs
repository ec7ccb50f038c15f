//! Says how two dumps of the same tokens differ, and why.
//!
//! ```text
//! cargo run --release --example audit -- A B [options]        --help lists the options
//!
//! A ─┐  log-probs, or logits ──token_log_probs──┐
//!    ├─▶ the same tokens? ──▶ Δ = log p_B − log p_A ──▶ quantiles, ratios, KL, the worst tokens
//! B ─┘                                         └──▶ each cause as a hypothesis ──▶ verdict
//! ```
//!
//! Engines that train and engines that generate disagree on the log-probs of the same tokens. The
//! losses of preferences and policies read differences of log-probs, so the disagreement is taken
//! for a change of the policy.
//!
//! The exit status is 0 if all tokens agree within the tolerance, 1 if they differ, 2 if the
//! command line cannot be understood or a dump cannot be used.
//!
//! # A dump
//!
//! T tokens. Row t holds what is known of token t: its log-prob, or the logits that predict it, so
//! that row t of the logits scores `tokens[t]`. Logits may be larger than the memory: they are read
//! in chunks.
//!
//! | file | holds |
//! |---|---|
//! | `.safetensors` | `log_probs` \[T\] (f16, bf16, f32, f64) or `logits` \[T, V\] (f16, bf16, f32); `tokens` \[T\], needed with logits; optional `positions` \[T\] and `spans` \[N, 2\] (first row, row behind the last), all whole numbers |
//! | `.npy` | one dimension: log-probs (f16, f32, f64); two: logits (f16, f32, or bf16 by `--dtype bf16`). Tokens and positions are files of their own: `--tokens`, `--positions` |
//! | `.json` | a manifest of `replay`, which names its logits |
//!
//! Tokens below 0 (the −100 of trainers) mark rows that are not scored, as are rows outside all
//! spans. Log-probs are natural logarithms; that they are not is among the causes. NaN stands for a
//! token without a log-prob.
//!
//! # The verdict
//!
//! A cause is a hypothesis: one side's log-probs are predicted from what the other side dumped. It
//! "explains" the differences if nine of ten tokens fall to within the tolerance, and "explains
//! most" if the median of what is left is a quarter of the median difference (a tenth, and three of
//! five tokens by themselves, for those that log-probs alone can tell), and if it explains what one
//! constant does not. Nothing is named of fewer than eight tokens that differ. Of two hypotheses
//! that explain all, the one with fewer fitted numbers is named, then the one that leaves less.
//!
//! | cause | needs |
//! |---|---|
//! | a different tokenisation, tokens shifted by one, other positions | both dumps name them |
//! | masking: tokens that one side does not score, or has at −∞, 0 or NaN | log-probs |
//! | log-probs shifted by one row, to base 2 or 10, negated, probabilities, rounded to 16 bits | log-probs |
//! | temperature (or scale), softcap, a transform that one side states and the other lacks | logits of one side |
//! | logits rounded to bf16 or f16, alone or before temperature or softcap | f32 logits of the other side |
//! | tokens scored by the row before or after | logits of one side |
//! | columns of the vocabulary masked or missing | logits of both sides |
//! | differences of the size of 16-bit logits | 16-bit logits of one side |
//!
//! A temperature T and a logit scale 1/T are one formula; no log-prob can tell them apart.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small, and parameters and log-probs of engines are f32"
)]

pub(crate) mod args;
mod array;
pub(crate) mod causes;
pub(crate) mod dump;
#[path = "../replay/fields.rs"]
#[allow(dead_code, reason = "what replay alone reads")]
mod fields;
pub(crate) mod figures;
#[path = "../shared/json.rs"]
mod json;
#[path = "../replay/manifest.rs"]
#[allow(dead_code, reason = "what replay alone reads")]
mod manifest;
pub(crate) mod npy;
pub(crate) mod pair;
mod picture;
mod report;
pub(crate) mod score;
#[path = "../replay/storage.rs"]
#[allow(dead_code, reason = "what replay alone reads")]
pub(crate) mod storage;
#[path = "../shared/svg.rs"]
#[allow(dead_code, unreachable_pub, reason = "pieces of other charts too")]
mod svg;
mod tensors;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use args::{Audit, Request};
use dump::{Dump, Said};
use pair::Pair;

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
    let done = args::parse(arguments).and_then(|request| match request {
        Request::Help => Ok((0, format!("{}\n", args::USAGE))),
        Request::Audit(of) => audit(&of).map(|(agree, text)| (u8::from(!agree), text)),
    });
    match done {
        Ok((status, text)) => {
            // Whoever closed the output does not want to read about it.
            let _ = out.write_all(text.as_bytes());
            status
        }
        Err(message) => {
            let _ = writeln!(err, "audit: {message}");
            2
        }
    }
}

/// Whether the dumps agree, and the report.
fn audit(of: &Audit) -> Result<(bool, String), String> {
    let (a, b) = open(of)?;
    if let Some(cause) = causes::tokenisation(&a, &b) {
        let mut tokens = report::Tokens::of(&a, &b, cause);
        if let Some(path) = &of.svg {
            tokens
                .note(format!("{} is not drawn: other tokens have no differences", path.display()));
        }
        if let Some(path) = &of.json {
            write(path, &format!("{:#}\n", tokens.json()))?;
        }
        return Ok((false, tokens.text()));
    }
    if a.len() != b.len() {
        let (of_a, of_b) = (a.len(), b.len());
        let hint = if of_a.abs_diff(of_b) == 1 {
            ": does one leave out the first token, which nothing predicts?"
        } else {
            ""
        };
        let (a, b) = (a.path.display(), b.path.display());
        return Err(format!("{a}: {of_a} tokens, {b}: {of_b}; they must be as many{hint}"));
    }
    let names = [a.path.display().to_string(), b.path.display().to_string()];
    let pair = Pair::new(a, b, of.tolerance)?;
    if !pair.compares() {
        let [a, b] = names;
        let tokens = pair.len();
        return Err(format!("{a}, {b}: none of {tokens} tokens has a log-prob on both sides"));
    }
    let verdict = causes::verdict(&pair)?;
    let report = report::Report::of(&pair, verdict, of);
    if let Some(path) = &of.svg {
        write(path, &picture::draw(&pair))?;
    }
    if let Some(path) = &of.json {
        write(path, &format!("{:#}\n", report.json()))?;
    }
    Ok((report.agree(), report.text()))
}

fn open(of: &Audit) -> Result<(Dump, Dump), String> {
    let npy = |path: &Path| path.extension().is_some_and(|x| x.eq_ignore_ascii_case("npy"));
    if (of.both.tokens.is_some() || of.both.positions.is_some()) && !npy(&of.a) && !npy(&of.b) {
        return Err("--tokens and --positions are for .npy dumps, and neither is one".to_owned());
    }
    let said = |path: &Path, side: &Said| {
        let mut said = side.clone();
        if npy(path) {
            said.tokens = said.tokens.or_else(|| of.both.tokens.clone());
            said.positions = said.positions.or_else(|| of.both.positions.clone());
        }
        said
    };
    let (a, used_by_a) = Dump::open(&of.a, &said(&of.a, &of.of_a), of.bf16)?;
    let (b, used_by_b) = Dump::open(&of.b, &said(&of.b, &of.of_b), of.bf16)?;
    if of.bf16 && !used_by_a && !used_by_b {
        return Err(
            "--dtype bf16: neither dump is a .npy file of two bytes without a type".to_owned()
        );
    }
    Ok((a, b))
}

/// A file, whole or not at all as far as can be.
fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
