//! Weight 0 in a step: as if it were not there, whatever lies under it.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::loss::{Aot, Kto, Nll, NllPer};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::{Dispatch, Dpo, Error, Pair, Reference, SequenceLogProb, StepBatch};

use crate::case::{
    Given, PAIRS, REFERENCE, ROWS, SPANS, STRIDE, VOCAB, bits, in_place, layout, logits, step, view,
};

/// Logits whose second pair (sequences 3 and 2, rows 6 to 10) holds NaN, +inf, or nothing but −inf.
fn broken(x: f32) -> Vec<f32> {
    let mut logits = logits::<f32>();
    for row in 6..11 {
        logits[row * STRIDE..][..VOCAB].fill(x);
    }
    logits
}

#[test]
fn of_a_pair_hides_rows_that_are_no_numbers() {
    let (layout, dpo) = (layout(), Dpo::new(0.1).unwrap());
    let weights = [1.0, 0.0];
    let given = Given { weights: Some(&weights), unscored: Unscored::Zero, ..Given::default() };
    let batch = given.batch(&layout, Reference::Sums(&REFERENCE));
    let alone = StepBatch::new(&layout, &PAIRS[..1], Reference::Sums(&REFERENCE), 2.0)
        .with_unscored(Unscored::Zero);
    let (expected, grads) = in_place(&dpo, logits::<f32>(), &alone);
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (found, here) = in_place(&dpo, broken(x), &batch);
        let (found, expected) = (found.summary.unwrap(), expected.summary.unwrap());
        assert_eq!((found.pairs, found.left_out), (1, 1), "{x}");
        assert_eq!((found.loss_sum, found.mean_loss()), (expected.loss_sum, expected.mean_loss()));
        assert_eq!(bits(&here), bits(&grads), "{x}: gradients");
    }
    // The control: with weight the rows are named.
    let batch = Given::default().batch(&layout, Reference::Sums(&REFERENCE));
    let (found, here) = in_place(&dpo, broken(f32::NAN), &batch);
    assert_eq!(found.summary.unwrap_err(), Error::NonFiniteRows { first: 6, count: 4 });
    assert_eq!(bits(&here), bits(&broken(f32::NAN)), "the logits are unchanged");
}

/// The batch loss sorts the pairs that are there.
#[test]
fn of_a_pair_under_aot() {
    let layout = layout();
    let weights = [1.0, 0.0];
    let given = Given { weights: Some(&weights), ..Given::default() };
    let batch = given.batch(&layout, Reference::Sums(&REFERENCE));
    let (mut order, mut alone_order) = ([0; 4], [0; 2]);
    let aot = Aot::paired(0.1).unwrap();
    let mut here = broken(f32::NAN);
    let found = step(Dispatch::detect(), aot.over(&mut order), view(&mut here), &batch);
    let alone = StepBatch::new(&layout, &PAIRS[..1], Reference::Sums(&REFERENCE), 2.0);
    let mut there = logits::<f32>();
    let expected = step(Dispatch::detect(), aot.over(&mut alone_order), view(&mut there), &alone);
    assert_eq!(found.summary.unwrap().loss_sum, expected.summary.unwrap().loss_sum);
    assert_eq!(found.d_log_probs, expected.d_log_probs);
}

/// A token of weight 0 may be anything, unless an NLL term reads it.
#[test]
fn of_a_token_hides_its_row() {
    let (layout, dpo) = (layout(), Dpo::new(0.1).unwrap());
    let mut token_weights = [1.0; ROWS];
    token_weights[2] = 0.0;
    let given = Given { token_weights: Some(&token_weights), ..Given::default() };
    let batch = given.batch(&layout, Reference::Sums(&REFERENCE));
    let mut spoiled = logits::<f32>();
    spoiled[2 * STRIDE + 5] = f32::NAN;
    let (expected, grads) = in_place(&dpo, logits::<f32>(), &batch);
    let (found, here) = in_place(&dpo, spoiled.clone(), &batch);
    assert_eq!(found.summary.unwrap(), expected.summary.unwrap());
    assert_eq!(found.sequences, expected.sequences);
    assert_eq!(found.sequences[0].count, 1, "the token is not counted");
    assert_eq!(bits(&here), bits(&grads), "its row has no gradient");
    assert!(grads[2 * STRIDE..][..VOCAB].iter().all(|x| *x == 0.0));

    let nll = Nll::new(1.0, NllPer::Token, 2.0).unwrap();
    let batch = Given { nll: Some(nll), ..given }.batch(&layout, Reference::Sums(&REFERENCE));
    let (found, _) = in_place(&dpo, spoiled.clone(), &batch);
    assert_eq!(found.summary.unwrap_err(), Error::NonFiniteRows { first: 2, count: 1 });
    // Loss and term read the row: still one row.
    let batch = Given { token_weights: None, nll: Some(nll), ..given }
        .batch(&layout, Reference::Sums(&REFERENCE));
    let (found, _) = in_place(&dpo, spoiled, &batch);
    assert_eq!(found.summary.unwrap_err(), Error::NonFiniteRows { first: 2, count: 1 });
}

/// Answers and weights of a term that is not there are refused; `with_nll` is of the chosen answers
/// again.
#[test]
fn of_the_term_itself() {
    let (layout, dpo) = (layout(), Dpo::new(0.1).unwrap());
    let nll = Nll::new(1.0, NllPer::Token, 2.0).unwrap();
    let plain = Given::default().batch(&layout, Reference::Sums(&REFERENCE));
    let refused = |batch: &StepBatch<'_>| {
        let (found, here) = in_place(&dpo, logits::<f32>(), batch);
        assert_eq!(bits(&here), bits(&logits::<f32>()), "unchanged");
        found.summary.unwrap_err()
    };
    let buffer = dpo_kernel::error::Buffer::AnswerWeights;
    assert_eq!(refused(&plain.with_nll_weights(&[1.0, 1.0])), Error::InputUnused { buffer });
    let mut answers = plain;
    answers.nll_answers = Some(&[1]);
    let buffer = dpo_kernel::error::Buffer::Answers;
    assert_eq!(refused(&answers), Error::InputUnused { buffer });

    let of = |batch: &StepBatch<'_>| in_place(&dpo, logits::<f32>(), batch).0.summary.unwrap().nll;
    let chosen = of(&plain.with_nll(nll));
    assert_ne!(of(&plain.with_nll_on(nll, &[1])), chosen);
    assert_eq!(of(&plain.with_nll_on(nll, &[1]).with_nll(nll)), chosen);
}

/// The NLL term takes the weight of its pair, or its own.
#[test]
fn of_the_nll_term() {
    let (layout, dpo) = (layout(), Dpo::new(0.1).unwrap());
    let nll = Some(Nll::new(1.0, NllPer::Token, 2.0).unwrap());
    let sum = |given: Given<'_>| {
        let batch = given.batch(&layout, Reference::Sums(&REFERENCE));
        let (found, _) = in_place(&dpo, logits::<f32>(), &batch);
        (found.summary.unwrap().nll, found.sequences)
    };
    let (all, sequences) = sum(Given { nll, ..Given::default() });
    let log_prob = |sequence: usize| sequences[sequence].sum;
    assert_eq!(all.loss_sum, -(log_prob(0) + log_prob(3)));
    let weights = [0.5, 0.0];
    let (found, _) = sum(Given { nll, weights: Some(&weights), ..Given::default() });
    assert_eq!((found.loss_sum, found.sequences, found.left_out), (-0.5 * log_prob(0), 1, 1));
    let own = [0.0, 3.0];
    let given = Given { nll, weights: Some(&weights), nll_weights: Some(&own), ..Given::default() };
    let (found, _) = sum(given);
    assert_eq!((found.loss_sum, found.sequences, found.left_out), (-3.0 * log_prob(3), 1, 1));
}

/// A sequence that nothing names is not asked for tokens or numbers; one that a pair names is.
#[test]
fn of_sequences_that_nothing_names() {
    let dpo = Dpo::new(0.1).unwrap();
    let targets = crate::case::TARGETS;
    let spans = [SPANS[0], SPANS[1], SPANS[2], dpo_kernel::Span::new(11, 11)];
    let layout = dpo_kernel::Layout::new(&targets, &spans, VOCAB).unwrap();
    let named = |pairs: &[Pair]| {
        let batch = StepBatch::new(&layout, pairs, Reference::Sums(&REFERENCE), 1.0);
        let mut here = logits::<f32>();
        here[6 * STRIDE] = f32::NAN;
        step(Dispatch::detect(), &dpo, view(&mut here), &batch).summary.map(|s| s.pairs)
    };
    assert_eq!(named(&[Pair::new(0, 1)]), Ok(1));
    assert_eq!(named(&[Pair::new(0, 3)]), Err(Error::NoScoredTokens { sequence: 3 }));
    assert_eq!(named(&[Pair::new(2, 1)]), Err(Error::NonFiniteRows { first: 6, count: 1 }));
}

/// A class of weight 0 under KTO is absent: its answers may be anything.
#[test]
fn of_a_class_under_kto() {
    let policy = [-20.5, f64::NAN, -3.0].map(|sum| SequenceLogProb { sum, count: 10 });
    let mut policy = policy;
    policy[2].count = 0;
    let reference = Reference::Sums(&[-21.0, -1.0, f64::NEG_INFINITY]);
    let labels = [Label::Desirable, Label::Undesirable, Label::Undesirable];
    let answers = [0, 1, 2].map(|i| UnpairedAnswer::new(i, labels[i]));
    let run = |desirable, undesirable, answers: &[UnpairedAnswer]| {
        let kto = Kto::new(0.1, 0.2).unwrap().with_weights(desirable, undesirable).unwrap();
        let batch = UnpairedBatch::new(answers, &policy, reference, 1.0);
        let (mut losses, mut d) = (vec![AnswerLoss::default(); answers.len()], [7.5; 3]);
        let out = UnpairedOut::new(&mut losses, &mut d);
        (unpaired_loss(&kto, &batch, out), d)
    };
    let (found, d) = run(1.0, 0.0, &answers);
    let (alone, d_alone) = run(1.0, 0.0, &answers[..1]);
    let (found, alone) = (found.unwrap(), alone.unwrap());
    assert_eq!((found.desirable, found.undesirable, found.left_out), (1, 0, 2));
    assert_eq!((found.mean_loss(), d), (alone.mean_loss(), d_alone));
    // The control: with a weight each is looked at.
    assert_eq!(run(1.0, 1e-9, &answers).0, Err(Error::NoScoredTokens { sequence: 2 }));
    let named = Err(Error::NonFiniteAnswers { first: 1, count: 1 });
    assert_eq!(run(1.0, 1e-9, &answers[..2]).0, named);
}
