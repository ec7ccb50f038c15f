//! Writes logits out, which training never does: to hold beside those of another implementation.
//!
//! `logits MODEL.gguf TOKENS.json PAIRS OUT.safetensors [ADAPTER]`: for each of the first PAIRS lines
//! of what `--dump-tokens` wrote, `N.chosen` and `N.rejected`, logits of the rows that are scored.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use smollm2::batch::{Example, Packed};
use smollm2::file::{self, Named};
use smollm2::gguf::Gguf;
use smollm2::lora::Adapter;
use smollm2::model::Model;
use smollm2::{Fault, Outcome};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let why = match args.as_slice() {
        [model, tokens, pairs, out, adapter @ ..] if adapter.len() < 2 => {
            match run(model, tokens, pairs, out, adapter.first()) {
                Ok(()) => return ExitCode::SUCCESS,
                Err(error) => error.to_string(),
            }
        }
        _ => "usage: logits MODEL.gguf TOKENS.json PAIRS OUT.safetensors [ADAPTER]".to_owned(),
    };
    // Whoever closed the output does not want to read about it.
    let _ = writeln!(io::stderr(), "logits: {why}");
    ExitCode::FAILURE
}

fn run(
    model: &OsString,
    tokens: &OsString,
    pairs: &OsString,
    out: &OsString,
    adapter: Option<&OsString>,
) -> Outcome {
    let count: usize = pairs.to_string_lossy().parse()?;
    let model = Model::read(&mut Gguf::open(Path::new(model))?)?;
    let adapter = adapter.map(|folder| Adapter::open(&model, Path::new(folder))).transpose()?;
    let loras = adapter.as_ref().map(Adapter::fixed);
    let text = fs::read_to_string(tokens)?;
    let mut all = Vec::new();
    for (pair, line) in text.lines().take(count).enumerate() {
        let packed = Packed::new([&example(line)?])?;
        let states = model.states(&packed, loras.as_ref())?;
        let logits = states.matmul(&model.head().t()?)?;
        for (span, name) in packed.spans.iter().zip(["chosen", "rejected"]) {
            let rows = logits.narrow(0, span.start, span.end - span.start)?.contiguous()?;
            let data = rows.flatten_all()?.to_vec1()?;
            all.push(Named::new(format!("{pair}.{name}"), rows.dims(), data)?);
        }
    }
    file::write(Path::new(out), &all, &[])
}

fn example(line: &str) -> Outcome<Example> {
    let found: serde_json::Value = serde_json::from_str(line)?;
    let part = |name: &str| -> Outcome<Vec<u32>> {
        let tokens = found.get(name).ok_or_else(|| Fault::from(format!("no `{name}`")))?;
        Ok(serde_json::from_value(tokens.clone())?)
    };
    Ok(Example { prompt: part("prompt")?, chosen: part("chosen")?, rejected: part("rejected")? })
}
