//! candle, burn and tract before the conformance kit: prints the report of each.
//!
//! ```sh
//! cargo run --release -- [candle|burn|tract] [f32|bf16|f16] [SEED]
//! ```
//! Without words, all of them. Exits with 1 if a report is not clean.

mod burn;
mod candle;
mod host;
mod tract;

use std::marker::PhantomData;
use std::process::ExitCode;

use dpo_kernel::Element;
use dpo_kernel::verify::kit::{Plan, run};
use half::{bf16, f16};
use tract_onnx::prelude::Datum;

use crate::host::{Framework, Host};

/// Prints the report of a framework; whether it is clean.
fn reported(framework: impl Framework, plan: Plan) -> bool {
    let report = run(&mut Host(framework), plan);
    println!("{report}");
    report.is_clean()
}

/// candle and burn.
fn all<E>(of: &impl Fn(&str) -> bool, plan: Plan) -> bool
where
    E: Element + candle_core::WithDType + ::burn::tensor::Element,
{
    let candle = !of("candle") || reported(candle::Candle::<E>(PhantomData), plan);
    let burn = !of("burn") || reported(burn::Burn::<E>(PhantomData), plan);
    candle & burn
}

/// tract, which has no bf16.
fn engine<E: Element + Datum + Copy>(of: &impl Fn(&str) -> bool, plan: Plan) -> bool {
    !of("tract") || reported(tract::Tract::<E>(PhantomData), plan)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let known = ["candle", "burn", "tract", "f32", "bf16", "f16"];
    let seed = words.iter().find_map(|word| word.parse().ok());
    let unknown = |word: &&String| !known.contains(&word.as_str()) && word.parse::<u64>().is_err();
    if let Some(word) = words.iter().find(unknown) {
        eprintln!("{word:?} is none of {}, and no seed", known.join(", "));
        return ExitCode::from(2);
    }
    let plan = Plan::new(seed.unwrap_or(1));
    let chosen = |name: &str, of: &[&str]| {
        let asked = |name: &&str| words.iter().any(|word| word == name);
        asked(&name) || !of.iter().any(asked)
    };
    let of = |name: &str| chosen(name, &["candle", "burn", "tract"]);
    let formats = ["f32", "bf16", "f16"];
    let mut clean = true;
    for format in formats.into_iter().filter(|format| chosen(format, &formats)) {
        clean &= match format {
            "f32" => all::<f32>(&of, plan) & engine::<f32>(&of, plan),
            "bf16" => all::<bf16>(&of, plan),
            _ => all::<f16>(&of, plan) & engine::<f16>(&of, plan),
        };
    }
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
