//! Errors in a sentence each.

use core::fmt;

use super::{Buffer, Error};

impl fmt::Display for Error {
    #[expect(clippy::too_many_lines, reason = "a sentence for each refusal, in one place")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { buffer, expected, found } => {
                write!(f, "{}: {found} elements, {expected} needed", buffer.name())
            }
            Self::ShapeOverflow { rows, stride } => {
                write!(f, "a shape of {rows} by {stride} overflows the address space")
            }
            Self::EmptyVocabulary => f.write_str("the vocabulary is empty"),
            Self::VocabularyTooLarge { vocab } => {
                write!(f, "a vocabulary of {vocab} exceeds the u32 target ids")
            }
            Self::StrideBelowVocabulary { stride, vocab } => {
                write!(f, "the row stride {stride} is smaller than the vocabulary {vocab}")
            }
            Self::EmptyHidden => f.write_str("the hidden size is 0"),
            Self::StrideBelowHidden { stride, size } => {
                write!(f, "the row stride {stride} is smaller than the hidden size {size}")
            }
            Self::HiddenMismatch { expected, found } => write!(
                f,
                "{} rows of hidden size {} where {} of {} are due",
                found.0, found.1, expected.0, expected.1
            ),
            Self::ShapeMismatch { expected, found } => write!(
                f,
                "the views differ in shape: {} rows of {} against {} rows of {}",
                expected.0, expected.1, found.0, found.1
            ),
            Self::TargetOutOfRange { row, target, vocab } => {
                write!(
                    f,
                    "row {row} has target {target}, outside the vocabulary of {vocab}; rows that are not \
                     scored have the ignore value, -100 unless another is given"
                )
            }
            Self::SpanOutOfRange { sequence, start, end, rows } => {
                write!(f, "span {sequence} is {start}..{end}, which {rows} rows do not hold")
            }
            Self::SpansOverlap { first, second } => {
                write!(f, "spans {first} and {second} overlap")
            }
            Self::SpansNotAscending { sequence } => write!(
                f,
                "span {sequence} lies before the span before it; Layout::in_any_order takes spans in any order"
            ),
            Self::OffsetsNotAscending { index } => {
                write!(f, "cumulative offset {index} is missing or smaller than the one before")
            }
            Self::NoScoredTokens { sequence } => {
                write!(f, "sequence {sequence} has no scored token")
            }
            Self::SequenceOutOfRange { pair, sequence, sequences } => {
                write!(f, "pair {pair} names sequence {sequence} of {sequences}")
            }
            Self::PairOfOneSequence { pair, sequence } => {
                write!(f, "pair {pair} names sequence {sequence} as both chosen and rejected")
            }
            Self::TokenCountMismatch { sequence, policy, reference } => write!(
                f,
                "sequence {sequence} has {policy} scored tokens under the policy and {reference} \
                 under the reference"
            ),
            Self::Parameter { parameter, value } => {
                let (name, domain) = parameter.name_and_domain();
                write!(f, "{name} is {value} but {domain}")
            }
            Self::ParameterUnused { parameter } => {
                write!(f, "{} is given, but the loss has none", parameter.name_and_domain().0)
            }
            Self::ParameterMissing { parameter } => {
                write!(f, "{} must be given for this loss", parameter.name_and_domain().0)
            }
            Self::ReferenceMissing => f.write_str("the loss needs reference log-probs"),
            Self::InputUnused { buffer } => {
                write!(f, "{} are given, but the loss would not read them", buffer.name())
            }
            Self::UnknownLoss => f.write_str("no loss has this name"),
            Self::AnswerOutOfRange { answer, sequence, sequences } => {
                write!(f, "answer {answer} names sequence {sequence} of {sequences}")
            }
            Self::UnknownLabel { value } => {
                write!(f, "label {value} is neither 1 (desirable) nor 0 (undesirable)")
            }
            Self::TokenWeightsDiffer { pair, sequence } => {
                write!(f, "pair {pair} wants other token weights for sequence {sequence}")
            }
            Self::InvalidValue { buffer: Buffer::RowNorms, index, .. } => {
                write!(
                    f,
                    "row norm {index} was not made by a forward over finite logits: give token_log_probs memory for \
                     them (TokenOut::with_norms)"
                )
            }
            Self::InvalidValue { buffer, index, value } => {
                write!(f, "{}[{index}] is {value}, outside its domain", buffer.name())
            }
            Self::NonFiniteRows { first, count } => {
                write!(f, "row {first} is NaN, +inf or all −inf; rows of that kind: {count}")
            }
            Self::NonFinitePairs { first, count } => {
                write!(f, "pair {first} has no finite loss; pairs of that kind: {count}")
            }
            Self::NonFiniteAnswers { first, count } => {
                write!(f, "answer {first} has no finite loss; of that kind: {count}")
            }
            Self::TransformOfGradients => {
                f.write_str("the gradients' view carries a transform, which belongs to the logits")
            }
            Self::MergeOfDifferentRows => f.write_str(
                "the statistics differ in transform or target, or both hold the target's logit",
            ),
            Self::RowBytes { byte } => {
                write!(f, "the bytes from {byte} on are no row statistics of this version")
            }
            Self::OutOfMemory { elements } => {
                write!(f, "no memory for a buffer of {elements} elements")
            }
            Self::LevelUnavailable { level } => {
                write!(f, "level {level:?} is not available on this machine")
            }
            Self::FusedUnavailable { level } => {
                write!(f, "level {level:?} has no fused multiply-add")
            }
        }
    }
}

impl core::error::Error for Error {}
