//! What a call has found: the numbers of an error, and sums.

use dpo_kernel::unpaired::UnpairedSummary;
use dpo_kernel::{Error, Summary, TokenSummary};

/// Results that are not arrays, as `js/call.js` reads them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Outcome {
    /// 0, or which error: the number that C has for it, or, above 1000, one of this module.
    pub code: u32,
    /// The buffer or parameter that the error names, as a number.
    pub subject: u32,
    /// Of the error, in the order of its fields.
    pub numbers: [usize; 4],
    /// Of the error.
    pub value: f64,
    /// Of the sweep over the logits.
    pub tokens: TokenSummary,
    /// Of a loss of pairs.
    pub pairs: Summary,
    /// Of a loss of answers.
    pub answers: UnpairedSummary,
}

#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Outcome>() == 192, "see js/call.js");

/// Why a call was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Kernel(Error),
    /// A loss that is of no pairs.
    #[cfg(feature = "losses")]
    NotOfPairs,
    /// A loss that is of no single answers.
    #[cfg(feature = "losses")]
    NotOfAnswers,
    /// An element type that this module was built without.
    TypeNotBuilt,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl Outcome {
    /// Of a call that was refused.
    pub(crate) fn of(fault: Fault) -> Self {
        let code = match fault {
            Fault::Kernel(error) => return Self::of_error(error),
            #[cfg(feature = "losses")]
            Fault::NotOfPairs => 1001,
            #[cfg(feature = "losses")]
            Fault::NotOfAnswers => 1002,
            Fault::TypeNotBuilt => 1003,
        };
        Self { code, ..Self::default() }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "targets and labels have 32 bits here, fewer than an f64"
    )]
    fn of_error(error: Error) -> Self {
        let (code, subject, numbers, value): (u32, u32, [usize; 4], f64) = match error {
            Error::Length { buffer, expected, found } => {
                (1, buffer as u32, [expected, found, 0, 0], 0.0)
            }
            Error::ShapeOverflow { rows, stride } => (2, 0, [rows, stride, 0, 0], 0.0),
            Error::EmptyVocabulary => (3, 0, [0; 4], 0.0),
            Error::VocabularyTooLarge { vocab } => (4, 0, [vocab, 0, 0, 0], 0.0),
            Error::StrideBelowVocabulary { stride, vocab } => (5, 0, [stride, vocab, 0, 0], 0.0),
            Error::ShapeMismatch { expected: (rows, vocab), found } => {
                (6, 0, [rows, vocab, found.0, found.1], 0.0)
            }
            Error::TargetOutOfRange { row, target, vocab } => {
                (7, 0, [row, vocab, 0, 0], target as f64)
            }
            Error::SpanOutOfRange { sequence, start, end, rows } => {
                (8, 0, [sequence, start, end, rows], 0.0)
            }
            Error::SpansOverlap { first, second } => (9, 0, [first, second, 0, 0], 0.0),
            Error::NoScoredTokens { sequence } => (11, 0, [sequence, 0, 0, 0], 0.0),
            Error::SequenceOutOfRange { pair, sequence, sequences } => {
                (12, 0, [pair, sequence, sequences, 0], 0.0)
            }
            Error::PairOfOneSequence { pair, sequence } => (13, 0, [pair, sequence, 0, 0], 0.0),
            Error::TokenCountMismatch { sequence, policy, reference } => {
                (14, 0, [sequence, policy, reference, 0], 0.0)
            }
            Error::Parameter { parameter, value } => (15, parameter as u32, [0; 4], value),
            Error::ParameterUnused { parameter } => (16, parameter as u32, [0; 4], 0.0),
            Error::ParameterMissing { parameter } => (17, parameter as u32, [0; 4], 0.0),
            Error::ReferenceMissing => (18, 0, [0; 4], 0.0),
            Error::InputUnused { buffer } => (19, buffer as u32, [0; 4], 0.0),
            Error::UnknownLoss => (20, 0, [0; 4], 0.0),
            Error::AnswerOutOfRange { answer, sequence, sequences } => {
                (21, 0, [answer, sequence, sequences, 0], 0.0)
            }
            Error::InvalidValue { buffer, index, value } => {
                (23, buffer as u32, [index, 0, 0, 0], value)
            }
            Error::NonFiniteRows { first, count } => (24, 0, [first, count, 0, 0], 0.0),
            Error::NonFinitePairs { first, count } => (25, 0, [first, count, 0, 0], 0.0),
            Error::NonFiniteAnswers { first, count } => (26, 0, [first, count, 0, 0], 0.0),
            Error::UnknownLabel { value } => (31, 0, [0; 4], value as f64),
            // Of stages and machines that are not here.
            _ => (1004, 0, [0; 4], 0.0),
        };
        Self { code, subject, numbers, value, ..Self::default() }
    }
}
