//! A step without gradients: everything that a step says, of logits that are only read.

use dpo_kernel::loss::{Kto, Nll, NllPer};
use dpo_kernel::step::{StepSummary, UnpairedStepBatch};
use dpo_kernel::unpaired::{Label, UnpairedAnswer};
use dpo_kernel::{Dispatch, Dpo, Error, Parallel, Reference, Workspace, bf16, f16};

use crate::case::{
    Given, REFERENCE, ROWS, STRIDE, VOCAB, in_place, layout, logits, read, step, view,
};

/// The same figures as of a step that writes gradients, for every type and executor.
#[test]
fn says_what_a_step_says() {
    let layout = layout();
    let weights = [0.5, 0.0];
    let nll = Some(Nll::new(0.25, NllPer::Token, 4.0).unwrap());
    let given = Given { weights: Some(&weights), nll, ..Given::default() };
    let batch = given.batch(&layout, Reference::Sums(&REFERENCE));
    let dpo = Dpo::new(0.1).unwrap();
    macro_rules! of {
        ($($type:ty),*) => {$(
            let (due, grads) = in_place(&dpo, logits::<$type>(), &batch);
            let of = logits::<$type>();
            assert_ne!(crate::case::bits(&grads), crate::case::bits(&of), "the control");
            let found = step(Dispatch::detect(), &dpo, read(&of), &batch);
            assert_eq!((found.bits(), &found.summary), (due.bits(), &due.summary));
            assert!(found.summary.is_ok() && found.d_log_probs[0] != 0.0);
            let found = step(Parallel::new(Dispatch::detect()), &dpo, read(&of), &batch);
            assert_eq!((found.bits(), &found.summary), (due.bits(), &due.summary), "threads");
        )*};
    }
    of!(f32, f16, bf16);
}

#[test]
fn says_what_a_step_over_answers_says() {
    let layout = layout();
    let answers = [
        UnpairedAnswer { sequence: 2, label: Label::Desirable },
        UnpairedAnswer { sequence: 0, label: Label::Undesirable },
    ];
    let batch = UnpairedStepBatch::new(&layout, &answers, Reference::Sums(&REFERENCE), 2.0);
    let loss = Kto::new(0.1, 0.0).unwrap();
    let (mut here, there) = (logits::<f32>(), logits::<f32>());
    let mut workspace = Workspace::new();
    let due = workspace.unpaired_step(Dispatch::detect(), &loss, view(&mut here), &batch);
    let found = Workspace::new().unpaired_step(Dispatch::detect(), &loss, read(&there), &batch);
    assert!(due.is_ok());
    assert_eq!(found, due);
}

/// Refusals too: shapes before anything is written, then rows that are not finite.
#[test]
fn refuses_what_a_step_refuses() {
    let layout = layout();
    let batch = Given::default().batch(&layout, Reference::Sums(&REFERENCE));
    let dpo = Dpo::new(0.1).unwrap();
    let of = logits::<f32>();
    let narrow = dpo_kernel::Logits::with_stride(&of, ROWS, VOCAB - 1, STRIDE).unwrap();
    let found = step(Dispatch::detect(), &dpo, narrow, &batch);
    let (expected, shape) = ((ROWS, VOCAB), (ROWS, VOCAB - 1));
    assert_eq!(found.summary, Err(Error::ShapeMismatch { expected, found: shape }));
    assert!(found.log_probs.iter().all(|x| x.is_nan()), "nothing was written");
    let mut broken = logits::<f32>();
    broken[6 * STRIDE] = f32::NAN;
    let found = step(Dispatch::detect(), &dpo, read(&broken), &batch);
    assert_eq!(found.summary, Err(Error::NonFiniteRows { first: 6, count: 1 }));
}

/// One number for a step: what finite differences of the coefficients are of, and what micro-batches
/// add up to.
#[test]
fn the_total_is_what_gradients_are_of() {
    let layout = layout();
    let nll = Nll::new(0.25, NllPer::Sequence, 3.0).unwrap();
    let given = Given { nll: Some(nll), ..Given::default() };
    let batch = given.batch(&layout, Reference::Sums(&REFERENCE));
    let dpo = Dpo::new(0.1).unwrap();
    let found = step(Dispatch::detect(), &dpo, read(&logits::<f32>()), &batch);
    let summary = found.summary.unwrap();
    let due: f64 = found.losses.iter().map(|pair| pair.loss).sum::<f64>() / 2.0
        + [0, 3]
            .map(|i| found.sequences[i])
            .map(|s| -0.25 * s.sum / s.count as f64)
            .iter()
            .sum::<f64>()
            / 3.0;
    assert!((batch.total_loss(&summary) - due).abs() < 1e-15 * due.abs(), "{due}");
    // Without the term, the pairs alone; a zero summary is 0.
    let without = Given::default().batch(&layout, Reference::Sums(&REFERENCE));
    assert_eq!(without.total_loss(&summary), summary.loss.loss_sum / 2.0);
    assert_eq!(batch.total_loss(&StepSummary::default()), 0.0);

    let answers = [
        UnpairedAnswer { sequence: 2, label: Label::Desirable },
        UnpairedAnswer { sequence: 0, label: Label::Undesirable },
    ];
    let batch = UnpairedStepBatch::new(&layout, &answers, Reference::Sums(&REFERENCE), 8.0);
    let (loss, mut workspace) = (Kto::new(0.1, 0.0).unwrap(), Workspace::new());
    let of = logits::<f32>();
    let found = workspace.unpaired_step(Dispatch::detect(), &loss, read(&of), &batch).unwrap();
    let due: f64 = workspace.answer_losses().iter().map(|answer| answer.loss).sum::<f64>() / 8.0;
    assert!((batch.total_loss(&found) - due).abs() < 1e-15, "{due}");
    assert!(due > 0.01, "the control");
}
