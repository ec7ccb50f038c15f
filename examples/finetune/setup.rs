//! What comes before preferences: the data, a model that has read them, and the two sides of the
//! split.

use std::fs;
use std::io::Write;

use dpo_kernel::Dispatch;

use super::args::Options;
use super::model::Model;
use super::random::Random;
use super::text::{ANSWER_LIMIT, Examples, PROMPT_LIMIT, Sequence};
use super::train::{self, Outcome, Recipe};
use super::{is_milestone, jsonl};

/// Pairs of this crate's own writing: helpful or brief answers against rude or rambling ones.
const BUILT_IN: &[u8] = include_bytes!("pairs.jsonl");

/// The pairs, split, and what follows them out of the seed.
pub fn load(options: &Options, out: &mut dyn Write) -> Outcome<(Examples, Random)> {
    let mut random = Random(options.seed);
    let examples = read(options, &mut random, out)?;
    Ok((examples, random))
}

/// The reference: a new model that has read both answers of every training pair, then the chosen
/// ones.
pub fn reference(
    recipe: &Recipe,
    dispatch: Dispatch,
    examples: &Examples,
    random: &mut Random,
    out: &mut dyn Write,
) -> Outcome<Model> {
    let mut model = Model::new(recipe.shape, random);
    let (base, adapter) = (model.weights.base.len(), model.weights.adapter.len());
    writeln!(out, "model: {base} base weights, {adapter} adapter weights")?;
    let chosen: Vec<&Sequence> = examples.train.iter().map(|pair| &pair.chosen).collect();
    let both: Vec<&Sequence> =
        examples.train.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).collect();
    let phases = [("pretrain", both, recipe.pretraining), ("supervise", chosen, recipe.supervised)];
    for (name, texts, phase) in phases {
        let report = |step, steps, loss| {
            if is_milestone(step, steps, 4) {
                writeln!(out, "{name:<9} step {step:>4}/{steps}  {loss:.3} nats a byte")?;
            }
            Ok(())
        };
        train::supervised(&mut model, dispatch, &phase, &texts, random, report)?;
    }
    Ok(model)
}

/// Reads the pairs and splits them, and tells what became of them.
fn read(options: &Options, random: &mut Random, out: &mut dyn Write) -> Outcome<Examples> {
    let (name, pairs) = match &options.data {
        None => ("built-in pairs".to_owned(), jsonl::parse("pairs.jsonl", BUILT_IN)?),
        Some(path) => {
            let name = path.display().to_string();
            let bytes = fs::read(path).map_err(|error| format!("{name}: {error}"))?;
            let pairs = jsonl::parse(&name, &bytes)?;
            (name, pairs)
        }
    };
    let examples = Examples::new(&pairs, random);
    let (train, held_out) = (examples.train.len(), examples.held_out.len());
    writeln!(out, "data: {name}: {train} pairs to train on, {held_out} held out")?;
    if examples.cut > 0 {
        writeln!(
            out,
            "data: {} cut: prompts to their last {PROMPT_LIMIT} bytes, answers to their first \
             {ANSWER_LIMIT}",
            counted(examples.cut, "pair"),
        )?;
    }
    if examples.merged > 0 {
        writeln!(
            out,
            "data: {} the same as another once cut: their pairs are held out together or not at all",
            counted(examples.merged, "prompt"),
        )?;
    }
    for (count, why) in examples.left_out.reasons() {
        if count > 0 {
            writeln!(out, "data: {} left out: {why}", counted(count, "pair"))?;
        }
    }
    if train == 0 {
        return Err(format!("{name}: no pair is left to train on").into());
    }
    Ok(examples)
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
