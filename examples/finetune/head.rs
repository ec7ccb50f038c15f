//! The model's last matrix, by this crate's head: from hidden states to log-probs and back, where
//! logits exist a tile at a time.
//!
//! ```text
//! y = x Wᵀ + s (x Aᵀ) Bᵀ        W: VOCAB × width, A: RANK × width, B: VOCAB × RANK, row-major
//! ```
//!
//! Matrices lie as trainers keep `lm_head` and its adapter, and are trained as those of the layers
//! below: W with the adapter off, A and B with it on.

use std::iter::repeat_n;
use std::ops::Range;

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    self as kernel, Adapted, Adapter as LowRank, HeadGrads, HeadRow, HeadScratch, Hidden,
    HiddenMut, Linear as Full, head_grads, head_token_log_probs,
};
use dpo_kernel::{Dispatch, Error, Layout, TokenOut};

use super::linear::{Adapter, Linear, RANK, SCALE, Weights, transpose};
use super::model::VOCAB;
use super::random::Random;

/// Rows that go through the head together, the fewest that a trained head takes: their tile is small
/// beside the logits of a batch.
const ROWS: usize = 128;
/// Panels of 32 columns that the head packs at once: all.
const PANELS: usize = VOCAB / 32;

/// Where the matrices lie in [`Weights`] and in gradients.
#[derive(Clone, Debug)]
pub struct Head {
    width: usize,
    pub w: Range<usize>,
    pub a: Range<usize>,
    pub b: Range<usize>,
}

impl Head {
    /// A new head at the end of `weights`: a layer's numbers, transposed.
    pub fn new(width: usize, gain: f32, weights: &mut Weights, random: &mut Random) -> Self {
        let Linear { w, a, b, .. } = Linear::new(width, VOCAB, gain, weights, random);
        let Weights { base, adapter } = weights;
        for (matrix, columns) in [(&mut base[w.clone()], VOCAB), (&mut adapter[a.clone()], RANK)] {
            let transposed = transpose(matrix, columns);
            matrix.copy_from_slice(&transposed);
        }
        Self { width, w, a, b }
    }

    /// The logits of one state, to draw a byte from.
    pub fn logits(&self, weights: &Weights, adapter: Adapter, x: &[f32]) -> [f32; VOCAB] {
        let Weights { base, adapter: low_rank } = weights;
        let mut u = [0.0; RANK];
        if adapter == Adapter::On {
            u = std::array::from_fn(|k| SCALE * dot(x, row(low_rank, &self.a, self.width, k)));
        }
        std::array::from_fn(|j| {
            dot(x, row(base, &self.w, self.width, j)) + dot(&u, row(low_rank, &self.b, RANK, j))
        })
    }

    fn full<'a>(&self, weights: &'a Weights) -> Result<Full<'a, f32>, Error> {
        Ok(Full::new(&weights.base[self.w.clone()], VOCAB, self.width)?.with_panels(PANELS))
    }

    fn low_rank<'a>(&self, weights: &'a Weights) -> Result<LowRank<'a>, Error> {
        let [a, b] = [&self.a, &self.b].map(|range| &weights.adapter[range.clone()]);
        LowRank::new(a, b, RANK, self.width, VOCAB, SCALE)
    }
}

/// A row of the matrix that lies at `place`.
fn row<'a>(all: &'a [f32], place: &Range<usize>, columns: usize, index: usize) -> &'a [f32] {
    &all[place.clone()][index * columns..][..columns]
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// A batch's way through the head, with all that it takes beside hidden states and log-probs.
#[derive(Debug)]
pub struct Pass<'a> {
    head: &'a Head,
    weights: &'a Weights,
    adapter: Adapter,
    /// s x Aᵀ of every row, R × RANK; nothing with the adapter off.
    projected: Vec<f32>,
    /// ∂L/∂x of every row and, with the adapter on, ∂L/∂(s x Aᵀ) behind it.
    d_states: Vec<f32>,
    scratch: Scratch,
}

impl<'a> Pass<'a> {
    pub fn new(head: &'a Head, weights: &'a Weights, adapter: Adapter) -> Self {
        let (projected, d_states, scratch) = (Vec::new(), Vec::new(), Scratch::default());
        Self { head, weights, adapter, projected, d_states, scratch }
    }

    /// A gradient of 0 of the half that is trained.
    pub fn zeros(&self) -> Vec<f32> {
        let Weights { base, adapter } = self.weights;
        vec![0.0; if self.adapter == Adapter::Off { base.len() } else { adapter.len() }]
    }

    /// Log-prob of every row's target.
    pub fn score(
        &mut self,
        dispatch: Dispatch,
        states: &[f32],
        layout: &Layout<'_>,
        out: TokenOut<'_>,
    ) -> Result<(), Error> {
        let Self { head, weights, projected, scratch, .. } = self;
        let (rows, full) = (layout.rows(), head.full(weights)?);
        let states = Hidden::new(states, rows, head.width)?;
        if self.adapter == Adapter::Off {
            let scratch = scratch.of(HeadScratch::numbers::<f32, _>(&full, ROWS));
            head_token_log_probs(dispatch, states, &full, layout, out, scratch)?;
            return Ok(());
        }
        let low_rank = head.low_rank(weights)?;
        projected.resize(rows * RANK, 0.0);
        let to = HiddenMut::new(projected, rows, RANK)?;
        low_rank.project(dispatch, states, layout, to, scratch.of(low_rank.numbers(ROWS)))?;
        let projected = Hidden::new(projected, rows, RANK)?;
        let adapted = Adapted::new::<f32>(full, &low_rank, projected)?;
        let scratch = scratch.of(HeadScratch::numbers::<f32, _>(&adapted, ROWS));
        head_token_log_probs(dispatch, states, &adapted, layout, out, scratch)?;
        Ok(())
    }

    /// From ∂L/∂log p of every row to ∂L/∂x, which stays here, and to the head's part of `grads`,
    /// the gradient of the trained half. After [`score`](Self::score) of the same states.
    pub fn backward(
        &mut self,
        dispatch: Dispatch,
        states: &[f32],
        batch: &GradBatch<'_>,
        grads: &mut [f32],
    ) -> Result<(), Error> {
        let stride = self.stride();
        let Self { head, weights, projected, d_states, scratch, .. } = self;
        let (rows, layout, full) = (batch.layout.rows(), batch.layout, head.full(weights)?);
        let states = Hidden::new(states, rows, head.width)?;
        d_states.resize(rows * stride, 0.0);
        if self.adapter == Adapter::Off {
            let to = HeadGrads::of_weights(&mut grads[head.w.clone()], VOCAB, head.width)?;
            let scratch = scratch.of(trained(dispatch, &full, &to));
            let d_states = HiddenMut::new(d_states, rows, stride)?;
            return head_grads(dispatch, states, &full, batch, d_states, to, scratch);
        }
        let low_rank = head.low_rank(weights)?;
        let projected = Hidden::new(projected, rows, RANK)?;
        let adapted = Adapted::new::<f32>(full, &low_rank, projected)?;
        let to = HeadGrads::of_adapter(projected, &mut grads[head.b.clone()])?;
        let room = scratch.of(trained(dispatch, &adapted, &to));
        let d = HiddenMut::new(d_states, rows, stride)?;
        head_grads(dispatch, states, &adapted, batch, d, to, room)?;
        let (d, room) = (HiddenMut::new(d_states, rows, stride)?, low_rank.numbers(ROWS));
        let to = Some(&mut grads[head.a.clone()]);
        low_rank.grads_in_place(dispatch, states, layout, d, to, scratch.of(room))
    }

    /// ∂L/∂x of some rows.
    pub fn d_states(&self, rows: Range<usize>) -> impl Iterator<Item = &[f32]> {
        let (stride, width) = (self.stride(), self.head.width);
        let d_states = &self.d_states[rows.start * stride..rows.end * stride];
        d_states.chunks_exact(stride).map(move |row| &row[..width])
    }

    /// Numbers of a row of gradients.
    const fn stride(&self) -> usize {
        match self.adapter {
            Adapter::Off => self.head.width,
            Adapter::On => self.head.width + RANK,
        }
    }

    /// All that it holds, in bytes.
    pub fn bytes(&self) -> usize {
        let Self { projected, d_states, scratch: Scratch { rows, numbers }, .. } = self;
        let floats = [projected, d_states, numbers].map(|floats| size_of_val(floats.as_slice()));
        floats.into_iter().sum::<usize>() + size_of_val(rows.as_slice())
    }
}

/// The memory that the head works in.
#[derive(Debug, Default)]
struct Scratch {
    rows: Vec<HeadRow>,
    numbers: Vec<f32>,
}

impl Scratch {
    fn of(&mut self, numbers: usize) -> HeadScratch<'_> {
        self.rows.resize(ROWS, HeadRow::NEW);
        let more = numbers.saturating_sub(self.numbers.len());
        self.numbers.reserve_exact(more);
        self.numbers.extend(repeat_n(0.0, more));
        HeadScratch::new(&mut self.rows, &mut self.numbers)
    }
}

/// How many numbers a backward takes.
fn trained(dispatch: Dispatch, head: &impl kernel::Head<f32>, grads: &HeadGrads<'_, f32>) -> usize {
    HeadScratch::numbers_trained(dispatch, head, ROWS, grads)
}
