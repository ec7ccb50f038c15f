//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use dpo_kernel::verify::kit::{Format, Plan, Size};

pub(crate) const USAGE: &str = "\
usage: kit write CASES [--dtype f32|f16|bf16] [--seed N] [--full]
       kit check CASES ANSWERS [--json FILE]

Writes the cases of the conformance kit to a folder, and checks the answers of a host to them. The formats
are described in examples/kit/main.rs.

  --dtype   how logits are stored; f32 without it
  --seed    what the cases are made from; 1 without it
  --full    more cases
  --json    the report as JSON too
  --help    this text

exit status: 0 all right, 1 something is not, 2 input that cannot be used or wrong usage";

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    Write { cases: PathBuf, dtype: Format, plan: Plan },
    Check { cases: PathBuf, answers: PathBuf, json: Option<PathBuf> },
}

/// Reads the arguments after the program's name; the error names the option and the value in one
/// line.
pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let command = arguments.next().ok_or("usage: kit write|check ...; --help says more")?;
    let command = command.to_string_lossy().into_owned();
    let (mut folders, mut json) = (Vec::new(), None);
    let (mut dtype, mut plan) = (None, Plan::new(1));
    let mut writes = false;
    match command.as_str() {
        "--help" | "-h" => return Ok(Request::Help),
        "write" => writes = true,
        "check" => {}
        other => {
            return Err(format!("there is no command `{other}`: write, check; --help says more"));
        }
    }
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--json" if !writes => json = Some(PathBuf::from(value()?)),
            "--full" if writes => plan.size = Size::Full,
            "--dtype" if writes => {
                let value = value()?.to_string_lossy().into_owned();
                let format = Format::from_name(&value).filter(|&format| format != Format::F64);
                let wrong = || format!("--dtype takes one of f32, f16, bf16, not `{value}`");
                dtype = Some(format.ok_or_else(wrong)?);
            }
            "--seed" if writes => {
                let value = value()?.to_string_lossy().into_owned();
                let wrong = |_| format!("--seed takes a number from 0 to 2^64 - 1, not `{value}`");
                plan.seed = value.parse().map_err(wrong)?;
            }
            option if option.starts_with('-') => {
                return Err(format!("{command} has no option `{option}`: --help lists them"));
            }
            _ => folders.push(PathBuf::from(argument)),
        }
    }
    let mut folders = folders.into_iter();
    let (first, second, third) = (folders.next(), folders.next(), folders.next());
    match (writes, first, second, third) {
        (true, Some(cases), None, None) => {
            Ok(Request::Write { cases, dtype: dtype.unwrap_or(Format::F32), plan })
        }
        (false, Some(cases), Some(answers), None) => Ok(Request::Check { cases, answers, json }),
        (true, ..) => Err("write takes one folder: kit write CASES".into()),
        (false, ..) => Err("check takes two folders: kit check CASES ANSWERS".into()),
    }
}
