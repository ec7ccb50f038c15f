//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::dump::Said;

pub(crate) const USAGE: &str = "\
usage: audit A B [options]

Says how two dumps of the same tokens differ, and why. A dump is a .npy, .safetensors or .json file, as
the top of examples/audit/main.rs describes.

  --tokens FILE       token ids of the .npy dumps; --a-tokens, --b-tokens for one of them
  --positions FILE    positions of the .npy dumps' tokens; --a-positions, --b-positions
  --dtype bf16        what two bytes without a type, or u16, are in a .npy dump
  --a-scale S  --a-softcap C  --a-temperature T
                      what is done to A's logits: y = softcap(S x) / T; --b-... to B's
  --tolerance E       what a log-prob p may be off by is E max(1, |p|); 2^-15 without
  --clip E            the clip whose touch on the ratios is counted; 0.2 without
  --worst N           as many of the worst tokens are listed; 10 without
  --svg FILE          draws the differences by position and by probability
  --json FILE         writes all figures and the verdict
  --help              this text

exit status: 0 all tokens agree within the tolerance, 1 they differ, 2 wrong usage or a dump that cannot
be used";

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    Audit(Box<Audit>),
}

#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) a: PathBuf,
    pub(crate) b: PathBuf,
    /// For both sides.
    pub(crate) both: Said,
    pub(crate) of_a: Said,
    pub(crate) of_b: Said,
    pub(crate) bf16: bool,
    pub(crate) tolerance: f64,
    pub(crate) clip: f64,
    pub(crate) worst: usize,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
}

/// Reads the arguments after the program's name; the error names the option and the value in one
/// line.
pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let mut dumps = Vec::new();
    let mut of = Audit {
        a: PathBuf::new(),
        b: PathBuf::new(),
        both: Said::default(),
        of_a: Said::default(),
        of_b: Said::default(),
        bf16: false,
        // Twice what PyTorch's log_softmax in f32 was seen to be off by: docs/audit.md.
        tolerance: 2_f64.powi(-15),
        clip: 0.2,
        worst: 10,
        svg: None,
        json: None,
    };
    let mut seen = Vec::new();
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        if !name.starts_with('-') {
            dumps.push(PathBuf::from(argument));
            continue;
        }
        if name == "--help" || name == "-h" {
            return Ok(Request::Help);
        }
        if seen.contains(&name) {
            return Err(format!("{name} is given twice"));
        }
        let value = arguments.next().ok_or(format!("{name} needs a value"));
        option(&mut of, &name, value)?;
        seen.push(name);
    }
    match <[PathBuf; 2]>::try_from(dumps) {
        Ok([a, b]) => {
            (of.a, of.b) = (a, b);
            Ok(Request::Audit(Box::new(of)))
        }
        Err(found) => Err(format!("{} dumps where two are needed; --help says more", found.len())),
    }
}

fn option(of: &mut Audit, name: &str, value: Result<OsString, String>) -> Result<(), String> {
    match name {
        "--tolerance" => {
            of.tolerance = number(name, &value?, |x| x >= 0.0, "a number of at least 0")?;
        }
        "--clip" => {
            of.clip = number(name, &value?, |x| x >= 0.0, "a number of at least 0")?;
        }
        "--worst" => {
            let value = value?.to_string_lossy().into_owned();
            of.worst = value.parse().map_err(|_| format!("{name} takes a count, not `{value}`"))?;
        }
        "--svg" => of.svg = Some(value?.into()),
        "--json" => of.json = Some(value?.into()),
        "--dtype" => match value?.to_string_lossy().as_ref() {
            "bf16" => of.bf16 = true,
            value => return Err(format!("{name} takes bf16, not `{value}`")),
        },
        _ => {
            let (said, part) = match (name.strip_prefix("--a-"), name.strip_prefix("--b-")) {
                (Some(part), _) => (&mut of.of_a, part),
                (_, Some(part)) => (&mut of.of_b, part),
                _ => (&mut of.both, name.trim_start_matches("--")),
            };
            let both = !name.starts_with("--a-") && !name.starts_with("--b-");
            match part {
                "tokens" => said.tokens = Some(value?.into()),
                "positions" => said.positions = Some(value?.into()),
                "scale" if !both => said.scale = Some(parameter(name, &value?)?),
                "softcap" if !both => said.softcap = Some(parameter(name, &value?)?),
                "temperature" if !both => said.temperature = Some(parameter(name, &value?)?),
                _ => return Err(format!("there is no option `{name}`: --help lists them")),
            }
        }
    }
    Ok(())
}

fn parameter(name: &str, value: &OsStr) -> Result<f32, String> {
    number(name, value, |x| x > 0.0, "a number above 0").map(|x| x as f32)
}

fn number(
    name: &str,
    value: &OsStr,
    good: impl Fn(f64) -> bool,
    needed: &str,
) -> Result<f64, String> {
    let value = value.to_string_lossy();
    let found = value.parse().ok().filter(|x: &f64| x.is_finite() && good(*x));
    found.ok_or_else(|| format!("{name} takes {needed}, not `{value}`"))
}
