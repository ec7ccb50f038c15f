//! Pairs as tokens, and packed for a pass.
//!
//! ```text
//! tokens   p p p p c c c r r r r       the prompt once, then both answers ([`Tree`])
//! rows           └ scored: from the prompt's last token on, each predicts the token after it;
//!                  that token's row stands in both answers
//! ```
//!
//! The last token of an answer predicts nothing and is not read.

use dpo_kernel_candle::dpo_kernel::{Pair, Span};

use crate::chat::{Chat, messages};
use crate::jsonl;
use crate::tree::Tree;
use crate::{Outcome, fault};

/// A preference pair in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The conversation, up to where the answer begins.
    pub prompt: Vec<u32>,
    /// The preferred answer, with its end.
    pub chosen: Vec<u32>,
    /// The other one.
    pub rejected: Vec<u32>,
}

impl Example {
    /// By the template.
    ///
    /// # Errors
    /// Of the vocabulary.
    pub fn new(chat: &Chat, prompt: &str, chosen: &str, rejected: &str) -> Outcome<Self> {
        Ok(Self {
            prompt: chat.prompt(&messages(prompt))?,
            chosen: chat.answer(chosen.trim())?,
            rejected: chat.answer(rejected.trim())?,
        })
    }

    /// Tokens of both sequences, the prompt in each of them, as trainers count them.
    #[must_use]
    pub fn tokens(&self) -> usize {
        2 * self.prompt.len() + self.chosen.len() + self.rejected.len()
    }

    /// Tokens of the longer sequence.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.prompt.len() + self.chosen.len().max(self.rejected.len())
    }
}

/// Pairs to train on, pairs that are held out, and what was left out.
#[derive(Debug, Default)]
pub struct Examples {
    /// To train on.
    pub train: Vec<Example>,
    /// Every so many-th, never trained on.
    pub held_out: Vec<Example>,
    /// Pairs whose answers are equal or empty.
    pub equal: usize,
    /// Pairs of more tokens than are allowed.
    pub long: usize,
    /// Prompts as they were written: of held-out pairs, or where there are none of those to train on.
    pub prompts: Vec<String>,
}

impl Examples {
    /// Reads JSON Lines; every `every`-th of the pairs that are left is held out, none if it is 0.
    ///
    /// # Errors
    /// A line is broken, or nothing is left to train on.
    pub fn read(
        chat: &Chat,
        name: &str,
        bytes: &[u8],
        limit: usize,
        every: usize,
    ) -> Outcome<Self> {
        let mut found = Self::default();
        let mut train_prompts = Vec::new();
        let mut count = 0;
        for pair in jsonl::parse(name, bytes)? {
            let (chosen, rejected) = (pair.chosen.trim(), pair.rejected.trim());
            if chosen == rejected || chosen.is_empty() || rejected.is_empty() {
                found.equal += 1;
                continue;
            }
            let example = Example::new(chat, &pair.prompt, chosen, rejected)?;
            if example.longest() > limit {
                found.long += 1;
                continue;
            }
            count += 1;
            if every > 0 && count % every == 0 {
                found.held_out.push(example);
                found.prompts.push(pair.prompt);
            } else {
                found.train.push(example);
                train_prompts.push(pair.prompt);
            }
        }
        if found.prompts.is_empty() {
            found.prompts = train_prompts;
        }
        if found.train.is_empty() {
            return Err(fault(format!(
                "{name}: no pair is left to train on: {} held out, {} equal or empty, {} above {limit} \
                 tokens",
                found.held_out.len(),
                found.equal,
                found.long
            )));
        }
        Ok(found)
    }
}

/// Pairs for one pass; sequences come as chosen, rejected, chosen, …
#[derive(Clone, Debug, Default)]
pub struct Packed {
    /// What the model reads.
    pub tokens: Vec<u32>,
    /// How they belong together.
    pub trees: Vec<Tree>,
    /// Which of their hidden states are scored.
    pub rows: Vec<u32>,
    /// What each row predicts.
    pub targets: Vec<u32>,
    /// Rows of each sequence.
    pub spans: Vec<Span>,
}

impl Packed {
    /// Of these pairs.
    ///
    /// # Errors
    /// An empty prompt or answer; more than 2³² tokens.
    pub fn new<'a>(examples: impl IntoIterator<Item = &'a Example>) -> Outcome<Self> {
        let mut packed = Self::default();
        for Example { prompt, chosen, rejected } in examples {
            let begin = packed.tokens.len();
            packed.tokens.extend_from_slice(prompt);
            let mut inputs = [0, 0];
            for (answer, input) in [chosen, rejected].into_iter().zip(&mut inputs) {
                let (Some((_, all_but_last)), false) = (answer.split_last(), prompt.is_empty())
                else {
                    return Err(fault("a pair of an empty prompt or answer".into()));
                };
                let (first, start) = (packed.tokens.len(), packed.targets.len());
                packed.tokens.extend_from_slice(all_but_last);
                packed.targets.extend_from_slice(answer);
                let rows = [begin + prompt.len() - 1].into_iter().chain(first..packed.tokens.len());
                for row in rows {
                    packed.rows.push(u32::try_from(row)?);
                }
                packed.spans.push(Span::new(start, packed.targets.len()));
                *input = all_but_last.len();
            }
            let [first, second] = inputs;
            packed.trees.push(Tree { prompt: prompt.len(), first, second });
        }
        Ok(packed)
    }

    /// The pairs of its sequences.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        (0..self.trees.len()).map(|pair| Pair::new(2 * pair, 2 * pair + 1)).collect()
    }
}
