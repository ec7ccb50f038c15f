//! The prompt of a line that has none: what both answers begin with.

use super::messages::{ANSWER_TAG, Message, Role};
use super::problem::Problem;

/// Where two texts part into a prompt and answers: behind the last `\n\nAssistant:` of their common
/// beginning (the form of hh-rlhf), or else before its last white space, so that no word is split.
pub fn of_texts(chosen: &str, rejected: &str) -> Result<usize, Problem> {
    let mut pairs = chosen.char_indices().zip(rejected.chars());
    let shorter = chosen.len().min(rejected.len());
    let common = pairs.find(|((_, a), b)| a != b).map_or(shorter, |((index, _), _)| index);
    let common = &chosen[..common];
    let tag = common.rfind(ANSWER_TAG).map(|start| start + ANSWER_TAG.len());
    let word = || common.rfind(char::is_whitespace).filter(|&end| end > 0);
    tag.or_else(word).ok_or(Problem::NoSharedPrompt { of: "whole word" })
}

/// How many messages two conversations have in common, without answers at the end of those.
pub fn of_messages(chosen: &[Message], rejected: &[Message]) -> Result<usize, Problem> {
    let common = chosen.iter().zip(rejected).take_while(|(a, b)| a == b).count();
    let prompt = chosen.iter().take(common).rposition(|message| message.role != Role::Assistant);
    prompt.map(|last| last + 1).ok_or(Problem::NoSharedPrompt { of: "message" })
}
