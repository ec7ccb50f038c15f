//! What every error says, with numbers that differ in every place, and the names in it.

use dpo_kernel::Error;
use dpo_kernel::Level;
use dpo_kernel::error::{Buffer, Parameter};

use crate::error;

/// The errors with their texts, and a match over the library's own enum, which does not compile
/// without a variant or with a field too few.
macro_rules! texts {
    ($($variant:ident $({ $($field:ident: $value:expr),* })? => $text:literal;)*) => {
        fn texts() -> Vec<(Error, &'static str)> {
            vec![$((Error::$variant $({ $($field: $value),* })?, $text)),*]
        }

        fn is_listed(error: error::Error) {
            match error {
                $(error::Error::$variant $({ $($field: _),* })? => (),)*
            }
        }
    };
}

texts! {
    Length { buffer: Buffer::Gaps, expected: 7, found: 5 }
        => "log-ratio gaps: 5 elements, 7 needed";
    ShapeOverflow { rows: 11, stride: 13 }
        => "a shape of 11 by 13 overflows the address space";
    EmptyVocabulary => "the vocabulary is empty";
    VocabularyTooLarge { vocab: 4_294_967_297 }
        => "a vocabulary of 4294967297 exceeds the u32 target ids";
    StrideBelowVocabulary { stride: 3, vocab: 9 }
        => "the row stride 3 is smaller than the vocabulary 9";
    ShapeMismatch { expected: (2, 3), found: (5, 7) }
        => "the views differ in shape: 2 rows of 3 against 5 rows of 7";
    TargetOutOfRange { row: 4, target: -7, vocab: 6 }
        => "row 4 has target -7, outside the vocabulary of 6; rows that are not scored have the ignore \
            value, -100 unless another is given";
    SpanOutOfRange { sequence: 2, start: 3, end: 9, rows: 8 }
        => "span 2 is 3..9, which 8 rows do not hold";
    SpansOverlap { first: 4, second: 6 } => "spans 4 and 6 overlap";
    SpansNotAscending { sequence: 5 }
        => "span 5 lies before the span before it; Layout::in_any_order takes spans in any order";
    OffsetsNotAscending { index: 3 }
        => "cumulative offset 3 is missing or smaller than the one before";
    NoScoredTokens { sequence: 8 } => "sequence 8 has no scored token";
    SequenceOutOfRange { pair: 2, sequence: 9, sequences: 5 } => "pair 2 names sequence 9 of 5";
    PairOfOneSequence { pair: 3, sequence: 6 }
        => "pair 3 names sequence 6 as both chosen and rejected";
    TokenCountMismatch { sequence: 1, policy: 12, reference: 13 }
        => "sequence 1 has 12 scored tokens under the policy and 13 under the reference";
    Parameter { parameter: Parameter::ReferenceKl, value: -0.25 }
        => "K of KTO is -0.25 but must be finite and >= 0";
    ParameterUnused { parameter: Parameter::RewardGap }
        => "reward gap is given, but the loss has none";
    ParameterMissing { parameter: Parameter::Advantage }
        => "advantage of A*PO must be given for this loss";
    ReferenceMissing => "the loss needs reference log-probs";
    InputUnused { buffer: Buffer::PairOffsets }
        => "pair margin offsets are given, but the loss would not read them";
    UnknownLoss => "no loss has this name";
    AnswerOutOfRange { answer: 3, sequence: 8, sequences: 4 } => "answer 3 names sequence 8 of 4";
    UnknownLabel { value: -3 } => "label -3 is neither 1 (desirable) nor 0 (undesirable)";
    TokenWeightsDiffer { pair: 5, sequence: 2 }
        => "pair 5 wants other token weights for sequence 2";
    InvalidValue { buffer: Buffer::Scores, index: 6, value: -1.5 }
        => "completion scores[6] is -1.5, outside its domain";
    NonFiniteRows { first: 3, count: 14 }
        => "row 3 is NaN, +inf or all −inf; rows of that kind: 14";
    NonFinitePairs { first: 4, count: 15 }
        => "pair 4 has no finite loss; pairs of that kind: 15";
    NonFiniteAnswers { first: 5, count: 16 } => "answer 5 has no finite loss; of that kind: 16";
    TransformOfGradients
        => "the gradients' view carries a transform, which belongs to the logits";
    MergeOfDifferentRows
        => "the statistics differ in transform or target, or both hold the target's logit";
    RowBytes { byte: 24 } => "the bytes from 24 on are no row statistics of this version";
    EmptyHidden => "the hidden size is 0";
    StrideBelowHidden { stride: 4, size: 8 }
        => "the row stride 4 is smaller than the hidden size 8";
    HiddenMismatch { expected: (2, 3), found: (5, 7) }
        => "5 rows of hidden size 7 where 2 of 3 are due";
    OutOfMemory { elements: 17 } => "no memory for a buffer of 17 elements";
    LevelUnavailable { level: Level::Avx2 } => "level Avx2 is not available on this machine";
    FusedUnavailable { level: Level::Baseline } => "level Baseline has no fused multiply-add";
}

#[test]
fn every_error_says_its_numbers() {
    for (error, text) in texts() {
        assert_eq!(error.to_string(), text, "{error:?}");
    }
    // A norm has no value to show.
    let norm = Error::InvalidValue { buffer: Buffer::RowNorms, index: 7, value: f64::NAN };
    let text = "row norm 7 was not made by a forward over finite logits: give token_log_probs memory for them \
                (TokenOut::with_norms)";
    assert_eq!(norm.to_string(), text);
    // They are errors as other crates know them.
    let error: Box<dyn core::error::Error> = Box::new(norm);
    assert_eq!(error.to_string(), text);
}

/// The buffers with their names, and a match that does not compile without one.
macro_rules! buffers {
    ($($variant:ident => $name:literal;)*) => {
        const BUFFERS: &[(Buffer, &str)] = &[$((Buffer::$variant, $name)),*];

        fn is_buffer(buffer: error::Buffer) {
            match buffer {
                $(error::Buffer::$variant => (),)*
            }
        }
    };
}

buffers! {
    Logits => "logits";
    Targets => "targets";
    TokenLogProbs => "token log-probs";
    RowNorms => "row norms";
    RowDetails => "row details";
    TokenWeights => "token weights";
    Sequences => "sequence log-probs";
    Reference => "reference log-probs";
    SequenceGrads => "sequence gradients";
    PairLosses => "pair losses";
    PairWeights => "pair weights";
    PairOffsets => "pair margin offsets";
    TokenCoefficients => "token coefficients";
    SpanOrder => "order of the spans";
    PairLossKinds => "losses of the pairs";
    PairOrder => "order of the pairs";
    MixtureTerms => "terms of the mixture";
    AnswerLosses => "losses of unpaired answers";
    AnswerWeights => "weights of the answers";
    AnswerLossKinds => "losses of the answers";
    NllGrads => "NLL gradients";
    Spans => "spans";
    Answers => "answers";
    Scores => "completion scores";
    Pairs => "pairs";
    PairFlags => "pair flags";
    Gaps => "log-ratio gaps";
    KeepWeights => "keep weights";
    ReferenceParameters => "reference parameters";
    GapSums => "sums of log-ratio gaps";
    GapAverages => "averages of log-ratio gaps";
    Hidden => "hidden states";
    HiddenGrads => "hidden gradients";
    HeadWeights => "weights of the head";
    HeadBias => "bias of the head";
    HeadRows => "rows of the head's scratch";
    HeadNumbers => "numbers of the head's scratch";
    HeadGrads => "gradients of the head";
    Adapter => "a matrix of the adapter";
    RowBytes => "bytes of row statistics";
    RowStats => "row statistics";
}

#[test]
fn every_buffer_has_its_name() {
    for (i, &(buffer, name)) in BUFFERS.iter().enumerate() {
        let error = Error::Length { buffer, expected: 3, found: 2 };
        assert_eq!(error.to_string(), format!("{name}: 2 elements, 3 needed"), "{buffer:?}");
        let twin = BUFFERS[..i].iter().find(|other| other.1 == name);
        assert!(twin.is_none(), "{buffer:?} is called as {twin:?}");
    }
}

/// The parameters with their names and domains; `Parameter::ALL` has all of them.
const PARAMETERS: &[(Parameter, i32, &str, &str)] = &[
    (Parameter::Beta, 1, "beta", "must be finite and > 0"),
    (Parameter::LabelSmoothing, 2, "label smoothing", "must lie in [0, 0.5]"),
    (Parameter::TargetMargin, 5, "target margin", "must be finite and >= 0"),
    (Parameter::TargetMarginRatio, 6, "target margin over beta", "must be finite and >= 0"),
    (Parameter::RewardExponent, 7, "alpha of AlphaPO", "must be finite"),
    (Parameter::BlendTemperature, 8, "tau of DiscoPOP", "must be finite and > 0"),
    (Parameter::RewardShift, 10, "delta of BCO", "must be finite"),
    (Parameter::SlicMargin, 11, "delta of SLiC", "must be finite and > 0"),
    (Parameter::DropPenalty, 12, "lambda of DPOP", "must be finite and >= 0"),
    (Parameter::OddsWeight, 13, "lambda of ORPO", "must be finite and > 0"),
    (Parameter::ReferenceKl, 14, "K of KTO", "must be finite and >= 0"),
    (Parameter::DesirableWeight, 15, "weight of desirable answers", "must be finite and >= 0"),
    (Parameter::UndesirableWeight, 16, "weight of undesirable answers", "must be finite and >= 0"),
    (Parameter::RewardGap, 17, "reward gap", "must be finite"),
    (Parameter::Centering, 32, "centering of the reward model", "must be finite and >= 0"),
    (Parameter::Advantage, 33, "advantage of A*PO", "must be finite"),
    (Parameter::RobustSmoothing, 3, "label smoothing of the robust loss", "must lie in [0, 0.5)"),
    (Parameter::ExoSmoothing, 4, "label smoothing of EXO", "must lie between 0 and 1"),
    (Parameter::DivergenceAlpha, 9, "alpha of the divergence", "must be finite"),
    (Parameter::TermWeight, 18, "weight of a mixture's term", "must be finite and >= 0"),
    (Parameter::NllWeight, 19, "weight of the NLL term", "must be finite and >= 0"),
    (Parameter::TailWeight, 20, "alpha of LD-DPO", "must lie in [0, 1]"),
    (Parameter::OffsetScale, 21, "scale of the offset", "must be finite and >= 0"),
    (Parameter::ScoreGap, 22, "score gap", "must be finite and > 0"),
    (Parameter::LengthPenalty, 23, "length penalty", "must be finite"),
    (Parameter::Divergence, 24, "f-divergence", "must be reverse KL for this loss"),
    (Parameter::Divisor, 25, "divisor", "must be finite and > 0"),
    (Parameter::Scale, 26, "logit scale", "must be finite and > 0"),
    (Parameter::Softcap, 27, "softcap", "must be finite and > 0"),
    (Parameter::Temperature, 28, "temperature", "must be finite and > 0"),
    (Parameter::Transform, 29, "combined logit factor", "must lie in [1e-30, 1e30]"),
    (Parameter::BetaGain, 30, "gain of beta-DPO", "must be finite and >= 0"),
    (Parameter::Mixing, 31, "alpha of the moving reference", "must lie in [0, 1]"),
    (Parameter::ExplorationWeight, 34, "alpha of XPO", "must be finite and >= 0"),
    (Parameter::Negligible, 35, "negligible probability", "must lie in [0, 1/256]"),
    (Parameter::AdapterScale, 36, "adapter scale", "must be finite"),
];

#[test]
fn every_parameter_has_its_name_and_domain() {
    for &(parameter, number, name, domain) in PARAMETERS {
        assert_eq!(parameter as i32, number, "{parameter:?}");
        let error = Error::Parameter { parameter, value: -2.5 };
        assert_eq!(error.to_string(), format!("{name} is -2.5 but {domain}"), "{parameter:?}");
        let error = Error::ParameterUnused { parameter };
        assert_eq!(error.to_string(), format!("{name} is given, but the loss has none"));
        let error = Error::ParameterMissing { parameter };
        assert_eq!(error.to_string(), format!("{name} must be given for this loss"));
    }
    let listed: Vec<Parameter> = PARAMETERS.iter().map(|row| row.0).collect();
    assert_eq!(listed, Parameter::ALL);
}
