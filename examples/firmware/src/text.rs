//! The device's alphabet, and a text as the model reads it: prompt, end, answer, end.

/// Symbols; each is one byte of text.
pub const VOCAB: usize = 32;
/// Ends a prompt and an answer.
pub const END: u8 = 31;
/// Bytes that a prompt or an answer may have.
pub const LIMIT: usize = 24;
/// Symbols of the longest sequence.
pub const SYMBOLS: usize = 2 * (LIMIT + 1);

/// The symbol of a byte; what the alphabet lacks is a space.
pub const fn symbol(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte - b'a',
        b'.' => 27,
        b',' => 28,
        b'?' => 29,
        b'\'' => 30,
        _ => 26,
    }
}

/// A prompt and its answer, as symbols.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    symbols: [u8; SYMBOLS],
    len: usize,
    first: usize,
}

impl Sequence {
    /// Both are cut to [`LIMIT`] bytes.
    pub fn new(prompt: &str, answer: &str) -> Self {
        let mut sequence = Self { symbols: [END; SYMBOLS], len: 0, first: 0 };
        sequence.push(prompt);
        sequence.first = sequence.len;
        sequence.push(answer);
        sequence
    }

    fn push(&mut self, text: &str) {
        let mut to = self.symbols.iter_mut().skip(self.len);
        for (byte, to) in text.bytes().take(LIMIT).zip(&mut to) {
            *to = symbol(byte);
            self.len += 1;
        }
        // What follows is END already.
        self.len += 1;
    }

    pub fn symbols(&self) -> &[u8] {
        self.symbols.get(..self.len).unwrap_or_default()
    }

    /// Rows of logits: row i scores the answer's i-th symbol, which the position before it
    /// predicts.
    pub fn rows(&self) -> usize {
        self.len - self.first
    }

    /// The symbols of the answer, its end included: the targets of the rows.
    pub fn answer(&self) -> &[u8] {
        self.symbols().get(self.first..).unwrap_or_default()
    }

    /// The position whose logits are row 0.
    pub fn first_row(&self) -> usize {
        self.first - 1
    }
}
