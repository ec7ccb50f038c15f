//! What can be wrong with an input, with the numbers that were found.
//!
//! Every public function that can fail returns [`Error`]. Shapes, spans, targets and parameters are
//! checked before any output is written; non-finite values, which only show while computing, are
//! reported after everything else has been computed (see [`Error::NonFiniteRows`]).

mod parameter;

use core::fmt;

pub use parameter::Parameter;
#[cfg(feature = "c")]
pub(crate) use parameter::c_text;
pub(crate) use parameter::parameter_table;

/// Results that are not finite: the lowest index, and how many.
#[derive(Clone, Copy)]
pub(crate) struct NonFinite {
    first: usize,
    count: usize,
}

impl NonFinite {
    pub(crate) const NONE: Self = Self { first: usize::MAX, count: 0 };

    pub(crate) fn see(&mut self, index: usize) {
        *self = self.and(Self { first: index, count: 1 });
    }

    /// Of both.
    #[inline]
    pub(crate) fn and(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), count: self.count + other.count }
    }

    pub(crate) fn rows(self) -> Result<(), Error> {
        self.result(|first, count| Error::NonFiniteRows { first, count })
    }

    pub(crate) fn pairs(self) -> Result<(), Error> {
        self.result(|first, count| Error::NonFinitePairs { first, count })
    }

    pub(crate) fn answers(self) -> Result<(), Error> {
        self.result(|first, count| Error::NonFiniteAnswers { first, count })
    }

    fn result(self, error: fn(usize, usize) -> Error) -> Result<(), Error> {
        if self.count == 0 { Ok(()) } else { Err(error(self.first, self.count)) }
    }
}

/// A length whose expected value the caller got wrong, named in [`Error::Length`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Buffer {
    /// The logits, `rows · stride` elements (the last row may stop after `vocab`).
    Logits,
    /// The target ids, one a row.
    Targets,
    /// The token log-probs, one a row.
    TokenLogProbs,
    /// The row norms that the backward needs, one a row.
    RowNorms,
    /// The optional row statistics, one a row.
    RowDetails,
    /// The token weights, one a row.
    TokenWeights,
    /// The sequence log-probs, one a span.
    Sequences,
    /// The reference sequence log-probs, one a span.
    Reference,
    /// The gradients with respect to the sequence log-probs, one a span.
    SequenceGrads,
    /// The per-pair losses, one a pair.
    PairLosses,
    /// The per-pair weights, one a pair.
    PairWeights,
    /// The per-pair margin offsets, one a pair.
    PairOffsets,
    /// The losses of a [`PerPair`](crate::loss::PerPair), one a pair.
    PairLossKinds,
    /// The order that a loss of the whole batch sorts in, two indices a pair.
    PairOrder,
    /// The terms of a mixture of losses, at least one.
    MixtureTerms,
    /// The losses of unpaired answers, one each.
    AnswerLosses,
    /// The weights of unpaired answers, one each.
    AnswerWeights,
    /// The gradients of an NLL term with respect to the sequence log-probs, one a span.
    NllGrads,
    /// The spans, one a sequence.
    Spans,
    /// The probabilities or rewards of a finite answer set.
    Answers,
    /// The scores of sampled completions, one a completion.
    Scores,
    /// The pairs, one a group of completions.
    Pairs,
    /// One flag a pair.
    PairFlags,
    /// The differences of log-ratios, one a pair.
    Gaps,
    /// The weights that pairs are drawn with, one a pair.
    KeepWeights,
    /// The parameters of the moving reference, one a parameter of the policy.
    ReferenceParameters,
    /// The sums over a batch's differences of log-ratios: the sum, that of squares.
    GapSums,
    /// Their running averages: the mean, the deviation.
    GapAverages,
}

impl Buffer {
    const fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Targets => "targets",
            Self::TokenLogProbs => "token log-probs",
            Self::RowNorms => "row norms",
            Self::RowDetails => "row details",
            Self::TokenWeights => "token weights",
            Self::Sequences => "sequence log-probs",
            Self::Reference => "reference log-probs",
            Self::SequenceGrads => "sequence gradients",
            Self::PairLosses => "pair losses",
            Self::PairWeights => "pair weights",
            Self::PairOffsets => "pair margin offsets",
            Self::PairLossKinds => "losses of the pairs",
            Self::PairOrder => "order of the pairs",
            Self::MixtureTerms => "terms of the mixture",
            Self::AnswerLosses => "losses of unpaired answers",
            Self::AnswerWeights => "weights of unpaired answers",
            Self::NllGrads => "NLL gradients",
            Self::Spans => "spans",
            Self::Answers => "answers",
            Self::Scores => "completion scores",
            Self::Pairs => "pairs",
            Self::PairFlags => "pair flags",
            Self::Gaps => "log-ratio gaps",
            Self::KeepWeights => "keep weights",
            Self::ReferenceParameters => "reference parameters",
            Self::GapSums => "sums of log-ratio gaps",
            Self::GapAverages => "averages of log-ratio gaps",
        }
    }
}

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
        /// The target id.
        target: u32,
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
    /// Cumulative offsets that decrease, or none at all.
    OffsetsNotAscending {
        /// Index of the offending offset.
        index: usize,
    },
    /// A span none of whose rows is scored.
    NoScoredTokens {
        /// Which span.
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
    /// A slice that the loss would not read: a reference for a loss that has none, offsets for a loss
    /// without a margin, weights for a loss of the whole batch.
    InputUnused {
        /// Which slice.
        buffer: Buffer,
    },
    /// A name that no loss has.
    UnknownLoss,
    /// A unpaired answer that names a sequence that does not exist.
    AnswerOutOfRange {
        /// Which unpaired answer.
        answer: usize,
        /// The sequence it names.
        sequence: usize,
        /// Sequences there are.
        sequences: usize,
    },
    /// A sequence that stands in two pairs whose lengths ask for different token weights.
    TokenWeightsDiffer {
        /// The later of the pairs.
        pair: usize,
        /// The sequence in both.
        sequence: usize,
    },
    /// A weight, offset, coefficient or saved statistic outside its domain, found before anything was
    /// written; in a step, where coefficients are made on the way, before the logits were.
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
    /// Unpaired answers one of whose log-probs is NaN or infinite. Their results are NaN; all others are
    /// complete.
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { buffer, expected, found } => {
                write!(f, "{}: {found} elements, {expected} needed", buffer.name())
            }
            Self::ShapeOverflow { rows, stride } => {
                write!(f, "{rows} rows of stride {stride} overflow the address space")
            }
            Self::EmptyVocabulary => f.write_str("the vocabulary is empty"),
            Self::VocabularyTooLarge { vocab } => {
                write!(f, "a vocabulary of {vocab} exceeds the u32 target ids")
            }
            Self::StrideBelowVocabulary { stride, vocab } => {
                write!(f, "the row stride {stride} is smaller than the vocabulary {vocab}")
            }
            Self::ShapeMismatch { expected, found } => write!(
                f,
                "the views differ in shape: {} rows of {} against {} rows of {}",
                expected.0, expected.1, found.0, found.1
            ),
            Self::TargetOutOfRange { row, target, vocab } => {
                write!(f, "row {row} has target {target}, outside the vocabulary of {vocab}")
            }
            Self::SpanOutOfRange { sequence, start, end, rows } => {
                write!(f, "span {sequence} is {start}..{end}, which {rows} rows do not hold")
            }
            Self::SpansOverlap { first, second } => {
                write!(f, "spans {first} and {second} overlap")
            }
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
                write!(f, "unpaired answer {answer} names sequence {sequence} of {sequences}")
            }
            Self::TokenWeightsDiffer { pair, sequence } => {
                write!(f, "pair {pair} wants other token weights for sequence {sequence}")
            }
            Self::InvalidValue { buffer: Buffer::RowNorms, index, .. } => {
                write!(f, "row norm {index} was not made by a forward over finite logits")
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
                write!(f, "unpaired answer {first} has no finite loss; of that kind: {count}")
            }
            Self::TransformOfGradients => {
                f.write_str("the gradients' view carries a transform, which belongs to the logits")
            }
            Self::MergeOfDifferentRows => f.write_str(
                "the statistics differ in transform or target, or both hold the target's logit",
            ),
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

/// The one length check.
pub(crate) fn check_length(buffer: Buffer, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { buffer, expected, found }) }
}
