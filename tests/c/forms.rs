//! Everything that a call may say otherwise: element types, strides, transforms, weights, terms,
//! bounds, and what is left out. Each gives the result of the Rust functions, and another one than
//! the call that does not say it.

use std::ptr;

use dpo_kernel::c::*;
use dpo_kernel::{Element, bf16, f16};

use crate::abi::Call;
use crate::host::functions::{FUNCTIONS, Function, Use};
use crate::host::slots::{HIDDEN, HIDDEN_STRIDE, ROWS, STRIDE, SUMS, Slot, VOCAB};
use crate::host::{Host, Structs, loss};

/// What a call leaves in its buffers.
fn outcome(
    function: &Function,
    change: impl FnOnce(&mut Host, &mut Structs),
) -> (dpo_status, Vec<u8>) {
    let mut host = Host::new();
    let mut structs = host.structs();
    (function.form)(&mut structs);
    change(&mut host, &mut structs);
    let call = (function.call)(&structs);
    let status = host.judge(&call).unwrap_or_else(|why| panic!("{}: {why}", function.name));
    let written = function.uses.iter().filter(|used| used.is_written()).map(|used| used.slot());
    // Memory to sort and to work in holds anything.
    let anything = [Slot::SpanOrder, Slot::PairOrder];
    let written = written.filter(|slot| !anything.contains(slot) && !slot.is_scratch());
    (status, written.flat_map(|slot| host.get::<u8>(slot, slot.form().0)).collect())
}

/// A part of the names of functions, and a change that all of them feel.
type Form = (&'static str, fn(&mut Host, &mut Structs));

static FORMS: &[Form] = &[
    ("dpo_token_log_probs", |_, s| s.logits.transform.scale = 0.0),
    ("dpo_token_log_probs", |_, s| s.logits.transform.softcap = 0.0),
    ("dpo_token_log_probs", |_, s| s.logits.transform.temperature = 0.0),
    ("dpo_token_log_probs", |h, s| dense(h, s, 4)),
    ("dpo_token_log_probs", |h, s| dense(h, s, 0)),
    ("dpo_token_log_probs", ignoring_zero),
    ("dpo_token_log_probs", |_, s| s.layout.count = 3),
    ("dpo_token_log_probs", |h, s| of_type::<f16>(h, s, 2)),
    ("dpo_token_log_probs", |h, s| of_type::<bf16>(h, s, 3)),
    ("dpo_row_stats_write_bytes", |h, _| {
        for slot in [Slot::StatsRow, Slot::StatsDetailed] {
            let stats: dpo_row_stats = h.get(slot, 1)[0];
            h.put(slot, &[dpo_row_stats { columns: stats.columns + 1, ..stats }]);
        }
    }),
    ("dpo_row_stats_from_bytes", |h, _| {
        // Columns.
        h.put(Slot::RowBytes, &with_byte(&h.get(Slot::RowBytes, DPO_ROW_BYTES), 24, 9));
        let bytes = h.get(Slot::RowDetailBytes, DPO_ROW_DETAIL_BYTES);
        h.put(Slot::RowDetailBytes, &with_byte(&bytes, 24, 9));
    }),
    ("dpo_sequence_log_probs", |_, s| s.at[Slot::TokenWeights as usize] = 0),
    ("dpo_sequence_log_probs", |h, _| h.put(Slot::TokenWeights, &[0.0_f32, 0.5])),
    ("dpo_preference_loss", |_, s| s.pairs.divisor = 4.0),
    ("dpo_preference_step", |_, s| s.pairs.divisor = 4.0),
    ("dpo_preference_loss of a loss", |h, _| h.put(Slot::PairWeights, &[0.0_f32, 1.5])),
    ("dpo_preference_loss of a mix", |h, _| h.put(Slot::PairWeights, &[0.0_f32, 1.5])),
    ("dpo_preference_step apart", |h, _| h.put(Slot::PairWeights, &[0.5_f32, 0.0])),
    ("dpo_preference_loss of a mixture", |h, _| h.put(Slot::TermWeights, &[0.5_f64, 0.75])),
    ("dpo_preference_step apart", |h, _| h.put(Slot::TermWeights, &[0.5_f64, 0.75])),
    ("dpo_preference_step apart", |_, s| s.objective.count = 1),
    ("dpo_preference_loss", |h, _| h.put(Slot::Pairs, &[dpo_pair::new(1, 0)])),
    ("dpo_unpaired", |_, s| s.answers.divisor = 4.0),
    ("dpo_unpaired", |h, _| h.put(Slot::AnswerWeights, &[0.0_f32, 1.25, 1.0, 0.5])),
    ("dpo_unpaired", |_, s| s.answers.count = 3),
    ("dpo_unpaired_step in place", |_, s| s.answer_loss = loss(18, &[(1, 0.25)])),
    ("a loss an answer", |h, _| {
        let of = |unread| loss(23, &[(14, 0.25), (unread, 0.0)]);
        h.put(Slot::AnswerLossKinds, &[of(15), of(16), of(16), of(15)]);
    }),
    ("dpo_unpaired_step", |h, _| {
        let answers = [(0, 0), (3, 1), (2, 1), (1, 0)];
        h.put(Slot::Answers, &answers.map(|(sequence, label)| dpo_answer { sequence, label }));
    }),
    ("dpo_nll_loss", |_, s| s.nll.weight = 0.5),
    ("dpo_nll_loss", |_, s| s.nll.divisor = 0.5),
    ("dpo_nll_loss", |_, s| s.nll.per = DPO_NLL_PER_TOKEN),
    ("dpo_nll_loss", |_, s| (s.nll.per, s.nll.term) = (DPO_NLL_PER_TOKEN, DPO_NLL_TERM_XPO)),
    ("dpo_nll_loss", |_, s| s.nll.weights = ptr::null()),
    ("dpo_nll_loss", |_, s| s.nll.count = 1),
    ("of chosen answers", |_, s| s.nll.weight = 0.5),
    ("of chosen answers", |_, s| s.nll.divisor = 0.5),
    ("of chosen answers", |_, s| s.nll.per = DPO_NLL_PER_TOKEN),
    ("step in place, with a term", |_, s| {
        (s.nll.per, s.nll.term) = (DPO_NLL_PER_TOKEN, DPO_NLL_TERM_XPO);
    }),
    ("step in place, with a term", |_, s| s.nll.weights = s.at(Slot::NllWeights)),
    ("step apart, with a mixture", |_, s| s.nll.weight = 0.5),
    ("step apart, with a mixture", |_, s| s.nll.weights = ptr::null()),
    ("step apart, with a mixture", |_, s| s.nll.count = 1),
    ("_step", |_, s| s.step.token_weights = ptr::null()),
    ("_step", |_, s| s.step.unscored = DPO_UNSCORED_KEEP),
    ("_step", |_, s| (s.in_place.transform.scale, s.logits.transform.scale) = (0.0, 0.0)),
    ("_step in place", |h, s| dense(h, s, 0)),
    ("_step apart", |_, s| (s.grads_to.stride, s.grads_to.len) = (0, 32)),
    ("_step apart", |h, s| dense(h, s, 0)),
    ("_step", |h, s| of_type::<f16>(h, s, 2)),
    ("_step", |h, s| of_type::<bf16>(h, s, 3)),
    ("_step apart", |h, s| of_wider::<f16>(h, s, 2)),
    ("_step apart", |h, s| of_wider::<bf16>(h, s, 3)),
    ("_step in place", ignoring_zero),
    ("dpo_ld_token_weights", |h, _| h.put(Slot::Pairs, &[dpo_pair::new(3, 2)])),
    ("dpo_wpo_pair_weights", |h, _| h.put(Slot::LogProbs, &[-1.0_f32])),
    ("dpo_wpo_pair_weights", |h, _| h.put(Slot::Details, &[[0.0_f32, 0.0, -3.0, 0.0]])),
    ("dpo_token_coefficients", |_, s| s.at[Slot::TokenWeights as usize] = 0),
    ("dpo_token_coefficients", |_, s| s.at[Slot::DNll as usize] = 0),
    ("dpo_logit_grads", |_, s| s.grads.unscored = DPO_UNSCORED_KEEP),
    ("dpo_logit_grads", |h, _| h.put(Slot::Coefficients, &[-0.25])),
    ("dpo_logit_grads", |h, s| of_type::<f16>(h, s, 2)),
    ("dpo_logit_grads", |h, s| of_type::<bf16>(h, s, 3)),
    ("dpo_logit_grads_in_place", |h, s| dense(h, s, 0)),
    ("dpo_head_scratch_len", |_, s| s.head.panels = 1),
    ("dpo_head_scratch_len", |_, s| s.head.hidden = 2),
    ("dpo_head_t", |h, s| states_of::<f16>(h, s, 2)),
    ("dpo_head_f", |h, s| states_of::<bf16>(h, s, 3)),
    ("dpo_head_t", |h, s| weights_of::<f16>(h, s, 2)),
    ("dpo_head_f", |h, s| weights_of::<bf16>(h, s, 3)),
    ("dpo_head_t", |_, s| s.head.transform.scale = 0.0),
    ("dpo_head_f", |_, s| s.head.transform.softcap = 0.0),
    ("dpo_head_f", |_, s| s.head.transform.temperature = 0.0),
    ("dpo_head_t", |_, s| s.head.bias = ptr::null()),
    ("dpo_head_f", |h, _| h.put(Slot::Bias, &[1.0_f32])),
    ("dpo_head_f", |h, s| dense_states(h, s, 0)),
    ("dpo_head_t", |h, s| dense_states(h, s, HIDDEN)),
    ("dpo_head_f", |_, s| s.layout.count = 3),
    ("dpo_head_f", ignoring_zero),
    ("dpo_hidden_grads", |_, s| s.grads.unscored = DPO_UNSCORED_KEEP),
    ("dpo_hidden_grads", |h, _| h.put(Slot::Coefficients, &[-0.25])),
    ("dpo_hidden_grads", |h, s| states_of::<f16>(h, s, 2)),
    ("dpo_hidden_grads", |h, s| weights_of::<bf16>(h, s, 3)),
    ("dpo_hidden_grads", |h, _| h.put(Slot::Weights, &[0.5_f32; VOCAB * HIDDEN_STRIDE])),
    ("dpo_hidden_grads_in_place", |h, _| h.put(Slot::RowsOut, &[0.5_f32])),
    ("dpo_hidden_grads", |h, s| {
        states_of::<f16>(h, s, 2);
        s.hidden_grads.r#type = 2;
    }),
    ("dpo_hidden_grads", |h, s| {
        states_of::<bf16>(h, s, 3);
        s.hidden_grads.r#type = 3;
    }),
    ("dpo_head_grads_scratch_len", |_, s| (s.d_head.r#type, s.head.hidden) = (3, 2)),
    ("dpo_head_grads_scratch_len", |_, s| s.d_head.r#type = 2),
    ("dpo_head_grads of", |_, s| s.d_head.mode = DPO_GRADS_ADD),
    ("dpo_head_grads of", |_, s| s.grads.unscored = DPO_UNSCORED_KEEP),
    ("dpo_head_grads of", |h, _| h.put(Slot::Coefficients, &[-0.25])),
    ("dpo_head_grads of", |h, s| states_of::<f16>(h, s, 2)),
    ("dpo_head_grads of", |h, s| weights_of::<bf16>(h, s, 3)),
    ("dpo_head_grads of", |_, s| s.head.bias = ptr::null()),
    ("dpo_head_grads of", |_, s| s.head.transform.softcap = 0.0),
    ("dpo_head_grads of", ignoring_zero),
    ("dpo_head_grads of w", |_, s| (s.d_head.stride, s.d_head.len) = (0, VOCAB * HIDDEN)),
    ("dpo_head_grads of w", |h, s| grads_of::<f16>(h, s, 2)),
    ("dpo_head_grads of w", |h, s| grads_of::<bf16>(h, s, 3)),
    ("dpo_head_grads of w", |h, s| {
        grads_of::<bf16>(h, s, 3);
        s.d_head.mode = DPO_GRADS_ADD;
    }),
    ("dpo_head_grads of w", |_, s| s.d_head.bias = ptr::null_mut()),
    ("dpo_tile_terms_in_place", |h, s| {
        let stats: Vec<dpo_row_stats> = h.get(Slot::StatsRow, 1);
        h.put(Slot::StatsBefore, &stats);
        s.at[Slot::StatsRow as usize] = h.at[Slot::StatsFrom as usize];
    }),
    ("dpo_hidden_row_grads_in_place", |_, s| s.row.0 = 0.25),
    ("dpo_hidden_row_grads_in_place", |_, s| s.row.1 = f32::NEG_INFINITY),
    ("dpo_hidden_row_grads_in_place", |h, _| h.put(Slot::TargetRow, &[1.0_f32])),
    ("dpo_tile_grads_in_place", |_, s| s.tile.coefficient = 0.25),
    ("dpo_tile_grads_in_place", |_, s| s.tile.first_column = 3),
    ("dpo_tile_grads_in_place", |_, s| s.tile.target = 3),
    ("dpo_tile_grads_in_place", |_, s| s.tile.len = 3),
    ("dpo_tile_grads_in_place", |_, s| s.tile.transform.softcap = 0.0),
    ("dpo_tile_grads_in_place", |h, s| s.tile.norm = h.get(Slot::Norms, 2)[1]),
    ("dpo_tile_grads_in_place", |h, s| {
        s.tile.r#type = 2;
        h.put(Slot::Tile, &[1.0, -2.0, 0.5, 3.0].map(f16::from_f32));
    }),
    ("dpo_evaluate_pair", |_, s| s.pair.policy_chosen = -20.0),
    ("dpo_evaluate_pair", |_, s| s.pair.policy_rejected = -20.0),
    ("dpo_evaluate_pair", |_, s| s.pair.reference_chosen = -20.0),
    ("dpo_evaluate_pair", |_, s| s.pair.reference_rejected = -20.0),
    ("dpo_evaluate_pair", |_, s| s.pair.offset = 0.0),
    ("dpo_evaluate_pair", |_, s| s.loss = loss(7, &[])),
];

fn with_byte(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = byte;
    bytes
}

/// The label that is to be ignored is the one given, whatever it is, and no other.
#[test]
fn labels_are_ignored_by_the_value_given() {
    for ignore in [-100, -1, 0, 7, 2, i64::MIN] {
        for other in [ignore, -100, -1] {
            let mut host = Host::new();
            host.put(Slot::Labels, &[1_i64, 0, ignore, 3, 2, 1, other, 7]);
            let s = host.structs();
            let (labels, targets) = (s.at(Slot::Labels), s.at(Slot::TargetsOut));
            host.judge(&Call::TargetsOfI64(labels, ROWS, ignore, targets))
                .unwrap_or_else(|why| panic!("{ignore} beside {other}: {why}"));
        }
    }
}

/// Rows whose target is 0 are not scored.
fn ignoring_zero(host: &mut Host, s: &mut Structs) {
    host.put(Slot::Targets, &[1_u32, 0, 3, 2, 0, 1, 0, 2]);
    (s.layout.given, s.layout.ignore) = (DPO_LAYOUT_IGNORE, 0);
}

/// Rows without padding, which begin elsewhere than those with it.
fn dense(host: &mut Host, s: &mut Structs, stride: usize) {
    let logits: Vec<f32> = host.get(Slot::Logits, ROWS * STRIDE);
    let finite = logits.into_iter().map(|x| if x.is_nan() { 0.25 } else { x });
    host.put(Slot::Logits, &finite.collect::<Vec<_>>());
    (s.logits.stride, s.logits.len) = (stride, ROWS * VOCAB);
    (s.in_place.stride, s.in_place.len) = (stride, ROWS * VOCAB);
}

/// The logits as numbers of another type, and a place for gradients of it.
fn of_type<E: Element>(host: &mut Host, s: &mut Structs, number: i32) {
    let logits: Vec<f32> = host.get(Slot::Logits, ROWS * STRIDE);
    host.put(Slot::Logits, &logits.into_iter().map(|x| E::from_f32(1.01 * x)).collect::<Vec<_>>());
    (s.logits.r#type, s.in_place.r#type, s.grads_to.r#type) = (number, number, number);
}

/// The same, with gradients in f32.
fn of_wider<E: Element>(host: &mut Host, s: &mut Structs, number: i32) {
    of_type::<E>(host, s, number);
    s.grads_to.r#type = DPO_TYPE_F32;
}

/// Hidden states as numbers of another type, and their gradients in f32.
fn states_of<E: Element>(host: &mut Host, s: &mut Structs, number: i32) {
    let states: Vec<f32> = host.get(Slot::States, ROWS * HIDDEN_STRIDE);
    let other: Vec<E> = states.into_iter().map(|x| E::from_f32(1.01 * x)).collect();
    host.put(Slot::States, &other);
    s.states.r#type = number;
}

/// The head's weights as numbers of another type.
fn weights_of<E: Element>(host: &mut Host, s: &mut Structs, number: i32) {
    let weights: Vec<f32> = host.get(Slot::Weights, VOCAB * HIDDEN_STRIDE);
    let other: Vec<E> = weights.into_iter().map(|x| E::from_f32(1.01 * x)).collect();
    host.put(Slot::Weights, &other);
    s.head.r#type = number;
}

/// Gradients of the head as numbers of 16 bits, whose sums need memory.
fn grads_of<G: Element>(host: &mut Host, s: &mut Structs, number: i32) {
    let grads: Vec<f32> = host.get(Slot::HeadGrads, VOCAB * HIDDEN_STRIDE);
    let other: Vec<G> = grads.into_iter().map(|x| G::from_f32(1.01 * x)).collect();
    host.put(Slot::HeadGrads, &other);
    s.d_head.r#type = number;
    s.trained_scratch.len += SUMS;
}

/// States and weights without padding, which begin elsewhere than those with it.
fn dense_states(host: &mut Host, s: &mut Structs, stride: usize) {
    for (slot, rows) in [(Slot::States, ROWS), (Slot::Weights, VOCAB)] {
        let all: Vec<f32> = host.get(slot, rows * HIDDEN_STRIDE);
        let finite = all.into_iter().map(|x| if x.is_nan() { 0.75 } else { x });
        host.put(slot, &finite.collect::<Vec<_>>());
    }
    (s.states.stride, s.states.len) = (stride, ROWS * HIDDEN);
    (s.head.stride, s.head.len) = (stride, VOCAB * HIDDEN);
}

#[test]
fn whatever_a_call_says_is_heard() {
    let (mut tried, mut unheard) = (0, Vec::new());
    for (at, (part, change)) in FORMS.iter().enumerate() {
        for function in FUNCTIONS.iter().filter(|function| function.name.contains(part)) {
            let base = outcome(function, |_, _| ());
            let found = outcome(function, change);
            if found.0 != DPO_OK || found == base {
                unheard.push(format!("form {at} of {}: status {}", function.name, found.0));
            }
            tried += 1;
        }
    }
    assert!(unheard.is_empty(), "refused, or without a difference: {unheard:#?}");
    assert!(tried > 100, "{tried} forms were tried");
}

/// Both bounds of WPO, which differ where a weight is above 1.
#[test]
fn weights_of_wpo_are_bounded_or_not() {
    use crate::abi::Wpo;
    let mut host = Host::new();
    // ln w = Σ over both answers of the mean of log p − ln Σ p².
    host.put(Slot::LogProbs, &[-0.5_f32; ROWS]);
    let detail = |squares| dpo_row_details {
        entropy: 0.0,
        mean_logit: 0.0,
        log_sum_sq_probs: squares,
        argmax: 0,
    };
    let squares = [-1.0, -1.0, -1.0, -0.25, -0.25, -0.25, 0.0, -0.25];
    host.put(Slot::Details, &squares.map(detail));
    let s = host.structs();
    for (bound, due) in [(0, [1.0, (-0.5_f64).exp()]), (1, [1.0_f64.exp(), (-0.5_f64).exp()])] {
        let of = Wpo {
            log_probs: s.at(Slot::LogProbs),
            details: s.at(Slot::Details),
            weights: s.at(Slot::Wpo),
        };
        let call = Call::WpoPairWeights(bound, &raw const s.layout, (s.at(Slot::Pairs), 2), of);
        assert_eq!(host.judge(&call), Ok(DPO_OK));
        let found: Vec<f32> = host.get(Slot::Wpo, 2);
        assert_eq!(found, due.map(|weight| weight as f32), "bound {bound}");
    }
    for bound in [-1, 2, i32::MAX] {
        let of = Wpo {
            log_probs: s.at(Slot::LogProbs),
            details: s.at(Slot::Details),
            weights: s.at(Slot::Wpo),
        };
        let call = Call::WpoPairWeights(bound, &raw const s.layout, (s.at(Slot::Pairs), 2), of);
        assert_eq!(host.judge(&call), Ok(DPO_ERROR_UNKNOWN_VALUE), "bound {bound}");
    }
}

/// Answers of weights of their own: figures by hand.
#[test]
fn weights_of_answers_are_those_of_their_answers() {
    let function = FUNCTIONS.iter().find(|f| f.name == "dpo_unpaired_loss").unwrap();
    let host = Host::new();
    let mut structs = host.structs();
    // KTO with β = 1, K = 0 and weights 1: 1 − σ(log-ratio) of a good answer, 1 − σ(−it) of a bad.
    structs.answer_loss = loss(23, &[(1, 1.0), (14, 0.0), (15, 1.0), (16, 1.0)]);
    assert_eq!(host.judge(&(function.call)(&structs)), Ok(DPO_OK));
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    // Sequences 0, 3, 2, 1: policy less reference, the sign of the label, the weight.
    let answers = [(0.5, 1.0, 0.5), (0.625, -1.0, 1.25), (-1.25, 1.0, 2.0), (1.0, -1.0, 0.75)];
    let losses: Vec<dpo_answer_loss> = host.get(Slot::AnswerLosses, 4);
    let summary = host.get::<dpo_unpaired_summary>(Slot::UnpairedSummary, 1)[0];
    let d: Vec<f64> = host.get(Slot::D, 4);
    let mut sums = [0.0; 2];
    for (i, (ratio, sign, weight)) in answers.into_iter().enumerate() {
        let due = weight * (1.0 - sigmoid(sign * ratio));
        assert!((losses[i].loss - due).abs() < 1e-14, "answer {i}: {}", losses[i].loss);
        sums[usize::from(sign < 0.0)] += due;
        let slope = -sign * weight * sigmoid(ratio) * sigmoid(-ratio) / 5.0;
        assert!((d[[0, 3, 2, 1][i]] - slope).abs() < 1e-14, "answer {i}");
    }
    let found = [summary.desirable_loss_sum, summary.undesirable_loss_sum];
    assert!((found[0] - sums[0]).abs() < 1e-14 && (found[1] - sums[1]).abs() < 1e-14);
    assert_eq!((summary.desirable, summary.undesirable, summary.left_out), (2, 2, 0));
}

/// Without what is optional a call leaves the rest as it is.
#[test]
fn what_is_left_out_changes_nothing_else() {
    let optional = |used: &&Use| used.is_optional() && used.is_written();
    for function in FUNCTIONS {
        for used in function.uses.iter().filter(optional) {
            let run = |is_there: bool| {
                let mut host = Host::new();
                let at = host.at[used.slot() as usize];
                host.at[used.slot() as usize] = if is_there { at } else { 0 };
                let mut structs = host.structs();
                (function.form)(&mut structs);
                assert_eq!(host.judge(&(function.call)(&structs)), Ok(DPO_OK));
                let written = function.uses.iter().filter(|other| other.is_written());
                let rest = written.filter(|other| other.slot() != used.slot());
                // Whose contents do not matter.
                let rest = rest.filter(|other| !other.slot().is_scratch());
                let rest: Vec<Vec<u8>> =
                    rest.map(|other| host.get(other.slot(), other.slot().form().0)).collect();
                rest
            };
            let sorts = used.slot() == Slot::SpanOrder;
            assert!(sorts || run(true) == run(false), "{}, {used:?}", function.name);
        }
    }
}

/// As many terms as a mixture may have, and one more.
#[test]
fn mixtures_have_eight_terms_at_most() {
    let name = "dpo_preference_loss of a mixture, with sequences as reference";
    let function = FUNCTIONS.iter().find(|f| f.name == name).unwrap();
    let losses: [dpo_loss; 9] = std::array::from_fn(|i| loss(0, &[(1, 0.125 * (i + 1) as f64)]));
    let weights: [f64; 9] = std::array::from_fn(|i| 0.5 + i as f64);
    let mut seen = Vec::new();
    for (count, due) in [(7, DPO_OK), (8, DPO_OK), (9, DPO_ERROR_TOO_LONG)] {
        let found = outcome(function, |_, structs| {
            structs.objective.losses = losses.as_ptr();
            structs.objective.term_weights = weights.as_ptr();
            structs.objective.count = count;
        });
        assert_eq!(found.0, due, "{count} terms");
        assert!(!seen.contains(&found.1), "{count} terms are as fewer");
        seen.push(found.1);
    }
    let none = outcome(function, |_, structs| structs.objective.count = 0);
    assert_eq!(none.0, DPO_ERROR_LENGTH);
}

/// Answers that a loss leaves out by its label are counted, whichever of the labels it is.
#[test]
fn losses_of_answers_leave_out_what_they_say() {
    let name = "dpo_unpaired_loss of a loss an answer, with sequences as reference";
    let function = FUNCTIONS.iter().find(|f| f.name == name).unwrap();
    // The answers are desirable, undesirable, desirable, undesirable.
    let of = |desirable, undesirable| loss(23, &[(14, 0.25), (15, desirable), (16, undesirable)]);
    for (each, left_out) in [
        ([of(1.0, 1.0), of(1.0, 1.0), of(1.0, 1.0), of(1.0, 1.0)], 0),
        ([of(0.0, 1.0), of(0.0, 1.0), of(1.0, 1.0), of(1.0, 1.0)], 1),
        ([of(1.0, 0.0), of(1.0, 0.0), of(1.0, 1.0), of(1.0, 1.0)], 1),
        ([of(0.0, 1.0), of(1.0, 0.0), of(1.0, 0.0), of(0.0, 1.0)], 2),
        ([of(0.0, 0.0), of(0.0, 0.0), of(0.0, 0.0), of(1.0, 1.0)], 3),
    ] {
        let mut host = Host::new();
        host.put(Slot::AnswerLossKinds, &each);
        let mut structs = host.structs();
        (function.form)(&mut structs);
        assert_eq!(host.judge(&(function.call)(&structs)), Ok(DPO_OK));
        let summary = host.get::<dpo_unpaired_summary>(Slot::UnpairedSummary, 1)[0];
        assert_eq!(summary.left_out, left_out);
    }
}
