//! Why a call was refused.

use super::{Buffer, Parameter};

/// Why a call was refused, or which rows or pairs are not numbers.
///
/// Rows, sequences and pairs are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice has another length than the shapes say.
    Length {
        /// Which slice.
        buffer: Buffer,
        /// The length that the other arguments ask for.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// `rows · stride` does not fit in `usize`.
    ShapeOverflow {
        /// Rows asked for.
        rows: usize,
        /// Stride asked for.
        stride: usize,
    },
    /// A vocabulary of no columns.
    EmptyVocabulary,
    /// A vocabulary larger than `u32` target ids can address.
    VocabularyTooLarge {
        /// Vocabulary asked for.
        vocab: usize,
    },
    /// A row stride smaller than the vocabulary.
    StrideBelowVocabulary {
        /// Stride asked for.
        stride: usize,
        /// Vocabulary asked for.
        vocab: usize,
    },
    /// Hidden states of no numbers.
    EmptyHidden,
    /// A row stride smaller than the hidden size.
    StrideBelowHidden {
        /// Stride asked for.
        stride: usize,
        /// Hidden size asked for.
        size: usize,
    },
    /// Two views that must have the same rows and hidden size do not, or a head is of another
    /// hidden size.
    HiddenMismatch {
        /// Rows and hidden size that were due.
        expected: (usize, usize),
        /// Rows and hidden size of the view.
        found: (usize, usize),
    },
    /// Two views that must have the same rows and vocabulary do not.
    ShapeMismatch {
        /// Rows and vocabulary of the first view.
        expected: (usize, usize),
        /// Rows and vocabulary of the second view.
        found: (usize, usize),
    },
    /// A target id beyond the vocabulary that is not the ignore value.
    TargetOutOfRange {
        /// Row of the target.
        row: usize,
        /// The target id, negative as a host may have written it.
        target: i64,
        /// The vocabulary.
        vocab: usize,
    },
    /// A span whose end lies before its start, or past the rows.
    SpanOutOfRange {
        /// Which span.
        sequence: usize,
        /// Its first row.
        start: usize,
        /// One past its last row.
        end: usize,
        /// Rows there are.
        rows: usize,
    },
    /// Two spans that share rows.
    SpansOverlap {
        /// The span that starts first.
        first: usize,
        /// The span that starts inside it.
        second: usize,
    },
    /// A span that lies before the one before it: spans in any order need memory to sort in, see
    /// [`Layout::in_any_order`](crate::Layout::in_any_order).
    SpansNotAscending {
        /// The later span.
        sequence: usize,
    },
    /// Cumulative offsets that decrease, or none at all.
    OffsetsNotAscending {
        /// Index of the offending offset.
        index: usize,
    },
    /// A sequence without a scored token that a pair, an answer or an NLL term names.
    NoScoredTokens {
        /// Which sequence.
        sequence: usize,
    },
    /// A pair that names a sequence that does not exist.
    SequenceOutOfRange {
        /// Which pair.
        pair: usize,
        /// The sequence it names.
        sequence: usize,
        /// Sequences there are.
        sequences: usize,
    },
    /// A pair whose chosen and rejected answers are the same sequence.
    PairOfOneSequence {
        /// Which pair.
        pair: usize,
        /// The sequence it names twice.
        sequence: usize,
    },
    /// Policy and reference scored different numbers of tokens of one sequence.
    TokenCountMismatch {
        /// Which sequence.
        sequence: usize,
        /// Tokens the policy scored.
        policy: usize,
        /// Tokens the reference scored.
        reference: usize,
    },
    /// A parameter outside its domain.
    Parameter {
        /// Which parameter.
        parameter: Parameter,
        /// The value that was given.
        value: f64,
    },
    /// A parameter that the chosen loss does not have.
    ParameterUnused {
        /// Which parameter.
        parameter: Parameter,
    },
    /// A parameter that the chosen loss has no default for.
    ParameterMissing {
        /// Which parameter.
        parameter: Parameter,
    },
    /// A loss that compares with a reference, and a batch without one.
    ReferenceMissing,
    /// A slice that the loss would not read: a reference for a loss that has none, offsets for a
    /// loss without a margin.
    InputUnused {
        /// Which slice.
        buffer: Buffer,
    },
    /// A name that no loss has.
    UnknownLoss,
    /// An answer, unpaired or of an NLL term, that names a sequence that does not exist.
    AnswerOutOfRange {
        /// Which answer.
        answer: usize,
        /// The sequence it names.
        sequence: usize,
        /// Sequences there are.
        sequences: usize,
    },
    /// A label that is neither 1 (desirable) nor 0 (undesirable).
    UnknownLabel {
        /// The number found.
        value: i64,
    },
    /// A sequence that stands in two pairs whose lengths ask for different token weights.
    TokenWeightsDiffer {
        /// The later of the pairs.
        pair: usize,
        /// The sequence in both.
        sequence: usize,
    },
    /// A weight, offset, coefficient or saved statistic outside its domain, found before anything
    /// was written; in a step, where coefficients are made on the way, before the logits were. Of
    /// the weights of a head: a row that is not finite, named after all else is done, in the place
    /// of the rows of logits that it spoils.
    InvalidValue {
        /// Which slice.
        buffer: Buffer,
        /// Index into it.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// Rows that hold NaN or +inf, or nothing but −inf. Their results are NaN; all other rows are
    /// complete.
    NonFiniteRows {
        /// The first such row.
        first: usize,
        /// How many there are.
        count: usize,
    },
    /// Pairs one of whose log-probs is NaN or infinite. Their results are NaN; all other pairs are
    /// complete.
    NonFinitePairs {
        /// The first such pair.
        first: usize,
        /// How many there are.
        count: usize,
    },
    /// Answers, unpaired or of an NLL term, one of whose log-probs is NaN or infinite. Their
    /// results are NaN; all others are complete.
    NonFiniteAnswers {
        /// The first such answer.
        first: usize,
        /// How many there are.
        count: usize,
    },
    /// A place for gradients that carries a logit transform.
    TransformOfGradients,
    /// Row statistics that cannot be parts of one row: other transform, other target, or the target
    /// seen in both.
    MergeOfDifferentRows,
    /// Bytes that are no row statistics of this version.
    RowBytes {
        /// The first that no fold writes.
        byte: usize,
    },
    /// Memory that could not be had (feature `alloc`).
    OutOfMemory {
        /// Elements asked for.
        elements: usize,
    },
    /// A level that this machine (or this build) does not have.
    LevelUnavailable {
        /// The level asked for.
        level: crate::Level,
    },
    /// Fused arithmetic asked for at a level without hardware FMA.
    FusedUnavailable {
        /// The level asked for.
        level: crate::Level,
    },
}
