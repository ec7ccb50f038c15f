//! What the constructors of batches and buffers put where: no two arguments agree.

use dpo_kernel::gradient::{GradBatch, Unscored};
use dpo_kernel::loss::{Dpo, MixtureTerm, Nll, NllAnswers, NllBatch, NllPer};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::{StepScratch, UnpairedStepBatch};
use dpo_kernel::unpaired::{AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut};
use dpo_kernel::{
    Layout, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Span, StepBatch,
};

const PAIRS: [Pair; 1] = [Pair::new(0, 1)];
const POLICY: [SequenceLogProb; 2] =
    [SequenceLogProb { sum: -2.0, count: 3 }, SequenceLogProb { sum: -5.0, count: 7 }];
const SUMS: Reference<'_> = Reference::Sums(&[-11.0, -13.0]);

/// The names of the fields, as `Debug` has them: a new one has to be asserted.
#[track_caller]
fn has_fields(of: &impl core::fmt::Debug, names: &[&str]) {
    let text = format!("{of:?}");
    let mut depth = 0;
    let mut top = String::new();
    for c in text.chars() {
        depth -= i32::from("}])".contains(c));
        if depth == 1 {
            top.push(c);
        }
        depth += i32::from("{[(".contains(c));
    }
    let found: Vec<&str> =
        top.split(',').filter_map(|part| Some(part.split_once(':')?.0.trim())).collect();
    assert_eq!(found, names, "{text}");
}

#[test]
fn of_pairs() {
    let (weights, offsets) = ([0.5_f32], [0.25_f32]);
    let plain = PairBatch::new(&PAIRS, &POLICY, SUMS, 17.0);
    has_fields(&plain, &["pairs", "policy", "reference", "weights", "offsets", "divisor"]);
    assert_eq!((plain.weights, plain.offsets, plain.divisor), (None, None, 17.0));
    let batch = plain.with_weights(&weights).with_offsets(&offsets);
    let given = (Some(&weights[..]), Some(&offsets[..]));
    assert_eq!((batch.weights, batch.offsets), given);
    assert_eq!((batch.pairs, batch.policy), (&PAIRS[..], &POLICY[..]));
    let pair = batch.log_probs().next().unwrap();
    let expected = [
        ("policy_chosen", -2.0),
        ("policy_rejected", -5.0),
        ("reference_chosen", -11.0),
        ("reference_rejected", -13.0),
        ("chosen_tokens", 3.0),
        ("rejected_tokens", 7.0),
        ("weight", 0.5),
        ("offset", 0.25),
    ];
    crate::assert_fields(&pair, &expected);
    // The same under the other form of a reference, and without weights and offsets.
    let stored = [-11.0, -13.0].map(|sum| SequenceLogProb { sum, count: 1 });
    let batch = PairBatch::new(&PAIRS, &POLICY, Reference::Sequences(&stored), 17.0);
    let pair = batch.log_probs().next().unwrap();
    assert_eq!((pair.reference_chosen, pair.reference_rejected), (-11.0, -13.0));
    assert_eq!((pair.weight, pair.offset), (1.0, 0.0));
    let free = PairBatch::new(&PAIRS, &POLICY, Reference::Free, 17.0);
    assert!(free.log_probs().next().unwrap().reference_chosen.is_nan());

    let (mut losses, mut d) = ([PairLoss::default()], [0.5; 2]);
    let out = PairOut::new(&mut losses, &mut d);
    has_fields(&out, &["losses", "d_log_probs"]);
    assert_eq!((out.losses.len(), &*out.d_log_probs), (1, &[0.5; 2][..]));
}

#[test]
fn of_answers() {
    let answers = [UnpairedAnswer::new(1, Label::Undesirable)];
    let UnpairedAnswer { sequence, label } = answers[0];
    assert_eq!((sequence, label), (1, Label::Undesirable));
    let plain = UnpairedBatch::new(&answers, &POLICY, SUMS, 17.0);
    has_fields(&plain, &["answers", "policy", "reference", "weights", "divisor"]);
    assert_eq!((plain.weights, plain.divisor), (None, 17.0));
    assert_eq!((plain.answers, plain.policy), (&answers[..], &POLICY[..]));
    let weights = [0.5_f32];
    assert_eq!(plain.with_weights(&weights).weights, Some(&weights[..]));
    let (mut losses, mut d) = ([AnswerLoss::default()], [0.5; 2]);
    let out = UnpairedOut::new(&mut losses, &mut d);
    has_fields(&out, &["losses", "d_log_probs"]);
    assert_eq!((out.losses.len(), &*out.d_log_probs), (1, &[0.5; 2][..]));
}

#[test]
fn of_likelihood_terms() {
    let chosen = NllBatch::of_chosen(&PAIRS, &POLICY);
    has_fields(&chosen, &["answers", "policy", "weights"]);
    assert!(matches!(chosen.answers, NllAnswers::Chosen(pairs) if pairs == PAIRS));
    assert_eq!((chosen.policy, chosen.weights), (&POLICY[..], None));
    let weights = [0.5_f32];
    let given = NllBatch::of_sequences(&[1], &POLICY).with_weights(&weights);
    assert!(matches!(given.answers, NllAnswers::Sequences([1])));
    assert_eq!((given.policy, given.weights), (&POLICY[..], Some(&weights[..])));
    let dpo = Dpo::new(0.5).unwrap();
    assert_eq!(MixtureTerm::new(0.75, &dpo).weight, 0.75);
}

#[test]
fn of_steps() {
    let (targets, spans) = ([1_u32, 0], [Span::new(0, 1), Span::new(1, 2)]);
    let layout = Layout::new(&targets, &spans, 2).unwrap();
    let (weights, offsets, of_tokens, of_nll) = ([0.5_f32], [0.25_f32], [2.0_f32; 2], [3.0_f32]);
    let plain = StepBatch::new(&layout, &PAIRS, SUMS, 17.0);
    let names = [
        "layout",
        "pairs",
        "reference",
        "weights",
        "offsets",
        "token_weights",
        "nll",
        "nll_answers",
        "nll_weights",
        "divisor",
        "unscored",
    ];
    has_fields(&plain, &names);
    assert_eq!((plain.weights, plain.offsets, plain.token_weights), (None, None, None));
    assert_eq!((plain.nll, plain.nll_answers, plain.nll_weights), (None, None, None));
    assert_eq!((plain.divisor, plain.unscored), (17.0, Unscored::Keep));
    let nll = Nll::new(0.75, NllPer::Token, 2.0).unwrap();
    let batch = plain
        .with_weights(&weights)
        .with_offsets(&offsets)
        .with_token_weights(&of_tokens)
        .with_nll_on(nll, &[1])
        .with_nll_weights(&of_nll)
        .with_unscored(Unscored::Zero);
    assert_eq!((batch.weights, batch.offsets), (Some(&weights[..]), Some(&offsets[..])));
    assert_eq!(batch.token_weights, Some(&of_tokens[..]));
    let terms = (batch.nll, batch.nll_answers, batch.nll_weights);
    assert_eq!(terms, (Some(nll), Some(&[1][..]), Some(&of_nll[..])));
    assert_eq!((batch.unscored, batch.divisor), (Unscored::Zero, 17.0));
    let on_chosen = plain.with_nll(nll);
    assert_eq!((on_chosen.nll, on_chosen.nll_answers), (Some(nll), None));

    let answers = [UnpairedAnswer::new(1, Label::Desirable)];
    let plain = UnpairedStepBatch::new(&layout, &answers, SUMS, 17.0);
    let names =
        ["layout", "answers", "reference", "weights", "token_weights", "divisor", "unscored"];
    has_fields(&plain, &names);
    assert_eq!((plain.weights, plain.token_weights), (None, None));
    assert_eq!((plain.divisor, plain.unscored), (17.0, Unscored::Keep));
    let batch =
        plain.with_weights(&weights).with_token_weights(&of_tokens).with_unscored(Unscored::Zero);
    assert_eq!(batch.weights, Some(&weights[..]));
    assert_eq!((batch.token_weights, batch.unscored), (Some(&of_tokens[..]), Unscored::Zero));

    let norms = [RowNorm::default(); 2];
    let plain = GradBatch::new(&layout, &norms, &[3.0, 5.0]);
    has_fields(&plain, &["layout", "norms", "coefficients", "unscored"]);
    assert_eq!((plain.coefficients, plain.unscored), (&[3.0, 5.0][..], Unscored::Keep));
    assert_eq!(plain.with_unscored(Unscored::Zero).unscored, Unscored::Zero);
}

/// Seven buffers, of seven lengths.
#[test]
fn of_scratch() {
    let (mut log_probs, mut norms) = ([0.0_f32; 1], [RowNorm::default(); 2]);
    let (mut sequences, mut losses) = ([SequenceLogProb::default(); 3], [PairLoss::default(); 4]);
    let (mut d, mut coefficients, mut d_nll) = ([0.0; 5], [0.0; 6], [0.0; 7]);
    let scratch = StepScratch::new(
        &mut log_probs,
        &mut norms,
        &mut sequences,
        &mut losses,
        &mut d,
        &mut coefficients,
    );
    let names =
        ["log_probs", "norms", "sequences", "losses", "d_log_probs", "d_nll", "coefficients"];
    has_fields(&scratch, &names);
    assert_eq!(scratch.d_nll.len(), 0);
    let scratch = scratch.with_nll(&mut d_nll);
    let lengths = [
        scratch.log_probs.len(),
        scratch.norms.len(),
        scratch.sequences.len(),
        scratch.losses.len(),
        scratch.d_log_probs.len(),
        scratch.coefficients.len(),
        scratch.d_nll.len(),
    ];
    assert_eq!(lengths, [1, 2, 3, 4, 5, 6, 7]);
}
