//! The linear layer y = x W with a low-rank adapter beside it: y = x W + s (x A) B (`LoRA`, Hu et
//! al. 2021, arXiv 2106.09685).
//!
//! Shapes: T positions, `inputs` × `outputs` weights W, rank r: A is `inputs` × r, B is r ×
//! `outputs`; all row-major. A starts random and B zero, so that a fresh adapter changes nothing,
//! bit for bit. Either the base weights are trained with the adapter off, or the adapter is trained
//! with it on; nothing else gets a gradient.

use std::ops::Range;

use super::random::Random;

/// Rank of every adapter.
pub const RANK: usize = 8;
/// The factor s of the adapter's branch.
pub const SCALE: f32 = 2.0;

/// Whether adapters take part; with `Off` the model is the reference, with `On` the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    Off,
    On,
}

/// All numbers that training may change; gradients come as one vector for the half that is trained.
#[derive(Clone, Debug)]
pub struct Weights {
    pub base: Vec<f32>,
    pub adapter: Vec<f32>,
}

impl Weights {
    /// Appends `count` base weights drawn from N(0, std²).
    pub fn add_base(&mut self, count: usize, std: f32, random: &mut Random) -> Range<usize> {
        append(&mut self.base, count, || std * random.normal())
    }
}

fn append(to: &mut Vec<f32>, count: usize, mut value: impl FnMut() -> f32) -> Range<usize> {
    let start = to.len();
    to.extend((0..count).map(|_| value()));
    start..to.len()
}

/// Where a layer's matrices lie in [`Weights`] and in gradients.
#[derive(Clone, Debug)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    pub w: Range<usize>,
    pub a: Range<usize>,
    pub b: Range<usize>,
}

impl Linear {
    /// A new layer at the end of `weights`; `gain` scales the variance-keeping start of W.
    pub fn new(
        inputs: usize,
        outputs: usize,
        gain: f32,
        weights: &mut Weights,
        random: &mut Random,
    ) -> Self {
        let std = (inputs as f32).sqrt().recip();
        let w = weights.add_base(inputs * outputs, gain * std, random);
        let a = append(&mut weights.adapter, inputs * RANK, || std * random.normal());
        let b = append(&mut weights.adapter, RANK * outputs, || 0.0);
        Self { inputs, outputs, w, a, b }
    }

    pub fn forward(&self, weights: &Weights, adapter: Adapter, x: &[f32]) -> Vec<f32> {
        let mut y = matmul(x, &weights.base[self.w.clone()], self.inputs, self.outputs);
        if adapter == Adapter::On {
            let branch = self.down(weights, x);
            add_matmul(&mut y, &branch, &weights.adapter[self.b.clone()], RANK, self.outputs);
        }
        y
    }

    /// s x A, the narrow middle of the adapter.
    fn down(&self, weights: &Weights, x: &[f32]) -> Vec<f32> {
        let mut branch = matmul(x, &weights.adapter[self.a.clone()], self.inputs, RANK);
        scale(&mut branch);
        branch
    }

    /// From `dy` to `dx`; adds to `grads`, the gradient of the trained half:
    ///
    /// ```text
    /// dx = dy Wᵀ                     adapter off:  dW += xᵀ dy
    /// dx += dn Aᵀ, dn = s dy Bᵀ      adapter on:   dA += xᵀ dn,  dB += (s x A)ᵀ dy
    /// ```
    pub fn backward(
        &self,
        weights: &Weights,
        adapter: Adapter,
        x: &[f32],
        dy: &[f32],
        grads: &mut [f32],
    ) -> Vec<f32> {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let positions = x.len() / inputs;
        let w_transposed = transpose(&weights.base[self.w.clone()], outputs);
        let mut dx = matmul(dy, &w_transposed, outputs, inputs);
        let x_transposed = transpose(x, inputs);
        match adapter {
            Adapter::Off => {
                add_matmul(&mut grads[self.w.clone()], &x_transposed, dy, positions, outputs);
            }
            Adapter::On => {
                let b_transposed = transpose(&weights.adapter[self.b.clone()], outputs);
                let mut dn = matmul(dy, &b_transposed, outputs, RANK);
                scale(&mut dn);
                let branch = transpose(&self.down(weights, x), RANK);
                add_matmul(&mut grads[self.a.clone()], &x_transposed, &dn, positions, RANK);
                add_matmul(&mut grads[self.b.clone()], &branch, dy, positions, outputs);
                let a_transposed = transpose(&weights.adapter[self.a.clone()], RANK);
                add_matmul(&mut dx, &dn, &a_transposed, RANK, inputs);
            }
        }
        dx
    }
}

/// The adapter's factor s.
fn scale(values: &mut [f32]) {
    for value in values {
        *value *= SCALE;
    }
}

/// a · b for a of any number of rows × `inner` and b of `inner` × `columns`.
pub fn matmul(a: &[f32], b: &[f32], inner: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; a.len() / inner * columns];
    add_matmul(&mut out, a, b, inner, columns);
    out
}

/// Adds a · b to `out`. Every element is one sum in the order of `inner`, however rows are grouped,
/// so a position's result does not depend on how many others there are. `columns` is a multiple of
/// [`LANES`].
pub fn add_matmul(out: &mut [f32], a: &[f32], b: &[f32], inner: usize, columns: usize) {
    const ROWS: usize = 4;
    debug_assert_eq!(columns % LANES, 0, "columns come in whole lanes");
    let (mut outs, mut rows) = (out.chunks_exact_mut(ROWS * columns), a.chunks_exact(ROWS * inner));
    for (out, a) in outs.by_ref().zip(rows.by_ref()) {
        add_row_products::<ROWS>(out, a, b, inner, columns);
    }
    let rest = outs.into_remainder().chunks_exact_mut(columns);
    for (out, a) in rest.zip(rows.remainder().chunks_exact(inner)) {
        add_row_products::<1>(out, a, b, inner, columns);
    }
}

/// Columns that are summed together: two registers of the narrowest machine.
pub const LANES: usize = 8;

fn add_row_products<const ROWS: usize>(
    out: &mut [f32],
    a: &[f32],
    b: &[f32],
    inner: usize,
    columns: usize,
) {
    let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &a[row * inner..][..inner]);
    for column in (0..columns).step_by(LANES) {
        let mut sums = [[0.0f32; LANES]; ROWS];
        for (k, b) in b.chunks_exact(columns).enumerate().take(inner) {
            let b = &b[column..][..LANES];
            for (sums, row) in sums.iter_mut().zip(rows) {
                let factor = row[k];
                sums.iter_mut().zip(b).for_each(|(sum, b)| *sum += factor * b);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            let out = &mut out[row * columns + column..][..LANES];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
    }
}

/// The transpose of a matrix with `columns` columns.
pub fn transpose(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let mut out = vec![0.0; matrix.len()];
    for (row, values) in matrix.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            out[column * rows + row] = *value;
        }
    }
    out
}
