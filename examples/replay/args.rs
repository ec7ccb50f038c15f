//! The command line.

use std::path::PathBuf;

use dpo_kernel::{Arithmetic, Dispatch, Level};

pub(crate) const USAGE: &str = "\
usage: replay MANIFEST.json [--level baseline|avx2|avx512|all] [--arithmetic fused|portable|all]

Runs the logits that a manifest names through the crate and prints each expected figure beside the one
found. The format of the manifest is described in examples/replay/main.rs.

  --level       the instructions to run on; all that this machine has without it
  --arithmetic  the roundings to run with; both, where the level has both, without it
  --help        this text

exit status: 0 within all tolerances, 1 outside of one or input that cannot be used, 2 wrong usage";

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    Replay { manifest: PathBuf, choice: Choice },
}

/// Levels and arithmetics; all without a choice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice {
    level: Option<Level>,
    arithmetic: Option<Arithmetic>,
}

impl Choice {
    /// The combinations that were chosen and that this machine has.
    pub(crate) fn dispatches(self) -> Result<Vec<Dispatch>, String> {
        // A level or combination that is asked for by name must not be passed over in silence.
        if let Some(level) = self.level {
            let arithmetic = self.arithmetic.unwrap_or(Arithmetic::Portable);
            Dispatch::new(level, arithmetic).map_err(|error| error.to_string())?;
        }
        let chosen = |dispatch: &Dispatch| {
            self.level.is_none_or(|level| level == dispatch.level())
                && self.arithmetic.is_none_or(|arithmetic| arithmetic == dispatch.arithmetic())
        };
        Ok(Dispatch::available().filter(chosen).collect())
    }
}

/// As the command line spells it.
pub(crate) fn name(dispatch: Dispatch) -> String {
    format!("{:?} {:?}", dispatch.level(), dispatch.arithmetic()).to_lowercase()
}

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut manifest = None;
    let mut choice = Choice::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--level" => {
                choice.level = match value()?.as_str() {
                    "all" => None,
                    "baseline" => Some(Level::Baseline),
                    "avx2" => Some(Level::Avx2),
                    "avx512" => Some(Level::Avx512),
                    other => return Err(format!("--level: there is no level {other}")),
                }
            }
            "--arithmetic" => {
                choice.arithmetic = match value()?.as_str() {
                    "all" => None,
                    "fused" => Some(Arithmetic::Fused),
                    "portable" => Some(Arithmetic::Portable),
                    other => return Err(format!("--arithmetic: there is no arithmetic {other}")),
                }
            }
            option if option.starts_with('-') => {
                return Err(format!("there is no option {option}"));
            }
            path if manifest.is_none() => manifest = Some(PathBuf::from(path)),
            path => return Err(format!("one manifest at a time, not also {path}")),
        }
    }
    let manifest = manifest.ok_or("which manifest?")?;
    Ok(Request::Replay { manifest, choice })
}
