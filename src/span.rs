//! Which rows are scored: targets with an ignore value, and the spans of the sequences.

use crate::Error;
use crate::error::Buffer;

/// The ignore value by default: −100 as the trainers write it, seen as u32.
pub const IGNORE_INDEX: u32 = (-100_i32).cast_unsigned();

/// The token that each row is asked for, or the ignore value where it is not asked.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    ids: &'a [u32],
    ignore: u32,
}

impl<'a> Targets<'a> {
    /// One id a row; rows whose id is [`IGNORE_INDEX`] are not scored.
    #[must_use]
    pub const fn new(ids: &'a [u32]) -> Self {
        Self { ids, ignore: IGNORE_INDEX }
    }

    /// Another ignore value. It may be a valid id; its rows are then not scored.
    #[must_use]
    pub const fn with_ignore(mut self, ignore: u32) -> Self {
        self.ignore = ignore;
        self
    }

    /// The ids, one a row.
    #[must_use]
    pub const fn ids(&self) -> &'a [u32] {
        self.ids
    }

    /// The id of a row, or `None` where it is not scored or does not exist.
    #[inline]
    #[must_use]
    pub fn scored(&self, row: usize) -> Option<u32> {
        self.ids.get(row).copied().filter(|&id| id != self.ignore)
    }

    /// The scored rows of a span with their ids, in order.
    #[inline]
    pub(crate) fn scored_rows(self, span: Span) -> impl Iterator<Item = (usize, u32)> {
        (span.start..span.end).filter_map(move |row| Some((row, self.scored(row)?)))
    }
}

/// The rows `[start, end)` of one sequence: the rows that predict its completion.
///
/// Spans come in any order, but ascending ones are checked in one pass, others pair by pair: n shuffled spans
/// cost n(n − 1)/2 comparisons a stage.
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

    /// The rows of both; none if they have none in common.
    pub(crate) fn within(self, rows: Self) -> Self {
        Self { start: self.start.max(rows.start), end: self.end.min(rows.end) }
    }
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
pub fn spans_of_batch(rows_each: usize, out: &mut [Span]) -> Result<(), Error> {
    let sequences = out.len();
    if sequences.checked_mul(rows_each).is_none() {
        return Err(Error::ShapeOverflow { rows: sequences, stride: rows_each });
    }
    let mut start = 0;
    for span in out {
        *span = Span { start, end: start + rows_each };
        start += rows_each;
    }
    Ok(())
}

/// Spans of packed sequences from their cumulative offsets: sequence i is
/// `[offsets[i], offsets[i + 1])`, the `cu_seqlens` of packed attention.
///
/// # Errors
/// [`Error::Length`] unless there is one offset more than spans,
/// [`Error::OffsetsNotAscending`] if an offset is smaller than the one before, or there is none at all;
/// nothing is written then.
///
/// # Panics
/// Never.
pub fn spans_of_offsets(offsets: &[u32], out: &mut [Span]) -> Result<(), Error> {
    check_offsets(offsets, Buffer::Spans, out.len())?;
    for (span, found) in out.iter_mut().zip(spans_between(offsets)) {
        *span = found;
    }
    Ok(())
}

/// Ascending offsets, one more than `found` elements of a buffer.
pub(crate) fn check_offsets(offsets: &[u32], buffer: Buffer, found: usize) -> Result<(), Error> {
    let Some(expected) = offsets.len().checked_sub(1) else {
        return Err(Error::OffsetsNotAscending { index: 0 });
    };
    crate::error::check_length(buffer, expected, found)?;
    match offsets.iter().zip(offsets.iter().skip(1)).position(|(a, b)| b < a) {
        None => Ok(()),
        Some(at) => Err(Error::OffsetsNotAscending { index: at + 1 }),
    }
}

/// What lies between each offset and the next.
pub(crate) fn spans_between(offsets: &[u32]) -> impl Iterator<Item = Span> {
    let neighbours = offsets.iter().zip(offsets.iter().skip(1));
    neighbours.map(|(&start, &end)| Span { start: to_usize(start), end: to_usize(end) })
}

/// Saturates on 16-bit targets, where such rows cannot exist and the range checks will say so.
pub(crate) fn to_usize(x: u32) -> usize {
    usize::try_from(x).unwrap_or(usize::MAX)
}

/// Every check that targets and spans need before a kernel runs over them.
///
/// `vocab` is `None` for stages that do not look at logits.
pub(crate) fn check(
    targets: Targets<'_>,
    spans: &[Span],
    rows: usize,
    vocab: Option<usize>,
) -> Result<(), Error> {
    crate::error::check_length(Buffer::Targets, rows, targets.ids.len())?;
    check_spans(spans, rows)?;
    for (sequence, &span) in spans.iter().enumerate() {
        let mut scored = false;
        for (row, target) in targets.scored_rows(span) {
            scored = true;
            if let Some(vocab) = vocab
                && to_usize(target) >= vocab
            {
                return Err(Error::TargetOutOfRange { row, target, vocab });
            }
        }
        if !scored {
            return Err(Error::NoScoredTokens { sequence });
        }
    }
    Ok(())
}

/// Spans in range and disjoint. Ascending spans, the usual case, take one pass; others are compared
/// in pairs, because there is nowhere to sort them.
fn check_spans(spans: &[Span], rows: usize) -> Result<(), Error> {
    let mut ascending = true;
    let mut last_end = 0;
    for (sequence, &Span { start, end }) in spans.iter().enumerate() {
        if start > end || end > rows {
            return Err(Error::SpanOutOfRange { sequence, start, end, rows });
        }
        ascending &= start >= last_end;
        last_end = end;
    }
    if ascending {
        return Ok(());
    }
    for (i, a) in spans.iter().enumerate() {
        for (j, b) in spans.iter().enumerate().skip(i + 1) {
            if a.start.max(b.start) < a.end.min(b.end) {
                let (first, second) = if a.start <= b.start { (i, j) } else { (j, i) };
                return Err(Error::SpansOverlap { first, second });
            }
        }
    }
    Ok(())
}
