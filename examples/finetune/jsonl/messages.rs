//! Messages of a conversation, and the template by which they become text.

use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;

use super::fields::Field;
use super::problem::Problem;

const MESSAGES: &str = "a string or a list of messages";
const MESSAGE: &str = "a message, {\"role\": …, \"content\": …},";
const CONTENT: &str = "a string or a list of text parts";
const PART: &str = "a part, {\"type\": \"text\", \"text\": …},";

/// What the prompt ends with, and an answer follows.
pub const ANSWER_TAG: &str = "\n\nAssistant:";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

impl Role {
    fn parse(field: &Field<'_>) -> Result<Self, Problem> {
        let role = field.text("a string")?;
        match role.as_str() {
            "system" => Ok(Self::System),
            "user" => Ok(Self::User),
            "assistant" => Ok(Self::Assistant),
            _ => Err(Problem::UnknownRole { path: field.path.clone(), role }),
        }
    }

    fn tag(self) -> &'static str {
        match self {
            Self::System => "\n\nSystem:",
            Self::User => "\n\nHuman:",
            Self::Assistant => ANSWER_TAG,
        }
    }

    pub const fn described(self) -> &'static str {
        match self {
            Self::System => "the system",
            Self::User => "the user",
            Self::Assistant => "the assistant",
        }
    }
}

/// A text, or messages that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Plain(String),
    Messages(Vec<Message>),
}

impl Text {
    pub fn parse(field: &Field<'_>) -> Result<Self, Problem> {
        if field.kind() != "a list" {
            return field.text(MESSAGES).map(Self::Plain);
        }
        let items = field.list("messages", MESSAGES)?;
        items.iter().map(message).collect::<Result<_, _>>().map(Self::Messages)
    }

    pub const fn described(&self) -> &'static str {
        match self {
            Self::Plain(_) => "a string",
            Self::Messages(_) => "a list of messages",
        }
    }
}

fn message(field: &Field<'_>) -> Result<Message, Problem> {
    let object = field.object(MESSAGE)?;
    let role = Role::parse(&object.get("role")?)?;
    let content = object.get("content")?;
    let content = if content.kind() == "a list" {
        content.list("parts", CONTENT)?.iter().map(part).collect::<Result<_, _>>()?
    } else {
        content.text(CONTENT)?
    };
    Ok(Message { role, content })
}

fn part(field: &Field<'_>) -> Result<String, Problem> {
    let object = field.object(PART)?;
    let kind = object.get("type")?;
    let part = kind.text("a string")?;
    if part != "text" {
        return Err(Problem::UnknownPart { path: kind.path, part });
    }
    object.get("text")?.text("a string")
}

fn written(messages: &[Message]) -> String {
    messages.iter().flat_map(|Message { role, content }| [role.tag(), " ", content]).collect()
}

/// The text of a prompt, up to where its answer begins.
pub fn prompt_text(messages: &[Message]) -> Result<String, Problem> {
    match messages.last() {
        Some(Message { role: Role::Assistant, .. }) => Err(Problem::PromptEndsInAnswer),
        _ => Ok(written(messages) + ANSWER_TAG),
    }
}

/// The text of an answer after its prompt; empty if none of its messages says anything.
pub fn answer_text(path: &'static str, messages: &[Message]) -> Result<String, Problem> {
    if let Some(Message { role: role @ (Role::System | Role::User), .. }) = messages.first() {
        return Err(Problem::AnswerBegins { path, role: role.described() });
    }
    if messages.iter().all(|message| message.content.is_empty()) {
        return Ok(String::new());
    }
    let text = written(messages);
    Ok(text.strip_prefix(ANSWER_TAG).unwrap_or(&text).to_owned())
}
