//! `SimPO`: a loss without a reference, of mean log-probs.
//!
//! `cargo run --features alloc --example simpo`

use dpo_kernel::loss::SimPo;
use dpo_kernel::{Dispatch, Error, Layout, LogitsMut, Pair, Reference, Span, StepBatch, Workspace};

fn main() -> Result<(), Error> {
    let (loss, accuracy) = step()?;
    println!("loss {loss:.4}, accuracy {accuracy}");
    Ok(())
}

/// Loss and accuracy.
fn step() -> Result<(f64, f64), Error> {
    // A chosen answer of one token and a rejected one of two, over a vocabulary of 4.
    let mut logits = [0.0_f32, 1.0, 0.5, -0.5, 1.0, 0.0, 0.0, 0.5, 0.25, 0.0, 1.5, 0.0];
    let (targets, spans) = ([1, 0, 2], [Span::new(0, 1), Span::new(1, 3)]);
    let layout = Layout::new(&targets, &spans, 4)?;
    let pairs = [Pair::new(0, 1)];

    // β = 2 and the target margin γ = 0.5; `SimPo::with_ratio` takes γ/β, as the paper's code does.
    let simpo = SimPo::new(2.0, 0.5)?;
    // A loss that needs a reference would refuse `Free`; SimPO refuses anything else.
    let batch = StepBatch::new(&layout, &pairs, Reference::Free, 1.0);
    let view = LogitsMut::new(&mut logits, 3, 4)?;
    let mut workspace = Workspace::new();
    let summary = workspace.preference_step(Dispatch::detect(), &simpo, view, &batch)?;

    let gradient: Vec<f64> =
        logits.chunks(4).map(|row| row.iter().map(|&g| f64::from(g)).sum()).collect();
    assert!(gradient.iter().all(|sum| sum.abs() < 1e-6), "gradients of a row sum to 0");
    Ok((summary.mean_loss(), summary.accuracy()))
}

/// By the formula in f64: −log σ(2 (−0.0869…) − 0.5), of a chosen answer that is the less likely one.
#[test]
fn figures_are_those_of_the_formula() -> Result<(), Error> {
    let (loss, accuracy) = step()?;
    assert!((loss - 1.085_775_711_366_596).abs() < 1e-7, "{loss}");
    assert_eq!(accuracy.to_bits(), 0.0_f64.to_bits(), "the rejected answer is ahead");
    main()
}
