//! Every field of the structs, set to what it should not be.

use std::ptr;

use dpo_kernel::c::*;

use crate::abi::Call;
use crate::arguments::prepared;
use crate::host::functions::FUNCTIONS;
use crate::host::slots::Slot;
use crate::host::{Host, Structs, loss};

/// Numbers that stand for choices, fields that must be 0, and fields that exclude one another, each
/// set to everything that it may not be.
#[test]
fn every_field_is_looked_at() {
    type Spoil = (&'static str, fn(&mut Structs, i32), &'static [i32], (i32, i32));
    const UNKNOWN: i32 = DPO_ERROR_UNKNOWN_VALUE;
    const UNUSED: i32 = DPO_ERROR_FIELD_UNUSED;
    const TRAINED: &str = "dpo_head_grads of weights and bias";
    const BIAS: &str = "dpo_head_grads of the bias alone";
    const BEYOND: &[i32] = &[i32::MIN, -1, 4, 5, 1000, i32::MAX];
    let spoils: [Spoil; 54] = [
        ("dpo_token_log_probs", |s, n| s.dispatch.level = n, BEYOND, (UNKNOWN, 109)),
        ("dpo_token_log_probs", |s, n| s.dispatch.arithmetic = n, &[-1, 3, 9], (UNKNOWN, 109)),
        ("dpo_token_log_probs", |s, n| s.logits.r#type = n, &[-1, 0, 4], (UNKNOWN, 110)),
        ("dpo_logit_grads", |s, n| s.logits.r#type = n, &[-1, 0, 4], (UNKNOWN, 110)),
        ("dpo_logit_grads", |s, n| s.grads_to.r#type = n, &[-1, 0, 2, 3, 4], (UNKNOWN, 110)),
        ("dpo_logit_grads_in_place", |s, n| s.in_place.r#type = n, &[-1, 0, 4], (UNKNOWN, 110)),
        ("dpo_tile_grads_in_place", |s, n| s.tile.r#type = n, &[-1, 0, 4], (UNKNOWN, 110)),
        ("dpo_token_log_probs", |s, n| s.layout.given = n as u32, &[-1, 2, 3], (UNKNOWN, 116)),
        ("dpo_token_log_probs", |s, n| s.layout.ignore = n as u32, &[-100, 1], (UNUSED, 116)),
        ("dpo_preference_loss", |s, n| s.objective.kind = n, &[-1, 3, 9], (UNKNOWN, 106)),
        ("dpo_preference_loss", |s, n| s.objective.reserved = n as u32, &[-1, 1], (UNUSED, 106)),
        (
            "dpo_preference_loss",
            |s, _| s.objective.term_weights = s.at(Slot::TermWeights),
            &[0],
            (UNUSED, 15),
        ),
        (
            "dpo_preference_loss",
            |s, n| (s.objective.order, s.objective.order_len) = (s.at(Slot::PairOrder), n as usize),
            &[0, 1, 4],
            (UNUSED, 14),
        ),
        (
            "dpo_preference_loss",
            |s, n| s.objective.order_len = n as usize,
            &[1, 4],
            (DPO_ERROR_NULL, 14),
        ),
        (
            "dpo_preference_loss of a loss a pair",
            |s, n| (s.objective.order, s.objective.order_len) = (s.at(Slot::PairOrder), n as usize),
            &[0, 1, 4],
            (UNUSED, 14),
        ),
        (
            "dpo_preference_loss of a loss a pair",
            |s, _| s.objective.term_weights = s.at(Slot::TermWeights),
            &[0],
            (UNUSED, 15),
        ),
        (
            "dpo_preference_loss of a mixture, with sequences as reference",
            |s, n| (s.objective.order, s.objective.order_len) = (s.at(Slot::PairOrder), n as usize),
            &[0, 1, 4],
            (UNUSED, 14),
        ),
        (
            "dpo_preference_loss of a mixture, with sequences as reference",
            |s, _| s.pairs.reference_sums = s.at(Slot::Sums),
            &[0],
            (UNUSED, 8),
        ),
        (
            "dpo_preference_loss of a mixture, with sequences as reference",
            |s, _| s.objective.term_weights = ptr::null(),
            &[0],
            (DPO_ERROR_NULL, 15),
        ),
        (
            "dpo_unpaired_loss",
            |s, _| s.answers.reference_sequences = s.at(Slot::Reference),
            &[0],
            (UNUSED, 8),
        ),
        ("dpo_nll_loss", |s, n| s.nll.per = n, &[-1, 2], (UNKNOWN, 113)),
        ("dpo_nll_loss", |s, n| s.nll.term = n, &[-1, 2], (UNKNOWN, 113)),
        ("dpo_nll_loss", |s, n| s.nll.of = n, &[-1, 2], (UNKNOWN, 113)),
        ("dpo_nll_loss", |s, n| s.nll.term = n, &[1], (UNUSED, 113)),
        ("dpo_nll_loss", |s, n| s.nll.reserved = n as u32, &[1, -1], (UNUSED, 113)),
        ("dpo_nll_loss", |s, _| s.nll.pairs = s.at(Slot::Pairs), &[0], (UNUSED, 113)),
        (
            "dpo_nll_loss of chosen answers",
            |s, _| s.nll.answers = s.at(Slot::NllAnswers),
            &[0],
            (UNUSED, 113),
        ),
        ("dpo_logit_grads", |s, n| s.grads.unscored = n, &[-1, 2], (UNKNOWN, 118)),
        ("dpo_logit_grads", |s, n| s.grads.reserved = n as u32, &[1, -1], (UNUSED, 118)),
        ("dpo_head_scratch_len", |s, n| s.head.r#type = n, &[-1, 0, 4], (UNKNOWN, 110)),
        ("dpo_head_token_log_probs", |s, n| s.states.r#type = n, &[-1, 0, 4], (UNKNOWN, 110)),
        ("dpo_head_token_log_probs", |s, n| s.head.r#type = n, &[-1, 0, 4], (UNKNOWN, 110)),
        ("dpo_head_forward", |s, n| s.sums.r#type = n, &[-1, 0, 2, 3, 4], (UNKNOWN, 110)),
        ("dpo_head_forward", |s, n| s.states.reserved = n as u32, &[1, -1], (UNUSED, 31)),
        ("dpo_head_forward", |s, n| s.sums.reserved = n as u32, &[1, -1], (UNUSED, 32)),
        ("dpo_hidden_grads_in_place", |s, n| s.sums.r#type = n, &[0, 2, 3], (UNKNOWN, 110)),
        ("dpo_hidden_grads_in_place", |s, n| s.grads.unscored = n, &[-1, 2], (UNKNOWN, 118)),
        ("dpo_hidden_grads", |s, n| s.sums_in.r#type = n, &[-1, 0, 2, 3], (UNKNOWN, 110)),
        ("dpo_hidden_grads", |s, n| s.hidden_grads.r#type = n, &[0, 2, 3, 4], (UNKNOWN, 110)),
        ("dpo_hidden_grads", |s, n| s.sums_in.reserved = n as u32, &[1], (UNUSED, 31)),
        ("dpo_hidden_grads", |s, n| s.hidden_grads.reserved = n as u32, &[1], (UNUSED, 32)),
        (TRAINED, |s, n| s.d_head.r#type = n, &[-1, 0, 4], (UNKNOWN, 110)),
        (TRAINED, |s, n| s.d_head.mode = n, &[-1, 2, 3], (UNKNOWN, 37)),
        (TRAINED, |s, n| s.sums.r#type = n, &[-1, 0, 2, 3], (UNKNOWN, 110)),
        (TRAINED, |s, n| s.sums.reserved = n as u32, &[1], (UNUSED, 32)),
        ("dpo_head_grads_scratch_len", |s, n| s.d_head.mode = n, &[-1, 2], (UNKNOWN, 37)),
        (BIAS, |s, n| s.d_head.r#type = n, &[-1, 1, 2, 4], (UNUSED, 37)),
        (BIAS, |s, n| s.d_head.stride = n as usize, &[1, 3, 4], (UNUSED, 37)),
        (BIAS, |s, n| s.d_head.len = n as usize, &[1], (UNKNOWN, 110)),
        ("dpo_unpaired_step in place", |s, n| s.step.unscored = n, &[-1, 2], (UNKNOWN, 117)),
        ("dpo_unpaired_step in place", |s, n| s.step.reserved = n as u32, &[1, -1], (UNUSED, 117)),
        ("dpo_unpaired_step in place", |s, _| s.step.d_nll = s.at(Slot::DNll), &[0], (UNUSED, 113)),
        (
            "dpo_unpaired_step in place",
            |s, _| s.step.nll_summary = s.at(Slot::NllSummary),
            &[0],
            (UNUSED, 113),
        ),
        ("dpo_unpaired_step in place", |s, _| s.step.nll = &raw const s.nll, &[0], (UNUSED, 113)),
    ];
    for (name, spoil, values, due) in spoils {
        let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
        for &value in values {
            let host = Host::new();
            let mut structs = prepared(function, &host);
            spoil(&mut structs, value);
            let call = (function.call)(&structs);
            let report = call.expected().error;
            assert_eq!((report.status, report.subject), due, "{name}, {value}");
            host.judge(&call).unwrap_or_else(|why| panic!("{name}, {value}: {why}"));
        }
    }
}

/// In a step, whose pairs the term takes.
#[test]
fn a_term_in_a_step_names_no_pairs() {
    let name = "dpo_preference_step in place, with a term of chosen answers";
    let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
    let spoils: [(fn(&mut Structs), i32, i32); 6] = [
        (|s| s.nll.pairs = s.at(Slot::Pairs), DPO_ERROR_FIELD_UNUSED, 113),
        (|s| s.nll.count = 2, DPO_ERROR_FIELD_UNUSED, 113),
        (|s| s.nll.answers = s.at(Slot::NllAnswers), DPO_ERROR_FIELD_UNUSED, 113),
        (|s| s.step.d_nll = ptr::null_mut(), DPO_ERROR_NULL, 18),
        (|s| s.step.nll = ptr::null(), DPO_ERROR_FIELD_UNUSED, 113),
        (
            |s| (s.step.nll, s.step.d_nll) = (ptr::null(), ptr::null_mut()),
            DPO_ERROR_FIELD_UNUSED,
            113,
        ),
    ];
    for (spoil, status, subject) in spoils {
        let host = Host::new();
        let mut structs = prepared(function, &host);
        spoil(&mut structs);
        let call = (function.call)(&structs);
        let report = call.expected().error;
        assert_eq!((report.status, report.subject), (status, subject));
        host.judge(&call).unwrap();
    }
}

/// A loss for each answer stands in the place of the call's, which is NULL then.
#[test]
fn answers_have_one_loss_or_one_each() {
    for name in ["dpo_unpaired_loss", "dpo_unpaired_step in place"] {
        let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
        let host = Host::new();
        let structs = prepared(function, &host);
        let own = loss(21, &[]);
        let mut call = (function.call)(&structs);
        let mut each = structs.answers;
        each.losses = structs.at(Slot::AnswerLossKinds);
        let (Call::UnpairedLoss(one, answers, ..) | Call::UnpairedStep(_, one, answers, ..)) =
            &mut call
        else {
            panic!("{name}")
        };
        (*one, *answers) = (&raw const own, &raw const each);
        let report = call.expected().error;
        assert_eq!((report.status, report.subject), (DPO_ERROR_FIELD_UNUSED, 28), "{name}");
        host.judge(&call).unwrap();
    }
}
