//! The buffers and parameters that errors name, by number and by text.

use core::ffi::{CStr, c_char};
use core::ptr;

use super::status::codes;
#[cfg(doc)]
use super::status::dpo_error;
use crate::error::{Buffer, Parameter};

codes! {
    /// [`Buffer::Logits`]
    DPO_BUFFER_LOGITS = 1;
    /// [`Buffer::Targets`]
    DPO_BUFFER_TARGETS = 2;
    /// [`Buffer::TokenLogProbs`]
    DPO_BUFFER_TOKEN_LOG_PROBS = 3;
    /// [`Buffer::RowNorms`]
    DPO_BUFFER_ROW_NORMS = 4;
    /// [`Buffer::RowDetails`]
    DPO_BUFFER_ROW_DETAILS = 5;
    /// [`Buffer::TokenWeights`]
    DPO_BUFFER_TOKEN_WEIGHTS = 6;
    /// [`Buffer::Sequences`]
    DPO_BUFFER_SEQUENCES = 7;
    /// [`Buffer::Reference`]
    DPO_BUFFER_REFERENCE = 8;
    /// [`Buffer::SequenceGrads`]
    DPO_BUFFER_SEQUENCE_GRADS = 9;
    /// [`Buffer::PairLosses`]
    DPO_BUFFER_PAIR_LOSSES = 10;
    /// [`Buffer::PairWeights`]
    DPO_BUFFER_PAIR_WEIGHTS = 11;
    /// [`Buffer::PairOffsets`]
    DPO_BUFFER_PAIR_OFFSETS = 12;
    /// [`Buffer::PairLossKinds`]
    DPO_BUFFER_PAIR_LOSS_KINDS = 13;
    /// [`Buffer::PairOrder`]
    DPO_BUFFER_PAIR_ORDER = 14;
    /// [`Buffer::MixtureTerms`]
    DPO_BUFFER_MIXTURE_TERMS = 15;
    /// [`Buffer::AnswerLosses`]
    DPO_BUFFER_ANSWER_LOSSES = 16;
    /// [`Buffer::AnswerWeights`]
    DPO_BUFFER_ANSWER_WEIGHTS = 17;
    /// [`Buffer::NllGrads`]
    DPO_BUFFER_NLL_GRADS = 18;
    /// [`Buffer::Spans`]
    DPO_BUFFER_SPANS = 19;
    /// [`Buffer::Answers`]
    DPO_BUFFER_ANSWERS = 20;
    /// [`Buffer::Scores`]
    DPO_BUFFER_SCORES = 21;
    /// [`Buffer::PairFlags`]
    DPO_BUFFER_PAIR_FLAGS = 22;
    /// [`Buffer::Gaps`]
    DPO_BUFFER_GAPS = 23;
    /// [`Buffer::KeepWeights`]
    DPO_BUFFER_KEEP_WEIGHTS = 24;
    /// [`Buffer::ReferenceParameters`]
    DPO_BUFFER_REFERENCE_PARAMETERS = 25;
    /// [`Buffer::GapSums`]
    DPO_BUFFER_GAP_SUMS = 26;
    /// [`Buffer::GapAverages`]
    DPO_BUFFER_GAP_AVERAGES = 27;
    /// [`Buffer::AnswerLossKinds`]
    DPO_BUFFER_ANSWER_LOSS_KINDS = 28;
    /// [`Buffer::TokenCoefficients`]
    DPO_BUFFER_TOKEN_COEFFICIENTS = 29;
    /// [`Buffer::SpanOrder`]
    DPO_BUFFER_SPAN_ORDER = 30;
    /// [`Buffer::Hidden`]
    DPO_BUFFER_HIDDEN = 31;
    /// [`Buffer::HiddenGrads`]
    DPO_BUFFER_HIDDEN_GRADS = 32;
    /// [`Buffer::HeadWeights`]
    DPO_BUFFER_HEAD_WEIGHTS = 33;
    /// [`Buffer::HeadBias`]
    DPO_BUFFER_HEAD_BIAS = 34;
    /// [`Buffer::HeadRows`]
    DPO_BUFFER_HEAD_ROWS = 35;
    /// [`Buffer::HeadNumbers`]
    DPO_BUFFER_HEAD_NUMBERS = 36;
    /// [`Buffer::HeadGrads`]
    DPO_BUFFER_HEAD_GRADS = 37;
    /// [`Buffer::Adapter`]
    DPO_BUFFER_ADAPTER = 38;
    /// [`Buffer::RowBytes`]
    DPO_BUFFER_ROW_BYTES = 39;
    /// [`Buffer::RowStats`]
    DPO_BUFFER_ROW_STATS = 40;
    /// Of C alone: a struct argument.
    DPO_BUFFER_ARGUMENT = 101;
    /// [`Buffer::Pairs`]
    DPO_BUFFER_PAIRS = 102;
    /// Of C alone: unpaired answers.
    DPO_BUFFER_UNPAIRED_ANSWERS = 103;
    /// Of C alone: cumulative offsets.
    DPO_BUFFER_OFFSETS = 104;
    /// Of C alone: tile.
    DPO_BUFFER_TILE = 105;
    /// Of C alone: losses of the objective.
    DPO_BUFFER_LOSSES = 106;
    /// Of C alone: the result.
    DPO_BUFFER_OUT = 107;
    /// Of C alone: name of a loss.
    DPO_BUFFER_NAME = 108;
    /// Of C alone: dispatch.
    DPO_BUFFER_DISPATCH = 109;
    /// Of C alone: element type.
    DPO_BUFFER_TYPE = 110;
    /// Of C alone: labels of the tokens.
    DPO_BUFFER_LABELS = 111;
    /// Of C alone: options of a loss.
    DPO_BUFFER_OPTIONS = 112;
    /// Of C alone: NLL term.
    DPO_BUFFER_NLL = 113;
    /// Of C alone: gradients of the logits.
    DPO_BUFFER_GRADS = 114;
    /// Of C alone: bound of the WPO weights.
    DPO_BUFFER_WPO_BOUND = 115;
    /// Of C alone: layout.
    DPO_BUFFER_LAYOUT = 116;
    /// Of C alone: step.
    DPO_BUFFER_STEP = 117;
    /// Of C alone: what the backward needs.
    DPO_BUFFER_BACKWARD = 118;
    /// Of C alone: answers of an NLL term.
    DPO_BUFFER_NLL_ANSWERS = 119;
}

pub(super) const fn buffer_code(buffer: Buffer) -> i32 {
    match buffer {
        Buffer::Logits => DPO_BUFFER_LOGITS,
        Buffer::Targets => DPO_BUFFER_TARGETS,
        Buffer::TokenLogProbs => DPO_BUFFER_TOKEN_LOG_PROBS,
        Buffer::RowNorms => DPO_BUFFER_ROW_NORMS,
        Buffer::RowDetails => DPO_BUFFER_ROW_DETAILS,
        Buffer::TokenWeights => DPO_BUFFER_TOKEN_WEIGHTS,
        Buffer::Sequences => DPO_BUFFER_SEQUENCES,
        Buffer::Reference => DPO_BUFFER_REFERENCE,
        Buffer::SequenceGrads => DPO_BUFFER_SEQUENCE_GRADS,
        Buffer::PairLosses => DPO_BUFFER_PAIR_LOSSES,
        Buffer::PairWeights => DPO_BUFFER_PAIR_WEIGHTS,
        Buffer::PairOffsets => DPO_BUFFER_PAIR_OFFSETS,
        Buffer::PairLossKinds => DPO_BUFFER_PAIR_LOSS_KINDS,
        Buffer::PairOrder => DPO_BUFFER_PAIR_ORDER,
        Buffer::MixtureTerms => DPO_BUFFER_MIXTURE_TERMS,
        Buffer::AnswerLosses => DPO_BUFFER_ANSWER_LOSSES,
        Buffer::AnswerWeights => DPO_BUFFER_ANSWER_WEIGHTS,
        Buffer::NllGrads => DPO_BUFFER_NLL_GRADS,
        Buffer::Spans => DPO_BUFFER_SPANS,
        Buffer::Answers => DPO_BUFFER_ANSWERS,
        Buffer::Scores => DPO_BUFFER_SCORES,
        Buffer::PairFlags => DPO_BUFFER_PAIR_FLAGS,
        Buffer::Gaps => DPO_BUFFER_GAPS,
        Buffer::KeepWeights => DPO_BUFFER_KEEP_WEIGHTS,
        Buffer::ReferenceParameters => DPO_BUFFER_REFERENCE_PARAMETERS,
        Buffer::GapSums => DPO_BUFFER_GAP_SUMS,
        Buffer::GapAverages => DPO_BUFFER_GAP_AVERAGES,
        Buffer::AnswerLossKinds => DPO_BUFFER_ANSWER_LOSS_KINDS,
        Buffer::TokenCoefficients => DPO_BUFFER_TOKEN_COEFFICIENTS,
        Buffer::SpanOrder => DPO_BUFFER_SPAN_ORDER,
        Buffer::Hidden => DPO_BUFFER_HIDDEN,
        Buffer::HiddenGrads => DPO_BUFFER_HIDDEN_GRADS,
        Buffer::HeadWeights => DPO_BUFFER_HEAD_WEIGHTS,
        Buffer::HeadBias => DPO_BUFFER_HEAD_BIAS,
        Buffer::HeadRows => DPO_BUFFER_HEAD_ROWS,
        Buffer::HeadNumbers => DPO_BUFFER_HEAD_NUMBERS,
        Buffer::HeadGrads => DPO_BUFFER_HEAD_GRADS,
        Buffer::Adapter => DPO_BUFFER_ADAPTER,
        Buffer::RowBytes => DPO_BUFFER_ROW_BYTES,
        Buffer::RowStats => DPO_BUFFER_ROW_STATS,
        Buffer::Pairs => DPO_BUFFER_PAIRS,
    }
}

/// `DPO_PARAMETER_…`, which the header has: a parameter carries its number.
pub(super) const fn parameter_code(parameter: Parameter) -> i32 {
    parameter as i32
}

/// The name of a buffer, as the subject of a [`dpo_error`] has it; NULL if there is none of that
/// number.
#[unsafe(no_mangle)]
pub extern "C" fn dpo_buffer_name(subject: i32) -> *const c_char {
    let name: &CStr = match subject {
        DPO_BUFFER_LOGITS => c"logits",
        DPO_BUFFER_TARGETS => c"targets",
        DPO_BUFFER_TOKEN_LOG_PROBS => c"token log-probs",
        DPO_BUFFER_ROW_NORMS => c"row norms",
        DPO_BUFFER_ROW_DETAILS => c"row details",
        DPO_BUFFER_TOKEN_WEIGHTS => c"token weights",
        DPO_BUFFER_SEQUENCES => c"sequence log-probs",
        DPO_BUFFER_REFERENCE => c"reference log-probs",
        DPO_BUFFER_SEQUENCE_GRADS => c"sequence gradients",
        DPO_BUFFER_PAIR_LOSSES => c"pair losses",
        DPO_BUFFER_PAIR_WEIGHTS => c"pair weights",
        DPO_BUFFER_PAIR_OFFSETS => c"pair margin offsets",
        DPO_BUFFER_PAIR_LOSS_KINDS => c"losses of the pairs",
        DPO_BUFFER_PAIR_ORDER => c"order of the pairs",
        DPO_BUFFER_MIXTURE_TERMS => c"terms of the mixture",
        DPO_BUFFER_ANSWER_LOSSES => c"losses of unpaired answers",
        DPO_BUFFER_ANSWER_WEIGHTS => c"weights of the answers",
        DPO_BUFFER_NLL_GRADS => c"NLL gradients",
        DPO_BUFFER_SPANS => c"spans",
        DPO_BUFFER_ANSWERS => c"answers",
        DPO_BUFFER_SCORES => c"completion scores",
        DPO_BUFFER_PAIR_FLAGS => c"pair flags",
        DPO_BUFFER_GAPS => c"log-ratio gaps",
        DPO_BUFFER_KEEP_WEIGHTS => c"keep weights",
        DPO_BUFFER_REFERENCE_PARAMETERS => c"reference parameters",
        DPO_BUFFER_GAP_SUMS => c"sums of log-ratio gaps",
        DPO_BUFFER_GAP_AVERAGES => c"averages of log-ratio gaps",
        DPO_BUFFER_ANSWER_LOSS_KINDS => c"losses of the answers",
        DPO_BUFFER_TOKEN_COEFFICIENTS => c"token coefficients",
        DPO_BUFFER_SPAN_ORDER => c"order of the spans",
        DPO_BUFFER_HIDDEN => c"hidden states",
        DPO_BUFFER_HIDDEN_GRADS => c"hidden gradients",
        DPO_BUFFER_HEAD_WEIGHTS => c"weights of the head",
        DPO_BUFFER_HEAD_BIAS => c"bias of the head",
        DPO_BUFFER_HEAD_ROWS => c"rows of the head's scratch",
        DPO_BUFFER_HEAD_NUMBERS => c"numbers of the head's scratch",
        DPO_BUFFER_HEAD_GRADS => c"gradients of the head",
        DPO_BUFFER_ADAPTER => c"a matrix of the adapter",
        DPO_BUFFER_ROW_BYTES => c"bytes of row statistics",
        DPO_BUFFER_ROW_STATS => c"row statistics",
        DPO_BUFFER_ARGUMENT => c"a struct argument",
        DPO_BUFFER_PAIRS => c"pairs",
        DPO_BUFFER_UNPAIRED_ANSWERS => c"unpaired answers",
        DPO_BUFFER_OFFSETS => c"cumulative offsets",
        DPO_BUFFER_TILE => c"tile",
        DPO_BUFFER_LOSSES => c"losses of the objective",
        DPO_BUFFER_OUT => c"the result",
        DPO_BUFFER_NAME => c"name of a loss",
        DPO_BUFFER_DISPATCH => c"dispatch",
        DPO_BUFFER_TYPE => c"element type",
        DPO_BUFFER_LABELS => c"labels of the tokens",
        DPO_BUFFER_OPTIONS => c"options of a loss",
        DPO_BUFFER_NLL => c"NLL term",
        DPO_BUFFER_GRADS => c"gradients of the logits",
        DPO_BUFFER_WPO_BOUND => c"bound of the WPO weights",
        DPO_BUFFER_LAYOUT => c"layout",
        DPO_BUFFER_STEP => c"step",
        DPO_BUFFER_BACKWARD => c"what the backward needs",
        DPO_BUFFER_NLL_ANSWERS => c"answers of the NLL term",
        _ => return ptr::null(),
    };
    name.as_ptr()
}

/// The name of a parameter, as the subject of a [`dpo_error`] has it; NULL if there is none of that
/// number.
#[unsafe(no_mangle)]
pub extern "C" fn dpo_parameter_name(subject: i32) -> *const c_char {
    let parameter = Parameter::ALL.into_iter().find(|&p| parameter_code(p) == subject);
    parameter.map_or(ptr::null(), |parameter| parameter.c_name().as_ptr())
}
