//! From pairs of text to what is trained on and what is held out.

use alloc::string::String;
use alloc::vec::Vec;

use crate::text::{Changes, Text};

/// A preference: prompt, chosen answer, rejected answer.
pub type Pair<'a> = [&'a str; 3];

/// What is added to chosen answers that are made longer, in turn.
pub const TAILS: [&str; 4] = [
    " is there anything else that i can do for you?",
    " please tell me if you need more, i am always glad to help.",
    " i hope that this helps you, have a very nice day.",
    " do not hesitate to ask me again at any time.",
];

/// The answer with one of the [`TAILS`].
pub fn lengthened(answer: &str, index: usize) -> String {
    let tail = TAILS.get(index % TAILS.len()).copied().unwrap_or_default();
    [answer, tail].concat()
}

/// The two texts of a pair.
#[derive(Clone, Debug)]
pub struct Example {
    /// The prompt with the preferred answer.
    pub chosen: Text,
    /// The prompt with the other one.
    pub rejected: Text,
}

impl Example {
    /// Both.
    pub const fn texts(&self) -> [&Text; 2] {
        [&self.chosen, &self.rejected]
    }
}

/// All pairs as the model reads them.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    /// What is trained on.
    pub train: Vec<Example>,
    /// What never is: a fifth of the prompts.
    pub held_out: Vec<Example>,
    /// What reading changed.
    pub changes: Changes,
    /// Pairs that teach nothing: an answer is empty, or both are equal as the model reads them.
    pub left_out: u32,
}

impl Examples {
    /// Reads the pairs. `longer` adds a tail to three of four chosen answers that are trained on.
    ///
    /// Prompts are numbered as they first come. Of every five the second is held out, with all of its pairs.
    pub fn new<'a>(pairs: impl Iterator<Item = Pair<'a>>, longer: bool) -> Self {
        let mut all = Self::default();
        let mut prompts: Vec<Vec<u8>> = Vec::new();
        for [prompt, chosen, rejected] in pairs {
            let mut changes = Changes::default();
            let example = Example {
                chosen: Text::new(prompt, chosen, &mut changes),
                rejected: Text::new(prompt, rejected, &mut changes),
            };
            if chosen.is_empty() || rejected.is_empty() || example.chosen == example.rejected {
                all.left_out += 1;
                continue;
            }
            let opening = example.chosen.opening();
            let number = prompts.iter().position(|known| known == opening).unwrap_or_else(|| {
                prompts.push(opening.to_vec());
                prompts.len() - 1
            });
            if number % 5 == 1 {
                all.held_out.push(example);
            } else if longer && all.train.len() % 4 != 3 {
                changes = Changes::default();
                let longer = lengthened(chosen, all.train.len());
                let chosen = Text::new(prompt, &longer, &mut changes);
                let rejected = Text::new(prompt, rejected, &mut changes);
                all.train.push(Example { chosen, rejected });
            } else {
                all.train.push(example);
            }
            // It was read with either answer, and counts once.
            let mut of_prompt = Changes::default();
            let _ = Text::new(prompt, "", &mut of_prompt);
            all.changes.cut += changes.cut - of_prompt.cut;
            all.changes.replaced += changes.replaced - of_prompt.replaced;
        }
        all
    }
}

/// Texts one after another, each behind its length (u32, little-endian): how pairs reach the module.
pub fn packed<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The texts of [`packed`] bytes, by three; none if they are nothing of the kind.
pub fn unpacked(mut bytes: &[u8]) -> Option<Vec<Pair<'_>>> {
    let mut next = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let text = core::str::from_utf8(text).ok()?;
        bytes = rest;
        Some(text)
    };
    let mut pairs = Vec::new();
    while let Some(prompt) = next() {
        pairs.push([prompt, next()?, next()?]);
    }
    bytes.is_empty().then_some(pairs)
}
