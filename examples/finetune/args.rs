//! The command line: options with a value, `--compare`, and `--help`.

use std::ffi::OsString;
use std::path::PathBuf;

use dpo_kernel::loss::LossName;

const USAGE: &str = "\
Fine-tunes a small byte-level language model by DPO with a LoRA adapter.

usage: cargo run --release --example finetune -- [OPTION VALUE]... [--compare]

  --data FILE.jsonl  preference pairs, one JSON object a line with `prompt`,
                     `chosen`, `rejected`: strings, or lists of messages
                     {\"role\": …, \"content\": …}, which become text as
                     \"\\n\\nHuman: …\\n\\nAssistant: …\"; without `prompt` it is
                     what both answers begin with; default: built-in pairs
  --loss NAME        any loss by the name that trainers give it, listed below;
                     default sigmoid
  --beta X           how closely the policy is held to the reference; default
                     0.1, another one for losses that need another
  --steps N          DPO steps; default: a number of passes over the pairs
  --seed N           split, weights, order and samples follow from it; default 1
  --out FILE.svg     where the curves go; default curve.svg, docs/losses.svg
                     with --compare
  --compare          every loss on the same data, weights and order: one table,
                     one picture
  --help             this text

The model reads the last 254 bytes of a prompt and the first 256 of an answer.
A fifth of the prompts, as it reads them, is held out. Pairs whose answers are
empty or equal are left out and counted.

losses:
";

/// Names in lines of a terminal's width.
pub fn wrapped<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut lines = String::from(" ");
    let mut width = 1;
    for name in names {
        if width + 1 + name.len() > 78 {
            lines += "\n ";
            width = 1;
        }
        lines += " ";
        lines += name;
        width += 1 + name.len();
    }
    lines
}

/// What `--help` shows.
pub fn help() -> String {
    format!("{USAGE}{}\n", wrapped(LossName::ALL.map(LossName::name)))
}

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub data: Option<PathBuf>,
    /// None: all of them, to compare.
    pub loss: Option<LossName>,
    pub beta: Option<f64>,
    pub steps: Option<usize>,
    pub seed: u64,
    pub out: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data: None,
            loss: Some(LossName::Sigmoid),
            beta: None,
            steps: None,
            seed: 1,
            out: PathBuf::from("curve.svg"),
        }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Help,
    Run(Options),
}

/// Reads the arguments after the program's name; the error names the option and the value, in a
/// line or two.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    const WITH_VALUE: [&str; 6] = ["--data", "--loss", "--beta", "--steps", "--seed", "--out"];
    let mut options = Options::default();
    let (mut loss, mut compare, mut out) = (None, false, None);
    let mut args = args.into_iter();
    while let Some(name) = args.next() {
        let name = name.to_string_lossy().into_owned();
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(Request::Help);
        }
        if name == "--compare" {
            compare = true;
            continue;
        }
        if !WITH_VALUE.contains(&name.as_str()) {
            return Err(format!("there is no option `{name}`: --help lists them"));
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let text = value.to_string_lossy().into_owned();
        let refuse = |wanted: &str| format!("{name} takes {wanted}, not `{text}`");
        match name.as_str() {
            "--data" => options.data = Some(value.into()),
            "--out" => out = Some(value.into()),
            "--loss" => {
                let unknown = || refuse("the name of a loss") + ": --help lists them";
                loss = Some(text.parse().map_err(|_| unknown())?);
            }
            "--beta" => {
                let beta = text.parse().ok().filter(|beta: &f64| beta.is_finite() && *beta > 0.0);
                options.beta = Some(beta.ok_or_else(|| refuse("a finite number above 0"))?);
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
    if compare && (loss.is_some() || options.beta.is_some()) {
        return Err("--compare takes every loss with its own beta, not --loss or --beta".into());
    }
    options.loss = if compare { None } else { loss.or(options.loss) };
    options.out = out.unwrap_or(if compare { "docs/losses.svg".into() } else { options.out });
    Ok(Request::Run(options))
}
