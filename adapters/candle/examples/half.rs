//! Logits in 16 bits: candle's own loss beside this crate's, on a row whose truth is known.
//!
//! `cargo run --release --example half`
//!
//! V equal logits: every log-prob is −ln V, the gradient of −log p is 1/V − 1 on the target and 1/V
//! on every other column.

use candle_core::{D, DType, Device, Tensor, Var};
use dpo_kernel_candle::dpo_kernel::loss::{Nll, NllPer};
use dpo_kernel_candle::dpo_kernel::{Dispatch, Dpo, Layout, Pair, Reference, Span, StepBatch};
use dpo_kernel_candle::{Error, Logits, Workspace};

const TARGET: usize = 3;

fn main() -> Result<(), Error> {
    println!("candle 0.11.1, {}", env!("CARGO_PKG_NAME"));
    println!();
    println!("| type, V | what | true | candle | adapter |");
    println!("|---|---|---|---|---|");
    for dtype in [DType::BF16, DType::F16] {
        for vocab in [256, 2_048, 32_000, 131_072] {
            print(dtype, vocab)?;
        }
    }
    Ok(())
}

/// log p, and the gradient of −log p on the target and elsewhere.
struct Found {
    log_prob: f32,
    on_target: f32,
    elsewhere: f32,
}

fn print(dtype: DType, vocab: usize) -> Result<(), Error> {
    let (candle, adapter) = (of_candle(dtype, vocab)?, of_adapter(dtype, vocab)?);
    #[allow(clippy::cast_precision_loss, reason = "V is far below 2^53")]
    let share = 1.0 / vocab as f64;
    let row = |what: &str, truth: f64, candle: f32, adapter: f32| {
        println!("| {dtype:?}, {vocab} | {what} | {truth:.5e} | {candle:.5e} | {adapter:.5e} |");
    };
    row("log p", share.ln(), candle.log_prob, adapter.log_prob);
    row("gradient, target", share - 1.0, candle.on_target, adapter.on_target);
    row("gradient, others", share, candle.elsewhere, adapter.elsewhere);
    Ok(())
}

fn found(log_prob: f32, grad: &Tensor) -> Result<Found, Error> {
    let grad: Vec<f32> = grad.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let at = |i: usize| grad.get(i).copied().unwrap_or(f32::NAN);
    Ok(Found { log_prob, on_target: at(TARGET), elsewhere: at(TARGET + 1) })
}

fn of_candle(dtype: DType, vocab: usize) -> Result<Found, Error> {
    let logits = Var::zeros((1, vocab), dtype, &Device::Cpu)?;
    let log_probs = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    let log_prob = log_probs.get(0)?.get(TARGET)?.to_dtype(DType::F32)?.to_scalar()?;
    #[allow(clippy::cast_possible_truncation, reason = "3")]
    let target = Tensor::new(&[TARGET as u32], &Device::Cpu)?;
    let grads = candle_nn::loss::cross_entropy(&logits, &target)?.backward()?;
    found(log_prob, grads.get(&logits).unwrap_or(&logits))
}

fn of_adapter(dtype: DType, vocab: usize) -> Result<Found, Error> {
    let logits = Var::zeros((2, vocab), dtype, &Device::Cpu)?;
    // −log p of the first row alone: the pair has weight 0.
    #[allow(clippy::cast_possible_truncation, reason = "3")]
    let (targets, spans) = ([TARGET as u32; 2], [Span::new(0, 1), Span::new(1, 2)]);
    let layout = Layout::new(&targets, &spans, vocab)?;
    let (pairs, term) = ([Pair::new(0, 1)], Nll::new(1.0, NllPer::Token, 1.0)?);
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&[0.0; 2]), 1.0);
    let batch = batch.with_weights(&[0.0]).with_nll_on(term, &[0]);
    let (mut workspace, loss) = (Workspace::new(), Dpo::new(0.1)?);
    let step =
        workspace.preference_step(Dispatch::detect(), &loss, Logits::new(&logits), &batch)?;
    let grads = step.loss.backward()?;
    found(-step.loss.to_scalar::<f32>()?, grads.get(&logits).unwrap_or(&logits))
}
