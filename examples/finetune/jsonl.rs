//! Preference pairs from JSON Lines: one object a line with the strings `prompt`, `chosen` and
//! `rejected`.
//!
//! [`parse`] is a pure function of the bytes. Whatever they hold, it returns either every pair or
//! one error that names the file and the line, and it never panics. Accepted beside the plain form:
//! a byte order mark, `\r\n`, further fields (ignored), and blank lines at the end of the file.

use std::fmt;

use serde_json::Value;

/// A prompt with the answer that was preferred and the one that was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub prompt: String,
    pub chosen: String,
    pub rejected: String,
}

/// What is wrong with a file of pairs, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError {
    pub file: String,
    /// Counted from 1; none when the file as a whole is at fault.
    pub line: Option<usize>,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    NoPairs,
    BlankLine,
    NotUtf8 { column: usize },
    NotJson(String),
    NotAnObject,
    MissingField(&'static str),
    NotAString(&'static str),
    EmptyAnswer(&'static str),
    IdenticalAnswers,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        f.write_str(" ")?;
        match &self.problem {
            Problem::NoPairs => write!(f, "the file has no preference pairs"),
            Problem::BlankLine => write!(f, "a blank line between pairs"),
            Problem::NotUtf8 { column } => write!(f, "byte {column} of the line is not UTF-8"),
            Problem::NotJson(why) => write!(f, "not JSON: {why}"),
            Problem::NotAnObject => write!(f, "a JSON value, but not an object"),
            Problem::MissingField(name) => write!(f, "the field `{name}` is missing"),
            Problem::NotAString(name) => write!(f, "the field `{name}` is not a string"),
            Problem::EmptyAnswer(name) => write!(f, "`{name}` is empty: there is nothing to score"),
            Problem::IdenticalAnswers => {
                write!(f, "`chosen` and `rejected` are identical: such a pair prefers nothing")
            }
        }
    }
}

impl std::error::Error for DataError {}

/// Reads all pairs of a file; `name` is what errors call it.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Pair>, DataError> {
    let error = |line, problem| DataError { file: name.to_owned(), line, problem };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_end();
    if bytes.is_empty() {
        return Err(error(None, Problem::NoPairs));
    }
    bytes
        .split(|&byte| byte == b'\n')
        .enumerate()
        .map(|(index, line)| parse_line(line).map_err(|problem| error(Some(index + 1), problem)))
        .collect()
}

fn parse_line(line: &[u8]) -> Result<Pair, Problem> {
    let text = std::str::from_utf8(line)
        .map_err(|error| Problem::NotUtf8 { column: error.valid_up_to() + 1 })?
        .trim_ascii();
    if text.is_empty() {
        return Err(Problem::BlankLine);
    }
    let value: Value = serde_json::from_str(text).map_err(|error| {
        Problem::NotJson(error.to_string().replace(" at line 1 column", " at column"))
    })?;
    let object = value.as_object().ok_or(Problem::NotAnObject)?;
    let field = |name| match object.get(name) {
        None => Err(Problem::MissingField(name)),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Problem::NotAString(name)),
    };
    let pair =
        Pair { prompt: field("prompt")?, chosen: field("chosen")?, rejected: field("rejected")? };
    match &pair {
        Pair { chosen, .. } if chosen.is_empty() => Err(Problem::EmptyAnswer("chosen")),
        Pair { rejected, .. } if rejected.is_empty() => Err(Problem::EmptyAnswer("rejected")),
        Pair { chosen, rejected, .. } if chosen == rejected => Err(Problem::IdenticalAnswers),
        _ => Ok(pair),
    }
}
