//! Causes in words and as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::super::storage::Type;
use super::{Cause, How, Part};

/// Whether two causes are one, but for numbers and sides.
pub(crate) fn same_kind(a: Cause, b: Cause) -> bool {
    a.kind() == b.kind()
}

impl Cause {
    /// One word for programs.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Tokenisation { .. } => "tokenisation",
            Self::ShiftedTokens { .. } => "shifted_tokens",
            Self::Positions { .. } => "positions",
            Self::ShiftedLogProbs { .. } => "shifted_log_probs",
            Self::ShiftedRows { .. } => "shifted_rows",
            Self::LogBase { .. } => "log_base",
            Self::Sign { .. } => "sign",
            Self::Probabilities { .. } => "probabilities",
            Self::RoundedLogProbs { .. } => "rounded_log_probs",
            Self::RoundedLogits { .. } => "rounded_logits",
            Self::Temperature { .. } => "temperature",
            Self::Softcap { .. } => "softcap",
            Self::Missing { .. } => "missing_transform",
            Self::MaskedVocabulary { .. } => "masked_vocabulary",
            Self::Masked { .. } => "masked_tokens",
            Self::SizeOfRounding { .. } => "size_of_rounding",
        }
    }

    pub(crate) fn json(&self) -> Value {
        let rest = match *self {
            Self::Tokenisation { row } | Self::Positions { row } => json!({ "row": row }),
            Self::ShiftedTokens { by } | Self::ShiftedLogProbs { by } => json!({ "by": by }),
            Self::ShiftedRows { side, by } => json!({ "side": side.name(), "by": by }),
            Self::LogBase { side, base } => json!({ "side": side.name(), "base": base }),
            Self::Sign { side }
            | Self::Probabilities { side }
            | Self::MaskedVocabulary { side } => {
                json!({ "side": side.name() })
            }
            Self::RoundedLogProbs { side, to } | Self::RoundedLogits { side, to } => {
                json!({ "side": side.name(), "type": to.name() })
            }
            Self::Temperature { side, value, rounded } | Self::Softcap { side, value, rounded } => {
                json!({ "side": side.name(), "value": value, "rounded": rounded.map(Type::name) })
            }
            Self::Missing { side, part } => json!({ "side": side.name(), "part": part.name() }),
            Self::Masked { side, how, count, first } => json!({
                "side": side.name(), "how": how.name(), "tokens": count, "first_row": first,
            }),
            Self::SizeOfRounding { side, to, ratio } => {
                json!({ "side": side.name(), "type": to.name(), "ratio": ratio })
            }
        };
        let mut all = json!({ "kind": self.kind() });
        if let (Value::Object(all), Value::Object(rest)) = (&mut all, rest) {
            all.extend(rest);
        }
        all
    }
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Softcap => "softcap",
            Self::Temperature => "temperature",
            Self::All => "scale, softcap and temperature",
        }
    }
}

impl How {
    const fn name(self) -> &'static str {
        match self {
            Self::NotScored => "not scored",
            Self::NotANumber => "not a number",
            Self::Impossible => "-inf",
            Self::Zero => "0",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = |to: Option<Type>| {
            to.map(|to| format!(", rounded to {} before", to.name())).unwrap_or_default()
        };
        let rows = |by: isize| if by > 0 { "later" } else { "earlier" };
        match *self {
            Self::Tokenisation { row } => {
                write!(f, "a different tokenisation: the tokens differ from row {row} on")
            }
            Self::ShiftedTokens { by } => {
                write!(f, "a shift by one: B's tokens are A's, one row {}", rows(by))
            }
            Self::Positions { row } => write!(f, "the positions differ from row {row} on"),
            Self::ShiftedLogProbs { by } => {
                write!(f, "a shift by one: B's log-probs are A's, one row {}", rows(by))
            }
            Self::ShiftedRows { side, by } => write!(
                f,
                "a shift by one: {} scores each token by the row of the token {} it",
                side.name(),
                if by > 0 { "after" } else { "before" }
            ),
            Self::LogBase { side, base } => {
                write!(f, "log base: {}'s log-probs are to base {base}", side.name())
            }
            Self::Sign { side } => write!(f, "sign: {} holds -log p", side.name()),
            Self::Probabilities { side } => {
                write!(f, "{} holds probabilities, not their logarithms", side.name())
            }
            Self::RoundedLogProbs { side, to } => {
                write!(f, "{}'s log-probs were rounded to {}", side.name(), to.name())
            }
            Self::RoundedLogits { side, to } => {
                write!(f, "{} logits: {}'s log-probs are of rounded logits", to.name(), side.name())
            }
            Self::Temperature { side, value, rounded: to } => write!(
                f,
                "temperature: {} is {}'s logits{} at temperature {value:.4}, which is a scale of {:.4}",
                side.name(),
                side.other().name(),
                rounded(to),
                value.recip()
            ),
            Self::Softcap { side, value, rounded: to } => write!(
                f,
                "softcap: {} caps the logits{} at {value:.4}, {} does not",
                side.name(),
                rounded(to),
                side.other().name()
            ),
            Self::Missing { side, part } => {
                write!(
                    f,
                    "{} lacks the {} that {} states",
                    side.name(),
                    part.name(),
                    side.other().name()
                )
            }
            Self::MaskedVocabulary { side } => write!(
                f,
                "masking: {} has no mass on columns of the vocabulary that {} counts",
                side.name(),
                side.other().name()
            ),
            Self::Masked { side, how, count, first } => write!(
                f,
                "masking: {count} tokens are {} on {} alone, the first in row {first}",
                how.name(),
                side.name()
            ),
            Self::SizeOfRounding { side, to, ratio } => write!(
                f,
                "{0} logits: {1}'s logits are {0} numbers, and the differences have the size that this \
                 makes ({ratio:.2} of it); token by token it cannot be told",
                to.name(),
                side.name()
            ),
        }
    }
}
