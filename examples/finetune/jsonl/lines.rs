//! From the bytes of a file to pairs of text.

use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;

use super::fields::Object;
use super::implicit;
use super::messages::{Message, Text, answer_text, prompt_text};
use super::problem::{DataError, Problem};

/// A prompt with the answer that was preferred and the one that was not. Either answer may be
/// empty, or both the same: whether a pair teaches anything, `Examples` decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub prompt: String,
    pub chosen: String,
    pub rejected: String,
}

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
        .trim_ascii_end();
    match text.trim_ascii_start().as_bytes().first() {
        None => return Err(Problem::BlankLine),
        // Whether it ends on this line or not.
        Some(b'[') => return Err(Problem::Array),
        _ => {}
    }
    let object = Object::of_line(text)?;
    let chosen = Text::parse(&object.get("chosen")?)?;
    let rejected = Text::parse(&object.get("rejected")?)?;
    let prompt = object.optional("prompt").map(|field| Text::parse(&field)).transpose()?;
    match (chosen, rejected) {
        (Text::Plain(chosen), Text::Plain(rejected)) => of_texts(prompt, chosen, rejected),
        (Text::Messages(chosen), Text::Messages(rejected)) => {
            of_messages(prompt.as_ref(), &chosen, &rejected)
        }
        (chosen, rejected) => Err(mixed(("chosen", &chosen), ("rejected", &rejected))),
    }
}

fn mixed(one: (&'static str, &Text), other: (&'static str, &Text)) -> Problem {
    let described = |(path, text): (&'static str, &Text)| (path, text.described());
    Problem::MixedForms { one: described(one), other: described(other) }
}

fn of_texts(prompt: Option<Text>, chosen: String, rejected: String) -> Result<Pair, Problem> {
    match prompt {
        Some(Text::Plain(prompt)) => Ok(Pair { prompt, chosen, rejected }),
        Some(prompt) => Err(mixed(("prompt", &prompt), ("chosen", &Text::Plain(chosen)))),
        None => {
            let end = implicit::of_texts(&chosen, &rejected)?;
            let (prompt, chosen) = chosen.split_at(end);
            let (prompt, chosen) = (prompt.to_owned(), chosen.to_owned());
            Ok(Pair { prompt, chosen, rejected: rejected[end..].to_owned() })
        }
    }
}

fn of_messages(
    prompt: Option<&Text>,
    chosen: &[Message],
    rejected: &[Message],
) -> Result<Pair, Problem> {
    let (prompt, chosen, rejected) = match prompt {
        Some(Text::Messages(prompt)) => (prompt.as_slice(), chosen, rejected),
        text => {
            let (prompt, chosen_answer) = chosen.split_at(implicit::of_messages(chosen, rejected)?);
            if let Some(Text::Plain(text)) = text
                && prompt.iter().all(|message| message.content != *text)
            {
                return Err(Problem::PromptNotShared);
            }
            (prompt, chosen_answer, &rejected[prompt.len()..])
        }
    };
    Ok(Pair {
        prompt: prompt_text(prompt)?,
        chosen: answer_text("chosen", chosen)?,
        rejected: answer_text("rejected", rejected)?,
    })
}
