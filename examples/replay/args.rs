//! The command line.

use std::ffi::{OsStr, OsString};
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

/// Reads the arguments after the program's name; the error names the option and the value in one
/// line.
pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Request, String> {
    const LEVELS: [(&str, Option<Level>); 4] = [
        ("baseline", Some(Level::Baseline)),
        ("avx2", Some(Level::Avx2)),
        ("avx512", Some(Level::Avx512)),
        ("all", None),
    ];
    const ARITHMETICS: [(&str, Option<Arithmetic>); 3] = [
        ("fused", Some(Arithmetic::Fused)),
        ("portable", Some(Arithmetic::Portable)),
        ("all", None),
    ];
    let mut manifest = None;
    let mut choice = Choice::default();
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--level" => choice.level = chosen(&name, &value()?, &LEVELS)?,
            "--arithmetic" => choice.arithmetic = chosen(&name, &value()?, &ARITHMETICS)?,
            option if option.starts_with('-') => {
                return Err(format!("there is no option `{option}`: --help lists them"));
            }
            _ if manifest.is_none() => manifest = Some(PathBuf::from(argument)),
            path => return Err(format!("one manifest at a time, not also `{path}`")),
        }
    }
    let manifest = manifest.ok_or("usage: replay MANIFEST.json; --help says more")?;
    Ok(Request::Replay { manifest, choice })
}

fn chosen<T: Copy>(option: &str, value: &OsStr, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| value.to_str() == Some(name));
    found.map(|&(_, choice)| choice).ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let value = value.to_string_lossy();
        format!("{option} takes one of {}, not `{value}`", names.join(", "))
    })
}
