//! The model once more, in f64 and in loops: every position on its own, no tape, no backward.
//!
//! It shares no line with `examples/finetune/model.rs`. What it needs to know is how the weights lie
//! in their vectors: embedding, then the matrices of each block in the order of their use, inputs ×
//! outputs, the head last and transposed; of each matrix A, then B, in the adapter.

use crate::finetune::linear::Adapter;
use crate::finetune::model::{Model, Shape, VOCAB};
use crate::finetune::random::Random;

pub(crate) const TAPS: usize = 4;
pub(crate) const RANK: usize = 8;

/// Weights in f64.
#[derive(Clone)]
pub(crate) struct Plain {
    pub(crate) shape: Shape,
    pub(crate) base: Vec<f64>,
    pub(crate) adapter: Vec<f64>,
    pub(crate) with: Adapter,
}

/// Reads matrices from both vectors, one after another.
struct Reader<'a> {
    plain: &'a Plain,
    base: usize,
    adapter: usize,
}

impl Reader<'_> {
    /// x W, and 2 (x A) B beside it.
    fn apply(&mut self, x: &[Vec<f64>], outputs: usize) -> Vec<Vec<f64>> {
        self.apply_with(x, outputs, |_, columns, row, column| row * columns + column)
    }

    /// x Wᵀ, and 2 (x Aᵀ) Bᵀ beside it.
    fn apply_transposed(&mut self, x: &[Vec<f64>], outputs: usize) -> Vec<Vec<f64>> {
        self.apply_with(x, outputs, |rows, _, row, column| column * rows + row)
    }

    /// `place` says where the element of a row and a column lies, of a matrix of so many.
    fn apply_with(
        &mut self,
        x: &[Vec<f64>],
        outputs: usize,
        place: fn(usize, usize, usize, usize) -> usize,
    ) -> Vec<Vec<f64>> {
        let Plain { base, adapter, with, .. } = self.plain;
        let inputs = x[0].len();
        let (w, a) = (self.base, self.adapter);
        let b = a + inputs * RANK;
        (self.base, self.adapter) = (w + inputs * outputs, b + RANK * outputs);
        let one = |x: &Vec<f64>| -> Vec<f64> {
            let middle: Vec<f64> = match with {
                Adapter::Off => vec![0.0; RANK],
                Adapter::On => (0..RANK)
                    .map(|k| {
                        let down = |i: usize| adapter[a + place(inputs, RANK, i, k)];
                        (0..inputs).map(|i| x[i] * down(i)).sum()
                    })
                    .collect(),
            };
            let column = |j: usize| -> f64 {
                let full = |i: usize| base[w + place(inputs, outputs, i, j)];
                let up = |k: usize| adapter[b + place(RANK, outputs, k, j)];
                let full: f64 = (0..inputs).map(|i| x[i] * full(i)).sum();
                let low: f64 = (0..RANK).map(|k| middle[k] * up(k)).sum();
                full + 2.0 * low
            };
            (0..outputs).map(column).collect()
        };
        x.iter().map(one).collect()
    }
}

fn normed(x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let one = |row: &Vec<f64>| {
        let mean = row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
        row.iter().map(|v| v / (mean + 1e-5).sqrt()).collect()
    };
    x.iter().map(one).collect()
}

fn add(x: &mut [Vec<f64>], y: &[Vec<f64>]) {
    for (x, y) in x.iter_mut().flatten().zip(y.iter().flatten()) {
        *x += y;
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Plain {
    /// The logits of every position.
    pub(crate) fn logits(&self, tokens: &[u8]) -> Vec<Vec<f64>> {
        let Shape { width, hidden, blocks } = self.shape;
        let embedded = |t: usize| -> Vec<f64> {
            let channel = |c: usize| {
                let taps = 0..TAPS.min(t + 1);
                let row = |tap: usize| tap * VOCAB + usize::from(tokens[t - tap]);
                taps.map(|tap| self.base[row(tap) * width + c]).sum()
            };
            (0..width).map(channel).collect()
        };
        let mut x: Vec<Vec<f64>> = (0..tokens.len()).map(embedded).collect();
        let mut reader = Reader { plain: self, base: TAPS * VOCAB * width, adapter: 0 };
        for _ in 0..blocks {
            let gates = reader.apply(&normed(&x), 3 * width);
            let mut state = vec![0.0; width];
            let mut mixed = Vec::new();
            for gates in &gates {
                let out = |(c, h): (usize, &mut f64)| {
                    let (v, g, r) = (gates[c], gates[width + c], gates[2 * width + c]);
                    // A ramp from −2 to 6 over the channels.
                    let a = sigmoid(g - 2.0 + 8.0 * c as f64 / width as f64);
                    *h = a * *h + (1.0 - a) * v;
                    *h * r * sigmoid(r)
                };
                mixed.push(state.iter_mut().enumerate().map(out).collect());
            }
            add(&mut x, &reader.apply(&mixed, width));
            let inner = reader.apply(&normed(&x), hidden);
            let square = |row: &Vec<f64>| row.iter().map(|v| v.max(0.0) * v.max(0.0)).collect();
            let squared: Vec<Vec<f64>> = inner.iter().map(square).collect();
            add(&mut x, &reader.apply(&squared, width));
        }
        let logits = reader.apply_transposed(&normed(&x), VOCAB);
        assert_eq!(reader.base, self.base.len(), "all base weights are used");
        assert_eq!(reader.adapter, self.adapter.len(), "all adapter weights are used");
        logits
    }

    /// Σ log p of the tokens from `start` on, each given those before it; and how many they are.
    pub(crate) fn log_prob(&self, tokens: &[u8], start: usize) -> (f64, usize) {
        let logits = self.logits(tokens);
        let one = |t: usize| {
            let row = &logits[t - 1];
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|y| (y - largest).exp()).sum();
            row[usize::from(tokens[t])] - largest - sum.ln()
        };
        ((start..tokens.len()).map(one).sum(), tokens.len() - start)
    }

    /// The slope of a function of this model by each of some weights of the half that is trained.
    pub(crate) fn slopes(
        &self,
        weights: impl Iterator<Item = usize>,
        value: impl Fn(&Self) -> f64,
    ) -> Vec<(usize, f64)> {
        const STEP: f64 = 1e-4;
        let at = |index: usize, by: f64| {
            let mut moved = self.clone();
            match self.with {
                Adapter::Off => moved.base[index] += by,
                Adapter::On => moved.adapter[index] += by,
            }
            value(&moved)
        };
        weights.map(|i| (i, (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP))).collect()
    }
}

/// The weights of a model as they are.
pub(crate) fn plain_of(model: &Model, shape: Shape, with: Adapter) -> Plain {
    let wide = |weights: &[f32]| weights.iter().copied().map(f64::from).collect();
    let (base, adapter) = (wide(&model.weights.base), wide(&model.weights.adapter));
    Plain { shape, base, adapter, with }
}

/// A model whose adapter does something.
pub(crate) fn tuned(shape: Shape, seed: u64) -> Model {
    let mut random = Random(seed);
    let mut model = Model::new(shape, &mut random);
    model.weights.adapter.iter_mut().for_each(|weight| *weight = 0.3 * random.normal());
    model
}
