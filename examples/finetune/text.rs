//! From text to the bytes that the model reads, and the split into training and held-out pairs.
//!
//! ```text
//! prompt … ANSWER c h o s e n END        one token a byte
//!          └─ rows ─────────┘        row t predicts token t + 1: from ANSWER, without END
//! ```
//!
//! [`ANSWER`] and [`END`] are the two byte values that never occur in UTF-8, so no text can forge
//! them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::jsonl::Pair;
use super::random::Random;

/// Stands between prompt and answer.
pub const ANSWER: u8 = 0xfe;
/// Ends an answer; an answer that was cut short does not get one.
pub const END: u8 = 0xff;

/// Most bytes of an answer, kept from its start.
pub const ANSWER_LIMIT: usize = 256;
/// Most bytes of a prompt, kept from its end.
pub const PROMPT_LIMIT: usize = 512 - 2 - ANSWER_LIMIT;

/// A prompt with one of its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub tokens: Vec<u8>,
    answer: usize,
}

impl Sequence {
    fn new(prompt: &str, answer: &str) -> Self {
        let (prompt, answer) = (prompt.as_bytes(), answer.as_bytes());
        let mut tokens = prompt[prompt.len().saturating_sub(PROMPT_LIMIT)..].to_vec();
        let start = tokens.len();
        tokens.push(ANSWER);
        tokens.extend_from_slice(&answer[..answer.len().min(ANSWER_LIMIT)]);
        if answer.len() <= ANSWER_LIMIT {
            tokens.push(END);
        }
        Self { tokens, answer: start }
    }

    /// This prompt with the answer to another one.
    pub fn answered_by(&self, other: &Self) -> Self {
        let answer = &other.tokens[other.answer + 1..];
        Self { tokens: [self.opening(), answer].concat(), answer: self.answer }
    }

    /// The rows that predict the answer.
    pub fn answer_rows(&self) -> Range<usize> {
        self.answer..self.tokens.len() - 1
    }

    /// The rows that predict anything.
    pub fn all_rows(&self) -> Range<usize> {
        0..self.tokens.len() - 1
    }

    /// The prompt with the mark after it: what an answer is sampled from.
    pub fn opening(&self) -> &[u8] {
        &self.tokens[..=self.answer]
    }
}

/// The two sequences of a preference pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub chosen: Sequence,
    pub rejected: Sequence,
}

/// All pairs as the model reads them, and what it took to fit them in.
#[derive(Debug)]
pub struct Examples {
    pub train: Vec<Example>,
    pub held_out: Vec<Example>,
    /// Pairs with a text that was cut.
    pub cut: usize,
    /// Prompts that were the same as another one once both were cut.
    pub merged: usize,
    pub left_out: LeftOut,
}

/// How many pairs teach nothing, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub empty: usize,
    pub equal: usize,
    pub equal_once_cut: usize,
}

impl LeftOut {
    pub fn reasons(&self) -> [(usize, &'static str); 3] {
        [
            (self.empty, "an answer is empty"),
            (self.equal, "chosen and rejected answer are equal"),
            (self.equal_once_cut, "cut to what the model reads, their answers are equal"),
        ]
    }
}

impl Examples {
    /// Holds out about a fifth of the prompts, drawn by `random`. Pairs whose prompts are the same
    /// to the model, which reads only what cutting leaves of them, stay together.
    pub fn new(pairs: &[Pair], random: &mut Random) -> Self {
        let (mut cut, mut left_out) = (0, LeftOut::default());
        let mut groups: Vec<Vec<Example>> = Vec::new();
        let (mut group_of, mut prompts) = (HashMap::new(), HashSet::new());
        for pair in pairs {
            let chosen = Sequence::new(&pair.prompt, &pair.chosen);
            let rejected = Sequence::new(&pair.prompt, &pair.rejected);
            let longest = pair.chosen.len().max(pair.rejected.len());
            cut += usize::from(longest > ANSWER_LIMIT || pair.prompt.len() > PROMPT_LIMIT);
            if pair.chosen.is_empty() || pair.rejected.is_empty() {
                left_out.empty += 1;
                continue;
            }
            if chosen == rejected {
                let reason = if pair.chosen == pair.rejected {
                    &mut left_out.equal
                } else {
                    &mut left_out.equal_once_cut
                };
                *reason += 1;
                continue;
            }
            prompts.insert(&pair.prompt);
            let group = *group_of.entry(chosen.opening().to_vec()).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(Example { chosen, rejected });
        }
        random.shuffle(&mut groups);
        let merged = prompts.len() - groups.len();
        let held_out = if groups.len() < 2 { 0 } else { groups.len().div_ceil(5) };
        let train = groups.split_off(held_out).concat();
        Self { train, held_out: groups.concat(), cut, merged, left_out }
    }
}
