//! The host's own business: a byte-level language model with its backward written by hand.
//!
//! ```text
//! bytes ─▶ embed ─▶ [ + mixer(norm x) ─▶ + mlp(norm x) ] × blocks ─▶ norm ─▶ hidden states ─▶ head
//!
//! embed   sum of one table for each of the last TAPS bytes
//! norm    x / √(mean x² + ε)
//! mixer   [v g r] = u W;  a = σ(g + decay);  h_t = a h_{t−1} + (1 − a) v;  (h · r σ(r)) W'
//! mlp     max(u W, 0)² W'
//! ```
//!
//! The mixer is a gated linear recurrence (the minGRU of Feng et al. 2024, arXiv 2410.01201), so
//! its state, and with it a device's memory, does not grow with the text. `decay` is a fixed ramp
//! over the channels: some forget at once, others remember hundreds of bytes. Shapes: T positions ×
//! `width` channels, row-major.

use std::ops::Range;

use super::head::Head;
use super::linear::{Adapter, Linear, Weights};
use super::norm::{Norm, add_norm_backward};
use super::random::Random;

/// One logit for each value of a byte.
pub const VOCAB: usize = 256;
/// Bytes whose embeddings a position adds up: its own and those just before it.
const TAPS: usize = 4;

/// Sizes; each is a multiple of 8.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub width: usize,
    pub hidden: usize,
    pub blocks: usize,
}

#[derive(Clone, Debug)]
pub struct Model {
    shape: Shape,
    pub weights: Weights,
    embedding: Range<usize>,
    blocks: Vec<Block>,
    pub head: Head,
}

#[derive(Clone, Debug)]
struct Block {
    mix_in: Linear,
    mix_out: Linear,
    mlp_in: Linear,
    mlp_out: Linear,
}

/// What a forward pass leaves for its backward pass.
#[derive(Debug)]
pub struct Tape {
    adapter: Adapter,
    tokens: Vec<u8>,
    rows: Range<usize>,
    blocks: Vec<BlockTape>,
    /// Of the last norm, whose states the caller keeps.
    inverse: Vec<f32>,
}

#[derive(Debug)]
struct BlockTape {
    mix: Norm,
    /// v, g, r of each position.
    gates: Vec<f32>,
    state: Vec<f32>,
    mixed: Vec<f32>,
    mlp: Norm,
    hidden: Vec<f32>,
    squared: Vec<f32>,
}

impl Model {
    pub fn new(shape: Shape, random: &mut Random) -> Self {
        let Shape { width, hidden, blocks } = shape;
        let mut weights = Weights { base: Vec::new(), adapter: Vec::new() };
        let embedding = weights.add_base(TAPS * VOCAB * width, 0.3, random);
        let mut linear =
            |inputs, outputs, gain| Linear::new(inputs, outputs, gain, &mut weights, random);
        let blocks = (0..blocks)
            .map(|_| Block {
                mix_in: linear(width, 3 * width, 1.0),
                mix_out: linear(width, width, 0.5),
                mlp_in: linear(width, hidden, 1.0),
                mlp_out: linear(hidden, width, 0.5),
            })
            .collect();
        let head = Head::new(width, 0.3, &mut weights, random);
        Self { shape, weights, embedding, blocks, head }
    }

    /// Numbers of a hidden state.
    pub const fn width(&self) -> usize {
        self.shape.width
    }

    /// Writes the hidden states of `rows`, positions of `tokens`, each to predict the token after
    /// it.
    pub fn forward(
        &self,
        tokens: &[u8],
        rows: Range<usize>,
        adapter: Adapter,
        states: &mut [f32],
    ) -> Tape {
        let (weights, width) = (&self.weights, self.shape.width);
        let mut x = self.embed(&tokens[..rows.end]);
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let mix = Norm::forward(&x, width);
            let gates = block.mix_in.forward(weights, adapter, &mix.out);
            let (state, mixed) = self.scan(&gates);
            add(&mut x, &block.mix_out.forward(weights, adapter, &mixed));

            let mlp = Norm::forward(&x, width);
            let hidden = block.mlp_in.forward(weights, adapter, &mlp.out);
            let squared: Vec<f32> = hidden.iter().map(|value| value.max(0.0).powi(2)).collect();
            add(&mut x, &block.mlp_out.forward(weights, adapter, &squared));
            blocks.push(BlockTape { mix, gates, state, mixed, mlp, hidden, squared });
        }
        let Norm { out, inverse } = Norm::forward(&x[rows.start * width..], width);
        states.copy_from_slice(&out);
        Tape { adapter, tokens: tokens.to_vec(), rows, blocks, inverse }
    }

    /// From the tape's states and ∂L/∂states to ∂L/∂weights below the head, added to `grads`: the
    /// gradient of the base weights if the adapter was off, of the adapter if it was on.
    pub fn backward<'d>(
        &self,
        tape: &Tape,
        states: &[f32],
        d_states: impl Iterator<Item = &'d [f32]>,
        grads: &mut [f32],
    ) {
        let (weights, width, adapter) = (&self.weights, self.shape.width, tape.adapter);
        let mut dx = vec![0.0; tape.rows.end * width];
        let last = &mut dx[tape.rows.start * width..];
        add_norm_backward((states, &tape.inverse), d_states, width, last);
        for (block, tape) in self.blocks.iter().zip(&tape.blocks).rev() {
            let mut d_hidden = block.mlp_out.backward(weights, adapter, &tape.squared, &dx, grads);
            for (d, hidden) in d_hidden.iter_mut().zip(&tape.hidden) {
                *d *= 2.0 * hidden.max(0.0);
            }
            let du = block.mlp_in.backward(weights, adapter, &tape.mlp.out, &d_hidden, grads);
            tape.mlp.add_backward(&du, width, &mut dx);

            let d_mixed = block.mix_out.backward(weights, adapter, &tape.mixed, &dx, grads);
            let d_gates = self.scan_backward(tape, &d_mixed);
            let du = block.mix_in.backward(weights, adapter, &tape.mix.out, &d_gates, grads);
            tape.mix.add_backward(&du, width, &mut dx);
        }
        if adapter == Adapter::Off {
            self.embed_backward(&tape.tokens, &dx, grads);
        }
    }

    /// The embedding rows that position `t` adds up.
    fn taps<'a>(&self, tokens: &'a [u8], t: usize) -> impl Iterator<Item = Range<usize>> + 'a {
        let (start, width) = (self.embedding.start, self.shape.width);
        (0..TAPS.min(t + 1)).map(move |tap| {
            let row = tap * VOCAB + usize::from(tokens[t - tap]);
            start + row * width..start + (row + 1) * width
        })
    }

    fn embed(&self, tokens: &[u8]) -> Vec<f32> {
        let mut x = vec![0.0; tokens.len() * self.shape.width];
        for (t, x) in x.chunks_exact_mut(self.shape.width).enumerate() {
            self.taps(tokens, t).for_each(|row| add(x, &self.weights.base[row]));
        }
        x
    }

    fn embed_backward(&self, tokens: &[u8], dx: &[f32], grads: &mut [f32]) {
        for (t, dx) in dx.chunks_exact(self.shape.width).enumerate() {
            self.taps(tokens, t).for_each(|row| add(&mut grads[row], dx));
        }
    }

    /// σ⁻¹ of the share of its state that a channel keeps when its gate is silent: a ramp from −2
    /// to 6.
    fn decay(&self, channel: usize) -> f32 {
        8.0 * channel as f32 / self.shape.width as f32 - 2.0
    }

    /// The recurrence over positions: states h and outputs h · r σ(r).
    fn scan(&self, gates: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let width = self.shape.width;
        let mut state = vec![0.0; gates.len() / 3];
        let mut mixed = vec![0.0; gates.len() / 3];
        for (t, gates) in gates.chunks_exact(3 * width).enumerate() {
            for c in 0..width {
                let (v, g, r) = (gates[c], gates[width + c], gates[2 * width + c]);
                let before = if t == 0 { 0.0 } else { state[(t - 1) * width + c] };
                let keep = sigmoid(g + self.decay(c));
                let h = keep * before + (1.0 - keep) * v;
                state[t * width + c] = h;
                mixed[t * width + c] = h * r * sigmoid(r);
            }
        }
        (state, mixed)
    }

    /// The same loop from the last position to the first; `carry` is what the later positions send
    /// back to h.
    fn scan_backward(&self, tape: &BlockTape, d_mixed: &[f32]) -> Vec<f32> {
        let width = self.shape.width;
        let mut d_gates = vec![0.0; tape.gates.len()];
        let mut carry = vec![0.0; width];
        for t in (0..d_mixed.len() / width).rev() {
            let gates = &tape.gates[t * 3 * width..][..3 * width];
            let d_gates = &mut d_gates[t * 3 * width..][..3 * width];
            for c in 0..width {
                let (v, g, r) = (gates[c], gates[width + c], gates[2 * width + c]);
                let before = if t == 0 { 0.0 } else { tape.state[(t - 1) * width + c] };
                let (keep, open) = (sigmoid(g + self.decay(c)), sigmoid(r));
                let d = d_mixed[t * width + c];
                let dh = d * r * open + carry[c];
                d_gates[c] = dh * (1.0 - keep);
                d_gates[width + c] = dh * (before - v) * keep * (1.0 - keep);
                d_gates[2 * width + c] =
                    d * tape.state[t * width + c] * open * (1.0 + r * (1.0 - open));
                carry[c] = dh * keep;
            }
        }
        d_gates
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn add(to: &mut [f32], values: &[f32]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += value);
}
