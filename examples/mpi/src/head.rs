//! A shard of the model's last matrix: logits of its columns, and the way back.
//!
//! ```text
//! y = x Wᵀ + u Bᵀ,  u = s x Aᵀ          W: V × width, B: V × RANK, A: RANK × width
//! forward     y of own columns ─▶ partials ─▶ exchange ─▶ log p, norm          of every row
//! backward    g = c (onehot − softmax) of own columns
//!             dx, du = Σ over units of g W, g B                                 exact, over shards
//!             dW += gᵀ x   or   dB += gᵀ u                                      own columns alone
//! ```
//!
//! W and B are split by columns of the logits; A is whole on every rank. A unit's product is one
//! sum in the order of its columns; units are added as integers ([`exact`]), so
//! neither follows the number of shards.

use std::ops::Range;

use dpo_kernel::gradient::tile_grads_in_place;
use dpo_kernel::row::{ROW_BYTES, RowNorm};
use dpo_kernel::{Dispatch, Transform};

use crate::comm::{Comm, Load};
use crate::error::{Error, check_length};
use crate::exact::{self, Fixed, NOT_FINITE};
use crate::finetune::linear::{Adapter, RANK, matmul, transpose};
use crate::shards::{Partial, columns, exchange, units};

/// Products go over whole groups of so many columns.
const LANES: usize = 8;

/// A shard's part of the head.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadShard {
    /// Columns of the whole vocabulary.
    pub vocab: usize,
    /// Columns of a unit.
    pub unit: usize,
    /// Numbers of a hidden state.
    pub width: usize,
    /// Its own columns.
    pub columns: Range<usize>,
    /// Rows of W.
    pub w: Vec<f32>,
    /// Rows of B.
    pub b: Vec<f32>,
}

/// The rows of a batch on their way through a shard.
#[derive(Debug)]
pub struct Pass {
    adapter: Adapter,
    /// By unit: R × the unit's columns, filled up to lanes. First logits, then gradients.
    tiles: Vec<Vec<f32>>,
    norms: Vec<RowNorm>,
    /// log p of every row's target.
    pub log_probs: Vec<f32>,
}

impl HeadShard {
    /// A shard of whole matrices W and B.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn new(
        (vocab, unit, width): (usize, usize, usize),
        (shards, shard): (usize, usize),
        w: &[f32],
        b: &[f32],
    ) -> Result<Self, Error> {
        check_length("W of the head", vocab * width, w.len())?;
        check_length("B of the head", vocab * RANK, b.len())?;
        let columns = columns(vocab, unit, shards, shard);
        let rows = |matrix: &[f32], width: usize| {
            matrix.get(columns.start * width..columns.end * width).unwrap_or_default().to_vec()
        };
        let (w, b) = (rows(w, width), rows(b, RANK));
        Ok(Self { vocab, unit, width, columns, w, b })
    }

    /// Rows of a matrix that belong to a unit, filled up with zeros to lanes.
    fn rows_of(&self, matrix: &[f32], width: usize, unit: &Range<usize>) -> Vec<f32> {
        let start = (unit.start - self.columns.start) * width;
        let rows = matrix.get(start..start + unit.len() * width).unwrap_or_default();
        let mut rows = rows.to_vec();
        rows.resize(unit.len().next_multiple_of(LANES) * width, 0.0);
        rows
    }

    fn units(&self) -> impl Iterator<Item = Range<usize>> {
        units(self.columns.clone(), self.unit)
    }

    /// Numbers of a row of gradients: of x, and of u with the adapter on.
    #[must_use]
    pub fn stride(&self, adapter: Adapter) -> usize {
        self.width + if adapter == Adapter::On { RANK } else { 0 }
    }

    /// Log-prob of every row's target. `x` is R × width; `u` R × RANK with the adapter on, empty
    /// with it off. All shards of a group call this with the same rows.
    ///
    /// # Errors
    /// [`Error::Length`] and what [`exchange`] refuses.
    pub fn score(
        &self,
        comm: &Comm,
        dispatch: Dispatch,
        adapter: Adapter,
        (x, u): (&[f32], &[f32]),
        targets: &[u32],
    ) -> Result<Pass, Error> {
        let rows = targets.len();
        check_length("hidden states", rows * self.width, x.len())?;
        check_length(
            "states of the adapter",
            if adapter == Adapter::On { rows * RANK } else { 0 },
            u.len(),
        )?;
        let mut partials: Vec<Partial> =
            targets.iter().map(|&target| Partial::new(target)).collect();
        let mut tiles = Vec::new();
        for unit in self.units() {
            let stride = unit.len().next_multiple_of(LANES);
            let w = transpose(&self.rows_of(&self.w, self.width, &unit), self.width);
            let mut y = matmul(x, &w, self.width, stride);
            if adapter == Adapter::On {
                let b = transpose(&self.rows_of(&self.b, RANK, &unit), RANK);
                let low_rank = matmul(u, &b, RANK, stride);
                y.iter_mut().zip(low_rank).for_each(|(y, low_rank)| *y += low_rank);
            }
            for (partial, y) in partials.iter_mut().zip(y.chunks_exact(stride)) {
                partial.fold(dispatch, y.get(..unit.len()).unwrap_or_default(), unit.start);
            }
            tiles.push(y);
        }
        let mut own = Vec::with_capacity(rows * ROW_BYTES);
        for partial in &partials {
            partial.write(&mut own)?;
        }
        let found = exchange(comm, &own, targets, self.vocab)?;
        let log_probs = found.iter().map(|row| row.log_prob).collect();
        let norms = found.iter().map(|row| row.norm).collect();
        Ok(Pass { adapter, tiles, norms, log_probs })
    }

    /// From ∂L/∂log p of every row to ∂L/∂x, and ∂L/∂u behind it, of the rows of this rank. Logits
    /// become gradients. `blocks` are the rows of each shard's rank, in order.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::NotFinite`], on every shard; what the gradient of a tile refuses.
    pub fn backward(
        &self,
        comm: &Comm,
        dispatch: Dispatch,
        pass: &mut Pass,
        (targets, coefficients): (&[u32], &[f64]),
        blocks: &[Range<usize>],
    ) -> Result<Vec<f32>, Error> {
        let (rows, stride) = (targets.len(), self.stride(pass.adapter));
        check_length("coefficients", rows, coefficients.len())?;
        check_length("blocks of rows", comm.size, blocks.len())?;
        let mut products = Vec::new();
        for (unit, tile) in self.units().zip(&mut pass.tiles) {
            let columns = unit.len().next_multiple_of(LANES);
            let first = u32::try_from(unit.start).unwrap_or(u32::MAX);
            let each = tile.chunks_exact_mut(columns).zip(targets);
            for ((tile, &target), (&norm, &c)) in each.zip(pass.norms.iter().zip(coefficients)) {
                let (tile, filling) = tile.split_at_mut(unit.len());
                filling.fill(0.0);
                tile_grads_in_place(dispatch, tile, first, Transform::NONE, target, norm, c)?;
            }
            let mut matrices =
                vec![matmul(tile, &self.rows_of(&self.w, self.width, &unit), columns, self.width)];
            if pass.adapter == Adapter::On {
                matrices.push(matmul(tile, &self.rows_of(&self.b, RANK, &unit), columns, RANK));
            }
            products.push(matrices);
        }
        self.sum_units(comm, &products, (rows, stride), blocks)
    }

    /// Σ over all units of all shards, row by row: each row has an exponent of its own.
    fn sum_units(
        &self,
        comm: &Comm,
        products: &[Vec<Vec<f32>>],
        (rows, stride): (usize, usize),
        blocks: &[Range<usize>],
    ) -> Result<Vec<f32>, Error> {
        let widths = [self.width, stride - self.width];
        let row_of = |matrices: &[Vec<f32>], row: usize| -> Vec<f32> {
            let parts = matrices.iter().zip(widths);
            let part = |(matrix, width): (&Vec<f32>, usize)| {
                matrix.get(row * width..(row + 1) * width).unwrap_or_default().to_vec()
            };
            parts.flat_map(part).collect()
        };
        let mut exponents: Vec<i32> = (0..rows)
            .map(|row| {
                let of_row =
                    products.iter().map(|matrices| exact::exponent(&row_of(matrices, row)));
                of_row.max().unwrap_or(exact::ZERO)
            })
            .collect();
        comm.max(Load::HiddenGrads, &mut exponents)?;
        if exponents.contains(&NOT_FINITE) {
            return Err(Error::NotFinite { what: "gradients of hidden states" });
        }
        let parts = self.vocab.div_ceil(self.unit);
        let fixed: Vec<Option<Fixed>> =
            exponents.iter().map(|&exponent| Fixed::new(exponent, parts)).collect();
        let longest = blocks.iter().map(Range::len).max().unwrap_or(0);
        let mut sums = vec![0_i64; comm.size * longest * stride];
        for (block, range) in sums.chunks_mut((longest * stride).max(1)).zip(blocks) {
            for (sums, row) in block.chunks_mut(stride).zip(range.clone()) {
                let Some(Some(fixed)) = fixed.get(row) else { continue };
                for matrices in products {
                    let values = row_of(matrices, row);
                    sums.iter_mut().zip(values).for_each(|(sum, x)| *sum += fixed.integer(x));
                }
            }
        }
        let own = comm.sum_blocks(Load::HiddenGrads, sums)?;
        let range = blocks.get(comm.rank).cloned().unwrap_or_default();
        let mut out = Vec::with_capacity(range.len() * stride);
        for (sums, row) in own.chunks(stride.max(1)).zip(range) {
            let fixed = fixed.get(row).copied().flatten();
            out.extend(sums.iter().map(|&sum| fixed.map_or(0.0, |fixed| fixed.float(sum))));
        }
        Ok(out)
    }

    /// ∂L/∂W with the adapter off, ∂L/∂B with it on, over some rows, after
    /// [`backward`](Self::backward): each element one sum in the order of rows.
    #[must_use]
    pub fn weight_grads(
        &self,
        pass: &Pass,
        (x, u): (&[f32], &[f32]),
        rows: &Range<usize>,
    ) -> Vec<f32> {
        let (inputs, width) = match pass.adapter {
            Adapter::Off => (x, self.width),
            Adapter::On => (u, RANK),
        };
        let inputs = inputs.get(rows.start * width..rows.end * width).unwrap_or_default();
        let mut out = Vec::with_capacity(self.columns.len() * width);
        for (unit, tile) in self.units().zip(&pass.tiles) {
            let columns = unit.len().next_multiple_of(LANES);
            let tile = tile.get(rows.start * columns..rows.end * columns).unwrap_or_default();
            if rows.is_empty() {
                out.resize(out.len() + unit.len() * width, 0.0);
                continue;
            }
            let mut grads = matmul(&transpose(tile, columns), inputs, rows.len(), width);
            grads.truncate(unit.len() * width);
            out.extend(grads);
        }
        out
    }
}
