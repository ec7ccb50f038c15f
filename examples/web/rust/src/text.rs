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

/// The symbols of a text; characters that the alphabet lacks are counted.
fn read(text: &str, changes: &mut Changes) -> Vec<u8> {
    let space = symbol(' ').unwrap_or(END);
    let of = |character| {
        symbol(character).unwrap_or_else(|| {
            changes.replaced += 1;
            space
        })
    };
    text.chars().map(of).collect()
}

/// Reads a prompt, with its end, and counts what that changes.
pub fn opening(prompt: &str, changes: &mut Changes) -> Vec<u8> {
    let prompt = read(prompt, changes);
    let start = prompt.len().saturating_sub(PROMPT_LIMIT);
    changes.cut += u32::from(start > 0);
    prompt.into_iter().skip(start).chain([END]).collect()
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
        Self::after(&opening(prompt, changes), answer, changes)
    }

    /// Reads an answer to the prompt of an [`opening`], and counts what that changes.
    pub fn after(opening: &[u8], answer: &str, changes: &mut Changes) -> Self {
        let answer = read(answer, changes);
        changes.cut += u32::from(answer.len() > ANSWER_LIMIT);
        let (mut symbols, first) = (opening.to_vec(), opening.len());
        symbols.extend(answer.into_iter().take(ANSWER_LIMIT));
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
