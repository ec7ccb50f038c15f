//! The command line: five options, each with a value, and `--help`.

use std::ffi::OsString;
use std::path::PathBuf;

pub const USAGE: &str = "\
Fine-tunes a small byte-level language model by DPO with a LoRA adapter.

usage: cargo run --release --example finetune -- [OPTION VALUE]...

  --data FILE.jsonl  preference pairs, one object a line with the strings
                     `prompt`, `chosen`, `rejected`; default: built-in pairs
  --beta X           how closely the policy is held to the reference; default 0.1
  --steps N          DPO steps; default: a number of passes over the pairs
  --seed N           split, weights, order and samples follow from it; default 1
  --out FILE.svg     where the curves go; default curve.svg
  --help             this text
";

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub data: Option<PathBuf>,
    pub beta: f64,
    pub steps: Option<usize>,
    pub seed: u64,
    pub out: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { data: None, beta: 0.1, steps: None, seed: 1, out: PathBuf::from("curve.svg") }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Help,
    Run(Options),
}

/// Reads the arguments after the program's name; the error is one sentence for the user.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    while let Some(name) = args.next() {
        let name = name.to_string_lossy().into_owned();
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(Request::Help);
        }
        if !matches!(name.as_str(), "--data" | "--beta" | "--steps" | "--seed" | "--out") {
            return Err(format!("unknown option `{name}`"));
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let text = value.to_string_lossy().into_owned();
        let refuse = |wanted: &str| format!("{name} takes {wanted}, not `{text}`");
        match name.as_str() {
            "--data" => options.data = Some(value.into()),
            "--out" => options.out = value.into(),
            "--beta" => {
                options.beta = (text.parse().ok())
                    .filter(|beta: &f64| beta.is_finite() && *beta > 0.0)
                    .ok_or_else(|| refuse("a finite number above 0"))?;
            }
            "--steps" => {
                let steps = text.parse().ok().filter(|steps| (1..=1_000_000).contains(steps));
                options.steps = Some(steps.ok_or_else(|| refuse("a number from 1 to 1000000"))?);
            }
            _ => {
                options.seed =
                    text.parse().map_err(|_| refuse("a whole number from 0 to 2^64 - 1"))?;
            }
        }
    }
    Ok(Request::Run(options))
}
