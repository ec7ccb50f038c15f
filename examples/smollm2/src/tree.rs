//! A pair as one packed sequence.
//!
//! Both answers of a pair follow one copy of their prompt ([`Tree`]): a token of the rejected answer
//! does not see the chosen one, and its position counts on from the prompt. What every token sees is
//! what it would see in a sequence of its own, so nothing changes but the time that it takes.

use std::ops::Range;

/// A prompt and the answers that follow it, packed one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens of the answer that directly follows it.
    pub first: usize,
    /// Tokens of the other answer; 0 of a plain sequence.
    pub second: usize,
}

impl Tree {
    /// All tokens.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.prompt + self.first + self.second
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of a token in its own sequence.
    pub(crate) const fn position(&self, token: usize) -> usize {
        if token < self.prompt + self.first { token } else { token - self.first }
    }

    /// What a token sees.
    pub(crate) fn seen(&self, token: usize) -> [Range<usize>; 2] {
        let second = self.prompt + self.first;
        if token < second { [0..token + 1, 0..0] } else { [0..self.prompt, second..token + 1] }
    }
}
