//! Makes `base.bin` on a PC: trains the base model on both answers of every training pair, so that
//! it has both habits and prefers neither, and rounds its weights to i8.
//!
//! ```text
//! cargo run --release --bin pretrain -- base.bin
//! ```
//!
//! With nothing but IEEE-754 arithmetic and `libm`, so that any machine makes the same file.

use std::error::Error;
use std::io::Write as _;

use dpo_kernel_firmware::base::BYTES;
use dpo_kernel_firmware::linear::{add_scaled, dot};
use dpo_kernel_firmware::model::{HIDDEN, NEAR, WIDTH, fading};
use dpo_kernel_firmware::pairs::TRAIN;
use dpo_kernel_firmware::random::Random;
use dpo_kernel_firmware::text::{Sequence, VOCAB};

const PASSES: usize = 40;
const TEXTS: usize = 8;
const RATE: f32 = 0.004;

/// The model in f32, and the shape of its gradients and moments.
#[derive(Clone)]
struct Weights {
    /// The near tables, and the far one last.
    tables: Vec<[[f32; WIDTH]; VOCAB]>,
    hidden: [[f32; HIDDEN]; WIDTH],
    head: [[f32; VOCAB]; HIDDEN],
}

impl Weights {
    fn zero() -> Self {
        Self {
            tables: vec![[[0.0; WIDTH]; VOCAB]; NEAR + 1],
            hidden: [[0.0; HIDDEN]; WIDTH],
            head: [[0.0; VOCAB]; HIDDEN],
        }
    }

    /// The matrices in the order of the file.
    fn matrices(&mut self) -> Vec<&mut [f32]> {
        let tables = self.tables.iter_mut().map(|table| table.as_flattened_mut());
        tables.chain([self.hidden.as_flattened_mut(), self.head.as_flattened_mut()]).collect()
    }
}

/// What the backward needs of a position.
struct Position {
    x: [f32; WIDTH],
    hidden: [f32; HIDDEN],
}

fn forward(weights: &Weights, symbols: &[u8], logits: &mut Vec<f32>) -> Vec<Position> {
    let (near, far) = weights.tables.split_at(NEAR);
    let mut memory = [0.0; WIDTH];
    let positions = (0..symbols.len() - 1).map(|t| {
        for (channel, memory) in memory.iter_mut().enumerate() {
            let keep = fading(channel);
            *memory = keep * *memory + (1.0 - keep) * far[0][usize::from(symbols[t])][channel];
        }
        let mut x = memory;
        for (k, table) in near.iter().enumerate().take(t + 1) {
            add_scaled(&mut x, 1.0, &table[usize::from(symbols[t - k])]);
        }
        let mut hidden = [0.0; HIDDEN];
        x.iter().zip(&weights.hidden).for_each(|(&x, row)| add_scaled(&mut hidden, x, row));
        let hidden = hidden.map(|value: f32| value.max(0.0));
        let mut row = [0.0; VOCAB];
        hidden.iter().zip(&weights.head).for_each(|(&h, w)| add_scaled(&mut row, h, w));
        logits.extend(row);
        Position { x, hidden }
    });
    positions.collect()
}

fn backward(weights: &Weights, symbols: &[u8], tape: &[Position], dy: &[f32], grads: &mut Weights) {
    let mut carry = [0.0; WIDTH];
    for (t, position) in tape.iter().enumerate().rev() {
        let dy: &[f32; VOCAB] = dy[t * VOCAB..].first_chunk().expect("one row a position");
        let mut dh = [0.0; HIDDEN];
        for (i, &h) in position.hidden.iter().enumerate() {
            add_scaled(&mut grads.head[i], h, dy);
            dh[i] = if h > 0.0 { dot(&weights.head[i], dy) } else { 0.0 };
        }
        let mut dx = [0.0; WIDTH];
        for (i, &x) in position.x.iter().enumerate() {
            add_scaled(&mut grads.hidden[i], x, &dh);
            dx[i] = dot(&weights.hidden[i], &dh);
        }
        for k in 0..NEAR.min(t + 1) {
            add_scaled(&mut grads.tables[k][usize::from(symbols[t - k])], 1.0, &dx);
        }
        for channel in 0..WIDTH {
            let keep = fading(channel);
            carry[channel] += dx[channel];
            grads.tables[NEAR][usize::from(symbols[t])][channel] += (1.0 - keep) * carry[channel];
            carry[channel] *= keep;
        }
    }
}

/// Σ −log p of a text's symbols after its first; the gradient over `divisor` is added to `grads`.
///
/// The plain softmax in f64: the file shall not change when the crate's roundings do.
fn learn(weights: &Weights, symbols: &[u8], divisor: f64, grads: &mut Weights) -> f64 {
    let mut logits = Vec::new();
    let tape = forward(weights, symbols, &mut logits);
    let mut loss = 0.0;
    for (row, &target) in logits.as_chunks_mut::<VOCAB>().0.iter_mut().zip(&symbols[1..]) {
        let terms = row.map(|x| libm::exp(f64::from(x)));
        let sum: f64 = terms.iter().sum();
        let target = usize::from(target);
        loss -= libm::log(terms[target] / sum);
        for (column, (d, term)) in row.iter_mut().zip(terms).enumerate() {
            let onehot = if column == target { 1.0 } else { 0.0 };
            *d = ((term / sum - onehot) / divisor) as f32;
        }
    }
    backward(weights, symbols, &tape, &logits, grads);
    loss
}

/// Adam, as on the device.
struct Adam {
    mean: Weights,
    square: Weights,
    left: (f32, f32),
}

impl Adam {
    fn update(&mut self, weights: &mut Weights, grads: &mut Weights, rate: f32) {
        const KEEP: (f32, f32) = (0.9, 0.98);
        self.left = (self.left.0 * KEEP.0, self.left.1 * KEEP.1);
        let moments = self.mean.matrices().into_iter().zip(self.square.matrices());
        for ((weights, grads), (means, squares)) in
            weights.matrices().into_iter().zip(grads.matrices()).zip(moments)
        {
            for (((weight, grad), mean), square) in
                weights.iter_mut().zip(grads).zip(means).zip(squares)
            {
                *mean = KEEP.0 * *mean + (1.0 - KEEP.0) * *grad;
                *square = KEEP.1 * *square + (1.0 - KEEP.1) * *grad * *grad;
                let root = libm::sqrtf(*square / (1.0 - self.left.1));
                *weight -= rate * (*mean / (1.0 - self.left.0)) / (root + 1e-8);
            }
        }
    }
}

/// Each matrix as its scale and its weights rounded to multiples of it.
fn rounded(weights: &mut Weights) -> Vec<u8> {
    let mut file = Vec::with_capacity(BYTES);
    for matrix in weights.matrices() {
        let largest = matrix.iter().fold(0.0_f32, |largest, w| largest.max(w.abs()));
        let scale = largest / 127.0;
        file.extend(scale.to_le_bytes());
        file.extend(matrix.iter().map(|w| libm::rintf(w / scale) as i8 as u8));
    }
    file
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: pretrain FILE")?;
    let mut random = Random(1);
    let mut weights = Weights::zero();
    for (matrix, bound) in weights.matrices().into_iter().zip([0.4, 0.4, 0.4, 0.4, 0.8, 0.35, 0.25])
    {
        matrix.fill_with(|| bound * random.uniform());
    }
    let answers = |pair: &dpo_kernel_firmware::pairs::Example| {
        [pair.chosen, pair.rejected].map(|answer| Sequence::new(pair.prompt, answer))
    };
    let mut texts: Vec<Sequence> = TRAIN.iter().flat_map(answers).collect();
    let mut adam = Adam { mean: Weights::zero(), square: Weights::zero(), left: (1.0, 1.0) };
    let steps = (PASSES * texts.len().div_ceil(TEXTS)) as f32;
    let mut step = 0.0;
    for pass in 1..=PASSES {
        random.shuffle(&mut texts);
        let (mut loss, mut symbols) = (0.0, 0);
        for batch in texts.chunks(TEXTS) {
            let rows: usize = batch.iter().map(|text| text.symbols().len() - 1).sum();
            let mut grads = Weights::zero();
            for text in batch {
                loss += learn(&weights, text.symbols(), rows as f64, &mut grads);
            }
            adam.update(&mut weights, &mut grads, RATE * (1.0 - step / steps));
            symbols += rows;
            step += 1.0;
        }
        if pass % 10 == 0 {
            println!("pass {pass}: {:.4} nats a symbol", loss / symbols as f64);
        }
    }
    let file = rounded(&mut weights);
    assert_eq!(file.len(), BYTES, "the file's shape is the model's");
    std::fs::File::create(path)?.write_all(&file)?;
    Ok(())
}
