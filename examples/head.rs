//! DPO without logits: hidden states and the head's weights in, loss and hidden gradients out.
//!
//! `cargo run --features alloc --example head`

use dpo_kernel::head::{HeadRow, HeadScratch, Hidden, HiddenMut, Linear};
use dpo_kernel::step::{FrozenHead, StepSummary};
use dpo_kernel::{
    Dispatch, Dpo, Error, Layout, Pair, Reference, Span, StepBatch, Summary, Workspace,
};

const ROWS: usize = 4;
const SIZE: usize = 3;
const VOCAB: usize = 5;

fn main() -> Result<(), Error> {
    let (summary, _) = step()?;
    println!("loss {:.4}, margin {:.4}", summary.mean_loss(), summary.mean_margin());
    Ok(())
}

/// What is worth telling, and the gradients.
fn step() -> Result<(StepSummary<Summary>, [f32; ROWS * SIZE]), Error> {
    // What the model's last norm gives for two answers of two tokens each.
    let states = [
        0.5_f32, 1.5, -1.0, // predicts token 1 of the chosen answer
        -0.5, 0.0, 2.0, // token 2
        1.0, 0.0, 0.5, // token 3 of the rejected answer
        0.0, -2.0, 0.5, // token 4
    ];
    // `lm_head.weight`, or the embedding where the two are tied: V × H. It stays as it is.
    let weights =
        [0.25_f32, -0.5, 1.0, 0.75, 0.5, -0.25, -1.0, 0.0, 0.5, 0.5, 0.25, 0.0, -0.75, 1.0, 0.25];
    let (targets, spans) = ([1, 2, 3, 4], [Span::new(0, 2), Span::new(2, 4)]);
    let reference = [-1.5, -2.0]; // log-probs of both answers under the frozen model

    let mut workspace = Workspace::new();
    let layout = Layout::new(&targets, &spans, VOCAB)?;
    let pairs = [Pair::new(0, 1)]; // sequence 0 is preferred to sequence 1
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), 1.0);

    // Memory for as many rows as go through the head together, whose weights are read once for all
    // of them: some hundred are a good number.
    let head = Linear::new(&weights, VOCAB, SIZE)?;
    let mut rows = [HeadRow::NEW; ROWS];
    let mut numbers = vec![0.0; HeadScratch::numbers::<f32, _>(&head, ROWS)];
    let scratch = HeadScratch::new(&mut rows, &mut numbers);

    // In the place of logits, hidden states and head, and room for what goes back into the model.
    let mut grads = [0.0; ROWS * SIZE];
    let (states, room) =
        (Hidden::new(&states, ROWS, SIZE)?, HiddenMut::new(&mut grads, ROWS, SIZE)?);
    let step = FrozenHead::new(states, &head, room, scratch);
    let summary = workspace.preference_step(Dispatch::detect(), &Dpo::new(0.1)?, step, &batch)?;
    Ok((summary, grads))
}

#[cfg(test)]
const GRADS: [f64; ROWS * SIZE] = [
    -0.023_667_422_298_050,
    0.001_730_520_759_819,
    0.010_774_001_429_277,
    0.031_556_039_293_486,
    -0.001_358_449_510_231,
    0.005_804_321_525_833,
    0.009_377_677_799_673,
    0.005_453_651_058_776,
    -0.013_156_077_804_930,
    -0.034_136_292_785_176,
    0.054_456_813_533_310,
    -0.021_269_975_851_123,
];

/// By the formulas in f64, from logits that are written out.
#[test]
fn figures_are_those_of_the_formulas() -> Result<(), Error> {
    let (summary, grads) = step()?;
    let near = |found: f64, expected: f64, by: f64| {
        assert!((found - expected).abs() < by, "{found} is not {expected}");
    };
    near(summary.mean_loss(), 0.566_645_927_521_113, 1e-7);
    near(summary.mean_margin(), 0.271_354_639_008_994, 1e-6);
    for (found, expected) in grads.into_iter().zip(GRADS) {
        near(found.into(), expected, 1e-8);
    }
    main()
}
