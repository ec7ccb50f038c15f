//! Answers sampled from the model, to see and not only measure what training does.

use std::io::{self, Write};

use super::linear::Adapter;
use super::model::Model;
use super::random::Random;
use super::text::{ANSWER, END};
use super::train::{Score, Scoreboard};

/// Below 1, likely bytes become likelier.
const TEMPERATURE: f32 = 0.4;
/// Most bytes of a sampled answer.
const LIMIT: usize = 160;

/// Shows an answer to the first prompt of each board, with the rewards of the answers in the data.
pub fn show(
    when: &str,
    (model, adapter): (&Model, Adapter),
    boards: [(&str, &Scoreboard<'_>, &Score); 2],
    seed: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (kind, board, score) in boards {
        let (Some(example), Some(pair)) = (board.examples.first(), score.found.losses.first())
        else {
            continue;
        };
        let opening = example.chosen.opening();
        let prompt = String::from_utf8_lossy(&opening[..opening.len() - 1]);
        let answer = sample(model, opening, adapter, &mut Random(seed));
        writeln!(out, "sample, {when} ({kind})")?;
        writeln!(out, "  prompt:  {}", ending(&one_line(&prompt), 90))?;
        writeln!(out, "  answer:  {}", one_line(&answer))?;
        let (chosen, rejected) = (pair.reward_chosen, pair.reward_rejected);
        writeln!(
            out,
            "  rewards: {chosen:+.2} for the chosen answer, {rejected:+.2} for the rejected"
        )?;
    }
    Ok(())
}

/// Draws an answer byte by byte, until its end or the limit.
fn sample(model: &Model, opening: &[u8], adapter: Adapter, random: &mut Random) -> String {
    let mut tokens = opening.to_vec();
    while tokens.len() < opening.len() + LIMIT {
        let mut state = vec![0.0; model.width()];
        model.forward(&tokens, tokens.len() - 1..tokens.len(), adapter, &mut state);
        let logits = model.head.logits(&model.weights, adapter, &state);
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shares = logits.map(|logit| ((logit - top) / TEMPERATURE).exp());
        let mut left = random.uniform() * shares.iter().sum::<f32>();
        let next = shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        match next.and_then(|token| u8::try_from(token).ok()) {
            None | Some(ANSWER | END) => break,
            Some(token) => tokens.push(token),
        }
    }
    String::from_utf8_lossy(&tokens[opening.len()..]).into_owned()
}

/// The last characters of a text, marked if that is not all of it.
fn ending(text: &str, limit: usize) -> String {
    let mut ends = text.char_indices().rev();
    match (ends.nth(limit - 1), ends.next()) {
        (Some((cut, _)), Some(_)) => format!("… {}", text[cut..].trim_start()),
        _ => text.to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
