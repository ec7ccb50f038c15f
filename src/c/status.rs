//! Status codes, one for each [`Error`] and a few for what only C can get wrong, and the numbers
//! behind them.

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
    /// [`Error::SpansNotAscending`]
    DPO_ERROR_SPANS_NOT_ASCENDING = 32;
    /// [`Error::OutOfMemory`], which no function of this ABI returns.
    DPO_ERROR_OUT_OF_MEMORY = 33;
    /// [`Error::EmptyHidden`]
    DPO_ERROR_EMPTY_HIDDEN = 34;
    /// [`Error::StrideBelowHidden`]
    DPO_ERROR_STRIDE_BELOW_HIDDEN = 35;
    /// [`Error::HiddenMismatch`]
    DPO_ERROR_HIDDEN_MISMATCH = 36;
    /// [`Error::RowBytes`]
    DPO_ERROR_ROW_BYTES = 37;
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
    /// A struct says another size than any release of it has, or fields are set that are unknown
    /// here.
    DPO_ERROR_STRUCT_SIZE = 108;
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

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// What the crate itself refuses.
    Kernel(Error),
    /// What only C can get wrong: a status above 100, the buffer or struct that it is about, two
    /// numbers.
    Call(dpo_status, i32, [usize; 2]),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl Fault {
    /// A number that stands for no choice.
    pub(super) const fn unknown(subject: i32, found: i32) -> Self {
        Self::Call(DPO_ERROR_UNKNOWN_VALUE, subject, [found.cast_unsigned() as usize, 0])
    }

    /// A field that is set in vain.
    pub(super) const fn unused(subject: i32) -> Self {
        Self::Call(DPO_ERROR_FIELD_UNUSED, subject, [0, 0])
    }
}
