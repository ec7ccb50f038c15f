//! What to say of a text that is not JSON. Most such texts were written by Python, whose `json`
//! module writes `NaN` and `Infinity`, and whose `print` writes `None` and single quotes.

use std::borrow::ToOwned;
use std::string::{String, ToString};
use std::{fmt, format};

/// Why a text is not JSON, as far as its place of error shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A number that JSON has no form for.
    NotANumber(String),
    /// A value as Python prints it.
    Printed(&'static str),
    ByteOrderMark,
    /// The text ends inside a value.
    Unfinished,
    /// A number above the largest f64.
    TooLarge,
    TooDeep,
    /// What the parser says.
    Other(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber(word) => write!(
                f,
                "`{word}` is not JSON, though Python writes it: write null, or a string such as \
                 \"-inf\""
            ),
            Self::Printed(word) => write!(
                f,
                "{word} is not JSON but what Python prints: write the file by json.dumps, not by \
                 str or print"
            ),
            Self::ByteOrderMark => write!(
                f,
                "a byte-order mark (U+FEFF) inside the file, as if files had been joined: remove it"
            ),
            Self::Unfinished => write!(f, "the text ends inside a value: was it cut off?"),
            Self::TooLarge => write!(
                f,
                "a number above the largest f64: write the string \"inf\" or \"-inf\" if it is meant"
            ),
            Self::TooDeep => write!(f, "lists or objects inside one another, more than 127 deep"),
            Self::Other(why) => write!(f, "not JSON: {why}"),
        }
    }
}

/// The place of an error, line and byte counted from 1, and its cause.
pub(crate) fn explain(text: &str, error: &serde_json::Error) -> (usize, usize, Cause) {
    let (line, column) = (error.line(), error.column());
    let bytes = text.split('\n').nth(line.saturating_sub(1)).unwrap_or("").as_bytes();
    // The parser stops at the first byte that it cannot use, or just behind it.
    let at = |back: usize| {
        let start = column.checked_sub(back)?;
        Some((start, cause_at(bytes, start)?))
    };
    let message = error.to_string();
    let why = message.strip_suffix(&format!(" at line {line} column {column}"));
    match at(1).or_else(|| at(2)) {
        Some((start, cause)) => (line, start + 1, cause),
        None if error.is_eof() => (line, column, Cause::Unfinished),
        None if why == Some("number out of range") => (line, column, Cause::TooLarge),
        None if why == Some("recursion limit exceeded") => (line, column, Cause::TooDeep),
        None => (line, column, Cause::Other(why.unwrap_or(&message).to_owned())),
    }
}

fn cause_at(bytes: &[u8], start: usize) -> Option<Cause> {
    const NUMBERS: [&str; 4] = ["NaN", "Infinity", "nan", "inf"];
    const PRINTED: [(&str, &str); 4] =
        [("None", "`None`"), ("True", "`True`"), ("False", "`False`"), ("'", "a single quote")];
    let found = bytes.get(start..)?;
    if found.starts_with("\u{feff}".as_bytes()) {
        return Some(Cause::ByteOrderMark);
    }
    if let Some(word) = NUMBERS.iter().find(|word| found.starts_with(word.as_bytes())) {
        let minus = start.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'-');
        return Some(Cause::NotANumber(format!("{}{word}", if minus { "-" } else { "" })));
    }
    let printed = PRINTED.iter().find(|(word, _)| found.starts_with(word.as_bytes()));
    printed.map(|&(_, name)| Cause::Printed(name))
}

/// What a JSON text is, by its first byte.
pub(crate) fn kind(json: &str) -> &'static str {
    match json.trim_start().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}
