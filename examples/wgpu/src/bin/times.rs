//! Times of the shaders beside the library's on one thread, after their results were compared.
//!
//! `cargo run --release --bin times [ADAPTER]`

use std::error::Error;
use std::time::Instant;

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place};
use dpo_kernel::head::{
    HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_forward, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Arithmetic, Dispatch, Layout, Level, Logits, LogitsMut, Span, TokenOut, token_log_probs,
};
use dpo_kernel_wgpu::{
    DeviceOptions, Element, Gpu, HeadOperands, Kernels, Matrix, Targets, Transform,
};
use half::bf16;

/// Repeats until half a second is over; milliseconds of the fastest.
fn fastest(mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    // Shaders are compiled the first time.
    run()?;
    let (mut best, start) = (f64::INFINITY, Instant::now());
    while start.elapsed().as_millis() < 500 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}

#[allow(clippy::cast_precision_loss, reason = "a made-up number below 2^24")]
fn number(i: usize) -> f32 {
    ((i.wrapping_mul(2_654_435_761) >> 7) % 65_536) as f32 / 8192.0 - 4.0
}

fn ids(rows: usize, vocab: usize) -> Result<Vec<u32>, Box<dyn Error>> {
    (0..rows).map(|row| Ok(u32::try_from(row * 7919 % vocab)?)).collect()
}

fn same<E: Element>(what: &str, a: &[E], b: &[E]) -> Result<(), Box<dyn Error>> {
    let is_same = a.iter().zip(b).all(|(a, b)| a.to_f32().to_bits() == b.to_f32().to_bits());
    if is_same { Ok(()) } else { Err(format!("{what} differ").into()) }
}

fn rows<E: Element>(
    gpu: &Gpu,
    dispatch: Dispatch,
    rows: usize,
    vocab: usize,
) -> Result<(), Box<dyn Error>> {
    let kernels = Kernels::<E>::new(gpu)?;
    let data: Vec<E> = (0..rows * vocab).map(|i| E::from_f32(number(i))).collect();
    let (ids, coefficients) = (ids(rows, vocab)?, vec![-0.01; rows]);
    let mut logits = Matrix::new(gpu, &data, rows, vocab, vocab)?;
    let mut grads = Matrix::<E>::new(gpu, &data, rows, vocab, vocab)?;
    let targets = Targets::new(&ids);
    let mut log_probs = vec![0.0; rows];
    let mut scored = kernels.token_log_probs(&logits, &targets, Transform::NONE)?;
    let forward = fastest(|| {
        scored = kernels.token_log_probs(&logits, &targets, Transform::NONE)?;
        Ok(scored.log_probs(gpu, &mut log_probs)?)
    })?;
    let backward = fastest(|| {
        kernels.logit_grads(&logits, &scored, &coefficients, &mut grads)?;
        Ok(gpu.wait()?)
    })?;
    let spans = [Span::new(0, rows)];
    let layout = Layout::new(&ids, &spans, vocab)?;
    let mut expected = vec![0.0; rows];
    let mut norms = vec![RowNorm::default(); rows];
    let host_forward = fastest(|| {
        let out = TokenOut::new(&mut expected).with_norms(&mut norms);
        token_log_probs(dispatch, Logits::new(&data, rows, vocab)?, &layout, out)?;
        Ok(())
    })?;
    let mut host_grads = data.clone();
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    let mut host_backward = f64::INFINITY;
    for _ in 0..5 {
        host_grads.copy_from_slice(&data);
        let start = Instant::now();
        logit_grads_in_place(dispatch, LogitsMut::new(&mut host_grads, rows, vocab)?, &batch)?;
        host_backward = host_backward.min(start.elapsed().as_secs_f64() * 1e3);
    }
    kernels.logit_grads_in_place(&mut logits, &scored, &coefficients)?;
    let mut found = data.clone();
    for of in [&logits, &grads] {
        of.read(gpu, &mut found)?;
        same("gradients", &found, &host_grads)?;
    }
    same("log-probs", &log_probs, &expected)?;
    let name = format!("{rows} x {vocab} {}", E::NAME);
    println!(
        "{name:24} log-probs {forward:9.2} {host_forward:9.2}   gradients {backward:9.2} {host_backward:9.2}"
    );
    Ok(())
}

fn head<E: Element>(
    gpu: &Gpu,
    dispatch: Dispatch,
    (rows, size, vocab): (usize, usize, usize),
) -> Result<(), Box<dyn Error>> {
    let kernels = Kernels::<E>::new(gpu)?;
    let part = |len: usize, by: f32| -> Vec<E> {
        (0..len).map(|i| E::from_f32(by * number(i + len))).collect()
    };
    let (states, weights) = (part(rows * size, 0.25), part(vocab * size, 0.02));
    let (ids, coefficients) = (ids(rows, vocab)?, vec![-0.01; rows]);
    let hidden = Matrix::new(gpu, &states, rows, size, size)?;
    let weight = Matrix::new(gpu, &weights, vocab, size, size)?;
    let operands = HeadOperands { hidden: &hidden, weight: &weight, bias: None };
    let targets = Targets::new(&ids);
    let mut log_probs = vec![0.0; rows];
    let mut scored = kernels.head_log_probs(&operands, &targets, Transform::NONE)?;
    let forward = fastest(|| {
        scored = kernels.head_log_probs(&operands, &targets, Transform::NONE)?;
        Ok(scored.log_probs(gpu, &mut log_probs)?)
    })?;
    let mut grads = kernels.hidden_grads(&operands, &scored, &coefficients)?;
    let backward = fastest(|| {
        grads = kernels.hidden_grads(&operands, &scored, &coefficients)?;
        Ok(gpu.wait()?)
    })?;
    let spans = [Span::new(0, rows)];
    let layout = Layout::new(&ids, &spans, vocab)?;
    let head = Linear::new(&weights, vocab, size)?;
    let mut room = vec![HeadRow::NEW; rows];
    let mut numbers = vec![0.0; HeadScratch::numbers::<E, _>(&head, rows)];
    let (mut expected, mut norms) = (vec![0.0; rows], vec![RowNorm::default(); rows]);
    let mut sums = vec![0.0; rows * size];
    let states = Hidden::new(&states, rows, size)?;
    // The library makes the sums of the backward in its forward: one time for both.
    let both = fastest(|| {
        let out = TokenOut::new(&mut expected).with_norms(&mut norms);
        let of = HiddenMut::new(&mut sums, rows, size)?;
        head_forward(
            dispatch,
            states,
            &head,
            &layout,
            out,
            of,
            HeadScratch::new(&mut room, &mut numbers),
        )?;
        let batch = GradBatch::new(&layout, &norms, &coefficients);
        let of = HiddenMut::new(&mut sums, rows, size)?;
        hidden_grads_in_place(
            dispatch,
            states,
            &head,
            &batch,
            of,
            HeadScratch::new(&mut room, &mut numbers),
        )?;
        Ok(())
    })?;
    let mut found = sums.clone();
    grads.read(gpu, &mut found)?;
    same("hidden gradients", &found, &sums)?;
    same("log-probs", &log_probs, &expected)?;
    let name = format!("head {rows} x {size} x {vocab} {}", E::NAME);
    println!(
        "{name:24} log-probs {forward:9.2}   gradients {backward:9.2}   both {:9.2} {both:9.2}",
        forward + backward
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let adapter = std::env::args().nth(1);
    let gpu = Gpu::new(&DeviceOptions { adapter, ..DeviceOptions::default() })?;
    let dispatch = Dispatch::new(Level::detect(), Arithmetic::Portable)?;
    println!("{}; the library on one thread, portable arithmetic; ms, shaders first", gpu.name());
    rows::<f32>(&gpu, dispatch, 1024, 256)?;
    for (count, vocab) in [(64, 32_000), (64, 128_256)] {
        rows::<f32>(&gpu, dispatch, count, vocab)?;
        rows::<bf16>(&gpu, dispatch, count, vocab)?;
    }
    head::<f32>(&gpu, dispatch, (32, 256, 8192))?;
    head::<bf16>(&gpu, dispatch, (32, 256, 8192))
}
