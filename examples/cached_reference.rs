//! A reference that was scored once, stored per token, and weighted anew: LD-DPO needs it so.
//!
//! `cargo run --features alloc --example cached_reference`

use dpo_kernel::training::ld_token_weights;
use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, Logits, LogitsMut, Pair, Reference, SequenceLogProb, Span,
    StepBatch, TokenOut, Workspace, sequence_log_probs, token_log_probs,
};

fn main() -> Result<(), Error> {
    let dispatch = Dispatch::detect();
    let frozen = [0.5_f32, 1.5, -1.0, 0.0, 0.25, 2.0, 1.0, 0.0, 0.5, 0.0, -2.0, 0.5];
    let (targets, spans) = ([1, 2, 0, 2], [Span::new(0, 1), Span::new(1, 4)]);
    let (layout, pairs) = (Layout::new(&targets, &spans, 3)?, [Pair::new(0, 1)]);

    // Once, before training: the token log-probs of the frozen model, to be written to disk.
    let mut cache = [0.0; 4];
    let logits = Logits::new(&frozen, 4, 3)?;
    token_log_probs(dispatch, logits, &layout, TokenOut::new(&mut cache))?;

    // Every step: the weights of LD-DPO, by which policy and reference are summed alike.
    let mut weights = [1.0; 4];
    ld_token_weights(0.5, &layout, &pairs, &mut weights)?;
    let mut reference = [SequenceLogProb::default(); 2];
    sequence_log_probs(&cache, &layout, Some(&weights), &mut reference)?;
    let batch = StepBatch::new(&layout, &pairs, Reference::Sequences(&reference), 1.0)
        .with_token_weights(&weights);

    let mut policy = frozen; // step 0: the policy is the reference
    let view = LogitsMut::new(&mut policy, 4, 3)?;
    let mut workspace = Workspace::new();
    let summary = workspace.preference_step(dispatch, &Dpo::new(0.1)?, view, &batch)?;
    println!("loss at step 0: {}", summary.mean_loss());
    assert_eq!(summary.mean_loss().to_bits(), core::f64::consts::LN_2.to_bits(), "exactly");
    Ok(())
}

#[test]
fn runs() -> Result<(), Error> {
    main()
}
