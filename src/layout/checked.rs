//! Targets and spans that were checked against each other, once for all stages.

use super::span::Span;
use super::targets::{Targets, as_written};
use crate::Error;
use crate::error::{Buffer, check_length};
use crate::order::sort_by_key;

/// Which rows are scored and which sequence each belongs to: R targets, N spans, V columns.
///
/// It is made once for a batch and checked then; every stage takes it, for policy and reference
/// alike, and none checks it again. It borrows what it was made of, so nothing can change under it.
///
/// Rows that no span covers, and rows whose target is the ignore value, are not scored: no stage
/// reads them, and none writes them but as the zeros of
/// [`Unscored::Zero`](crate::gradient::Unscored). A span may be empty, or have no scored row: a
/// sequence without tokens is an error only where a pair, an answer or a term names it.
///
/// # Example
/// ```
/// use dpo_kernel::{IGNORE_INDEX, Layout, Span};
/// let targets = [5, IGNORE_INDEX, 6, 7, 8];
/// let spans = [Span::new(0, 3), Span::new(3, 5)];
/// let layout = Layout::new(&targets, &spans, 10)?;
/// assert_eq!((layout.tokens(0), layout.tokens(1)), (2, 2));
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[doc(alias = "labels")]
#[doc(alias = "loss_mask")]
pub struct Layout<'a> {
    targets: Targets<'a>,
    spans: &'a [Span],
    /// The spans in the order of their rows, where that is not their own.
    order: Option<&'a [usize]>,
    vocab: usize,
}

impl<'a> Layout<'a> {
    /// A layout of spans in the order of their rows, in one pass over the targets. Empty spans may
    /// stand anywhere.
    ///
    /// `targets`: a slice, array or vector of R ids, or [`Targets`] with an ignore value of their
    /// own.
    ///
    /// # Errors
    /// [`Error::SpanOutOfRange`]; [`Error::SpansOverlap`] for a span that shares rows with the one
    /// before; [`Error::SpansNotAscending`] for one that lies before it, see
    /// [`Layout::in_any_order`]; [`Error::TargetOutOfRange`] for a scored row.
    ///
    /// # Panics
    /// Never.
    pub fn new(
        targets: impl Into<Targets<'a>>,
        spans: &'a [Span],
        vocab: usize,
    ) -> Result<Self, Error> {
        let layout = Self { targets: targets.into(), spans, order: None, vocab };
        layout.check_ranges()?;
        let mut before: Option<(usize, Span)> = None;
        for (sequence, span) in layout.spans_by_row() {
            if span.is_empty() {
                continue;
            }
            if let Some((first, earlier)) = before
                && span.start < earlier.end
            {
                return Err(if span.end <= earlier.start {
                    Error::SpansNotAscending { sequence }
                } else {
                    Error::SpansOverlap { first, second: sequence }
                });
            }
            before = Some((sequence, span));
        }
        layout.check_targets()?;
        Ok(layout)
    }

    /// A layout of spans in any order. `order`, N indices whose contents do not matter, is memory
    /// to sort them in: n spans cost n·log n comparisons.
    ///
    /// # Errors
    /// As [`Layout::new`], without [`Error::SpansNotAscending`]; [`Error::Length`] unless `order`
    /// has an index for each span.
    ///
    /// # Panics
    /// Never.
    pub fn in_any_order(
        targets: impl Into<Targets<'a>>,
        spans: &'a [Span],
        vocab: usize,
        order: &'a mut [usize],
    ) -> Result<Self, Error> {
        let mut layout = Self { targets: targets.into(), spans, order: None, vocab };
        check_length(Buffer::SpanOrder, spans.len(), order.len())?;
        layout.check_ranges()?;
        for (i, to) in order.iter_mut().enumerate() {
            *to = i;
        }
        sort_by_key(order, |i| spans.get(i).map_or((0, 0), |span| (span.start, span.end)));
        layout.order = Some(order);
        let mut before: Option<(usize, Span)> = None;
        for (second, span) in layout.spans_by_row().filter(|(_, span)| !span.is_empty()) {
            if let Some((first, earlier)) = before
                && span.start < earlier.end
            {
                return Err(Error::SpansOverlap { first, second });
            }
            before = Some((second, span));
        }
        layout.check_targets()?;
        Ok(layout)
    }

    fn check_ranges(&self) -> Result<(), Error> {
        let rows = self.rows();
        let is_outside = |&(_, span): &(usize, &Span)| span.start > span.end || span.end > rows;
        match self.spans.iter().enumerate().find(is_outside) {
            None => Ok(()),
            Some((sequence, &Span { start, end })) => {
                Err(Error::SpanOutOfRange { sequence, start, end, rows })
            }
        }
    }

    fn check_targets(&self) -> Result<(), Error> {
        let vocab = self.vocab;
        for &span in self.spans {
            for (row, target) in self.targets.scored_rows(span) {
                if usize::try_from(target).is_ok_and(|target| target < vocab) {
                    continue;
                }
                {
                    let target = as_written(target);
                    return Err(Error::TargetOutOfRange { row, target, vocab });
                }
            }
        }
        Ok(())
    }

    /// R, the rows of the logits.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.targets.ids().len()
    }

    /// N, the sequences.
    #[must_use]
    pub const fn sequences(&self) -> usize {
        self.spans.len()
    }

    /// V, the columns that targets lie below.
    #[must_use]
    pub const fn vocab(&self) -> usize {
        self.vocab
    }

    /// The target of each row.
    #[must_use]
    pub const fn targets(&self) -> Targets<'a> {
        self.targets
    }

    /// The rows of each sequence.
    #[must_use]
    pub const fn spans(&self) -> &'a [Span] {
        self.spans
    }

    /// The scored rows of a sequence with their targets, in order; none of a sequence that does not
    /// exist.
    pub fn scored_rows(&self, sequence: usize) -> impl Iterator<Item = (usize, u32)> {
        self.targets.scored_rows(self.spans.get(sequence).copied().unwrap_or_default())
    }

    /// The scored rows of a sequence, counted.
    #[must_use]
    pub fn tokens(&self, sequence: usize) -> usize {
        self.scored_rows(sequence).count()
    }

    /// The spans with their sequences, in the order of their rows.
    #[inline]
    pub(crate) fn spans_by_row(self) -> impl Iterator<Item = (usize, Span)> {
        (0..self.spans.len()).filter_map(move |i| self.span_by_row(i))
    }

    /// The i-th of them.
    fn span_by_row(&self, i: usize) -> Option<(usize, Span)> {
        let sequence = match self.order {
            Some(order) => *order.get(i)?,
            None => i,
        };
        Some((sequence, *self.spans.get(sequence)?))
    }

    /// The scored rows among `rows`, ascending, with their targets.
    pub(crate) fn scored_rows_within(&'a self, rows: Span) -> ScoredRows<'a> {
        ScoredRows { layout: self, rows, spans: 0, rest: Span::new(0, 0) }
    }

    /// That logits, or another buffer of this shape, are those that the layout was made for.
    pub(crate) fn check_shape(&self, rows: usize, vocab: usize) -> Result<(), Error> {
        let (expected, found) = ((self.rows(), self.vocab), (rows, vocab));
        if expected == found { Ok(()) } else { Err(Error::ShapeMismatch { expected, found }) }
    }
}

/// The scored rows among some, ascending, with their targets.
pub(crate) struct ScoredRows<'a> {
    layout: &'a Layout<'a>,
    rows: Span,
    /// How many spans were begun.
    spans: usize,
    /// What is left of the last.
    rest: Span,
}

impl Iterator for ScoredRows<'_> {
    type Item = (usize, u32);

    /// Not inlined: what is read of the layout is not on the stack between two rows.
    #[inline(never)]
    fn next(&mut self) -> Option<(usize, u32)> {
        loop {
            while self.rest.start < self.rest.end {
                let row = self.rest.start;
                self.rest.start += 1;
                if let Some(target) = self.layout.targets.scored(row) {
                    return Some((row, target));
                }
            }
            let (_, span) = self.layout.span_by_row(self.spans)?;
            self.spans += 1;
            self.rest = span.within(self.rows);
        }
    }
}
