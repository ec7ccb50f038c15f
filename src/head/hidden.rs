//! What comes into a head: views of the hidden states, and of what belongs to each of them.

use crate::error::Buffer;
use crate::{Element, Error};

/// Hidden states to read: R rows × H numbers, row stride S ≥ H, all in elements, in the caller's
/// memory.
///
/// Row t is what the model's last block (and its last norm) gives for position t; the head's logits
/// of it predict the token `targets[t]`, as those of [`Logits`](crate::Logits) do. Numbers past H
/// are never read.
#[derive(Clone, Copy, Debug)]
pub struct Hidden<'a, E> {
    data: &'a [E],
    shape: HiddenShape,
}

/// A place for one row of H numbers for each hidden state: the head's weighted rows, or gradients.
/// Shaped as [`Hidden`].
#[derive(Debug)]
pub struct HiddenMut<'a, E> {
    data: &'a mut [E],
    shape: HiddenShape,
}

/// Where rows are among elements.
#[derive(Clone, Copy, Debug, PartialEq)]
struct HiddenShape {
    /// The first row that there is: not 0 of a thread's part.
    first: usize,
    rows: usize,
    size: usize,
    stride: usize,
}

/// Rows of `size` elements, `stride` apart; the padding of the last may be missing.
pub(super) fn check_shape(
    buffer: Buffer,
    len: usize,
    rows: usize,
    size: usize,
    stride: usize,
) -> Result<(), Error> {
    if size == 0 {
        return Err(Error::EmptyHidden);
    }
    if stride < size {
        return Err(Error::StrideBelowHidden { stride, size });
    }
    let Some(whole) = rows.checked_mul(stride) else {
        return Err(Error::ShapeOverflow { rows, stride });
    };
    let least = if rows == 0 { 0 } else { whole - stride + size };
    if len < least || len > whole {
        let expected = if len < least { least } else { whole };
        return Err(Error::Length { buffer, expected, found: len });
    }
    Ok(())
}

impl HiddenShape {
    fn new(
        buffer: Buffer,
        len: usize,
        rows: usize,
        size: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        check_shape(buffer, len, rows, size, stride)?;
        Ok(Self { first: 0, rows, size, stride })
    }

    fn range(&self, row: usize) -> core::ops::Range<usize> {
        // A row before the first is none, as one past the last is.
        let row = row.checked_sub(self.first).unwrap_or(usize::MAX);
        let start = row.saturating_mul(self.stride);
        start..start.saturating_add(self.size)
    }
}

impl<'a, E: Element> Hidden<'a, E> {
    /// Contiguous rows: `data` holds exactly `rows · size` elements.
    ///
    /// # Errors
    /// [`Error::EmptyHidden`], [`Error::ShapeOverflow`], [`Error::Length`].
    ///
    /// # Panics
    /// Never.
    pub fn new(data: &'a [E], rows: usize, size: usize) -> Result<Self, Error> {
        Self::with_stride(data, rows, size, size)
    }

    /// Rows `stride` elements apart, of which the first `size` are meant.
    ///
    /// `data` holds `rows · stride` elements; the padding of the last row may be missing.
    ///
    /// # Errors
    /// As [`Hidden::new`], and [`Error::StrideBelowHidden`].
    ///
    /// # Panics
    /// Never.
    pub fn with_stride(
        data: &'a [E],
        rows: usize,
        size: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let shape = HiddenShape::new(Buffer::Hidden, data.len(), rows, size, stride)?;
        Ok(Self { data, shape })
    }

    /// R.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.shape.rows
    }

    /// H.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.shape.size
    }

    /// The H numbers of a row; none of a row that does not exist.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [E] {
        self.data.get(self.shape.range(row)).unwrap_or_default()
    }
}

impl<'a, E: Element> HiddenMut<'a, E> {
    /// Contiguous rows, as [`Hidden::new`].
    ///
    /// # Errors
    /// [`Error::EmptyHidden`], [`Error::ShapeOverflow`], [`Error::Length`].
    ///
    /// # Panics
    /// Never.
    pub fn new(data: &'a mut [E], rows: usize, size: usize) -> Result<Self, Error> {
        Self::with_stride(data, rows, size, size)
    }

    /// Rows `stride` elements apart, as [`Hidden::with_stride`].
    ///
    /// # Errors
    /// As [`HiddenMut::new`], and [`Error::StrideBelowHidden`].
    ///
    /// # Panics
    /// Never.
    pub fn with_stride(
        data: &'a mut [E],
        rows: usize,
        size: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        Self::of(Buffer::HiddenGrads, data, rows, size, stride)
    }

    /// The same, of a buffer with another name.
    pub(super) fn of(
        buffer: Buffer,
        data: &'a mut [E],
        rows: usize,
        size: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let shape = HiddenShape::new(buffer, data.len(), rows, size, stride)?;
        Ok(Self { data, shape })
    }

    /// R.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.shape.rows
    }

    /// H.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.shape.size
    }

    /// The H numbers of a row; none of a row that does not exist.
    #[must_use]
    pub fn row(&self, row: usize) -> &[E] {
        self.data.get(self.shape.range(row)).unwrap_or_default()
    }

    /// The same, to write.
    #[must_use]
    pub fn row_mut(&mut self, row: usize) -> &mut [E] {
        self.data.get_mut(self.shape.range(row)).unwrap_or_default()
    }

    /// The same, for less long.
    pub(crate) const fn reborrow(&mut self) -> HiddenMut<'_, E> {
        HiddenMut { data: &mut *self.data, shape: self.shape }
    }

    /// The rows before `row`, and the others, under the numbers that they have.
    pub(super) fn split_at(self, row: usize) -> (Self, Self) {
        let HiddenShape { first, rows, size, stride } = self.shape;
        let count = row.saturating_sub(first).min(rows);
        let at = count.saturating_mul(stride).min(self.data.len());
        let (above, below) = self.data.split_at_mut_checked(at).unwrap_or_default();
        let shape = |first, rows| HiddenShape { first, rows, size, stride };
        (
            Self { data: above, shape: shape(first, count) },
            Self { data: below, shape: shape(first.saturating_add(count), rows - count) },
        )
    }

    /// The elements from the first of some rows to the last of another, and their distance.
    pub(super) fn rows_mut(&mut self, rows: &core::ops::Range<usize>) -> (&mut [E], usize) {
        let end = self.shape.range(rows.end.saturating_sub(1)).end.min(self.data.len());
        let part = self.shape.range(rows.start).start..end;
        (self.data.get_mut(part).unwrap_or_default(), self.shape.stride)
    }

    /// All elements, and where the numbers of a row from `from` on, `len` at most, are among them.
    pub(super) fn parts(
        &mut self,
    ) -> (&mut [E], impl Fn(usize, usize, usize) -> core::ops::Range<usize> + use<E>) {
        let shape = self.shape;
        let range = move |row: usize, from: usize, len: usize| {
            let row = shape.range(row);
            let start = row.start.saturating_add(from).min(row.end);
            start..start.saturating_add(len).min(row.end)
        };
        (self.data, range)
    }
}
