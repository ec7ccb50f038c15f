//! A tile of logits, and the rows that it is of.

use core::ops::Range;

use super::hidden::{Hidden, HiddenMut};
use super::product::ROWS;
use super::row::HeadRow;
use crate::Element;
use crate::row::BLOCK;

/// Columns of a tile at most: a block of the fold, so that a tile's terms have one base.
pub const TILE: usize = BLOCK;

/// Elements from one row of a tile to the next. Not a power of two: rows would be in the same lines
/// of the cache.
pub(super) const STRIDE: usize = TILE + 16;

/// The hidden states that a tile is of: some rows of all.
#[derive(Clone, Copy, Debug)]
pub struct States<'a, E> {
    hidden: Hidden<'a, E>,
    rows: &'a [HeadRow],
}

impl<'a, E: Element> States<'a, E> {
    pub(super) const fn new(hidden: Hidden<'a, E>, rows: &'a [HeadRow]) -> Self {
        Self { hidden, rows }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// H.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.hidden.size()
    }

    /// Which row of all hidden states one of them is.
    #[must_use]
    pub fn index(&self, i: usize) -> Option<usize> {
        self.rows.get(i).map(|of| of.row)
    }

    /// The H numbers of one of them; none past the last.
    #[must_use]
    pub fn row(&self, i: usize) -> &'a [E] {
        self.rows.get(i).map_or(&[], |of| self.hidden.row(of.row))
    }
}

/// Logits of some rows and of columns `columns` of the vocabulary, to be made, or what became of
/// them.
#[derive(Debug)]
pub struct Tile<'a> {
    /// Whole blocks of rows.
    rows: &'a mut [[f32; STRIDE]],
    count: usize,
    columns: Range<usize>,
}

impl<'a> Tile<'a> {
    /// Elements from one row to the next.
    pub const STRIDE: usize = STRIDE;

    /// Numbers that a tile of so many rows takes.
    pub(super) const fn numbers(rows: usize) -> usize {
        rows.div_ceil(ROWS).saturating_mul(ROWS * STRIDE)
    }

    /// The memory of a tile of so many rows, and what is left.
    pub(super) fn split(numbers: &mut [f32], rows: usize) -> (&mut [f32], &mut [f32]) {
        numbers.split_at_mut_checked(Self::numbers(rows)).unwrap_or_default()
    }

    /// A tile of `count` rows; of fewer where there is no room.
    pub(super) fn new(numbers: &'a mut [f32], count: usize, columns: Range<usize>) -> Self {
        let rows = numbers.as_chunks_mut().0;
        let count = count.min(rows.len());
        let rows = rows.get_mut(..count.next_multiple_of(ROWS)).unwrap_or_default();
        Self { rows, count, columns }
    }

    /// How many rows it has.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.count
    }

    /// How many columns it has.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.columns.end.saturating_sub(self.columns.start)
    }

    /// The columns of the vocabulary that it is of.
    #[must_use]
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// The numbers of a row, one for each column; none past the last row.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f32] {
        let row = self.rows.get(..self.count).and_then(|rows| rows.get(i));
        row.and_then(|row| row.get(..self.width())).unwrap_or_default()
    }

    /// The same, to write.
    #[must_use]
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        let len = self.width();
        let row = self.rows.get_mut(..self.count).and_then(|rows| rows.get_mut(i));
        row.and_then(|row| row.get_mut(..len)).unwrap_or_default()
    }

    /// All numbers: row after row, [`Tile::STRIDE`] apart. Those past a row's columns, and past the
    /// last row, are of no one.
    #[must_use]
    pub const fn numbers_mut(&mut self) -> &mut [f32] {
        self.rows.as_flattened_mut()
    }

    /// All numbers, to read, as [`Tile::numbers_mut`].
    #[must_use]
    pub const fn as_numbers(&self) -> &[f32] {
        self.rows.as_flattened()
    }

    pub(super) const fn blocks(&self) -> &[[f32; STRIDE]] {
        self.rows
    }

    pub(super) const fn blocks_mut(&mut self) -> &mut [[f32; STRIDE]] {
        self.rows
    }
}

/// Sums of the head's rows, one row of H numbers for each row of a tile, and the factor by which
/// what is there is taken before a tile's part is added.
#[derive(Debug)]
pub struct RowSums<'a> {
    pub(super) sums: HiddenMut<'a, f32>,
    pub(super) rows: &'a [HeadRow],
}

impl RowSums<'_> {
    /// The factor of a row: a power of two, nearly always 1.
    #[must_use]
    pub fn scale(&self, i: usize) -> f32 {
        self.rows.get(i).map_or(1.0, |of| of.scale)
    }

    /// The H numbers of a row; none past the last.
    #[must_use]
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        self.rows.get(i).map_or(&mut [], |of| self.sums.row_mut(of.row))
    }
}

/// Sums of hidden states, one row of H numbers for each of some columns of a tile: the head's
/// gradient itself, where it is of f32.
#[derive(Debug)]
pub struct ColumnSums<'a> {
    /// Columns, counted from the tile's first.
    pub(super) columns: Range<usize>,
    /// A row of H numbers for each, `stride` apart.
    pub(super) sums: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) is_first: bool,
}

impl ColumnSums<'_> {
    pub(super) fn reborrow(&mut self) -> ColumnSums<'_> {
        let Self { columns, sums, stride, is_first } = self;
        ColumnSums { columns: columns.clone(), sums, stride: *stride, is_first: *is_first }
    }

    /// Those of the first columns, and of the others.
    pub(super) fn split_at(self, count: usize) -> (Self, Self) {
        let Self { columns, sums, stride, is_first } = self;
        let at = count.saturating_mul(stride).min(sums.len());
        let (sums, others) = sums.split_at_mut_checked(at).unwrap_or_default();
        let middle = columns.start.saturating_add(count);
        (
            Self { columns: columns.start..middle, sums, stride, is_first },
            Self { columns: middle..columns.end, sums: others, stride, is_first },
        )
    }

    /// Which columns they are of, counted from the tile's first.
    #[must_use]
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Elements from the sums of one column to those of the next, H or more.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// Whether what is there is not meant: it is replaced, not added to.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.is_first
    }

    /// H numbers for each column, [`ColumnSums::stride`] apart. What lies between is not written.
    #[must_use]
    pub const fn numbers_mut(&mut self) -> &mut [f32] {
        self.sums
    }
}
