//! Logits in bf16, gradients in f32, in a buffer of the host's; without the feature `alloc`.
//!
//! `cargo run --example bf16`

use dpo_kernel::gradient::Unscored;
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::StepScratch;
use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, Logits, LogitsMut, Pair, PairLoss, Reference, SequenceLogProb,
    Span, StepBatch, bf16, preference_step,
};

fn main() -> Result<(), Error> {
    let (loss, grads) = step()?;
    println!("loss {loss:.4}, gradients {grads:?}");
    Ok(())
}

/// Loss and gradients.
fn step() -> Result<(f64, [f32; 9]), Error> {
    // Two answers of one token, a row of padding between them, a stride of 4 over a vocabulary of
    // 3.
    let logits = [0.5, 1.5, -1.0, 0.0, 9.0, 9.0, 9.0, 9.0, 1.0, 0.0, 0.5, 0.0].map(bf16::from_f32);
    let (targets, spans) = ([1, 0, 2], [Span::new(0, 1), Span::new(2, 3)]);
    let layout = Layout::new(&targets, &spans, 3)?;
    let pairs = [Pair::new(0, 1)];
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&[-0.5, -1.0]), 1.0)
        // Rows that are not scored become 0, so that the whole buffer is a gradient.
        .with_unscored(Unscored::Zero);

    // The buffers of a step, in the order of its stages.
    let (mut log_probs, mut norms) = ([0.0; 3], [RowNorm::default(); 3]);
    let (mut sequences, mut losses) = ([SequenceLogProb::default(); 2], [PairLoss::default()]);
    let (mut d_log_probs, mut coefficients) = ([0.0; 2], [0.0; 3]);
    let scratch = StepScratch::new(
        &mut log_probs,
        &mut norms,
        &mut sequences,
        &mut losses,
        &mut d_log_probs,
        &mut coefficients,
    );

    let mut grads = [f32::NAN; 9];
    let from = Logits::with_stride(&logits, 3, 3, 4)?;
    let to = LogitsMut::new(&mut grads, 3, 3)?;
    let summary =
        preference_step(Dispatch::detect(), &Dpo::new(0.1)?, (from, to), &batch, scratch)?;

    assert_eq!(grads[3..6], [0.0; 3], "the row of padding");
    assert!(grads[1] < 0.0 && grads[8] > 0.0, "up with the chosen token, down with the rejected");
    Ok((summary.mean_loss(), grads))
}

/// By the formulas in f64; every logit is a number of bf16.
#[test]
fn figures_are_those_of_the_formulas() -> Result<(), Error> {
    let (loss, grads) = step()?;
    assert!((loss - 0.677_829_787_148_247).abs() < 1e-7, "{loss}");
    let chosen = [0.012_489_999_737, -0.015_276_895_379, 0.002_786_895_642];
    let rejected = [-0.024_933_135_563, -0.009_172_387_978, 0.034_105_523_541];
    let expected = [chosen, [0.0; 3], rejected].concat();
    for (found, expected) in grads.into_iter().zip(expected) {
        assert!((f64::from(found) - expected).abs() < 1e-8, "{found} is not {expected}");
    }
    main()
}
