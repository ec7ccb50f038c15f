//! What can be wrong with a file of pairs: where, what was found, and what to do.

use std::string::String;
use std::{fmt, format};

#[path = "../../shared/json.rs"]
pub mod json;

use json::Cause;

/// What is wrong with a file of pairs, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError {
    pub file: String,
    /// Counted from 1; none when the file as a whole is at fault.
    pub line: Option<usize>,
    pub problem: Problem,
}

/// Columns are bytes of the line, counted from 1. A path is a field's name as in
/// `chosen[1].content`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    NoPairs,
    BlankLine,
    NotUtf8 {
        column: usize,
    },
    NotJson {
        column: usize,
        cause: Cause,
    },
    /// Text behind the line's first value.
    SecondValue {
        column: usize,
    },
    /// The line begins a list: the file is one JSON array, or each line is.
    Array,
    NotAnObject {
        found: &'static str,
    },
    Missing {
        path: String,
    },
    Unexpected {
        path: String,
        found: &'static str,
        wanted: &'static str,
    },
    EmptyList {
        path: String,
        of: &'static str,
    },
    /// JSON can write half of a surrogate pair, which is no text.
    NotText {
        path: String,
        why: String,
    },
    UnknownRole {
        path: String,
        role: String,
    },
    UnknownPart {
        path: String,
        part: String,
    },
    /// Text beside messages: two fields, and what each is.
    MixedForms {
        one: (&'static str, &'static str),
        other: (&'static str, &'static str),
    },
    /// There is no `prompt`, and the two answers share no beginning that could be one.
    NoSharedPrompt {
        of: &'static str,
    },
    /// A string `prompt` that is none of the messages with which both answers begin.
    PromptNotShared,
    PromptEndsInAnswer,
    AnswerBegins {
        path: &'static str,
        role: &'static str,
    },
}

/// Shows at most 40 characters of a text from the file, on one line.
fn quoted(text: &str) -> String {
    let end = text.char_indices().nth(40).map_or(text.len(), |(end, _)| end);
    let (shown, left) = text.split_at(end);
    format!("`{}{}`", shown.escape_debug(), if left.is_empty() { "" } else { "…" })
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPairs => write!(f, "the file has no preference pairs"),
            Self::BlankLine => write!(f, "a blank line between pairs: remove it"),
            Self::NotUtf8 { column } => {
                write!(f, "byte {column} of the line is not UTF-8: save the file as UTF-8")
            }
            Self::NotJson { cause: Cause::Unfinished, column } => write!(
                f,
                "column {column}: the line ends inside its object: a pair takes one line \
                 (`jq -c . FILE` writes it so), or the file was cut off"
            ),
            Self::NotJson { cause, column } => write!(f, "column {column}: {cause}"),
            Self::SecondValue { column } => {
                write!(f, "column {column}: more text after the object: one pair a line, no commas")
            }
            Self::Array => write!(
                f,
                "a JSON array, not an object a line: `jq -c '.[]' FILE` writes a list's objects \
                 as lines"
            ),
            Self::NotAnObject { found } => {
                write!(f, "{found}, not an object with `chosen` and `rejected`")
            }
            Self::Missing { path } => write!(f, "the field `{path}` is missing"),
            Self::Unexpected { path, found, wanted } => {
                write!(f, "`{path}` is {found} where {wanted} is needed")
            }
            Self::EmptyList { path, of } => write!(f, "`{path}` is an empty list of {of}"),
            Self::NotText { path, why } => {
                write!(f, "`{path}` is not text ({why}): write the character whole")
            }
            Self::UnknownRole { path, role } => write!(
                f,
                "`{path}` is {}: only system, user and assistant have a place in the text",
                quoted(role)
            ),
            Self::UnknownPart { path, part } => {
                write!(f, "`{path}` is {}: only parts of type `text` can be read", quoted(part))
            }
            Self::MixedForms { one: (one, is), other: (other, is_other) } => write!(
                f,
                "`{one}` is {is} and `{other}` {is_other}: write both as strings or both as lists \
                 of messages"
            ),
            Self::NoSharedPrompt { of } => write!(
                f,
                "the field `prompt` is missing, and `chosen` and `rejected` begin with no {of} in \
                 common that could be it: give it as `prompt`"
            ),
            Self::PromptNotShared => write!(
                f,
                "`prompt` is a string, and no message with which both `chosen` and `rejected` \
                 begin has it as its content: write it as a list of messages"
            ),
            Self::PromptEndsInAnswer => write!(
                f,
                "the last message of `prompt` is the assistant's, which the answer would follow \
                 without a question: move it into `chosen` and `rejected`"
            ),
            Self::AnswerBegins { path, role } => write!(
                f,
                "`{path}`: the answer begins with a message of {role}, not of the assistant"
            ),
        }
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.problem),
            None => write!(f, "{}: {}", self.file, self.problem),
        }
    }
}

impl core::error::Error for DataError {}
