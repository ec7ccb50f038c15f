//! Status codes, one for each [`Error`] and a few for what only C can get wrong, and the numbers behind
//! them.

use super::names::{buffer_code, parameter_code};
use super::view::level_code;
use crate::Error;

/// Declares integer constants of the ABI.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: i32 = $value;)*
    };
}
pub(super) use codes;

/// What every function that can fail returns.
pub type dpo_status = i32;

codes! {
    /// All outputs are written.
    DPO_OK = 0;
    /// [`Error::Length`]
    DPO_ERROR_LENGTH = 1;
    /// [`Error::ShapeOverflow`]
    DPO_ERROR_SHAPE_OVERFLOW = 2;
    /// [`Error::EmptyVocabulary`]
    DPO_ERROR_EMPTY_VOCABULARY = 3;
    /// [`Error::VocabularyTooLarge`]
    DPO_ERROR_VOCABULARY_TOO_LARGE = 4;
    /// [`Error::StrideBelowVocabulary`]
    DPO_ERROR_STRIDE_BELOW_VOCABULARY = 5;
    /// [`Error::ShapeMismatch`]
    DPO_ERROR_SHAPE_MISMATCH = 6;
    /// [`Error::TargetOutOfRange`]
    DPO_ERROR_TARGET_OUT_OF_RANGE = 7;
    /// [`Error::SpanOutOfRange`]
    DPO_ERROR_SPAN_OUT_OF_RANGE = 8;
    /// [`Error::SpansOverlap`]
    DPO_ERROR_SPANS_OVERLAP = 9;
    /// [`Error::OffsetsNotAscending`]
    DPO_ERROR_OFFSETS_NOT_ASCENDING = 10;
    /// [`Error::NoScoredTokens`]
    DPO_ERROR_NO_SCORED_TOKENS = 11;
    /// [`Error::SequenceOutOfRange`]
    DPO_ERROR_SEQUENCE_OUT_OF_RANGE = 12;
    /// [`Error::PairOfOneSequence`]
    DPO_ERROR_PAIR_OF_ONE_SEQUENCE = 13;
    /// [`Error::TokenCountMismatch`]
    DPO_ERROR_TOKEN_COUNT_MISMATCH = 14;
    /// [`Error::Parameter`]
    DPO_ERROR_PARAMETER = 15;
    /// [`Error::ParameterUnused`]
    DPO_ERROR_PARAMETER_UNUSED = 16;
    /// [`Error::ParameterMissing`]
    DPO_ERROR_PARAMETER_MISSING = 17;
    /// [`Error::ReferenceMissing`]
    DPO_ERROR_REFERENCE_MISSING = 18;
    /// [`Error::InputUnused`]
    DPO_ERROR_INPUT_UNUSED = 19;
    /// [`Error::UnknownLoss`]
    DPO_ERROR_UNKNOWN_LOSS = 20;
    /// [`Error::AnswerOutOfRange`]
    DPO_ERROR_ANSWER_OUT_OF_RANGE = 21;
    /// [`Error::TokenWeightsDiffer`]
    DPO_ERROR_TOKEN_WEIGHTS_DIFFER = 22;
    /// [`Error::InvalidValue`]
    DPO_ERROR_INVALID_VALUE = 23;
    /// [`Error::NonFiniteRows`]
    DPO_ERROR_NON_FINITE_ROWS = 24;
    /// [`Error::NonFinitePairs`]
    DPO_ERROR_NON_FINITE_PAIRS = 25;
    /// [`Error::NonFiniteAnswers`]
    DPO_ERROR_NON_FINITE_ANSWERS = 26;
    /// [`Error::TransformOfGradients`]
    DPO_ERROR_TRANSFORM_OF_GRADIENTS = 27;
    /// [`Error::MergeOfDifferentRows`]
    DPO_ERROR_MERGE_OF_DIFFERENT_ROWS = 28;
    /// [`Error::LevelUnavailable`]
    DPO_ERROR_LEVEL_UNAVAILABLE = 29;
    /// [`Error::FusedUnavailable`]
    DPO_ERROR_FUSED_UNAVAILABLE = 30;
    /// [`Error::UnknownLabel`]
    DPO_ERROR_UNKNOWN_LABEL = 31;
    /// A pointer is NULL that may not be.
    DPO_ERROR_NULL = 101;
    /// A pointer is not aligned for its elements.
    DPO_ERROR_MISALIGNED = 102;
    /// A length exceeds the address space.
    DPO_ERROR_TOO_LONG = 103;
    /// A buffer that is written overlaps another.
    DPO_ERROR_OVERLAP = 104;
    /// A number that stands for a choice stands for none.
    DPO_ERROR_UNKNOWN_VALUE = 105;
    /// A field is set that this call, or what `given` says, has no use for.
    DPO_ERROR_FIELD_UNUSED = 106;
    /// Row statistics that no fold has made.
    DPO_ERROR_ROW_STATS = 107;
}

/// The numbers behind a status. Zero where there is nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct dpo_error {
    /// The status.
    pub status: dpo_status,
    /// Which buffer, parameter or level, as the status has it.
    pub subject: i32,
    /// The fields of the error, in order.
    pub numbers: [usize; 4],
    /// The value that was found.
    pub value: f64,
}

/// What can be wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// What the crate itself refuses.
    Kernel(Error),
    /// What C can get wrong beside it: status, buffer, number.
    C(dpo_status, i32, usize),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl Fault {
    /// A number that stands for no choice.
    pub(super) const fn unknown(subject: i32, value: i32) -> Self {
        Self::C(DPO_ERROR_UNKNOWN_VALUE, subject, value.cast_unsigned() as usize)
    }

    /// A field that is set in vain.
    pub(super) const fn unused(subject: i32) -> Self {
        Self::C(DPO_ERROR_FIELD_UNUSED, subject, 0)
    }
}

/// The status of a call, whose numbers go where the caller wants them.
///
/// # Safety
/// `error` is NULL or valid for a write of a [`dpo_error`].
pub(super) unsafe fn report(result: Result<(), Fault>, error: *mut dpo_error) -> dpo_status {
    let found = match result {
        Ok(()) => dpo_error::default(),
        Err(Fault::Kernel(error)) => dpo_error::of(error),
        Err(Fault::C(status, subject, number)) => {
            dpo_error { status, subject, numbers: [number, 0, 0, 0], value: 0.0 }
        }
    };
    if !error.is_null() {
        // SAFETY: the caller vouches for the memory; alignment is not asked of it.
        unsafe { error.write_unaligned(found) };
    }
    found.status
}

impl dpo_error {
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
            Error::TargetOutOfRange { row, target, vocab } => {
                let target = usize::try_from(target).unwrap_or(usize::MAX);
                plain(DPO_ERROR_TARGET_OUT_OF_RANGE, [row, target, vocab, 0])
            }
            Error::SpanOutOfRange { sequence, start, end, rows } => {
                plain(DPO_ERROR_SPAN_OUT_OF_RANGE, [sequence, start, end, rows])
            }
            Error::SpansOverlap { first, second } => {
                plain(DPO_ERROR_SPANS_OVERLAP, [first, second, 0, 0])
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
            #[allow(clippy::cast_precision_loss, reason = "no label of a data set is that large")]
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
            Error::MergeOfDifferentRows => plain(DPO_ERROR_MERGE_OF_DIFFERENT_ROWS, none),
            Error::LevelUnavailable { level } => {
                Self { subject: level_code(level), ..plain(DPO_ERROR_LEVEL_UNAVAILABLE, none) }
            }
            Error::FusedUnavailable { level } => {
                Self { subject: level_code(level), ..plain(DPO_ERROR_FUSED_UNAVAILABLE, none) }
            }
        }
    }
}
