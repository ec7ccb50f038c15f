//! What the command line says.

use std::ffi::OsString;

pub(super) const HELP: &str = "\
Trains a head by DPO with the shaders and with the library, from the same weights.

    --adapter NAME   an adapter whose name has NAME in it (default: the most powerful)
    --steps N        steps of eight pairs (default: 32)
    --help           this
";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Help,
    Train(Options),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) adapter: Option<String>,
    pub(super) steps: usize,
}

pub(super) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let mut options = Options { adapter: None, steps: 32 };
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        let name = name.to_string_lossy().into_owned();
        let mut value = || {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            value.into_string().map_err(|value| format!("{name}: {} is not text", value.display()))
        };
        match name.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--adapter" => options.adapter = Some(value()?),
            "--steps" => {
                let value = value()?;
                options.steps = match value.parse() {
                    Ok(steps) if steps > 0 => steps,
                    _ => {
                        return Err(format!("--steps: {value:?} is not a number of steps above 0"));
                    }
                };
            }
            _ => return Err(format!("there is no option {name}; --help names those there are")),
        }
    }
    Ok(Request::Train(options))
}
