//! Errors: their numbers as the module reports them, and the library's texts.

use dpo_kernel::Error;
use dpo_kernel::error::{Buffer, Parameter};
use serde_json::{Value, json};

use crate::outcome::{Fault, Outcome};
use crate::random::hex;

fn told(error: Error) -> Value {
    let Outcome { code, subject, numbers, value, .. } = Outcome::of(Fault::Kernel(error));
    let name = format!("{error:?}");
    let name = name.split([' ', '(']).next().unwrap_or_default();
    json!({ "number": code, "subject": subject, "n": numbers, "value": hex(value), "code": name,
        "text": error.to_string() })
}

/// One of each kind.
pub(crate) fn texts() -> Vec<Value> {
    let (buffer, parameter) = (Buffer::PairWeights, Parameter::Beta);
    let all = [
        Error::Length { buffer: Buffer::Logits, expected: 12, found: 7 },
        Error::ShapeOverflow { rows: 65_536, stride: 70_000 },
        Error::EmptyVocabulary,
        Error::VocabularyTooLarge { vocab: 4_000_000_000 },
        Error::StrideBelowVocabulary { stride: 3, vocab: 8 },
        Error::ShapeMismatch { expected: (3, 5), found: (4, 6) },
        Error::TargetOutOfRange { row: 2, target: -7, vocab: 10 },
        Error::SpanOutOfRange { sequence: 1, start: 5, end: 9, rows: 8 },
        Error::SpansOverlap { first: 2, second: 0 },
        Error::NoScoredTokens { sequence: 3 },
        Error::SequenceOutOfRange { pair: 1, sequence: 9, sequences: 4 },
        Error::PairOfOneSequence { pair: 2, sequence: 1 },
        Error::TokenCountMismatch { sequence: 2, policy: 5, reference: 6 },
        Error::Parameter { parameter, value: -0.5 },
        Error::Parameter { parameter, value: f64::NAN },
        Error::Parameter { parameter, value: f64::INFINITY },
        Error::Parameter { parameter, value: f64::NEG_INFINITY },
        Error::Parameter { parameter, value: -0.0 },
        Error::ParameterUnused { parameter },
        Error::ParameterMissing { parameter },
        Error::ReferenceMissing,
        Error::InputUnused { buffer },
        Error::UnknownLoss,
        Error::AnswerOutOfRange { answer: 1, sequence: 9, sequences: 4 },
        Error::InvalidValue { buffer, index: 3, value: -1.5 },
        Error::NonFiniteRows { first: 4, count: 2 },
        Error::NonFinitePairs { first: 1, count: 1 },
        Error::NonFiniteAnswers { first: 0, count: 3 },
        Error::UnknownLabel { value: -1 },
    ];
    all.into_iter().map(told).collect()
}

/// Every parameter.
pub(crate) fn parameters() -> Vec<Value> {
    Parameter::ALL
        .into_iter()
        .map(|parameter| told(Error::Parameter { parameter, value: 0.5 }))
        .collect()
}

/// The buffers of the stages that are here, in the order of their numbers.
pub(crate) fn buffers() -> Vec<Value> {
    let all = [
        Buffer::Logits,
        Buffer::Targets,
        Buffer::TokenLogProbs,
        Buffer::RowNorms,
        Buffer::RowDetails,
        Buffer::TokenWeights,
        Buffer::Sequences,
        Buffer::Reference,
        Buffer::SequenceGrads,
        Buffer::PairLosses,
        Buffer::PairWeights,
        Buffer::PairOffsets,
        Buffer::TokenCoefficients,
        Buffer::SpanOrder,
        Buffer::PairLossKinds,
        Buffer::PairOrder,
        Buffer::MixtureTerms,
        Buffer::AnswerLosses,
        Buffer::AnswerWeights,
        Buffer::AnswerLossKinds,
        Buffer::NllGrads,
        Buffer::Spans,
    ];
    all.into_iter().map(|buffer| told(Error::Length { buffer, expected: 2, found: 1 })).collect()
}
