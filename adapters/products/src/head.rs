//! The head of weights in memory, by a product from outside.

use core::any::TypeId;
use core::marker::PhantomData;
use core::ops::Range;

use dpo_kernel::head::{ColumnSums, Head, Linear, RowSums, States, TILE, Tile};
use dpo_kernel::{Dispatch, Element, Error, Transform};

use crate::product::{Matrix, MatrixMut, Out, Product};

/// A head of V × H weights, row-major, by a product from outside. Everything but the bits of results
/// is as with [`Linear`], its numbers of memory too.
#[derive(Clone, Copy, Debug)]
pub struct ProductHead<'a, W, P> {
    /// What needs no product.
    linear: Linear<'a, W>,
    weights: &'a [W],
    size: usize,
    stride: usize,
    bias: Option<&'a [f32]>,
    /// Rows that are multiplied at once.
    rows: usize,
    product: PhantomData<P>,
}

impl<'a, W: Element, P: Product> ProductHead<'a, W, P> {
    /// Contiguous weights, as [`Linear::new`].
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(weights: &'a [W], vocab: usize, size: usize) -> Result<Self, Error> {
        Self::with_stride(weights, vocab, size, size)
    }

    /// Rows `stride` elements apart, as [`Linear::with_stride`].
    ///
    /// # Errors
    /// As [`Linear::with_stride`].
    pub fn with_stride(
        weights: &'a [W],
        vocab: usize,
        size: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let linear = Linear::with_stride(weights, vocab, size, stride)?;
        let product = PhantomData;
        Ok(Self { linear, weights, size, stride, bias: None, rows: 256, product })
    }

    /// With a number for each column, which is added to its logits.
    ///
    /// # Errors
    /// As [`Linear::with_bias`].
    pub fn with_bias(mut self, bias: &'a [f32]) -> Result<Self, Error> {
        self.linear = self.linear.with_bias(bias)?;
        self.bias = Some(bias);
        Ok(self)
    }

    /// With scale, softcap and temperature.
    #[must_use]
    pub fn with_transform(mut self, transform: Transform) -> Self {
        self.linear = self.linear.with_transform(transform);
        self
    }

    /// With so many rows multiplied at once, at least 1: more memory, and fewer readings of the
    /// weights. 256 unless said otherwise.
    #[must_use]
    pub fn with_rows(mut self, rows: usize) -> Self {
        self.rows = rows.max(1);
        self
    }

    /// The weights of some columns as f32: where they are, or widened into memory.
    fn weights<'b>(&'b self, columns: &Range<usize>, room: &'b mut [f32]) -> Matrix<'b> {
        let from = self.weights.get(columns.start * self.stride..).unwrap_or_default();
        if let Some(from) = as_f32(from) {
            return Matrix::new(from, columns.len(), self.size, self.stride);
        }
        for (to, from) in
            room.chunks_exact_mut(self.size).zip(from.chunks(self.stride)).take(columns.len())
        {
            widen(from, to);
        }
        Matrix::new(room, columns.len(), self.size, self.size)
    }

    /// Some hidden states, one after the other.
    fn states<'b, E: Element>(
        &self,
        states: States<'_, E>,
        first: usize,
        count: usize,
        room: &'b mut [f32],
    ) -> Matrix<'b> {
        for (i, to) in room.chunks_exact_mut(self.size).take(count).enumerate() {
            widen(states.row(first + i), to);
        }
        Matrix::new(room, count, self.size, self.size)
    }

    /// Memory for rows, and for weights that are widened.
    fn split<'b>(&self, numbers: &'b mut [f32]) -> (&'b mut [f32], &'b mut [f32]) {
        numbers.split_at_mut(self.rows * self.size)
    }
}

/// As many elements as `to` has.
fn widen<E: Element>(from: &[E], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.to_f32();
    }
}

/// The same elements, if they are f32.
fn as_f32<W: Element>(weights: &[W]) -> Option<&[f32]> {
    (TypeId::of::<W>() == TypeId::of::<f32>()).then(|| {
        // SAFETY: W is f32.
        unsafe { core::slice::from_raw_parts(weights.as_ptr().cast(), weights.len()) }
    })
}

impl<E: Element, W: Element, P: Product> Head<E> for ProductHead<'_, W, P> {
    fn vocab(&self) -> usize {
        Head::<E>::vocab(&self.linear)
    }

    fn size(&self) -> usize {
        self.size
    }

    fn transform(&self) -> Transform {
        Head::<E>::transform(&self.linear)
    }

    fn numbers(&self) -> usize {
        let widened = if TypeId::of::<W>() == TypeId::of::<f32>() { 0 } else { TILE };
        self.rows.saturating_add(widened).saturating_mul(self.size)
    }

    fn logits(&self, _: Dispatch, states: States<'_, E>, tile: &mut Tile<'_>, numbers: &mut [f32]) {
        let (columns, width, count) = (tile.columns(), tile.width(), tile.rows());
        if width == 0 {
            return;
        }
        let (left, room) = self.split(numbers);
        let weights = self.weights(&columns, room).transposed();
        for first in (0..count).step_by(self.rows) {
            let rows = self.rows.min(count - first);
            let states = self.states(states, first, rows, left);
            let out = tile.numbers_mut().get_mut(first * Tile::STRIDE..).unwrap_or_default();
            P::multiply(states, weights, MatrixMut::new(out, rows, width, Tile::STRIDE));
        }
        if let Some(bias) = self.bias {
            let bias = bias.get(columns).unwrap_or_default();
            for i in 0..count {
                for (x, bias) in tile.row_mut(i).iter_mut().zip(bias) {
                    *x += bias;
                }
            }
        }
    }

    fn add_rows(&self, _: Dispatch, tile: &Tile<'_>, sums: &mut RowSums<'_>, numbers: &mut [f32]) {
        let (columns, width, count) = (tile.columns(), tile.width(), tile.rows());
        if width == 0 {
            return;
        }
        let (parts, room) = self.split(numbers);
        let weights = self.weights(&columns, room);
        for first in (0..count).step_by(self.rows) {
            let rows = self.rows.min(count - first);
            let tile = tile.as_numbers().get(first * Tile::STRIDE..).unwrap_or_default();
            let tile = Matrix::new(tile, rows, width, Tile::STRIDE);
            // Apart, and added: rows of sums need not lie evenly.
            P::multiply(tile, weights, MatrixMut::new(parts, rows, self.size, self.size));
            for (i, part) in parts.chunks_exact(self.size).take(rows).enumerate() {
                let scale = sums.scale(first + i);
                for (sum, part) in sums.row_mut(first + i).iter_mut().zip(part) {
                    *sum = scale * *sum + part;
                }
            }
        }
    }

    fn add_states(
        &self,
        _: Dispatch,
        states: States<'_, E>,
        tile: &Tile<'_>,
        sums: &mut ColumnSums<'_>,
        numbers: &mut [f32],
    ) {
        let (columns, count) = (sums.columns(), tile.rows());
        if columns.is_empty() {
            return;
        }
        let (left, _) = self.split(numbers);
        for first in (0..count).step_by(self.rows) {
            let rows = self.rows.min(count - first);
            let from = first * Tile::STRIDE + columns.start;
            let tile = tile.as_numbers().get(from..).unwrap_or_default();
            let tile = Matrix::new(tile, rows, columns.len(), Tile::STRIDE).transposed();
            let states = self.states(states, first, rows, left);
            let is_first = sums.is_first() && first == 0;
            let before = if is_first { Out::Replaced } else { Out::Kept };
            let stride = sums.stride();
            let out = MatrixMut::new(sums.numbers_mut(), columns.len(), self.size, stride);
            P::run(tile, states, out, before);
        }
    }

    fn row(&self, column: usize, from: usize, to: &mut [f32]) {
        Head::<E>::row(&self.linear, column, from, to);
    }
}
