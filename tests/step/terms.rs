//! Likelihood terms of a step on given sequences: TPO's gold answer, XPO's sample of the reference.

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::gradient::{logit_grads_in_place, token_coefficients};
use dpo_kernel::loss::{Nll, NllBatch, NllPer, Tpo, Xpo, nll_loss};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Dpo, Error, Reference, SequenceLogProb, StepBatch, TokenOut};
use dpo_kernel::{sequence_log_probs, token_log_probs};

use crate::case::{PAIRS, REFERENCE, ROWS, bits, in_place, layout, logits, read, view};

/// Gradients are linear: those of the step are those of its loss and of its term, row by row.
#[test]
fn on_given_answers_add_their_gradients() {
    let (layout, dispatch) = (layout(), Dispatch::detect());
    let xpo: Nll = Xpo::new(0.25, 2.0).unwrap().into();
    let gold = Nll::new(0.5, NllPer::Sequence, 2.0).unwrap();
    for (term, answers) in [(xpo, [1, 2]), (gold, [2, 1])] {
        let dpo = Dpo::new(0.1).unwrap();
        let plain = StepBatch::new(&layout, &PAIRS[..1], Reference::Sums(&REFERENCE), 2.0);
        let batch = plain.with_nll_on(term, &answers).with_nll_weights(&[1.0, 3.0]);
        let (alone, _) = in_place(&dpo, logits::<f32>(), &plain);
        let (found, here) = in_place(&dpo, logits::<f32>(), &batch);

        let (mut log_probs, mut norms) = ([0.0; ROWS], [RowNorm::default(); ROWS]);
        let from = logits::<f32>();
        let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
        token_log_probs(dispatch, read(&from), &layout, out).unwrap();
        let mut sums = [SequenceLogProb::default(); 4];
        sequence_log_probs(&log_probs, &layout, None, &mut sums).unwrap();
        let mut d_nll = [7.5; 4];
        let of_answers = NllBatch::of_sequences(&answers, &sums).with_weights(&[1.0, 3.0]);
        let summary = nll_loss(&term, &of_answers, &mut d_nll).unwrap();
        assert!(d_nll[1] != 0.0 && d_nll[2] != 0.0 && d_nll[0] == 0.0);
        let mut c = [7.5; ROWS];
        token_coefficients(&layout, &alone.d_log_probs, None, Some(&d_nll), &mut c).unwrap();
        let mut expected = logits::<f32>();
        let grads = GradBatch::new(&layout, &norms, &c);
        logit_grads_in_place(dispatch, view(&mut expected), &grads).unwrap();
        assert_eq!(bits(&here), bits(&expected));
        assert_eq!(found.summary.unwrap().nll, summary);
        assert_eq!(found.summary.unwrap().loss, alone.summary.unwrap().loss, "the loss is its own");
    }
}

/// TPO in one step: the contrast without a reference, and the NLL of a third answer.
#[test]
fn tpo_takes_one_step() {
    let layout = layout();
    let gold = Nll::new(1.0, NllPer::Token, 1.0).unwrap();
    let batch = StepBatch::new(&layout, &PAIRS[..1], Reference::Free, 1.0).with_nll_on(gold, &[3]);
    let (found, grads) = in_place(&Tpo::new(0.01).unwrap(), logits::<f32>(), &batch);
    let summary = found.summary.unwrap();
    assert_eq!((summary.pairs, summary.nll.sequences, summary.nll.tokens), (1, 1, 2));
    assert_eq!(summary.nll.loss_sum, -found.sequences[3].sum);
    // Descent raises every token of the gold answer: rows 9 and 10, targets 30 and 2.
    assert!(grads[9 * 40 + 30] < 0.0 && grads[10 * 40 + 2] < 0.0);
}

#[test]
fn on_given_answers_are_refused_before_anything_is_written() {
    let (layout, dpo) = (layout(), Dpo::new(0.1).unwrap());
    let gold = Nll::new(1.0, NllPer::Token, 1.0).unwrap();
    let plain = StepBatch::new(&layout, &PAIRS, Reference::Sums(&REFERENCE), 1.0);
    let error = |batch: &StepBatch<'_>| {
        let (found, here) = in_place(&dpo, logits::<f32>(), batch);
        assert!(found.log_probs.iter().all(|x| x.is_nan()), "written");
        assert_eq!(bits(&here), bits(&logits::<f32>()));
        found.summary.unwrap_err()
    };
    let far = error(&plain.with_nll_on(gold, &[4]));
    assert_eq!(far, Error::AnswerOutOfRange { answer: 0, sequence: 4, sequences: 4 });
    let weights = error(&plain.with_nll_on(gold, &[1]).with_nll_weights(&[1.0, 2.0]));
    assert!(matches!(weights, Error::Length { expected: 1, found: 2, .. }), "{weights}");
}
