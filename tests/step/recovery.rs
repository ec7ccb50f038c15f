//! What a step leaves behind when a stage fails: all of it of this step but what comes after, bit
//! for bit what the stages leave one by one, and logits and gradients as they were.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::loss::{Kto, Nll, NllBatch, NllPer, nll_loss};
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::{StepScratch, UnpairedStepBatch, unpaired_step};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, unpaired_loss,
};
use dpo_kernel::{
    Dispatch, Dpo, Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb,
    StepBatch, TokenOut, preference_loss, sequence_log_probs, token_log_probs,
};

use crate::case::{
    Found, Given, PAIRS, REFERENCE, ROWS, STRIDE, VOCAB, bits, in_place, layout, logits, read, view,
};

/// Logits with one number in some rows.
fn with(rows: &[usize], x: f32) -> Vec<f32> {
    let mut logits = logits::<f32>();
    for &row in rows {
        logits[row * STRIDE + 3] = x;
    }
    logits
}

/// The forward stages one by one, in buffers as dirty as those of [`crate::case::step`]; what comes
/// after the loss stays so.
fn stages(logits: &[f32], batch: &StepBatch<'_>) -> Found {
    let (layout, n) = (batch.layout, batch.layout.sequences());
    let mut found = Found {
        summary: Err(Error::EmptyVocabulary),
        log_probs: vec![f32::NAN; ROWS],
        norms: vec![RowNorm::default(); ROWS],
        sequences: vec![SequenceLogProb::default(); n],
        losses: vec![PairLoss::default(); batch.pairs.len()],
        d_log_probs: vec![f64::NAN; n],
        d_nll: vec![f64::NAN; n],
        coefficients: vec![f64::NAN; ROWS],
    };
    let Found { log_probs, norms, sequences, losses, d_log_probs, d_nll, .. } = &mut found;
    let out = TokenOut::new(log_probs).with_norms(norms);
    let _ = token_log_probs(Dispatch::detect(), read(logits), layout, out);
    if let Some(nll) = &batch.nll {
        sequence_log_probs(log_probs, layout, None, sequences).unwrap();
        let answers = batch.nll_answers.unwrap();
        let _ = nll_loss(nll, &NllBatch::of_sequences(answers, sequences), d_nll);
    }
    sequence_log_probs(log_probs, layout, batch.token_weights, sequences).unwrap();
    let pairs = PairBatch::new(batch.pairs, sequences, batch.reference, batch.divisor);
    let out = PairOut::new(losses, d_log_probs);
    let _ = preference_loss(&Dpo::new(0.1).unwrap(), &pairs, out);
    found
}

fn norm_bits(norms: &[RowNorm]) -> Vec<String> {
    norms.iter().map(|norm| format!("{norm:?}")).collect()
}

/// A step that fails with `error` after its forward: its buffers are those of the stages, nothing
/// has a coefficient, and the logits are unchanged.
#[track_caller]
fn leaves(logits: &[f32], batch: &StepBatch<'_>, error: Error) -> Found {
    let expected = stages(logits, batch);
    let (found, after) = in_place(&Dpo::new(0.1).unwrap(), logits.to_vec(), batch);
    assert_eq!(found.summary, Err(error));
    assert_eq!(bits(&after), bits(logits), "{error}: logits");
    assert_eq!(norm_bits(&found.norms), norm_bits(&expected.norms), "{error}: norms");
    assert_eq!(found.bits(), expected.bits(), "{error}");
    let d = |found: &Found| found.d_nll.iter().map(|d| d.to_bits()).collect::<Vec<_>>();
    assert_eq!(d(&found), d(&expected), "{error}: gradients of the term");
    assert!(found.coefficients.iter().all(|c| c.is_nan()), "{error}: no coefficient is written");
    found
}

#[test]
fn rows_that_are_no_numbers() {
    let layout = layout();
    let reference = Reference::Sums(&REFERENCE);
    let given = Given { unscored: Unscored::Zero, ..Given::default() };
    let batch = given.batch(&layout, reference);
    for x in [f32::NAN, f32::INFINITY] {
        let error = Error::NonFiniteRows { first: 6, count: 2 };
        let found = leaves(&with(&[6, 8], x), &batch, error);
        // Pair 0 is complete; of pair 1 (sequences 3 and 2) every figure is NaN.
        assert!(found.losses[0].loss > 0.0 && found.d_log_probs[0] < 0.0);
        assert_eq!(found.d_log_probs[1], -found.d_log_probs[0]);
        let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } =
            found.losses[1];
        let figures = [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected];
        assert!(figures.iter().all(|x| x.is_nan()), "{figures:?}");
        assert!(found.d_log_probs[2].is_nan() && found.d_log_probs[3].is_nan());
        assert!(found.sequences[3].sum < 0.0, "the other answer of the pair is scored");
    }
}

/// Rows are finite, a loss is not: the reference has none, the divisor makes a gradient infinite,
/// or the target is masked.
#[test]
fn pairs_without_a_loss() {
    let layout = layout();
    let plain = logits::<f32>();
    let sums = [REFERENCE[0], REFERENCE[1], f64::NEG_INFINITY, REFERENCE[3]];
    let batch = Given::default().batch(&layout, Reference::Sums(&sums));
    let found = leaves(&plain, &batch, Error::NonFinitePairs { first: 1, count: 1 });
    assert!(found.losses[0].loss > 0.0 && found.losses[1].loss.is_nan());

    let mut batch = Given::default().batch(&layout, Reference::Sums(&REFERENCE));
    batch.divisor = 1e-310;
    let found = leaves(&plain, &batch, Error::NonFinitePairs { first: 0, count: 2 });
    assert!(found.d_log_probs.iter().all(|d| d.is_nan()));

    let batch = Given::default().batch(&layout, Reference::Sums(&REFERENCE));
    let mut masked = plain;
    masked[3 * STRIDE + 36] = f32::NEG_INFINITY;
    let found = leaves(&masked, &batch, Error::NonFinitePairs { first: 0, count: 1 });
    assert_eq!(found.log_probs[3], f32::NEG_INFINITY);
    assert!(found.losses[1].loss > 0.0);
}

/// A term fails where the loss does not, and the loss where the term does not; if both do, the
/// loss is named.
#[test]
fn likelihood_terms() {
    let layout = layout();
    let nll = Nll::new(0.5, NllPer::Token, 2.0).unwrap();
    let reference = Reference::Sums(&REFERENCE);
    let first = StepBatch::new(&layout, &PAIRS[..1], reference, 2.0);
    let mut masked = logits::<f32>();
    masked[9 * STRIDE + 30] = f32::NEG_INFINITY;
    let answers = [0, 3];
    let batch = first.with_nll_on(nll, &answers);
    let found = leaves(&masked, &batch, Error::NonFiniteAnswers { first: 1, count: 1 });
    assert!(found.losses[0].loss > 0.0, "the loss is complete");
    assert_eq!((found.d_nll[0], found.d_nll[1]), (-0.25, 0.0), "the other answer's gradient");
    assert!(found.d_nll[3].is_nan());

    masked[3 * STRIDE + 36] = f32::NEG_INFINITY;
    leaves(&masked, &batch, Error::NonFinitePairs { first: 0, count: 1 });

    // A row that the term alone reads.
    let error = Error::NonFiniteRows { first: 10, count: 1 };
    leaves(&with(&[10], f32::NAN), &batch, error);
    // A coefficient that no logit gradient can be made of: the stage after says so.
    let mut weights = [1.0; ROWS];
    weights[2] = f32::MAX;
    let heavy = first.with_token_weights(&weights);
    let (found, after) = in_place(&Dpo::new(10.0).unwrap(), logits::<f32>(), &heavy);
    let Err(Error::InvalidValue { buffer, index, value }) = found.summary else {
        panic!("{:?}", found.summary)
    };
    assert_eq!((buffer, index), (dpo_kernel::error::Buffer::TokenCoefficients, 2));
    assert_eq!(value, found.coefficients[2], "the coefficients are of this step, too");
    assert!(value.abs() > 1e38 && found.coefficients[1].abs() < 1e38);
    assert_eq!(bits(&after), bits(&logits::<f32>()), "unchanged");
}

const ANSWERS: [UnpairedAnswer; 3] = [
    UnpairedAnswer { sequence: 2, label: Label::Desirable },
    UnpairedAnswer { sequence: 0, label: Label::Undesirable },
    UnpairedAnswer { sequence: 3, label: Label::Desirable },
];

/// As bits, so that NaN is equal to itself.
fn answer_bits(losses: &[AnswerLoss], d: &[f64]) -> Vec<u64> {
    let figures = losses.iter().flat_map(|l| [l.loss, l.reward, l.d_log_prob]);
    figures.chain(d.iter().copied()).map(f64::to_bits).collect()
}

#[test]
fn answers_without_a_loss() {
    let (layout, kto) = (layout(), Kto::new(0.1, 0.25).unwrap());
    let reference = Reference::Sums(&REFERENCE);
    let nan = with(&[6, 8], f32::NAN);
    let mut masked = logits::<f32>();
    masked[4 * STRIDE] = f32::NEG_INFINITY; // No answer names its sequence.
    masked[9 * STRIDE + 30] = f32::NEG_INFINITY;
    for (logits, divisor, error) in [
        (&nan, 3.0, Error::NonFiniteRows { first: 6, count: 2 }),
        (&masked, 3.0, Error::NonFiniteAnswers { first: 2, count: 1 }),
        (&crate::case::logits(), 1e-310, Error::NonFiniteAnswers { first: 0, count: 3 }),
    ] {
        let (mut log_probs, mut norms) = ([f32::NAN; ROWS], [RowNorm::default(); ROWS]);
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        let _ = token_log_probs(Dispatch::detect(), read(logits), &layout, out);
        let mut sequences = [SequenceLogProb::default(); 4];
        sequence_log_probs(&log_probs, &layout, None, &mut sequences).unwrap();
        let (mut losses, mut d) = ([AnswerLoss::default(); 3], [7.5; 4]);
        let batch = UnpairedBatch::new(&ANSWERS, &sequences, reference, divisor);
        let of_stage = unpaired_loss(&kto, &batch, UnpairedOut::new(&mut losses, &mut d));
        assert!(matches!(of_stage, Err(Error::NonFiniteAnswers { .. })), "{of_stage:?}");

        let batch = UnpairedStepBatch::new(&layout, &ANSWERS, reference, divisor);
        let mut here = logits.clone();
        let (mut found, mut kept) = ([f32::NAN; ROWS], [RowNorm::default(); ROWS]);
        let (mut sums, mut each) = ([SequenceLogProb::default(); 4], [AnswerLoss::default(); 3]);
        let (mut d_found, mut c) = ([7.5; 4], [7.5; ROWS]);
        let scratch =
            StepScratch::new(&mut found, &mut kept, &mut sums, &mut each, &mut d_found, &mut c);
        let result = unpaired_step(Dispatch::detect(), &kto, view(&mut here), &batch, scratch);
        assert_eq!(result.unwrap_err(), error);
        assert_eq!(bits(&here), bits(logits), "{error}: logits");
        assert_eq!(bits(&found), bits(&log_probs), "{error}: log-probs");
        assert_eq!(norm_bits(&kept), norm_bits(&norms), "{error}: norms");
        let of = |sums: &[SequenceLogProb]| {
            sums.iter().map(|s| (s.sum.to_bits(), s.count)).collect::<Vec<_>>()
        };
        assert_eq!(of(&sums), of(&sequences), "{error}: sequences");
        assert_eq!(answer_bits(&each, &d_found), answer_bits(&losses, &d), "{error}: losses");
        assert_eq!(c, [7.5; ROWS], "{error}: no coefficient is written");
    }
}

/// The front page's way to go on: finite losses, gradients that are not finite set to 0, backward.
/// It gives what a step gives whose broken pair has weight 0.
#[test]
fn going_on_without_what_is_broken() {
    use dpo_kernel::gradient::{GradBatch, logit_grads_in_place, token_coefficients};
    let (layout, reference) = (layout(), Reference::Sums(&REFERENCE));
    let broken = with(&[6, 8], f32::NAN);
    let batch = Given::default().batch(&layout, reference);
    let mut found = leaves(&broken, &batch, Error::NonFiniteRows { first: 6, count: 2 });
    let mut summary = dpo_kernel::Summary::default();
    for loss in found.losses.iter().filter(|loss| loss.loss.is_finite()) {
        summary += loss;
    }
    for d in found.d_log_probs.iter_mut().filter(|d| !d.is_finite()) {
        *d = 0.0;
    }
    let mut c = [7.5; ROWS];
    token_coefficients(&layout, &found.d_log_probs, None, None, &mut c).unwrap();
    let mut here = broken.clone();
    let grads = GradBatch::new(&layout, &found.norms, &c);
    logit_grads_in_place(Dispatch::detect(), view(&mut here), &grads).unwrap();

    let weights = [1.0, 0.0];
    let given = Given { weights: Some(&weights), ..Given::default() };
    let batch = given.batch(&layout, reference);
    let (again, there) = in_place(&Dpo::new(0.1).unwrap(), broken, &batch);
    let again = again.summary.unwrap();
    assert_eq!((summary.pairs, summary.loss_sum), (1, again.loss_sum));
    assert_eq!(bits(&here), bits(&there));
    for row in [6, 8, 9, 10] {
        assert!(here[row * STRIDE..][..VOCAB].iter().all(|x| x.to_bits() == 0), "row {row}");
    }
}

/// Buffers of a refused call keep what they held, norms and the term's gradients among them.
#[test]
fn refusals_leave_everything() {
    let layout = layout();
    let outside = [Pair::new(0, 4)];
    let nll = Nll::new(1.0, NllPer::Token, 1.0).unwrap();
    let plain = StepBatch::new(&layout, &PAIRS, Reference::Sums(&REFERENCE), 1.0);
    for batch in [
        StepBatch::new(&layout, &outside, Reference::Sums(&REFERENCE), 1.0),
        StepBatch::new(&layout, &PAIRS, Reference::Free, 1.0),
        plain.with_nll_on(nll, &[9]),
        plain.with_offsets(&[0.0, f32::NAN]),
        plain.with_token_weights(&[1.0; ROWS - 1]),
    ] {
        let (found, after) = in_place(&Dpo::new(0.1).unwrap(), logits::<f32>(), &batch);
        assert!(found.summary.is_err(), "{batch:?}");
        assert_eq!(bits(&after), bits(&logits::<f32>()));
        assert!(found.norms.iter().all(|norm| *norm == RowNorm::default()), "{batch:?}");
        assert!(found.sequences.iter().all(|s| s.sum.is_nan() && s.count == 77), "{batch:?}");
        let floats = found.d_log_probs.iter().chain(&found.d_nll).chain(&found.coefficients);
        assert!(floats.copied().all(f64::is_nan), "{batch:?}");
        assert!(found.log_probs.iter().all(|x| x.is_nan()), "{batch:?}");
        assert!(found.losses.iter().all(|l| *l == PairLoss::default()), "{batch:?}");
    }
}
