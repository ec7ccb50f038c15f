//! From the outcome of a call to its status, and to the numbers behind it.

use super::dispatch::level_code;
use super::names::{buffer_code, parameter_code};
use super::status::*;
use crate::Error;

/// The status of a call, whose numbers go where the caller wants them.
///
/// # Safety
/// `error` is NULL or valid for a write of a [`dpo_error`].
pub(super) unsafe fn report(result: Result<(), Fault>, error: *mut dpo_error) -> dpo_status {
    let found = match result {
        Ok(()) => dpo_error::default(),
        Err(Fault::Kernel(error)) => dpo_error::of(error),
        Err(Fault::Call(status, subject, [first, second])) => {
            // Choices are signed numbers.
            let choice = u32::try_from(first).unwrap_or_default().cast_signed();
            let value = if status == DPO_ERROR_UNKNOWN_VALUE { f64::from(choice) } else { 0.0 };
            dpo_error { status, subject, numbers: [first, second, 0, 0], value }
        }
    };
    if !error.is_null() {
        // SAFETY: the caller vouches for the memory; alignment is not asked of it.
        unsafe { error.write_unaligned(found) };
    }
    found.status
}

impl dpo_error {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "targets and labels are far below 2^53, and those that are not are told by their low bits"
    )]
    #[expect(clippy::too_many_lines, reason = "an arm for each error, in one place")]
    fn of(error: Error) -> Self {
        let plain = |status, numbers: [usize; 4]| Self { status, numbers, ..Self::default() };
        let none = [0; 4];
        match error {
            Error::Length { buffer, expected, found } => Self {
                subject: buffer_code(buffer),
                ..plain(DPO_ERROR_LENGTH, [expected, found, 0, 0])
            },
            Error::ShapeOverflow { rows, stride } => {
                plain(DPO_ERROR_SHAPE_OVERFLOW, [rows, stride, 0, 0])
            }
            Error::EmptyVocabulary => plain(DPO_ERROR_EMPTY_VOCABULARY, none),
            Error::VocabularyTooLarge { vocab } => {
                plain(DPO_ERROR_VOCABULARY_TOO_LARGE, [vocab, 0, 0, 0])
            }
            Error::StrideBelowVocabulary { stride, vocab } => {
                plain(DPO_ERROR_STRIDE_BELOW_VOCABULARY, [stride, vocab, 0, 0])
            }
            Error::ShapeMismatch { expected, found } => {
                plain(DPO_ERROR_SHAPE_MISMATCH, [expected.0, expected.1, found.0, found.1])
            }
            Error::TargetOutOfRange { row, target, vocab } => Self {
                // As trainers write it, with its sign.
                value: target as f64,
                ..plain(DPO_ERROR_TARGET_OUT_OF_RANGE, [row, target as usize, vocab, 0])
            },
            Error::SpanOutOfRange { sequence, start, end, rows } => {
                plain(DPO_ERROR_SPAN_OUT_OF_RANGE, [sequence, start, end, rows])
            }
            Error::SpansOverlap { first, second } => {
                plain(DPO_ERROR_SPANS_OVERLAP, [first, second, 0, 0])
            }
            Error::SpansNotAscending { sequence } => {
                plain(DPO_ERROR_SPANS_NOT_ASCENDING, [sequence, 0, 0, 0])
            }
            Error::OffsetsNotAscending { index } => {
                plain(DPO_ERROR_OFFSETS_NOT_ASCENDING, [index, 0, 0, 0])
            }
            Error::NoScoredTokens { sequence } => {
                plain(DPO_ERROR_NO_SCORED_TOKENS, [sequence, 0, 0, 0])
            }
            Error::SequenceOutOfRange { pair, sequence, sequences } => {
                plain(DPO_ERROR_SEQUENCE_OUT_OF_RANGE, [pair, sequence, sequences, 0])
            }
            Error::PairOfOneSequence { pair, sequence } => {
                plain(DPO_ERROR_PAIR_OF_ONE_SEQUENCE, [pair, sequence, 0, 0])
            }
            Error::TokenCountMismatch { sequence, policy, reference } => {
                plain(DPO_ERROR_TOKEN_COUNT_MISMATCH, [sequence, policy, reference, 0])
            }
            Error::Parameter { parameter, value } => Self {
                subject: parameter_code(parameter),
                value,
                ..plain(DPO_ERROR_PARAMETER, none)
            },
            Error::ParameterUnused { parameter } => Self {
                subject: parameter_code(parameter),
                ..plain(DPO_ERROR_PARAMETER_UNUSED, none)
            },
            Error::ParameterMissing { parameter } => Self {
                subject: parameter_code(parameter),
                ..plain(DPO_ERROR_PARAMETER_MISSING, none)
            },
            Error::ReferenceMissing => plain(DPO_ERROR_REFERENCE_MISSING, none),
            Error::InputUnused { buffer } => {
                Self { subject: buffer_code(buffer), ..plain(DPO_ERROR_INPUT_UNUSED, none) }
            }
            Error::UnknownLoss => plain(DPO_ERROR_UNKNOWN_LOSS, none),
            Error::AnswerOutOfRange { answer, sequence, sequences } => {
                plain(DPO_ERROR_ANSWER_OUT_OF_RANGE, [answer, sequence, sequences, 0])
            }
            Error::UnknownLabel { value } => {
                Self { value: value as f64, ..plain(DPO_ERROR_UNKNOWN_LABEL, none) }
            }
            Error::TokenWeightsDiffer { pair, sequence } => {
                plain(DPO_ERROR_TOKEN_WEIGHTS_DIFFER, [pair, sequence, 0, 0])
            }
            Error::InvalidValue { buffer, index, value } => Self {
                subject: buffer_code(buffer),
                value,
                ..plain(DPO_ERROR_INVALID_VALUE, [index, 0, 0, 0])
            },
            Error::NonFiniteRows { first, count } => {
                plain(DPO_ERROR_NON_FINITE_ROWS, [first, count, 0, 0])
            }
            Error::NonFinitePairs { first, count } => {
                plain(DPO_ERROR_NON_FINITE_PAIRS, [first, count, 0, 0])
            }
            Error::NonFiniteAnswers { first, count } => {
                plain(DPO_ERROR_NON_FINITE_ANSWERS, [first, count, 0, 0])
            }
            Error::TransformOfGradients => plain(DPO_ERROR_TRANSFORM_OF_GRADIENTS, none),
            Error::RowBytes { byte } => plain(DPO_ERROR_ROW_BYTES, [byte, 0, 0, 0]),
            Error::MergeOfDifferentRows => plain(DPO_ERROR_MERGE_OF_DIFFERENT_ROWS, none),
            // Never of this ABI, which allocates nothing.
            Error::OutOfMemory { elements } => plain(DPO_ERROR_OUT_OF_MEMORY, [elements, 0, 0, 0]),
            Error::EmptyHidden => plain(DPO_ERROR_EMPTY_HIDDEN, none),
            Error::StrideBelowHidden { stride, size } => {
                plain(DPO_ERROR_STRIDE_BELOW_HIDDEN, [stride, size, 0, 0])
            }
            Error::HiddenMismatch { expected, found } => {
                plain(DPO_ERROR_HIDDEN_MISMATCH, [expected.0, expected.1, found.0, found.1])
            }
            Error::LevelUnavailable { level } => {
                Self { subject: level_code(level), ..plain(DPO_ERROR_LEVEL_UNAVAILABLE, none) }
            }
            Error::FusedUnavailable { level } => {
                Self { subject: level_code(level), ..plain(DPO_ERROR_FUSED_UNAVAILABLE, none) }
            }
        }
    }
}
