//! Makes the page's base model: trains it on both answers of every pair that is not held out, a fourth of them
//! with a tail, so that it has both manners, speaks briefly and at length, and prefers nothing; then rounds
//! its weights to i8.
//!
//! ```text
//! cargo run --release --bin pretrain -- ../page/pairs.jsonl ../page/base.bin
//! ```
#![allow(clippy::indexing_slicing, reason = "offsets come from the shapes of buffers made above")]

use std::error::Error;
use std::fs;

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Layout, Logits, LogitsMut, Span, TokenOut, token_log_probs};
use dpo_kernel_firmware::model::fading;
use dpo_kernel_firmware::random::Random;
use dpo_kernel_web::model::{BYTES, HIDDEN, NEAR, WIDTH};
use dpo_kernel_web::pairs::{Examples, Pair, lengthened};
use dpo_kernel_web::text::{Changes, Text, VOCAB};
use dpo_kernel_web::train::dispatch;

const PASSES: usize = 100;
const TEXTS: usize = 8;
const RATE: f32 = 0.004;
const TABLE: usize = VOCAB * WIDTH;

/// Matrices in the order of the file, row-major.
type Weights = Vec<Vec<f32>>;

fn zeros() -> Weights {
    let sizes = [TABLE; NEAR + 1].into_iter().chain([WIDTH * HIDDEN, HIDDEN * VOCAB]);
    sizes.map(|size| vec![0.0; size]).collect()
}

/// y += factor · row
fn add(to: &mut [f32], factor: f32, row: &[f32]) {
    to.iter_mut().zip(row).for_each(|(to, value)| *to += factor * value);
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn row(matrix: &[f32], index: usize, columns: usize) -> &[f32] {
    &matrix[index * columns..][..columns]
}

fn row_mut(matrix: &mut [f32], index: usize, columns: usize) -> &mut [f32] {
    &mut matrix[index * columns..][..columns]
}

/// x and active hidden channels of each position but the last, and logits.
fn forward(weights: &Weights, symbols: &[u8], logits: &mut Vec<f32>) -> Vec<[Vec<f32>; 2]> {
    let mut memory = vec![0.0; WIDTH];
    let positions = (0..symbols.len() - 1).map(|t| {
        let new = row(&weights[NEAR], symbols[t].into(), WIDTH);
        for (channel, memory) in memory.iter_mut().enumerate() {
            *memory = fading(channel) * *memory + (1.0 - fading(channel)) * new[channel];
        }
        let mut x = memory.clone();
        for k in 0..NEAR.min(t + 1) {
            add(&mut x, 1.0, row(&weights[k], symbols[t - k].into(), WIDTH));
        }
        let mut hidden = vec![0.0; HIDDEN];
        (0..WIDTH).for_each(|i| add(&mut hidden, x[i], row(&weights[NEAR + 1], i, HIDDEN)));
        let hidden: Vec<f32> = hidden.into_iter().map(|value: f32| value.max(0.0)).collect();
        let mut y = vec![0.0; VOCAB];
        (0..HIDDEN).for_each(|i| add(&mut y, hidden[i], row(&weights[NEAR + 2], i, VOCAB)));
        logits.extend(y);
        [x, hidden]
    });
    positions.collect()
}

fn backward(
    weights: &Weights,
    symbols: &[u8],
    tape: &[[Vec<f32>; 2]],
    dy: &[f32],
    grads: &mut Weights,
) {
    let mut carry = [0.0; WIDTH];
    for (t, [x, hidden]) in tape.iter().enumerate().rev() {
        let dy = row(dy, t, VOCAB);
        let mut dh = vec![0.0; HIDDEN];
        for i in 0..HIDDEN {
            add(row_mut(&mut grads[NEAR + 2], i, VOCAB), hidden[i], dy);
            dh[i] = if hidden[i] > 0.0 { dot(row(&weights[NEAR + 2], i, VOCAB), dy) } else { 0.0 };
        }
        let mut dx = vec![0.0; WIDTH];
        for i in 0..WIDTH {
            add(row_mut(&mut grads[NEAR + 1], i, HIDDEN), x[i], &dh);
            dx[i] = dot(row(&weights[NEAR + 1], i, HIDDEN), &dh);
        }
        for k in 0..NEAR.min(t + 1) {
            add(row_mut(&mut grads[k], symbols[t - k].into(), WIDTH), 1.0, &dx);
        }
        let far = row_mut(&mut grads[NEAR], symbols[t].into(), WIDTH);
        for channel in 0..WIDTH {
            carry[channel] += dx[channel];
            far[channel] += (1.0 - fading(channel)) * carry[channel];
            carry[channel] *= fading(channel);
        }
    }
}

/// Σ −log p of a text's symbols after its first; the gradient over `divisor` is added to `grads`.
fn learn(
    weights: &Weights,
    symbols: &[u8],
    divisor: f64,
    grads: &mut Weights,
) -> Result<f64, dpo_kernel::Error> {
    let mut logits = Vec::new();
    let tape = forward(weights, symbols, &mut logits);
    let targets: Vec<u32> = symbols[1..].iter().copied().map(u32::from).collect();
    let (rows, spans) = (targets.len(), [Span::new(0, targets.len())]);
    let layout = Layout::new(&targets, &spans, VOCAB)?;
    let (mut log_probs, mut norms) = (vec![0.0; rows], vec![RowNorm::default(); rows]);
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms);
    token_log_probs(dispatch(), Logits::new(&logits, rows, VOCAB)?, &layout, out)?;
    let coefficients = vec![-1.0 / divisor; rows];
    let batch = GradBatch::new(&layout, &norms, &coefficients);
    logit_grads_in_place(dispatch(), LogitsMut::new(&mut logits, rows, VOCAB)?, &batch)?;
    backward(weights, symbols, &tape, &logits, grads);
    Ok(-log_probs.iter().map(|&log_prob| f64::from(log_prob)).sum::<f64>())
}

/// The texts of a pass: every prompt with its own two answers, or with those to another prompt, so that the
/// model learns answers rather than pairs by heart; a fifth of the answers with a tail.
fn drawn(pairs: &[Pair<'_>], random: &mut Random, changes: &mut Changes) -> Vec<Text> {
    let mut below = |count: usize| random.bits() as usize % count;
    let mut texts = Vec::new();
    for &[prompt, chosen, rejected] in pairs {
        let [_, other_chosen, other_rejected] = pairs[below(pairs.len())];
        let other = below(3) == 0;
        let answers = if other { [other_chosen, other_rejected] } else { [chosen, rejected] };
        for answer in answers {
            let tail = (below(5) == 0).then(|| lengthened(answer, below(4)));
            texts.push(Text::new(prompt, tail.as_deref().unwrap_or(answer), changes));
        }
    }
    texts
}

/// Each matrix as its scale and its weights rounded to multiples of it.
fn rounded(weights: &Weights) -> Vec<u8> {
    let mut file = Vec::with_capacity(BYTES);
    for matrix in weights {
        let largest = matrix.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
        let scale = largest / 127.0;
        file.extend(scale.to_le_bytes());
        file.extend(matrix.iter().map(|w| (libm::rintf(w / scale) as i8).cast_unsigned()));
    }
    file
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        return Err("usage: pretrain PAIRS.jsonl BASE.bin".into());
    };
    let pairs = dpo_kernel_web_reader::read(&from.to_string_lossy(), &fs::read(&from)?)?;
    let pairs: Vec<Pair<'_>> = pairs
        .iter()
        .map(|pair| -> Pair<'_> { [&pair.prompt, &pair.chosen, &pair.rejected] })
        .collect();
    let held_out = Examples::new(pairs.iter().copied(), false).held_out;
    let mut changes = Changes::default();
    let is_seen = |[prompt, chosen, _]: &Pair<'_>| {
        let text = Text::new(prompt, chosen, &mut Changes::default());
        held_out.iter().all(|pair| pair.chosen.opening() != text.opening())
    };
    let seen: Vec<Pair<'_>> = pairs.iter().copied().filter(is_seen).collect();
    let mut random = Random(1);
    let mut weights = zeros();
    let bounds = [0.4; NEAR].into_iter().chain([0.8, 0.3, 0.2]);
    for (matrix, bound) in weights.iter_mut().zip(bounds) {
        matrix.fill_with(|| bound * random.uniform());
    }
    let (mut mean, mut square) = (zeros(), zeros());
    let steps = (PASSES * (2 * seen.len()).div_ceil(TEXTS)) as f32;
    let (mut step, mut left) = (0.0, (1.0, 1.0));
    for pass in 1..=PASSES {
        let mut texts = drawn(&seen, &mut random, &mut changes);
        random.shuffle(&mut texts);
        let (mut loss, mut symbols) = (0.0, 0);
        for batch in texts.chunks(TEXTS) {
            let rows: usize = batch.iter().map(|text| text.symbols().len() - 1).sum();
            let mut grads = zeros();
            for text in batch {
                loss += learn(&weights, text.symbols(), rows as f64, &mut grads)?;
            }
            symbols += rows;
            left = (left.0 * 0.9, left.1 * 0.98);
            let rate = RATE * (1.0 - step / steps);
            for ((weights, grads), (mean, square)) in
                weights.iter_mut().zip(&grads).zip(mean.iter_mut().zip(&mut square))
            {
                for ((weight, grad), (mean, square)) in
                    weights.iter_mut().zip(grads).zip(mean.iter_mut().zip(square))
                {
                    *mean = 0.9 * *mean + 0.1 * grad;
                    *square = 0.98 * *square + 0.02 * grad * grad;
                    let root = libm::sqrtf(*square / (1.0 - left.1));
                    *weight -= rate * (*mean / (1.0 - left.0)) / (root + 1e-8);
                }
            }
            step += 1.0;
        }
        if pass % 20 == 0 {
            println!("pass {pass}: {:.4} nats a symbol", loss / f64::from(u32::try_from(symbols)?));
        }
    }
    fs::write(to, rounded(&weights))?;
    Ok(())
}
