//! KTO: answers without a partner, each good or bad on its own, and K from mismatched answers.
//!
//! `cargo run --features alloc --example kto`

use dpo_kernel::loss::Kto;
use dpo_kernel::step::UnpairedStepBatch;
use dpo_kernel::training::LogRatioSums;
use dpo_kernel::unpaired::{Label, UnpairedAnswer};
use dpo_kernel::{
    Dispatch, Error, Layout, Logits, LogitsMut, Reference, SequenceLogProb, Span, Workspace,
};

fn main() -> Result<(), Error> {
    let (k, loss) = step()?;
    println!("K {k:.4}, loss {loss:.4}");
    Ok(())
}

/// K, and the loss.
fn step() -> Result<(f64, f64), Error> {
    let dispatch = Dispatch::detect();
    let mut workspace = Workspace::new();

    // K: the prompts of the batch with one another's answers, scored under policy and reference by
    // the same stages. They get no gradient.
    let policy_rows = [0.0_f32, 1.0, 0.5, 0.5, -1.0, 0.25];
    let frozen_rows = [0.0_f32, 0.5, 0.5, 0.25, -0.5, 0.25];
    let (targets, spans) = ([1, 0], [Span::new(0, 1), Span::new(1, 2)]);
    let mismatched = Layout::new(&targets, &spans, 3)?;
    let rows = |logits| Logits::new(logits, 2, 3);
    let policy: Vec<SequenceLogProb> =
        workspace.score(dispatch, rows(&policy_rows)?, &mismatched, None)?.to_vec();
    let frozen = workspace.score(dispatch, rows(&frozen_rows)?, &mismatched, None)?;
    let mut sums = LogRatioSums::default();
    sums.add_batch(&policy, Reference::Sequences(frozen))?;
    let k = sums.kto_k();

    // The step: a good answer and a bad one.
    let mut logits = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
    let (targets, spans) = ([2, 0], [Span::new(0, 1), Span::new(1, 2)]);
    let layout = Layout::new(&targets, &spans, 3)?;
    let answers = [
        UnpairedAnswer { sequence: 0, label: Label::Desirable },
        UnpairedAnswer { sequence: 1, label: Label::Undesirable },
    ];
    let reference = Reference::Sums(&[-0.5, -2.5]);
    let batch = UnpairedStepBatch::new(&layout, &answers, reference, 2.0);
    let kto = Kto::new(0.1, k)?;
    let view = LogitsMut::new(&mut logits, 2, 3)?;
    let summary = workspace.unpaired_step(dispatch, &kto, view, &batch)?;

    assert!(
        logits[2] < 0.0 && logits[3] > 0.0,
        "descent raises the good answer, lowers the bad one"
    );
    Ok((k, summary.mean_loss()))
}

/// By the formulas in f64: the mean log-ratio of the mismatched, and the mean of 1 − σ(0.1 (a − K))
/// and 1 − σ(0.1 (K − b)).
#[test]
fn figures_are_those_of_the_formulas() -> Result<(), Error> {
    let (k, loss) = step()?;
    assert!((k - 0.244_407_020_679_661).abs() < 1e-6, "{k}");
    assert!((loss - 0.489_560_326_198_124).abs() < 1e-7, "{loss}");
    main()
}
