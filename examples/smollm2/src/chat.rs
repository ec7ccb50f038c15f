//! ChatML, the template of SmolLM2: messages to tokens.
//!
//! ```text
//! <|im_start|>system\n…<|im_end|>\n<|im_start|>user\n…<|im_end|>\n<|im_start|>assistant\n     prompt
//! …<|im_end|>\n                                                                               answer
//! ```
//!
//! The system's message is the file's own where a conversation has none.

use crate::gguf::Gguf;
use crate::tokenizer::Text;
use crate::{Outcome, fault};

/// A message: who speaks, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// What is said.
    pub content: &'a str,
}

/// Takes a prompt apart at the tags of hh-rlhf, `\n\nHuman:`, `\n\nAssistant:` and `\n\nSystem:`. What
/// stands before the first is the user's; the tag at the end that the answer follows is no message.
#[must_use]
pub fn messages(prompt: &str) -> Vec<Message<'_>> {
    const TAGS: [(&str, &str); 3] =
        [("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant"), ("\n\nSystem:", "system")];
    let mut found = Vec::new();
    let (mut role, mut rest, mut is_tagged) = ("user", prompt, false);
    loop {
        let next = TAGS.iter().filter_map(|&(tag, role)| Some((rest.find(tag)?, tag, role))).min();
        let (content, after) = match next {
            Some((at, tag, next_role)) => {
                let after = rest.get(at + tag.len()..).unwrap_or_default();
                (rest.get(..at).unwrap_or_default().trim(), Some((next_role, after)))
            }
            None => (rest.trim(), None),
        };
        let is_last = after.is_none();
        let is_opening = content.is_empty() && (!is_tagged || is_last && role == "assistant");
        if !is_opening {
            found.push(Message { role, content });
        }
        let Some(after) = after else { return found };
        (role, rest) = after;
        is_tagged = true;
    }
}

/// The template.
#[derive(Debug)]
pub struct Chat {
    text: Text,
    start: u32,
    end: u32,
    /// What the system says where a conversation does not; an error where the template has that in a
    /// form that is not read here.
    system: Result<Option<String>, String>,
}

impl Chat {
    /// Of a file's vocabulary and template.
    ///
    /// # Errors
    /// The template is not ChatML; the vocabulary is broken.
    pub fn read(gguf: &Gguf) -> Outcome<Self> {
        const START: &str = "<|im_start|>";
        const END: &str = "<|im_end|>";
        let text = Text::read(gguf)?;
        let template = gguf.text("tokenizer.chat_template")?;
        if !template.contains(START) || !template.contains(END) {
            return Err(fault(format!("{}: a chat template that is not ChatML", gguf.name())));
        }
        // Its line ends are written as two characters, or as themselves.
        let read = |after: &str| {
            let (system, _) = after.split_once(END)?;
            let system = system.strip_prefix("\\n").or_else(|| system.strip_prefix('\n'))?;
            // More than a text: its end and an expression, or another escape.
            let is_text = !system.replace("\\n", "").contains(['\'', '"', '\\', '{', '}']);
            is_text.then(|| system.replace("\\n", "\n"))
        };
        let system = match template.split_once("<|im_start|>system") {
            None => Ok(None),
            Some((_, after)) => read(after).map(Some).ok_or_else(|| {
                let name = gguf.name();
                format!(
                    "{name}: the chat template's own system message cannot be read: a conversation \
                     needs one of its own"
                )
            }),
        };
        let (start, end) = (text.mark(START)?, text.mark(END)?);
        Ok(Self { text, start, end, system })
    }

    /// What ends an answer.
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.end
    }

    /// The text of tokens, without marks.
    ///
    /// # Errors
    /// Of the decoder.
    pub fn decode(&self, tokens: &[u32]) -> Outcome<String> {
        self.text.decode(tokens)
    }

    /// A conversation, up to where the assistant answers.
    ///
    /// # Errors
    /// Of the vocabulary; no system message, neither in the conversation nor in a template that says one
    /// in another form than a text.
    pub fn prompt(&self, messages: &[Message<'_>]) -> Outcome<Vec<u32>> {
        let mut tokens = Vec::new();
        let has_system = messages.first().is_some_and(|message| message.role == "system");
        let default = match &self.system {
            _ if has_system => None,
            Ok(system) => system.as_deref(),
            Err(why) => return Err(fault(why.clone())),
        };
        let default = default.map(|content| Message { role: "system", content });
        for Message { role, content } in default.iter().chain(messages) {
            tokens.push(self.start);
            tokens.extend(self.text.encode(&format!("{role}\n{content}"))?);
            tokens.push(self.end);
            tokens.extend(self.text.encode("\n")?);
        }
        tokens.push(self.start);
        tokens.extend(self.text.encode("assistant\n")?);
        Ok(tokens)
    }

    /// An answer and its end.
    ///
    /// # Errors
    /// Of the vocabulary.
    pub fn answer(&self, content: &str) -> Outcome<Vec<u32>> {
        let mut tokens = self.text.encode(content)?;
        tokens.push(self.end);
        tokens.extend(self.text.encode("\n")?);
        Ok(tokens)
    }
}
