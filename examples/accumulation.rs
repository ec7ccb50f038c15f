//! Gradient accumulation: micro-batches that add up to the whole batch, gradients and figures
//! alike.
//!
//! `cargo run --features alloc --example accumulation`

#![allow(
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "an example with few numbers"
)]

use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, LogitsMut, Pair, Reference, Span, StepBatch, Summary, Workspace,
};

const VOCAB: usize = 3;

fn main() -> Result<(), Error> {
    let total = accumulate()?;
    println!("mean loss of {} pairs: {:.4}", total.pairs, total.mean_loss());
    Ok(())
}

fn accumulate() -> Result<Summary, Error> {
    // Three pairs of one-token answers, in micro-batches of two pairs and of one.
    let logits: Vec<f32> = (0..6 * VOCAB).map(|i| (i * 7 % 5) as f32 * 0.5).collect();
    let (targets, reference) = ([0, 1, 2, 0, 1, 2], [-1.0, -1.5, -0.5, -2.0, -1.25, -0.75]);
    let spans = [0, 1, 2, 3].map(|row| Span::new(row, row + 1));
    let pairs = [Pair::new(0, 1), Pair::new(2, 3)];
    let (dispatch, dpo, mut workspace) = (Dispatch::detect(), Dpo::new(0.1)?, Workspace::new());

    // The divisor is that of the whole batch: a short last micro-batch weighs as it should.
    let whole = 3.0;
    let mut grads = logits.clone();
    let mut total = Summary::default();
    for rows in [0..4, 4..6] {
        let n = rows.len();
        let layout = Layout::new(&targets[rows.clone()], &spans[..n], VOCAB)?;
        let reference = Reference::Sums(&reference[rows.clone()]);
        let batch = StepBatch::new(&layout, &pairs[..n / 2], reference, whole);
        let micro = &mut grads[rows.start * VOCAB..rows.end * VOCAB];
        let view = LogitsMut::new(micro, n, VOCAB)?;
        // Summaries are sums with counts, so they add up, over machines too.
        total += workspace.preference_step(dispatch, &dpo, view, &batch)?.loss;
    }

    let mut at_once = logits;
    let spans = [0, 1, 2, 3, 4, 5].map(|row| Span::new(row, row + 1));
    let pairs = [Pair::new(0, 1), Pair::new(2, 3), Pair::new(4, 5)];
    let layout = Layout::new(&targets, &spans, VOCAB)?;
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), whole);
    let view = LogitsMut::new(&mut at_once, 6, VOCAB)?;
    workspace.preference_step(dispatch, &dpo, view, &batch)?;
    assert_eq!(grads, at_once, "the same gradients, to the bit");
    Ok(total)
}

/// By the formula in f64: the mean of −log σ(0.1 (a − b)) over all three pairs.
#[test]
fn figures_are_those_of_the_formula() -> Result<(), Error> {
    let total = accumulate()?;
    assert_eq!(total.pairs, 3, "pairs of both micro-batches");
    assert!((total.mean_loss() - 0.807_954_957_298_917).abs() < 1e-7, "{}", total.mean_loss());
    main()
}
