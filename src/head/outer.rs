//! The product of a tile's columns and hidden states: the gradient of the head's rows.
//!
//! ```text
//! s[j][h] += Σ_i tile[i][j] · states[i][h]        i a row, j a column of the vocabulary
//! ```
//!
//! The contraction is over tokens, in chains of [`TOKENS`] at fixed positions; lanes are numbers of
//! a hidden state.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "indices below a constant length; a zip of lanes is not inlined at every level of optimisation"
)]

use super::product::{Left, PanelRow, ROWS, Total, UNALIGNED, WIDTH, panel_rows, step, sum, widen};
use super::tile::{ColumnSums, STRIDE, Tile};
use crate::simd::{Kernel, LANES, Loop, Simd};
use crate::{Dispatch, Element};

/// Terms of a chain.
pub(super) const TOKENS: usize = 128;

/// Numbers of memory that it works in.
pub(super) const NUMBERS: usize = TOKENS * WIDTH + UNALIGNED;

/// Adds the product of columns of a tile and of rows of `size` numbers to sums.
pub(super) fn add_outer<'e, E: Element>(
    dispatch: Dispatch,
    row: impl Fn(usize) -> &'e [E],
    size: usize,
    tile: &Tile<'_>,
    sums: &mut ColumnSums<'_>,
    numbers: &mut [f32],
) {
    let panel = panel_rows(numbers);
    let (column, stride) = (sums.columns.start, sums.stride);
    for from in (0..size).step_by(WIDTH) {
        for first in (0..tile.rows()).step_by(TOKENS) {
            let count = TOKENS.min(tile.rows() - first);
            let panel = panel.get_mut(..count).unwrap_or_default();
            let rows = |k: usize| row(first.saturating_add(k)).get(from..).unwrap_or_default();
            dispatch.run(Gather { rows, columns: WIDTH.min(size - from), panel: &mut *panel });
            let rows = tile.blocks().get(first..).unwrap_or_default();
            let tile = rows.get(..count).unwrap_or(rows);
            let is_first = sums.is_first && first == 0;
            let block = Block { sums: &mut *sums.sums, size, stride, from, is_first };
            dispatch.run(AddOuter { tile, column, panel, block });
        }
    }
}

/// Adds the sums of columns of a tile.
pub(super) fn add_columns(dispatch: Dispatch, tile: &Tile<'_>, sums: &mut ColumnSums<'_>) {
    let (from, mut is_first) = (sums.columns.start, sums.is_first);
    let rows = tile.blocks().get(..tile.rows()).unwrap_or_default();
    for tile in rows.chunks(TOKENS) {
        dispatch.run(AddColumns { tile, from, sums: &mut *sums.sums, is_first });
        is_first = false;
    }
}

/// A panel of rows that lie anywhere. Columns that they lack are 0.
struct Gather<'a, F> {
    rows: F,
    /// Elements of each row that count, up to [`WIDTH`].
    columns: usize,
    panel: &'a mut [PanelRow],
}

impl<'e, E: Element, F: Fn(usize) -> &'e [E]> Kernel for Gather<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (k, to) in self.panel.iter_mut().enumerate() {
            let row = (self.rows)(k);
            let row = row.get(..self.columns).unwrap_or(row);
            for (v, to) in to.iter_mut().enumerate() {
                widen(s, row.get(v * LANES..).unwrap_or_default(), to);
            }
        }
    }
}

/// The left operand: columns of a tile from `from` on, a term each row.
#[derive(Clone, Copy)]
struct Down<'a> {
    tile: &'a [[f32; STRIDE]],
    from: usize,
}

impl Left for Down<'_> {
    #[inline(always)]
    fn chain<S: Simd, const M: usize, const V: usize>(
        self,
        s: S,
        row: usize,
        panel: &[PanelRow],
        vector: usize,
        sums: &mut [[S::F; V]; M],
    ) {
        let at = self.from.saturating_add(row).min(STRIDE - M);
        for (a, b) in self.tile.iter().zip(panel) {
            let Some(a) = a.get(at..).and_then(|a| a.first_chunk::<M>()) else { return };
            step::<S, M, V>(s, *a, b, vector, sums);
        }
    }
}

struct AddOuter<'a> {
    /// The rows of a chain.
    tile: &'a [[f32; STRIDE]],
    /// The tile's column that the first row of sums is of.
    column: usize,
    panel: &'a [PanelRow],
    block: Block<'a>,
}

/// Rows of sums, and the panel's place in each.
struct Block<'a> {
    sums: &'a mut [f32],
    /// Numbers of a row that are meant.
    size: usize,
    stride: usize,
    /// A multiple of [`WIDTH`].
    from: usize,
    /// Whether what is there is replaced.
    is_first: bool,
}

impl Total for Block<'_> {
    #[inline(always)]
    fn add<S: Simd>(&mut self, s: S, row: usize, vector: usize, sum: S::F) {
        let row = row.saturating_mul(self.stride);
        let from = row.saturating_add(self.from).saturating_add(vector * LANES);
        let end = row.saturating_add(self.size).min(self.sums.len());
        let to = self.sums.get_mut(from..end).unwrap_or_default();
        if let Some(to) = to.first_chunk_mut() {
            s.store_f32(if self.is_first { sum } else { s.add(s.load_f32(to), sum) }, to);
        } else {
            let mut whole = [0.0; LANES];
            for (whole, to) in whole.iter_mut().zip(&*to) {
                *whole = *to;
            }
            let added = s.add(s.load_f32(&whole), sum);
            s.store_f32(if self.is_first { sum } else { added }, &mut whole);
            for (to, whole) in to.iter_mut().zip(&whole) {
                *to = *whole;
            }
        }
    }
}

impl Kernel for AddOuter<'_> {
    type Output = ();

    const LOOP: Loop = Loop::Product;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { tile, column, panel, block } = self;
        let Block { sums, size, stride, from, is_first } = block;
        for (i, sums) in sums.chunks_mut(stride.saturating_mul(ROWS).max(1)).enumerate() {
            let left = Down { tile, from: column.saturating_add(i * ROWS) };
            sum(s, left, panel, &mut Block { sums, size, stride, from, is_first });
        }
    }
}

struct AddColumns<'a> {
    tile: &'a [[f32; STRIDE]],
    from: usize,
    sums: &'a mut [f32],
    /// Whether what is there is replaced.
    is_first: bool,
}

impl Kernel for AddColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut found = [0.0; LANES];
        for (i, sums) in self.sums.chunks_mut(LANES).enumerate() {
            let at = self.from.saturating_add(i * LANES).min(STRIDE - LANES);
            for s in s.parts() {
                let mut sum = s.splat(0.0);
                for row in self.tile {
                    let Some(row) = row.get(at..).and_then(|row| row.first_chunk()) else { return };
                    sum = s.add(sum, s.load_f32(row));
                }
                s.store_f32(sum, &mut found);
            }
            for (sum, found) in sums.iter_mut().zip(&found) {
                *sum = if self.is_first { *found } else { *sum + found };
            }
        }
    }
}
