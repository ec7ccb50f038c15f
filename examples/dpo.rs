//! DPO in one step: logits in, loss and logit gradients out.
//!
//! `cargo run --features alloc --example dpo`

use dpo_kernel::step::StepSummary;
use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, LogitsMut, Pair, Reference, Span, StepBatch, Summary, Workspace,
};

fn main() -> Result<(), Error> {
    let (summary, _) = step()?;
    println!("loss {:.4}, margin {:.4}", summary.mean_loss(), summary.mean_margin());
    Ok(())
}

/// What is worth telling, and the gradients.
fn step() -> Result<(StepSummary<Summary>, [f32; 20]), Error> {
    // What a model's forward gave for two answers of two tokens each, over a vocabulary of 5: row t
    // is the output at position t, and scores the token that comes next.
    let mut logits = [
        0.5_f32, 1.5, -1.0, 0.0, 0.25, // predicts token 1 of the chosen answer
        -0.5, 0.0, 2.0, 0.5, -1.5, // token 2
        1.0, 0.0, 0.5, 1.25, -0.75, // token 3 of the rejected answer
        0.0, -2.0, 0.5, 0.75, 1.0, // token 4
    ];
    let (targets, spans) = ([1, 2, 3, 4], [Span::new(0, 2), Span::new(2, 4)]);
    let reference = [-1.5, -2.0]; // log-probs of both answers under the frozen model

    let mut workspace = Workspace::new();
    let layout = Layout::new(&targets, &spans, 5)?;
    let pairs = [Pair::new(0, 1)]; // sequence 0 is preferred to sequence 1
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 1.0);
    let view = LogitsMut::new(&mut logits, 4, 5)?;
    let summary = workspace.preference_step(Dispatch::detect(), &Dpo::new(0.1)?, view, &batch)?;

    // The scored rows of `logits` are gradients now (here all): hand them to the model's own
    // backward.
    assert!(logits[1] < 0.0, "descent raises the logit of the chosen answer's token");
    assert!(logits[13] > 0.0, "and lowers that of the rejected one's");
    Ok((summary, logits))
}

/// By the formulas in f64: −log σ(0.1 (a − b)), and −β σ(−z) (1 − p) of a chosen token.
#[test]
fn figures_are_those_of_the_formulas() -> Result<(), Error> {
    let (summary, grads) = step()?;
    let near = |found: f64, expected: f64, by: f64| {
        assert!((found - expected).abs() < by, "{found} is not {expected}");
    };
    near(summary.mean_loss(), 0.670_637_240_212_849, 1e-7);
    near(summary.mean_margin(), 0.045_538_269_399_818, 1e-6);
    near(grads[1].into(), -0.023_927_184_439_350, 1e-8);
    near(grads[13].into(), 0.030_582_052_569_153, 1e-8);
    main()
}
