//! Where the gradients of a head go, and their sums over tokens.

use core::ops::Range;

use super::chains::check_chains;
use super::forward::check_shape;
use super::hidden::{Hidden, HiddenMut};
use super::outer::NUMBERS;
use super::scratch::HeadScratch;
use super::tile::{ColumnSums, TILE, Tile};
use super::traits::Head;
use crate::error::{Buffer, check_length};
use crate::executor::Executor;
use crate::layout::Layout;
use crate::{Element, Error};

/// Where the gradients of a head go: of its weights (f32, f16 or bf16), its bias, its adapter's
/// second matrix; at least one of them.
#[derive(Debug)]
pub struct HeadGrads<'a, G> {
    weights: Option<HiddenMut<'a, G>>,
    bias: Option<&'a mut [f32]>,
    pub(super) adapter: Option<(Hidden<'a, f32>, HiddenMut<'a, f32>)>,
    is_added: bool,
}

impl<'a, G: Element> HeadGrads<'a, G> {
    /// `∂L/∂W`, V × H, row-major.
    ///
    /// # Errors
    /// [`Error::EmptyHidden`], [`Error::ShapeOverflow`], [`Error::Length`].
    ///
    /// # Panics
    /// Never.
    pub fn of_weights(grads: &'a mut [G], vocab: usize, size: usize) -> Result<Self, Error> {
        Self::of_weights_with_stride(grads, vocab, size, size)
    }

    /// The same, rows `stride` elements apart. What lies between is not written.
    ///
    /// # Errors
    /// As [`HeadGrads::of_weights`], and [`Error::StrideBelowHidden`].
    ///
    /// # Panics
    /// Never.
    pub fn of_weights_with_stride(
        grads: &'a mut [G],
        vocab: usize,
        size: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let weights = Some(HiddenMut::of(Buffer::HeadGrads, grads, vocab, size, stride)?);
        Ok(Self { weights, bias: None, adapter: None, is_added: false })
    }

    /// And `∂L/∂b`, V.
    #[must_use]
    pub fn with_bias(mut self, grads: &'a mut [f32]) -> Self {
        self.bias = Some(grads);
        self
    }

    /// And `∂L/∂B` of an adapter, V × r, for the projected states R × r.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are V · r numbers for some V.
    ///
    /// # Panics
    /// Never.
    pub fn with_adapter(
        mut self,
        projected: Hidden<'a, f32>,
        grads: &'a mut [f32],
    ) -> Result<Self, Error> {
        let rank = projected.size();
        let vocab = grads.len().checked_div(rank).unwrap_or(0);
        let grads = HiddenMut::of(Buffer::HeadGrads, grads, vocab, rank, rank)?;
        self.adapter = Some((projected, grads));
        Ok(self)
    }

    /// Gradients are added to what is there, as a trainer's second micro-batch needs it; without,
    /// they replace it. Each is still rounded to its type once a call. That of an adapter's A is not
    /// among them: [`Adapter::grads_in_place`](super::Adapter::grads_in_place) replaces it.
    #[must_use]
    pub const fn added(mut self) -> Self {
        self.is_added = true;
        self
    }

    /// Shapes, memory, and whole chains of rows.
    pub(crate) fn check<X: Executor, E: Element, H: Head<E> + ?Sized>(
        &self,
        executor: X,
        states: Hidden<'_, E>,
        head: &H,
        layout: &Layout<'_>,
        scratch: &HeadScratch<'_>,
    ) -> Result<(), Error> {
        check(executor, states, head, self, layout, scratch)
    }
}

/// [`HeadGrads::check`]
pub(super) fn check<X: Executor, E: Element, H: Head<E> + ?Sized>(
    executor: X,
    states: Hidden<'_, E>,
    head: &H,
    grads: &dyn Gradients<'_>,
    layout: &Layout<'_>,
    scratch: &HeadScratch<'_>,
) -> Result<(), Error> {
    grads.check_shapes(states.rows(), (head.vocab(), head.size(), head.sums()))?;
    let (room, found) = (scratch.rows.len(), scratch.numbers.len());
    let expected = numbers_of(executor, head, room, grads.numbers_each());
    if found < expected {
        return Err(Error::Length { buffer: Buffer::HeadNumbers, expected, found });
    }
    check_chains(room, layout)
}

/// What a backward asks of gradients, whatever their type.
pub(super) trait Gradients<'a> {
    /// Sums of a column that need memory.
    fn numbers_each(&self) -> usize;
    /// The sums of a tile's columns.
    fn sums<'s>(&'s mut self, columns: &Range<usize>, room: &'s mut [f32]) -> Sums<'s>;
    /// Rounds the sums of a tile's columns to the gradients' type.
    fn round(&mut self, columns: &Range<usize>, room: &[f32]);
    /// What an adapter has made of the states.
    fn projected(&self) -> Option<Hidden<'a, f32>>;
    /// Shapes, for so many rows and a head's V, H and numbers a row.
    fn check_shapes(&self, rows: usize, head: (usize, usize, usize)) -> Result<(), Error>;
}

impl<'a, G: Element> Gradients<'a> for HeadGrads<'a, G> {
    /// Sums of a column that need memory: of gradients in 16 bits.
    fn numbers_each(&self) -> usize {
        let size = self.weights.as_ref().map_or(0, HiddenMut::size);
        if G::as_f32s(&mut []).is_some() { 0 } else { size }
    }

    /// The sums of a tile's columns: the gradients themselves, where they are of f32.
    fn sums<'s>(&'s mut self, columns: &Range<usize>, room: &'s mut [f32]) -> Sums<'s> {
        let (is_first, count) = (!self.is_added, columns.end.saturating_sub(columns.start));
        let of = |sums, stride| ColumnSums { columns: 0..count, sums, stride, is_first };
        let weights = self.weights.as_mut().map(|weights| {
            let size = weights.size();
            if !is_first {
                for (sums, column) in room.chunks_mut(size.max(1)).zip(columns.clone()) {
                    for (sum, grad) in sums.iter_mut().zip(weights.row(column)) {
                        *sum = grad.to_f32();
                    }
                }
            }
            let (grads, stride) = weights.rows_mut(columns);
            match G::as_f32s(grads) {
                Some(grads) => of(grads, stride),
                None => of(room, size),
            }
        });
        let adapter = self.adapter.as_mut().map(|(_, grads)| {
            let (grads, stride) = grads.rows_mut(columns);
            of(grads, stride)
        });
        let bias =
            self.bias.as_mut().map(|bias| of(bias.get_mut(columns.clone()).unwrap_or_default(), 1));
        Sums { columns: 0..count, weights, adapter, bias }
    }

    /// Rounds the sums of a tile's columns to the gradients' type, if that is not theirs.
    fn round(&mut self, columns: &Range<usize>, room: &[f32]) {
        let Some(weights) = self.weights.as_mut().filter(|_| !room.is_empty()) else { return };
        let size = weights.size().max(1);
        for (column, sums) in columns.clone().zip(room.chunks(size)) {
            for (to, &sum) in weights.row_mut(column).iter_mut().zip(sums) {
                *to = G::from_f32(sum);
            }
        }
    }

    fn projected(&self) -> Option<Hidden<'a, f32>> {
        self.adapter.as_ref().map(|(projected, _)| *projected)
    }

    fn check_shapes(
        &self,
        rows: usize,
        (vocab, size, sums): (usize, usize, usize),
    ) -> Result<(), Error> {
        if let Some(weights) = &self.weights {
            check_shape((vocab, size), (weights.rows(), weights.size()))?;
        }
        if let Some(bias) = &self.bias {
            check_length(Buffer::HeadGrads, vocab, bias.len())?;
        }
        if let Some((projected, grads)) = &self.adapter {
            let rank = grads.size();
            // Of this head's adapter: what a row of it has beyond H.
            let expected = (rows, sums.saturating_sub(size));
            check_shape(expected, (projected.rows(), projected.size()))?;
            check_shape((vocab, rank), (grads.rows(), rank))?;
        }
        Ok(())
    }
}

impl<'a> HeadGrads<'a, f32> {
    /// `∂L/∂b` alone, V.
    #[must_use]
    pub fn of_bias(grads: &'a mut [f32]) -> Self {
        Self { weights: None, bias: Some(grads), adapter: None, is_added: false }
    }

    /// `∂L/∂B` alone, as [`HeadGrads::with_adapter`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Never.
    pub fn of_adapter(projected: Hidden<'a, f32>, grads: &'a mut [f32]) -> Result<Self, Error> {
        let none = Self { weights: None, bias: None, adapter: None, is_added: false };
        none.with_adapter(projected, grads)
    }
}

impl HeadScratch<'_> {
    /// How many numbers [`head_grads`](super::head_grads) takes for so many rows at once.
    ///
    /// ```text
    /// numbers_over(…), with 4,111 a thread at least
    ///     + min(V, 512) · H of weights' gradients in 16 bits
    /// ```
    ///
    /// Gradients of f32 are their own sums. Of a `Parallel`: asked for in the pool that the backward
    /// runs in.
    #[must_use]
    pub fn numbers_trained<X: Executor, E: Element, H: Head<E> + ?Sized, G: Element>(
        executor: X,
        head: &H,
        rows: usize,
        grads: &HeadGrads<'_, G>,
    ) -> usize {
        numbers_of(executor, head, rows, grads.numbers_each())
    }
}

/// The same, with so many sums of each column.
pub(super) fn numbers_of<X: Executor, E: Element, H: Head<E> + ?Sized>(
    executor: X,
    head: &H,
    rows: usize,
    each: usize,
) -> usize {
    let sums = TILE.min(head.vocab()).saturating_mul(each);
    let heads = head.numbers().max(NUMBERS).saturating_mul(executor.threads());
    Tile::numbers(rows).saturating_add(heads).saturating_add(sums)
}

/// The sums of some of a tile's columns.
pub(super) struct Sums<'a> {
    /// Counted from the tile's first.
    pub(super) columns: Range<usize>,
    pub(super) weights: Option<ColumnSums<'a>>,
    pub(super) adapter: Option<ColumnSums<'a>>,
    pub(super) bias: Option<ColumnSums<'a>>,
}

impl Sums<'_> {
    pub(super) fn reborrow(&mut self) -> Sums<'_> {
        let Self { columns, weights, adapter, bias } = self;
        Sums {
            columns: columns.clone(),
            weights: weights.as_mut().map(ColumnSums::reborrow),
            adapter: adapter.as_mut().map(ColumnSums::reborrow),
            bias: bias.as_mut().map(ColumnSums::reborrow),
        }
    }

    /// Those of the first columns, and of the others.
    pub(super) fn split_at(self, count: usize) -> (Self, Self) {
        let Self { columns, weights, adapter, bias } = self;
        let middle = columns.start.saturating_add(count);
        let (weights, other_weights) = weights.map(|sums| sums.split_at(count)).unzip();
        let (adapter, other_adapter) = adapter.map(|sums| sums.split_at(count)).unzip();
        let (bias, other_bias) = bias.map(|sums| sums.split_at(count)).unzip();
        (
            Self { columns: columns.start..middle, weights, adapter, bias },
            Self {
                columns: middle..columns.end,
                weights: other_weights,
                adapter: other_adapter,
                bias: other_bias,
            },
        )
    }

    /// Zeros, if nothing was added.
    pub(super) fn zero_if_first(self, size: usize) {
        let rank = self.adapter.as_ref().map_or(1, |sums| sums.stride);
        for (sums, size) in [(self.weights, size), (self.adapter, rank), (self.bias, 1)] {
            if let Some(sums) = sums.filter(|sums| sums.is_first) {
                for row in sums.sums.chunks_mut(sums.stride.max(1)) {
                    row.get_mut(..size).unwrap_or_default().fill(0.0);
                }
            }
        }
    }

    /// What follows is added to what is there.
    pub(super) fn begin(&mut self) {
        for sums in [&mut self.weights, &mut self.adapter, &mut self.bias].into_iter().flatten() {
            sums.is_first = false;
        }
    }
}
