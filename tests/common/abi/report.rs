//! What a `dpo_error` says: `include/dpo_kernel_status.h`, written down anew.

use dpo_kernel::c::*;
use dpo_kernel::error::{Buffer, Parameter};
use dpo_kernel::{Error, Level};

pub fn refusal(status: dpo_status, subject: i32, [first, second]: [usize; 2]) -> dpo_error {
    dpo_error { status, subject, numbers: [first, second, 0, 0], value: 0.0 }
}

/// A number that stands for no choice: as it is, and with its sign.
pub fn unknown(subject: i32, found: i32) -> dpo_error {
    let number = found.cast_unsigned() as usize;
    let value = f64::from(found);
    dpo_error { value, ..refusal(DPO_ERROR_UNKNOWN_VALUE, subject, [number, 0]) }
}

/// A field that nothing would read.
pub fn unused(subject: i32) -> dpo_error {
    refusal(DPO_ERROR_FIELD_UNUSED, subject, [0, 0])
}

fn level_number(level: Level) -> i32 {
    match level {
        Level::Baseline => 1,
        Level::Avx2 => 2,
        Level::Avx512 => 3,
        _ => panic!("{level:?} has no number here"),
    }
}

/// Status, subject, numbers in order, value.
type Row = (i32, i32, [usize; 4], f64);

/// The report of an error of the library.
pub fn report_of(error: Error) -> dpo_error {
    use Error as E;
    let of = |buffer: Buffer| BUFFERS.iter().find(|row| row.0 == buffer).unwrap().1;
    let parameter_number = |parameter: Parameter| parameter as i32;
    let row: Row = match error {
        E::Length { buffer, expected, found } => (1, of(buffer), [expected, found, 0, 0], 0.0),
        E::ShapeOverflow { rows, stride } => (2, 0, [rows, stride, 0, 0], 0.0),
        E::EmptyVocabulary => (3, 0, [0; 4], 0.0),
        E::VocabularyTooLarge { vocab } => (4, 0, [vocab, 0, 0, 0], 0.0),
        E::StrideBelowVocabulary { stride, vocab } => (5, 0, [stride, vocab, 0, 0], 0.0),
        E::ShapeMismatch { expected: (rows, vocab), found } => {
            (6, 0, [rows, vocab, found.0, found.1], 0.0)
        }
        E::TargetOutOfRange { row, target, vocab } => {
            (7, 0, [row, target.cast_unsigned() as usize, vocab, 0], target as f64)
        }
        E::SpanOutOfRange { sequence, start, end, rows } => {
            (8, 0, [sequence, start, end, rows], 0.0)
        }
        E::SpansOverlap { first, second } => (9, 0, [first, second, 0, 0], 0.0),
        E::OffsetsNotAscending { index } => (10, 0, [index, 0, 0, 0], 0.0),
        E::NoScoredTokens { sequence } => (11, 0, [sequence, 0, 0, 0], 0.0),
        E::SequenceOutOfRange { pair, sequence, sequences } => {
            (12, 0, [pair, sequence, sequences, 0], 0.0)
        }
        E::PairOfOneSequence { pair, sequence } => (13, 0, [pair, sequence, 0, 0], 0.0),
        E::TokenCountMismatch { sequence, policy, reference } => {
            (14, 0, [sequence, policy, reference, 0], 0.0)
        }
        E::Parameter { parameter, value } => (15, parameter_number(parameter), [0; 4], value),
        E::ParameterUnused { parameter } => (16, parameter_number(parameter), [0; 4], 0.0),
        E::ParameterMissing { parameter } => (17, parameter_number(parameter), [0; 4], 0.0),
        E::ReferenceMissing => (18, 0, [0; 4], 0.0),
        E::InputUnused { buffer } => (19, of(buffer), [0; 4], 0.0),
        E::UnknownLoss => (20, 0, [0; 4], 0.0),
        E::AnswerOutOfRange { answer, sequence, sequences } => {
            (21, 0, [answer, sequence, sequences, 0], 0.0)
        }
        E::TokenWeightsDiffer { pair, sequence } => (22, 0, [pair, sequence, 0, 0], 0.0),
        E::InvalidValue { buffer, index, value } => (23, of(buffer), [index, 0, 0, 0], value),
        E::NonFiniteRows { first, count } => (24, 0, [first, count, 0, 0], 0.0),
        E::NonFinitePairs { first, count } => (25, 0, [first, count, 0, 0], 0.0),
        E::NonFiniteAnswers { first, count } => (26, 0, [first, count, 0, 0], 0.0),
        E::TransformOfGradients => (27, 0, [0; 4], 0.0),
        E::RowBytes { byte } => (37, 0, [byte, 0, 0, 0], 0.0),
        E::MergeOfDifferentRows => (28, 0, [0; 4], 0.0),
        E::LevelUnavailable { level } => (29, level_number(level), [0; 4], 0.0),
        E::FusedUnavailable { level } => (30, level_number(level), [0; 4], 0.0),
        E::UnknownLabel { value } => (31, 0, [0; 4], value as f64),
        E::SpansNotAscending { sequence } => (32, 0, [sequence, 0, 0, 0], 0.0),
        E::OutOfMemory { elements } => (33, 0, [elements, 0, 0, 0], 0.0),
        E::EmptyHidden => (34, 0, [0; 4], 0.0),
        E::StrideBelowHidden { stride, size } => (35, 0, [stride, size, 0, 0], 0.0),
        E::HiddenMismatch { expected: (rows, size), found } => {
            (36, 0, [rows, size, found.0, found.1], 0.0)
        }
        other => panic!("{other:?} has no status here"),
    };
    let (status, subject, numbers, value) = row;
    dpo_error { status, subject, numbers, value }
}

/// Buffers that the library names, with their numbers in the header.
pub const BUFFERS: [(Buffer, i32); 41] = [
    (Buffer::Logits, 1),
    (Buffer::Targets, 2),
    (Buffer::TokenLogProbs, 3),
    (Buffer::RowNorms, 4),
    (Buffer::RowDetails, 5),
    (Buffer::TokenWeights, 6),
    (Buffer::Sequences, 7),
    (Buffer::Reference, 8),
    (Buffer::SequenceGrads, 9),
    (Buffer::PairLosses, 10),
    (Buffer::PairWeights, 11),
    (Buffer::PairOffsets, 12),
    (Buffer::PairLossKinds, 13),
    (Buffer::PairOrder, 14),
    (Buffer::MixtureTerms, 15),
    (Buffer::AnswerLosses, 16),
    (Buffer::AnswerWeights, 17),
    (Buffer::NllGrads, 18),
    (Buffer::Spans, 19),
    (Buffer::Answers, 20),
    (Buffer::Scores, 21),
    (Buffer::PairFlags, 22),
    (Buffer::Gaps, 23),
    (Buffer::KeepWeights, 24),
    (Buffer::ReferenceParameters, 25),
    (Buffer::GapSums, 26),
    (Buffer::GapAverages, 27),
    (Buffer::AnswerLossKinds, 28),
    (Buffer::TokenCoefficients, 29),
    (Buffer::SpanOrder, 30),
    (Buffer::Hidden, 31),
    (Buffer::HiddenGrads, 32),
    (Buffer::HeadWeights, 33),
    (Buffer::HeadBias, 34),
    (Buffer::HeadRows, 35),
    (Buffer::HeadNumbers, 36),
    (Buffer::HeadGrads, 37),
    (Buffer::Adapter, 38),
    (Buffer::RowBytes, 39),
    (Buffer::RowStats, 40),
    (Buffer::Pairs, 102),
];
