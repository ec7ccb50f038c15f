//! Answers, by the likeliest token each time.

use crate::Outcome;
use crate::chat::{Chat, messages};
use crate::lora::Loras;
use crate::model::{Cache, Model};

/// An answer of at most so many tokens, and of as many as the model has positions for, to a prompt as
/// the data have it.
///
/// # Errors
/// candle's; a prompt that is too long.
pub fn answer(
    model: &Model,
    chat: &Chat,
    loras: Option<&Loras>,
    prompt: &str,
    limit: usize,
) -> Outcome<String> {
    let mut cache = Cache::default();
    let mut next = chat.prompt(&messages(prompt))?;
    let mut answer = Vec::new();
    // The last token is not read; of a prompt that is too long the model itself says so.
    let limit = limit.min((model.limit() + 1).saturating_sub(next.len()).max(1));
    while answer.len() < limit {
        let logits = model.next(&next, loras, &mut cache)?;
        let best = (0_u32..).zip(logits).fold(None, |best: Option<(u32, f32)>, (token, logit)| {
            if best.is_some_and(|(_, top)| top >= logit) { best } else { Some((token, logit)) }
        });
        let Some((token, _)) = best.filter(|(token, _)| *token != chat.end()) else { break };
        answer.push(token);
        next = vec![token];
    }
    chat.decode(&answer)
}

/// A text on one line, without its middle if it is long.
#[must_use]
pub fn one_line(text: &str, limit: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = text.chars().count();
    if count <= limit {
        return text;
    }
    let end: String = text.chars().skip(count - limit).collect();
    format!("… {}", end.trim_start())
}
