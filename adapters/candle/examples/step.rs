//! A DPO step in candle: a small model, its loss, one update.
//!
//! `cargo run --release --example step`

use candle_core::{Device, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::{
    Dispatch, Dpo, IGNORE_INDEX, Layout, Pair, Reference, Span, StepBatch,
};
use dpo_kernel_candle::{Error, Head, Workspace};

const VOCAB: usize = 11;
const SIZE: usize = 8;

fn main() -> Result<(), Error> {
    let device = Device::Cpu;
    // The model: an embedding, which is the head too. Any other model comes in between.
    let embedding = Var::randn(0_f32, 0.5, (VOCAB, SIZE), &device)?;
    let tokens = Tensor::new(&[3_u32, 7, 1, 4, 3, 7, 9, 2], &device)?;

    // Two answers to the prompt [3, 7]: row t scores token t + 1, the prompt's rows score nothing.
    let targets = [IGNORE_INDEX, 1, 4, IGNORE_INDEX, IGNORE_INDEX, 9, 2, IGNORE_INDEX];
    let spans = [Span::new(0, 4), Span::new(4, 8)];
    let layout = Layout::new(&targets, &spans, VOCAB)?;
    let pairs = [Pair::new(0, 1)]; // the first answer is preferred
    let (mut workspace, on) = (Workspace::new(), Dispatch::detect());

    // Once: the reference is the model before training.
    let states = embedding.embedding(&tokens)?.detach();
    let frozen = embedding.detach();
    let reference = workspace.score(on, Head::new(&states, &frozen), &layout, None)?.to_vec();

    for step in 0..5 {
        let states = embedding.embedding(&tokens)?;
        let batch = StepBatch::new(&layout, &pairs, Reference::Sequences(&reference), 1.0);
        let head = Head::new(&states, &embedding);
        let found = workspace.preference_step(on, &Dpo::new(0.1)?, head, &batch)?;
        let (loss, margin) = (found.summary.mean_loss(), found.summary.mean_margin());
        println!("step {step}: loss {loss:.4}, margin {margin:.4}");
        let grads = found.loss.backward()?;
        if let Some(grad) = grads.get(&embedding) {
            embedding.set(&(embedding.as_tensor() - (grad * 2.0)?)?)?;
        }
    }
    Ok(())
}
