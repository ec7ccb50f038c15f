//! Every function that takes memory, in every form that takes other memory: its buffers, and its
//! call over the structs of a host.

use std::ptr;

use dpo_kernel::c::*;

use super::functions::{
    Function, Use, apart, by_sequences, function, head_call, head_grads, mixture, nll_loss,
    nll_of_pairs, nothing, of_bias, one_each, preference_loss, preference_step, sorted,
    unpaired_loss, unpaired_step, with_nll,
};
use super::slots::{ALL_AT_ONCE, AT_ONCE, HIDDEN, PAIRS, ROWS, SEQUENCES, Slot as S, VOCAB};
use crate::abi::{Call, HiddenRow, Tokens, Wpo};
use Use::{Read as R, ReadIf as RI, Write as W, WriteIf as WI};

/// The buffers of a step beside its logits and what its loss takes.
macro_rules! step_uses {
    ($($more:expr),* $(,)?) => {
        &[
            R(S::Targets), R(S::Spans), WI(S::SpanOrder), W(S::LogProbs), W(S::Norms),
            W(S::Sequences), W(S::D), W(S::Coefficients), RI(S::TokenWeights), WI(S::Tokens),
            $($more),*
        ]
    };
}

/// The buffers of a layout, and others.
macro_rules! layout_uses {
    ($($more:expr),* $(,)?) => {
        &[R(S::Targets), R(S::Spans), WI(S::SpanOrder), $($more),*]
    };
}

/// The buffers of a function of the head beside its results.
macro_rules! head_uses {
    ($($more:expr),* $(,)?) => {
        layout_uses![R(S::States), R(S::Weights), RI(S::Bias), W(S::Scratch), $($more),*]
    };
}

/// The buffers of the backward of a head that is trained, beside gradients of the head.
macro_rules! trained_uses {
    ($($more:expr),* $(,)?) => {
        layout_uses![
            R(S::States), R(S::Weights), RI(S::Bias), W(S::TrainedScratch), R(S::Norms),
            R(S::Coefficients), W(S::RowsOut), $($more),*
        ]
    };
}

/// Where the forward of a head writes.
macro_rules! tokens_of {
    ($s:ident) => {
        Tokens {
            log_probs: $s.at(S::LogProbs),
            norms: $s.at(S::Norms),
            details: $s.at(S::Details),
            summary: $s.at(S::Tokens),
        }
    };
}

pub static FUNCTIONS: &[Function] = &[
    function("dpo_spans_of_batch", &[W(S::SpansOut)], nothing, |s| {
        Call::SpansOfBatch(3, s.at(S::SpansOut), SEQUENCES)
    }),
    function("dpo_spans_of_offsets", &[R(S::Offsets), W(S::SpansOut)], nothing, |s| {
        Call::SpansOfOffsets(s.at(S::Offsets), SEQUENCES + 1, s.at(S::SpansOut), SEQUENCES)
    }),
    function("dpo_spans_of_offsets_i32", &[R(S::Offsets), W(S::SpansOut)], nothing, |s| {
        Call::SpansOfOffsetsI32(s.at(S::Offsets), SEQUENCES + 1, s.at(S::SpansOut), SEQUENCES)
    }),
    function("dpo_targets_of_i64", &[R(S::Labels), W(S::TargetsOut)], nothing, |s| {
        Call::TargetsOfI64(s.at(S::Labels), ROWS, -100, s.at(S::TargetsOut))
    }),
    function("dpo_row_stats_new", &[W(S::Stats)], nothing, |s| {
        Call::RowStatsNew(&raw const s.transform, 3, 5, s.at(S::Stats))
    }),
    function("dpo_row_stats_fold", &[R(S::Tile), W(S::Stats)], nothing, |s| {
        Call::RowStatsFold(s.dispatch, s.at(S::Stats), 1, s.at(S::Tile), VOCAB, 3)
    }),
    function("dpo_row_stats_merge", &[R(S::StatsFrom), W(S::Stats)], nothing, |s| {
        Call::RowStatsMerge(s.at(S::Stats), s.at(S::StatsFrom))
    }),
    function("dpo_row_stats_write_bytes", &[R(S::StatsRow), W(S::RowBytes)], nothing, |s| {
        Call::RowStatsWriteBytes(s.at(S::StatsRow), s.at(S::RowBytes), s.row_bytes)
    }),
    function(
        "dpo_row_stats_write_bytes of details",
        &[R(S::StatsDetailed), W(S::RowDetailBytes)],
        nothing,
        |s| {
            let (from, bytes) = (s.at(S::StatsDetailed), s.at(S::RowDetailBytes));
            Call::RowStatsWriteBytes(from, bytes, DPO_ROW_DETAIL_BYTES)
        },
    ),
    function("dpo_row_stats_from_bytes", &[R(S::RowBytes), W(S::Stats)], nothing, |s| {
        let (bytes, out) = (s.at(S::RowBytes), s.at(S::Stats));
        Call::RowStatsFromBytes(&raw const s.transform, bytes, s.row_bytes, out)
    }),
    function(
        "dpo_row_stats_from_bytes of details",
        &[R(S::RowDetailBytes), W(S::Stats)],
        nothing,
        |s| {
            let (bytes, out) = (s.at(S::RowDetailBytes), s.at(S::Stats));
            Call::RowStatsFromBytes(&raw const s.transform, bytes, DPO_ROW_DETAIL_BYTES, out)
        },
    ),
    function("dpo_row_stats_finish", &[R(S::StatsFrom), W(S::RowResult)], nothing, |s| {
        Call::RowStatsFinish(s.at(S::StatsFrom), s.at(S::RowResult))
    }),
    function(
        "dpo_token_log_probs",
        layout_uses![R(S::Logits), W(S::LogProbs), WI(S::Norms), WI(S::Details), WI(S::Tokens)],
        nothing,
        |s| {
            let (logits, layout) = (&raw const s.logits, &raw const s.layout);
            Call::TokenLogProbs(s.dispatch, logits, layout, tokens_of!(s))
        },
    ),
    function(
        "dpo_sequence_log_probs",
        layout_uses![R(S::LogProbs), RI(S::TokenWeights), W(S::Sequences)],
        nothing,
        |s| {
            let (log_probs, weights) = (s.at(S::LogProbs), s.at(S::TokenWeights));
            Call::SequenceLogProbs(log_probs, &raw const s.layout, weights, s.at(S::Sequences))
        },
    ),
    function("dpo_loss_parse", &[R(S::Name), W(S::Number)], nothing, |s| {
        Call::LossParse(s.at(S::Name), 5, s.at(S::Number))
    }),
    function("dpo_evaluate_pair", &[W(S::OneLoss)], nothing, |s| {
        Call::EvaluatePair(&raw const s.loss, &raw const s.pair, s.at(S::OneLoss))
    }),
    function(
        "dpo_preference_loss",
        &[
            R(S::Sequences),
            R(S::Pairs),
            R(S::Sums),
            RI(S::PairWeights),
            RI(S::PairOffsets),
            R(S::SingleLoss),
            W(S::PairLosses),
            W(S::D),
            W(S::Summary),
        ],
        nothing,
        preference_loss,
    ),
    function(
        "dpo_preference_loss of a mixture, with sequences as reference",
        &[
            R(S::Sequences),
            R(S::Pairs),
            R(S::Reference),
            RI(S::PairWeights),
            RI(S::PairOffsets),
            R(S::Losses),
            R(S::TermWeights),
            W(S::PairLosses),
            W(S::D),
            W(S::Summary),
        ],
        |s| {
            mixture(s);
            by_sequences(s);
        },
        preference_loss,
    ),
    function(
        "dpo_preference_loss of the sorted batch",
        &[
            R(S::Sequences),
            R(S::Pairs),
            R(S::Sums),
            R(S::SortedLoss),
            W(S::PairOrder),
            W(S::PairLosses),
            W(S::D),
            W(S::Summary),
        ],
        sorted,
        preference_loss,
    ),
    function(
        "dpo_preference_loss of a loss a pair",
        &[R(S::Sequences), R(S::Losses), W(S::PairLosses), W(S::D), W(S::Summary)],
        |s| {
            s.objective.kind = DPO_OBJECTIVE_PER_PAIR;
            s.objective.losses = s.at(S::Losses);
            s.objective.count = PAIRS;
        },
        preference_loss,
    ),
    function(
        "dpo_unpaired_loss",
        &[
            R(S::Sequences),
            R(S::Answers),
            R(S::Sums),
            RI(S::AnswerWeights),
            W(S::AnswerLosses),
            W(S::D),
            W(S::UnpairedSummary),
        ],
        nothing,
        unpaired_loss,
    ),
    function(
        "dpo_unpaired_loss of a loss an answer, with sequences as reference",
        &[
            R(S::Sequences),
            R(S::Answers),
            R(S::Reference),
            RI(S::AnswerWeights),
            R(S::AnswerLossKinds),
            W(S::AnswerLosses),
            W(S::D),
            W(S::UnpairedSummary),
        ],
        |s| {
            one_each(s);
            by_sequences(s);
        },
        unpaired_loss,
    ),
    function(
        "dpo_nll_loss",
        &[R(S::Sequences), R(S::NllAnswers), RI(S::NllWeights), W(S::DNll), W(S::NllSummary)],
        nothing,
        nll_loss,
    ),
    function(
        "dpo_nll_loss of chosen answers",
        &[R(S::Sequences), R(S::Pairs), RI(S::PairWeights), W(S::DNll), W(S::NllSummary)],
        nll_of_pairs,
        nll_loss,
    ),
    function("dpo_ld_token_weights", layout_uses![R(S::Pairs), W(S::LdWeights)], nothing, |s| {
        let (pairs, to) = (s.at(S::Pairs), s.at(S::LdWeights));
        Call::LdTokenWeights(0.25, &raw const s.layout, pairs, PAIRS, to)
    }),
    function(
        "dpo_wpo_pair_weights",
        layout_uses![R(S::Pairs), R(S::LogProbs), R(S::Details), W(S::Wpo)],
        nothing,
        |s| {
            let (log_probs, details) = (s.at(S::LogProbs), s.at(S::Details));
            let of = Wpo { log_probs, details, weights: s.at(S::Wpo) };
            Call::WpoPairWeights(1, &raw const s.layout, (s.at(S::Pairs), PAIRS), of)
        },
    ),
    function("dpo_odpo_offset", &[W(S::Offset)], nothing, |s| {
        Call::OdpoOffset(0.5, 3.0, s.at(S::Offset))
    }),
    function("dpo_length_offset", &[W(S::Offset)], nothing, |s| {
        Call::LengthOffset(0.5, 9, 4, s.at(S::Offset))
    }),
    function(
        "dpo_token_coefficients",
        layout_uses![R(S::D), RI(S::TokenWeights), RI(S::DNll), W(S::Coefficients)],
        nothing,
        |s| {
            let (d, weights) = (s.at(S::D), s.at(S::TokenWeights));
            let (d_nll, out) = (s.at(S::DNll), s.at(S::Coefficients));
            Call::TokenCoefficients(&raw const s.layout, d, weights, d_nll, out)
        },
    ),
    function(
        "dpo_logit_grads",
        layout_uses![R(S::Logits), R(S::Norms), R(S::Coefficients), W(S::Grads)],
        nothing,
        |s| {
            let (layout, grads) = (&raw const s.layout, &raw const s.grads);
            let logits = &raw const s.logits;
            Call::LogitGrads(s.dispatch, logits, layout, grads, &raw const s.grads_to)
        },
    ),
    function(
        "dpo_logit_grads_in_place",
        layout_uses![R(S::Norms), R(S::Coefficients), W(S::Logits)],
        nothing,
        |s| {
            let (layout, grads) = (&raw const s.layout, &raw const s.grads);
            Call::LogitGradsInPlace(s.dispatch, &raw const s.in_place, layout, grads)
        },
    ),
    function("dpo_tile_grads_in_place", &[W(S::Tile)], nothing, |s| {
        Call::TileGradsInPlace(s.dispatch, &raw const s.tile)
    }),
    function("dpo_head_scratch_len", &[R(S::Weights), RI(S::Bias), W(S::Offset)], nothing, |s| {
        Call::HeadScratchLen(&raw const s.head, AT_ONCE, s.at(S::Offset))
    }),
    function(
        "dpo_head_token_log_probs",
        head_uses![W(S::LogProbs), WI(S::Norms), WI(S::Details), WI(S::Tokens)],
        nothing,
        |s| Call::HeadTokenLogProbs(s.dispatch, head_call(s), tokens_of!(s)),
    ),
    function(
        "dpo_head_forward",
        head_uses![W(S::LogProbs), WI(S::Norms), WI(S::Details), WI(S::Tokens), W(S::RowsOut)],
        nothing,
        |s| Call::HeadForward(s.dispatch, head_call(s), tokens_of!(s), &raw const s.sums),
    ),
    function(
        "dpo_hidden_grads_in_place",
        head_uses![R(S::Norms), R(S::Coefficients), W(S::RowsOut)],
        nothing,
        |s| {
            let (grads, sums) = (&raw const s.grads, &raw const s.sums);
            Call::HiddenGradsInPlace(s.dispatch, head_call(s), grads, sums)
        },
    ),
    function(
        "dpo_hidden_grads",
        head_uses![R(S::Norms), R(S::Coefficients), R(S::RowsIn), W(S::HiddenGrads)],
        nothing,
        |s| {
            let (grads, sums) = (&raw const s.grads, &raw const s.sums_in);
            Call::HiddenGrads(s.dispatch, head_call(s), grads, sums, &raw const s.hidden_grads)
        },
    ),
    function(
        "dpo_head_grads_scratch_len",
        &[R(S::Weights), RI(S::Bias), W(S::HeadGrads), WI(S::BiasGrads), W(S::Offset)],
        nothing,
        |s| {
            let (head, d_head) = (&raw const s.head, &raw const s.d_head);
            Call::HeadGradsScratchLen(head, d_head, ALL_AT_ONCE, s.at(S::Offset))
        },
    ),
    function(
        "dpo_head_grads of weights and bias",
        trained_uses![W(S::HeadGrads), WI(S::BiasGrads)],
        nothing,
        head_grads,
    ),
    function(
        "dpo_head_grads of the bias alone",
        trained_uses![W(S::BiasGrads)],
        of_bias,
        head_grads,
    ),
    function(
        "dpo_tile_terms_in_place",
        &[R(S::StatsBefore), R(S::StatsRow), W(S::Tile), W(S::Scale)],
        nothing,
        |s| {
            let (of, tile) = ([s.at(S::StatsBefore), s.at(S::StatsRow)], (s.at(S::Tile), VOCAB));
            let of = of.map(|of: *mut dpo_row_stats| of.cast_const());
            Call::TileTermsInPlace(s.dispatch, of, tile, 0, s.at(S::Scale))
        },
    ),
    function(
        "dpo_hidden_row_grads_in_place",
        &[R(S::StatsRow), R(S::TargetRow), W(S::RowSums)],
        nothing,
        |s| {
            let of = HiddenRow {
                coefficient: s.row.0,
                target_logit: s.row.1,
                r#type: 1,
                target_row: s.at(S::TargetRow),
                sums: s.at(S::RowSums),
                len: HIDDEN,
            };
            Call::HiddenRowGradsInPlace(s.dispatch, s.at(S::StatsRow), of)
        },
    ),
    function(
        "dpo_preference_step in place, with a term of chosen answers",
        step_uses![
            W(S::Logits),
            R(S::Pairs),
            R(S::Sums),
            RI(S::PairWeights),
            RI(S::PairOffsets),
            R(S::SingleLoss),
            W(S::PairLosses),
            W(S::Summary),
            W(S::DNll),
            WI(S::NllSummary),
        ],
        |s| {
            with_nll(s);
            (s.nll.of, s.nll.answers) = (DPO_NLL_OF_CHOSEN, ptr::null());
            (s.nll.count, s.nll.weights) = (0, ptr::null());
        },
        preference_step,
    ),
    function(
        "dpo_preference_step apart, with a mixture, sequences as reference, a term of answers",
        step_uses![
            R(S::Logits),
            W(S::Grads),
            R(S::Pairs),
            R(S::Reference),
            RI(S::PairWeights),
            RI(S::PairOffsets),
            R(S::Losses),
            R(S::TermWeights),
            W(S::PairLosses),
            W(S::Summary),
            R(S::NllAnswers),
            RI(S::NllWeights),
            W(S::DNll),
            WI(S::NllSummary),
        ],
        |s| {
            with_nll(s);
            apart(s);
            mixture(s);
            by_sequences(s);
            // Which would count otherwise than the reference.
            s.step.token_weights = s.at(S::TokenWeights);
        },
        preference_step,
    ),
    function(
        "dpo_preference_step of the sorted batch",
        step_uses![
            W(S::Logits),
            R(S::Pairs),
            R(S::Sums),
            R(S::SortedLoss),
            W(S::PairOrder),
            W(S::PairLosses),
            W(S::Summary),
        ],
        sorted,
        preference_step,
    ),
    function(
        "dpo_unpaired_step in place",
        step_uses![
            W(S::Logits),
            R(S::Answers),
            R(S::Sums),
            RI(S::AnswerWeights),
            W(S::AnswerLosses),
            W(S::UnpairedSummary),
        ],
        nothing,
        unpaired_step,
    ),
    function(
        "dpo_unpaired_step apart, with a loss an answer, sequences as reference",
        step_uses![
            R(S::Logits),
            W(S::Grads),
            R(S::Answers),
            R(S::Reference),
            RI(S::AnswerWeights),
            R(S::AnswerLossKinds),
            W(S::AnswerLosses),
            W(S::UnpairedSummary),
        ],
        |s| {
            apart(s);
            one_each(s);
            by_sequences(s);
        },
        unpaired_step,
    ),
];
