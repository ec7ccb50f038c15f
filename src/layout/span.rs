//! The rows of each sequence.

use crate::Error;
use crate::error::{Buffer, check_length};

/// The rows `[start, end)` of one sequence: the rows that predict its completion. An empty span is
/// a sequence without tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Span {
    /// First row.
    pub start: usize,
    /// One past the last row.
    pub end: usize,
}

impl Span {
    /// The rows `[start, end)`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Spans of a rectangular batch: `out.len()` sequences of `rows_each` rows, one after another.
    ///
    /// Padding inside the rectangle is marked by ignored targets, or cut off with narrower spans.
    ///
    /// # Errors
    /// [`Error::ShapeOverflow`] if the last row does not fit in `usize`; nothing is written then.
    ///
    /// # Panics
    /// Never.
    pub fn of_batch(rows_each: usize, out: &mut [Self]) -> Result<(), Error> {
        let sequences = out.len();
        if sequences.checked_mul(rows_each).is_none() {
            return Err(Error::ShapeOverflow { rows: sequences, stride: rows_each });
        }
        let mut start = 0;
        for span in out {
            *span = Self { start, end: start + rows_each };
            start += rows_each;
        }
        Ok(())
    }

    /// Spans of packed sequences from their cumulative offsets: sequence i is
    /// `[offsets[i], offsets[i + 1])`, the `cu_seqlens` of packed attention.
    ///
    /// Offsets are of any integer type: `i32` as attention kernels have them, `u32`, `i64`,
    /// `usize`. Segments without rows, as fixed shapes have them at the end, become empty spans.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one offset more than spans, [`Error::OffsetsNotAscending`]
    /// if an offset is negative or smaller than the one before, or there is none at all; nothing is
    /// written then.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::Span;
    /// let mut spans = [Span::default(); 3];
    /// Span::of_offsets(&[0_i32, 4, 8, 8], &mut spans)?;
    /// assert_eq!(spans, [Span::new(0, 4), Span::new(4, 8), Span::new(8, 8)]);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    #[doc(alias = "cu_seqlens")]
    pub fn of_offsets<O: Copy + TryInto<usize>>(
        offsets: &[O],
        out: &mut [Self],
    ) -> Result<(), Error> {
        check_offsets(offsets, Buffer::Spans, out.len())?;
        for (span, found) in out.iter_mut().zip(spans_between(offsets)) {
            *span = found;
        }
        Ok(())
    }

    /// The rows of both; none if they have none in common.
    pub(crate) fn within(self, rows: Self) -> Self {
        Self { start: self.start.max(rows.start), end: self.end.min(rows.end) }
    }

    /// The first `rows` rows, and the others.
    pub(crate) fn split_at(self, rows: usize) -> (Self, Self) {
        let middle = self.start.saturating_add(rows).min(self.end);
        (Self::new(self.start, middle), Self::new(middle, self.end))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Ascending offsets, one more than `found` elements of a buffer.
pub(crate) fn check_offsets<O: Copy + TryInto<usize>>(
    offsets: &[O],
    buffer: Buffer,
    found: usize,
) -> Result<(), Error> {
    let Some(expected) = offsets.len().checked_sub(1) else {
        return Err(Error::OffsetsNotAscending { index: 0 });
    };
    check_length(buffer, expected, found)?;
    let mut before = 0;
    for (index, &offset) in offsets.iter().enumerate() {
        match offset.try_into() {
            Ok(offset) if offset >= before => before = offset,
            _ => return Err(Error::OffsetsNotAscending { index }),
        }
    }
    Ok(())
}

/// What lies between each offset and the next, of offsets that were checked.
pub(crate) fn spans_between<O: Copy + TryInto<usize>>(offsets: &[O]) -> impl Iterator<Item = Span> {
    let to_usize = |offset: O| offset.try_into().unwrap_or(usize::MAX);
    let neighbours = offsets.iter().zip(offsets.iter().skip(1));
    neighbours.map(move |(&start, &end)| Span { start: to_usize(start), end: to_usize(end) })
}
