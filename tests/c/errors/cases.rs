//! A call for every error, and its report. The numbers of a case differ from one another, so that
//! none can take another's place.

use std::ptr;

use dpo_kernel::IGNORE_INDEX;
use dpo_kernel::c::*;

use crate::host::slots::{SCRATCH, SUMS, Slot, TRAINED};
use crate::host::{Host, Structs, loss};

/// An error of the library, or a status that only C has; the function that is called, what is
/// spoilt, and the report: status, subject, numbers, value.
pub struct Case {
    pub error: &'static str,
    pub function: &'static str,
    pub spoil: fn(&mut Host, &mut Structs),
    pub due: (i32, i32, [usize; 4], f64),
}

const HEAD: &str = "dpo_head_forward";
const HEAD_GRADS: &str = "dpo_head_grads of weights and bias";
const BIAS_GRADS: &str = "dpo_head_grads of the bias alone";
const STEP: &str = "dpo_preference_step in place, with a term of chosen answers";
const LOSS: &str = "dpo_preference_loss";
const TOKENS: &str = "dpo_token_log_probs";
const ANSWERS: &str = "dpo_unpaired_loss";

const fn case(
    error: &'static str,
    function: &'static str,
    spoil: fn(&mut Host, &mut Structs),
    due: (i32, i32, [usize; 4], f64),
) -> Case {
    Case { error, function, spoil, due }
}

fn put<T: Copy>(host: &mut Host, slot: Slot, index: usize, value: T) {
    let mut all: Vec<T> = host.get(slot, slot.form().0 / size_of::<T>());
    all[index] = value;
    host.put(slot, &all);
}

const HUGE: usize = 1 << 33;

pub static CASES: &[Case] = &[
    case(
        "Length",
        "dpo_preference_loss of a loss a pair",
        |_, s| s.objective.count = 1,
        (1, 13, [2, 1, 0, 0], 0.0),
    ),
    case("Length", LOSS, |_, s| s.objective.count = 3, (1, 13, [1, 3, 0, 0], 0.0)),
    case(
        "Length",
        "dpo_preference_loss of the sorted batch",
        |_, s| s.objective.order_len = 3,
        (1, 14, [4, 3, 0, 0], 0.0),
    ),
    case(
        "ShapeOverflow",
        TOKENS,
        |_, s| s.logits.rows = usize::MAX,
        (2, 0, [usize::MAX, 5, 0, 0], 0.0),
    ),
    case("EmptyVocabulary", TOKENS, |_, s| s.layout.vocab = 0, (3, 0, [0; 4], 0.0)),
    case(
        "VocabularyTooLarge",
        TOKENS,
        |_, s| (s.logits.rows, s.logits.len, s.logits.vocab, s.logits.stride) = (0, 0, HUGE, 0),
        (4, 0, [HUGE, 0, 0, 0], 0.0),
    ),
    case("StrideBelowVocabulary", TOKENS, |_, s| s.logits.stride = 3, (5, 0, [3, 4, 0, 0], 0.0)),
    case(
        "ShapeMismatch",
        TOKENS,
        |_, s| (s.layout.rows, s.layout.vocab) = (9, 6),
        (6, 0, [9, 6, 8, 4], 0.0),
    ),
    case(
        "TargetOutOfRange",
        TOKENS,
        |h, _| put(h, Slot::Targets, 2, 9_u32),
        (7, 0, [2, 9, 4, 0], 9.0),
    ),
    case(
        "TargetOutOfRange",
        TOKENS,
        |h, _| put(h, Slot::Targets, 5, -7_i32),
        (7, 0, [5, -7_isize as usize, 4, 0], -7.0),
    ),
    case(
        "TargetOutOfRange",
        "dpo_targets_of_i64",
        |h, _| put(h, Slot::Labels, 5, -9_i64),
        (7, 0, [5, -9_isize as usize, IGNORE_INDEX as usize, 0], -9.0),
    ),
    case(
        "SpanOutOfRange",
        TOKENS,
        |h, _| put(h, Slot::Spans, 3, dpo_span::new(7, 11)),
        (8, 0, [3, 7, 11, 8], 0.0),
    ),
    case(
        "SpansOverlap",
        TOKENS,
        |h, _| put(h, Slot::Spans, 3, dpo_span::new(5, 8)),
        (9, 0, [2, 3, 0, 0], 0.0),
    ),
    case(
        "OffsetsNotAscending",
        "dpo_spans_of_offsets",
        |h, _| put(h, Slot::Offsets, 3, 1_u32),
        (10, 0, [3, 0, 0, 0], 0.0),
    ),
    case(
        "OffsetsNotAscending",
        "dpo_spans_of_offsets_i32",
        |h, _| put(h, Slot::Offsets, 2, -5_i32),
        (10, 0, [2, 0, 0, 0], 0.0),
    ),
    case(
        "NoScoredTokens",
        STEP,
        |h, _| put(h, Slot::Targets, 2, IGNORE_INDEX),
        (11, 0, [1, 0, 0, 0], 0.0),
    ),
    case(
        "SequenceOutOfRange",
        LOSS,
        |h, _| put(h, Slot::Pairs, 1, dpo_pair::new(2, 9)),
        (12, 0, [1, 9, 4, 0], 0.0),
    ),
    case(
        "PairOfOneSequence",
        LOSS,
        |h, _| put(h, Slot::Pairs, 1, dpo_pair::new(3, 3)),
        (13, 0, [1, 3, 0, 0], 0.0),
    ),
    case(
        "TokenCountMismatch",
        "dpo_preference_loss of a mixture, with sequences as reference",
        |h, _| put(h, Slot::Reference, 3, dpo_sequence_log_prob { sum: -1.0, count: 5 }),
        (14, 0, [3, 1, 5, 0], 0.0),
    ),
    case(
        "Parameter",
        LOSS,
        |h, _| h.put(Slot::SingleLoss, &[loss(0, &[(2, 0.75)])]),
        (15, 2, [0; 4], 0.75),
    ),
    case("Parameter", LOSS, |_, s| s.pairs.divisor = -2.5, (15, 25, [0; 4], -2.5)),
    case(
        "ParameterUnused",
        LOSS,
        |h, _| h.put(Slot::SingleLoss, &[loss(0, &[(14, 0.75)])]),
        (16, 14, [0; 4], 0.0),
    ),
    case("ParameterMissing", ANSWERS, |_, s| s.answer_loss = loss(23, &[]), (17, 14, [0; 4], 0.0)),
    case(
        "ReferenceMissing",
        LOSS,
        |_, s| s.pairs.reference_sums = ptr::null(),
        (18, 0, [0; 4], 0.0),
    ),
    case(
        "InputUnused",
        LOSS,
        |h, _| h.put(Slot::SingleLoss, &[loss(12, &[])]),
        (19, 8, [0; 4], 0.0),
    ),
    case("UnknownLoss", "dpo_loss_parse", |h, _| h.put(Slot::Name, b"s-dpo"), (20, 0, [0; 4], 0.0)),
    case(
        "AnswerOutOfRange",
        ANSWERS,
        |h, _| put(h, Slot::Answers, 2, dpo_answer { sequence: 7, label: 1 }),
        (21, 0, [2, 7, 4, 0], 0.0),
    ),
    case(
        "AnswerOutOfRange",
        "dpo_nll_loss",
        |h, _| put(h, Slot::NllAnswers, 1, 6_usize),
        (21, 0, [1, 6, 4, 0], 0.0),
    ),
    case(
        "TokenWeightsDiffer",
        "dpo_ld_token_weights",
        |h, _| h.put(Slot::Pairs, &[dpo_pair::new(2, 1), dpo_pair::new(0, 2)]),
        (22, 0, [1, 2, 0, 0], 0.0),
    ),
    case(
        "InvalidValue",
        "dpo_sequence_log_probs",
        |h, _| put(h, Slot::TokenWeights, 5, f32::NEG_INFINITY),
        (23, 6, [5, 0, 0, 0], f64::NEG_INFINITY),
    ),
    case(
        "NonFiniteRows",
        TOKENS,
        |h, _| {
            for row in [1, 2, 5] {
                put(h, Slot::Logits, row * 5, f32::NAN);
            }
        },
        (24, 0, [1, 3, 0, 0], 0.0),
    ),
    case(
        "NonFinitePairs",
        LOSS,
        |h, _| {
            for sequence in [0, 3] {
                put(h, Slot::Sums, sequence, f64::INFINITY);
            }
        },
        (25, 0, [0, 2, 0, 0], 0.0),
    ),
    case(
        "NonFiniteAnswers",
        ANSWERS,
        |h, _| {
            for sequence in [1, 2, 3] {
                put(h, Slot::Sums, sequence, f64::NAN);
            }
        },
        (26, 0, [1, 3, 0, 0], 0.0),
    ),
    case(
        "TransformOfGradients",
        "dpo_logit_grads",
        |_, s| s.grads_to.transform.scale = 2.0,
        (27, 0, [0; 4], 0.0),
    ),
    case(
        "MergeOfDifferentRows",
        "dpo_row_stats_merge",
        |h, _| {
            let mut stats: dpo_row_stats = h.get(Slot::StatsFrom, 1)[0];
            stats.flags = DPO_ROW_TARGET;
            h.put(Slot::StatsFrom, &[stats]);
        },
        (28, 0, [0; 4], 0.0),
    ),
    case(
        "MergeOfDifferentRows",
        "dpo_row_stats_from_bytes",
        |_, s| s.transform.softcap = 5.5,
        (28, 0, [0; 4], 0.0),
    ),
    case(
        "RowBytes",
        "dpo_row_stats_from_bytes of details",
        |h, _| put(h, Slot::RowDetailBytes, 37, f32::NAN),
        (37, 0, [20, 0, 0, 0], 0.0),
    ),
    case(
        "RowBytes",
        "dpo_row_stats_from_bytes",
        |h, _| put(h, Slot::RowBytes, 3, 2_u8),
        (37, 0, [0; 4], 0.0),
    ),
    case(
        "Length",
        "dpo_row_stats_from_bytes",
        |_, s| s.row_bytes = 63,
        (1, 39, [64, 63, 0, 0], 0.0),
    ),
    case(
        "Length",
        "dpo_row_stats_write_bytes",
        |_, s| s.row_bytes = DPO_ROW_DETAIL_BYTES,
        (1, 39, [64, 160, 0, 0], 0.0),
    ),
    case(
        "ROW_STATS",
        "dpo_row_stats_write_bytes of details",
        |h, _| {
            let mut stats: dpo_row_stats = h.get(Slot::StatsDetailed, 1)[0];
            stats.reserved = 1;
            h.put(Slot::StatsDetailed, &[stats]);
        },
        (107, 5, [0; 4], 0.0),
    ),
    case(
        "UnknownLabel",
        ANSWERS,
        |h, _| put(h, Slot::Answers, 2, dpo_answer { sequence: 1, label: -3 }),
        (31, 0, [0; 4], -3.0),
    ),
    case(
        "SpansNotAscending",
        TOKENS,
        |h, s| {
            s.layout.order = ptr::null_mut();
            put(h, Slot::Spans, 2, dpo_span::new(7, 8));
            put(h, Slot::Spans, 3, dpo_span::new(3, 6));
        },
        (32, 0, [3, 0, 0, 0], 0.0),
    ),
    case("EmptyHidden", HEAD, |_, s| s.states.hidden = 0, (34, 0, [0; 4], 0.0)),
    case("EmptyHidden", "dpo_head_scratch_len", |_, s| s.head.hidden = 0, (34, 0, [0; 4], 0.0)),
    case("StrideBelowHidden", HEAD, |_, s| s.head.stride = 2, (35, 0, [2, 3, 0, 0], 0.0)),
    case("HiddenMismatch", HEAD, |_, s| s.states.hidden = 2, (36, 0, [8, 3, 8, 2], 0.0)),
    case(
        "HiddenMismatch",
        "dpo_hidden_grads",
        |_, s| (s.hidden_grads.rows, s.hidden_grads.len) = (7, 28),
        (36, 0, [8, 3, 7, 3], 0.0),
    ),
    case(
        "ShapeMismatch",
        HEAD,
        |_, s| (s.states.rows, s.states.len) = (7, 28),
        (6, 0, [8, 4, 7, 4], 0.0),
    ),
    case(
        "ShapeMismatch",
        HEAD,
        |_, s| (s.head.vocab, s.head.len) = (3, 12),
        (6, 0, [8, 4, 8, 3], 0.0),
    ),
    case("Length", HEAD, |_, s| s.head.len = 13, (1, 33, [15, 13, 0, 0], 0.0)),
    case("Length", HEAD, |_, s| s.states.len = 33, (1, 31, [32, 33, 0, 0], 0.0)),
    case("Length", HEAD, |_, s| s.sums.len = 30, (1, 32, [31, 30, 0, 0], 0.0)),
    case("Length", HEAD, |_, s| s.scratch.rows = 0, (1, 35, [1, 0, 0, 0], 0.0)),
    case(
        "Length",
        HEAD,
        |_, s| s.scratch.len = SCRATCH - 1,
        (1, 36, [SCRATCH, SCRATCH - 1, 0, 0], 0.0),
    ),
    case(
        "NonFiniteRows",
        HEAD,
        |h, _| {
            for row in [2, 3] {
                put(h, Slot::States, row * 4 + 1, f32::INFINITY);
            }
        },
        (24, 0, [2, 2, 0, 0], 0.0),
    ),
    case(
        "InvalidValue",
        HEAD,
        |h, _| put(h, Slot::Weights, 6, f32::NAN),
        (23, 33, [1, 0, 0, 0], f64::NAN),
    ),
    case("Length", HEAD_GRADS, |_, s| s.d_head.len = 14, (1, 37, [15, 14, 0, 0], 0.0)),
    case(
        "Length",
        "dpo_head_grads_scratch_len",
        |_, s| s.d_head.len = 17,
        (1, 37, [16, 17, 0, 0], 0.0),
    ),
    case("StrideBelowHidden", HEAD_GRADS, |_, s| s.d_head.stride = 2, (35, 0, [2, 3, 0, 0], 0.0)),
    case(
        "HiddenMismatch",
        HEAD_GRADS,
        |_, s| (s.sums.hidden, s.sums.stride) = (2, 4),
        (36, 0, [8, 3, 8, 2], 0.0),
    ),
    // Six rows are scored, and go through the head together.
    case("Length", HEAD_GRADS, |_, s| s.trained_scratch.rows = 5, (1, 35, [6, 5, 0, 0], 0.0)),
    case("Length", BIAS_GRADS, |_, s| s.trained_scratch.rows = 0, (1, 35, [1, 0, 0, 0], 0.0)),
    case(
        "Length",
        HEAD_GRADS,
        |_, s| s.trained_scratch.len = TRAINED - 1,
        (1, 36, [TRAINED, TRAINED - 1, 0, 0], 0.0),
    ),
    case(
        "Length",
        HEAD_GRADS,
        |_, s| s.d_head.r#type = 2,
        (1, 36, [TRAINED + SUMS, TRAINED, 0, 0], 0.0),
    ),
    case("NULL", BIAS_GRADS, |_, s| s.d_head.bias = ptr::null_mut(), (101, 37, [0; 4], 0.0)),
    case(
        "NonFiniteRows",
        HEAD_GRADS,
        |h, _| {
            for row in [2, 3, 7] {
                put(h, Slot::States, row * 4 + 1, f32::INFINITY);
            }
        },
        (24, 0, [2, 3, 0, 0], 0.0),
    ),
    case(
        "InvalidValue",
        BIAS_GRADS,
        |h, s| {
            s.layout.order = ptr::null_mut();
            put(h, Slot::Weights, 10, f32::NAN);
        },
        (23, 33, [2, 0, 0, 0], f64::NAN),
    ),
    case(
        "InvalidValue",
        "dpo_hidden_grads_in_place",
        |h, _| put(h, Slot::Coefficients, 3, f64::INFINITY),
        (23, 29, [3, 0, 0, 0], f64::INFINITY),
    ),
    case(
        "InvalidValue",
        "dpo_hidden_row_grads_in_place",
        |_, s| s.row.0 = -1e39,
        (23, 29, [0; 4], -1e39),
    ),
    case(
        "InvalidValue",
        "dpo_hidden_row_grads_in_place",
        |h, _| h.put(Slot::StatsRow, &h.get::<dpo_row_stats>(Slot::StatsFrom, 1)),
        (23, 4, [0; 4], f64::NAN),
    ),
    case(
        "ROW_STATS",
        "dpo_tile_terms_in_place",
        |h, _| {
            let mut stats: dpo_row_stats = h.get(Slot::StatsBefore, 1)[0];
            stats.flags = 64;
            h.put(Slot::StatsBefore, &[stats]);
        },
        (107, 5, [0; 4], 0.0),
    ),
    case("NULL", TOKENS, |_, s| s.layout.targets = ptr::null(), (101, 2, [0; 4], 0.0)),
    case(
        "MISALIGNED",
        TOKENS,
        |_, s| s.layout.spans = s.layout.spans.wrapping_byte_add(4),
        (102, 19, [8, 0, 0, 0], 0.0),
    ),
    case(
        "TOO_LONG",
        TOKENS,
        |_, s| s.logits.len = HUGE << 28,
        (103, 1, [HUGE << 28, 0, 0, 0], 0.0),
    ),
    case(
        "OVERLAP",
        LOSS,
        |_, s| s.pairs.reference_sums = s.at(Slot::D),
        (104, 9, [8, 0, 0, 0], 0.0),
    ),
    case("UNKNOWN_VALUE", TOKENS, |_, s| s.logits.r#type = 7, (105, 110, [7, 0, 0, 0], 7.0)),
    case(
        "UNKNOWN_VALUE",
        LOSS,
        |_, s| s.objective.kind = -5,
        (105, 106, [4_294_967_291, 0, 0, 0], -5.0),
    ),
    case("FIELD_UNUSED", TOKENS, |_, s| s.layout.ignore = 5, (106, 116, [0; 4], 0.0)),
    case(
        "ROW_STATS",
        "dpo_row_stats_finish",
        |h, _| {
            let mut stats: dpo_row_stats = h.get(Slot::StatsFrom, 1)[0];
            stats.target = 1;
            h.put(Slot::StatsFrom, &[stats]);
        },
        (107, 5, [0; 4], 0.0),
    ),
    case(
        "STRUCT_SIZE",
        TOKENS,
        |_, s| s.layout.size = 8,
        (108, 116, [size_of::<dpo_layout>(), 8, 0, 0], 0.0),
    ),
];
