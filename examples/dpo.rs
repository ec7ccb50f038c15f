//! DPO in one step: logits in, loss and logit gradients out.
//!
//! `cargo run --features alloc --example dpo`

use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, LogitsMut, Pair, Reference, Span, StepBatch, Workspace,
};

fn main() -> Result<(), Error> {
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

    println!("loss {:.4}, margin {:.4}", summary.mean_loss(), summary.mean_margin());
    // The scored rows of `logits` are gradients now (here all): hand them to the model's own
    // backward.
    assert!(logits[1] < 0.0, "descent raises the logit of the chosen answer's token");
    assert!(logits[13] > 0.0, "and lowers that of the rejected one's");
    Ok(())
}

#[test]
fn runs() -> Result<(), Error> {
    main()
}
