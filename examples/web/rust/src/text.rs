//! The page's alphabet, and a text as the model reads it: prompt, end, answer, end.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// Symbols; each is one character of text, but for [`END`].
pub const VOCAB: usize = ALPHABET.len() + 1;
/// Ends a prompt and an answer.
pub const END: u8 = ALPHABET.len() as u8;
/// Characters of a prompt that are read, its last ones.
pub const PROMPT_LIMIT: usize = 96;
/// Characters of an answer that are read, its first ones.
pub const ANSWER_LIMIT: usize = 160;

/// Capital letters are read as small ones, and whatever is not here as a space.
const ALPHABET: &[u8; 47] = b"abcdefghijklmnopqrstuvwxyz0123456789 .,?!':;-()";

/// The symbol of a character, if the alphabet has it.
fn symbol(character: char) -> Option<u8> {
    let byte = u8::try_from(character.to_ascii_lowercase()).ok()?;
    let at = ALPHABET.iter().position(|&letter| letter == byte)?;
    u8::try_from(at).ok()
}

/// The text of symbols.
pub fn spelled(symbols: &[u8]) -> String {
    let letter = |&symbol: &u8| ALPHABET.get(usize::from(symbol)).copied().map(char::from);
    symbols.iter().filter_map(letter).collect()
}

/// What reading changed of the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Texts that were cut to the limits.
    pub cut: u32,
    /// Characters that the alphabet lacks.
    pub replaced: u32,
}

/// A prompt with one of its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    symbols: Vec<u8>,
    first: usize,
}

impl Text {
    /// Reads prompt and answer, and counts what that changes.
    pub fn new(prompt: &str, answer: &str, changes: &mut Changes) -> Self {
        let mut read = |text: &str| -> Vec<u8> {
            let space = symbol(' ').unwrap_or(END);
            let of = |character| {
                symbol(character).unwrap_or_else(|| {
                    changes.replaced += 1;
                    space
                })
            };
            text.chars().map(of).collect()
        };
        let (prompt, answer) = (read(prompt), read(answer));
        let start = prompt.len().saturating_sub(PROMPT_LIMIT);
        let kept = answer.len().min(ANSWER_LIMIT);
        changes.cut += u32::from(start > 0) + u32::from(kept < answer.len());
        let mut symbols: Vec<u8> = prompt.into_iter().skip(start).collect();
        symbols.push(END);
        let first = symbols.len();
        symbols.extend(answer.into_iter().take(kept));
        symbols.push(END);
        Self { symbols, first }
    }

    /// All of it.
    pub fn symbols(&self) -> &[u8] {
        &self.symbols
    }

    /// The prompt and its end: what an answer is drawn after.
    pub fn opening(&self) -> &[u8] {
        self.symbols.get(..self.first).unwrap_or_default()
    }

    /// The answer and its end: the targets of the rows of logits.
    pub fn answer(&self) -> &[u8] {
        self.symbols.get(self.first..).unwrap_or_default()
    }

    /// The positions whose logits predict the answer: each predicts the symbol after it.
    pub fn rows(&self) -> Range<usize> {
        self.first - 1..self.symbols.len() - 1
    }
}
