//! Runs the pipeline on logits that another framework dumped, and compares figure by figure.
//!
//! ```text
//! cargo run --release --example replay -- MANIFEST.json [--level L] [--arithmetic A] [--brief]
//!
//! L: baseline, avx2, avx512 or all (default)      A: fused, portable or all (default)
//! ```
//!
//! # The manifest
//!
//! One JSON object, beside a file of raw logits:
//!
//! | field | what |
//! |---|---|
//! | `file` | name of the logits, beside the manifest: `rows · stride` elements, row by row |
//! | `dtype` | begins with `f32`, `f16` or `bf16`; little-endian |
//! | `rows`, `vocab`, `stride` | shape in elements; `stride` is `vocab` if absent |
//! | `transform` | object with `scale`, `softcap`, `temperature`, each optional |
//! | `targets` | token id of each row |
//! | `ignore_index` | id of rows that are not scored; −100 if absent |
//! | `spans` | sequences: objects with `start`, `end` (rows), `pair` (index), `role` (`chosen` or `rejected`) |
//! | `reference_token_logps` | reference log-prob of each row's target, or |
//! | `reference_sequence_logps` | reference log-prob of each span |
//! | `beta`, `label_smoothing` | the loss; smoothing is 0 if absent |
//! | `expected` | what the framework found, each part optional: `policy_token_logps` (one a row, `null` where not scored), `policy_sequence_logps`, `reference_sequence_logps`, `pair_losses`, `loss` (their mean), and of the gradient of the mean loss with respect to the logits `grad_l1`, `grad_l2`, `grad_entries` (`[row, column, value]`) |
//! | `tolerances` | optional: `token_log_prob` (1e-5, absolute), `sequence_log_prob` (1e-4), `loss` (1e-6), `grad_norm` (1e-5, relative), `grad_entry` (1e-5, relative) |
//!
//! Gradients are written to f32 and, for 16-bit logits, in place as well. In place each entry may also
//! be off by its rounding to storage: half a unit in the last place, 2⁻⁹ (bf16) or 2⁻¹² (f16) relative,
//! or the half of the smallest subnormal; norms by as much as their entries together.
//!
//! The exit status is 1 where a tolerance is exceeded or a file is not as described, 2 for a wrong
//! command line.

#![allow(clippy::cast_precision_loss, reason = "counts are small")]
#![allow(unreachable_pub, reason = "the modules of an example have no outside")]

mod compare;
mod manifest;
mod pipeline;

use std::path::Path;
use std::process::ExitCode;

use dpo_kernel::{Arithmetic, Dispatch, Level};

use manifest::{Data, Manifest};

const USAGE: &str = "\
Runs the pipeline on dumped logits and compares with the figures in the manifest.

usage: cargo run --release --example replay -- MANIFEST.json [OPTION VALUE]...

  --level L       baseline, avx2, avx512 or all; default all that this machine has
  --arithmetic A  fused, portable or all; default all
  --brief         a line for each list of figures, not one for each figure
  --help          this text

The manifest's fields stand at the top of examples/replay/main.rs.
";

struct Options {
    manifest: String,
    level: Option<Level>,
    arithmetic: Option<Arithmetic>,
    brief: bool,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut manifest = None;
    let (mut level, mut arithmetic, mut brief) = (None, None, false);
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--level" => {
                level = match value()?.as_str() {
                    "all" => None,
                    "baseline" => Some(Level::Baseline),
                    "avx2" => Some(Level::Avx2),
                    "avx512" => Some(Level::Avx512),
                    other => return Err(format!("no such level: {other}")),
                }
            }
            "--arithmetic" => {
                arithmetic = match value()?.as_str() {
                    "all" => None,
                    "fused" => Some(Arithmetic::Fused),
                    "portable" => Some(Arithmetic::Portable),
                    other => return Err(format!("no such arithmetic: {other}")),
                }
            }
            "--brief" => brief = true,
            option if option.starts_with("--") => return Err(format!("no such option: {option}")),
            _ if manifest.is_none() => manifest = Some(argument),
            _ => return Err(format!("one manifest at a time: {argument}")),
        }
    }
    let manifest = manifest.ok_or("no manifest given")?;
    Ok(Some(Options { manifest, level, arithmetic, brief }))
}

/// The dispatches that were asked for; an error if the machine has none of them.
fn dispatches(options: &Options) -> Result<Vec<Dispatch>, String> {
    if let (Some(level), Some(arithmetic)) = (options.level, options.arithmetic) {
        return Ok(vec![Dispatch::new(level, arithmetic).map_err(|e| e.to_string())?]);
    }
    let wanted = |d: &Dispatch| {
        options.level.is_none_or(|level| d.level() == level)
            && options.arithmetic.is_none_or(|arithmetic| d.arithmetic() == arithmetic)
    };
    let found: Vec<_> = Dispatch::available().filter(wanted).collect();
    if found.is_empty() { Err("this machine has no such level".to_string()) } else { Ok(found) }
}

/// Replays one dump; whether everything was within its tolerances.
pub(crate) fn replay(path: &Path, dispatches: &[Dispatch], brief: bool) -> Result<bool, String> {
    let manifest = Manifest::read(path)?;
    let data = manifest.read_logits(path)?;
    println!(
        "{}: {} rows of {}, {} sequences, {} pairs, {}",
        path.display(),
        manifest.rows,
        manifest.vocab,
        manifest.spans.len(),
        manifest.pairs.len(),
        data.name(),
    );
    let mut all = true;
    for &dispatch in dispatches {
        let ok = match &data {
            Data::F32(x) => pipeline::run(dispatch, &manifest, x, brief),
            Data::F16(x) => pipeline::run(dispatch, &manifest, x, brief),
            Data::Bf16(x) => pipeline::run(dispatch, &manifest, x, brief),
        }
        .map_err(|e| format!("{}: {e}", path.display()))?;
        let (level, arithmetic) = (dispatch.level(), dispatch.arithmetic());
        println!("replay: {level:?} {arithmetic:?}: {}", if ok { "ok" } else { "FAILED" });
        all &= ok;
    }
    Ok(all)
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("replay: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let outcome = dispatches(&options)
        .and_then(|found| replay(Path::new(&options.manifest), &found, options.brief));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("replay: {message}");
            ExitCode::FAILURE
        }
    }
}
