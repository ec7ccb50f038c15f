//! What comes in: views of the caller's logits, by rows.

use crate::error::Buffer;
use crate::{Element, Error, Transform};

/// Logits to read: R rows × V vocabulary, row stride S ≥ V, all in elements, in the caller's
/// memory.
///
/// Row t predicts the token `targets[t]`; the shift by one is explained at
/// [`Targets`](crate::Targets). Columns V..S are padding and never read.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a, E> {
    data: &'a [E],
    shape: Shape,
}

/// Logits to read and to replace by their gradients, or a place for gradients alone; shaped as
/// [`Logits`].
#[derive(Debug)]
pub struct LogitsMut<'a, E> {
    data: &'a mut [E],
    shape: Shape,
}

/// Where rows are among elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    rows: usize,
    vocab: usize,
    pub(crate) stride: usize,
    pub(crate) transform: Transform,
}

impl Shape {
    /// The last row may end at its vocabulary: views into larger buffers need not own its padding.
    fn new(len: usize, rows: usize, vocab: usize, stride: usize) -> Result<Self, Error> {
        if vocab == 0 {
            return Err(Error::EmptyVocabulary);
        }
        if u32::try_from(vocab).is_err() {
            return Err(Error::VocabularyTooLarge { vocab });
        }
        if stride < vocab {
            return Err(Error::StrideBelowVocabulary { stride, vocab });
        }
        if rows.checked_mul(stride).is_none() {
            return Err(Error::ShapeOverflow { rows, stride });
        }
        let least = if rows == 0 { 0 } else { (rows - 1) * stride + vocab };
        if len < least || len > rows * stride {
            let expected = if len < least { least } else { rows * stride };
            return Err(Error::Length { buffer: Buffer::Logits, expected, found: len });
        }
        Ok(Self { rows, vocab, stride, transform: Transform::NONE })
    }

    /// The V logits of a row.
    pub(crate) fn range(&self, row: usize) -> core::ops::Range<usize> {
        let start = row.saturating_mul(self.stride);
        start..start.saturating_add(self.vocab)
    }
}

impl<'a, E: Element> Logits<'a, E> {
    /// Contiguous rows: `data` holds exactly `rows · vocab` elements.
    ///
    /// # Errors
    /// [`Error::EmptyVocabulary`], [`Error::VocabularyTooLarge`], [`Error::ShapeOverflow`],
    /// [`Error::Length`].
    ///
    /// # Panics
    /// Never.
    pub fn new(data: &'a [E], rows: usize, vocab: usize) -> Result<Self, Error> {
        Self::with_stride(data, rows, vocab, vocab)
    }

    /// Rows `stride` elements apart, of which the first `vocab` are logits.
    ///
    /// `data` holds `rows · stride` elements; the padding of the last row may be missing.
    ///
    /// # Errors
    /// As [`Logits::new`], and [`Error::StrideBelowVocabulary`].
    ///
    /// # Panics
    /// Never.
    pub fn with_stride(
        data: &'a [E],
        rows: usize,
        vocab: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        Ok(Self { data, shape: Shape::new(data.len(), rows, vocab, stride)? })
    }

    /// The same logits, seen through a transform.
    #[must_use]
    pub const fn with_transform(mut self, transform: Transform) -> Self {
        self.shape.transform = transform;
        self
    }

    /// R.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.shape.rows
    }

    /// V.
    #[must_use]
    pub const fn vocab(&self) -> usize {
        self.shape.vocab
    }

    /// What turns an element into a logit.
    #[must_use]
    pub const fn transform(&self) -> Transform {
        self.shape.transform
    }

    /// All elements, and where the rows are among them.
    pub(crate) const fn into_parts(self) -> (&'a [E], Shape) {
        (self.data, self.shape)
    }

    /// The V logits of a row as stored; empty past the last row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [E] {
        self.data.get(self.shape.range(row)).unwrap_or_default()
    }
}

impl<'a, E: Element> LogitsMut<'a, E> {
    /// As [`Logits::new`].
    ///
    /// # Errors
    /// As [`Logits::new`].
    ///
    /// # Panics
    /// Never.
    pub fn new(data: &'a mut [E], rows: usize, vocab: usize) -> Result<Self, Error> {
        Self::with_stride(data, rows, vocab, vocab)
    }

    /// As [`Logits::with_stride`].
    ///
    /// # Errors
    /// As [`Logits::with_stride`].
    ///
    /// # Panics
    /// Never.
    pub fn with_stride(
        data: &'a mut [E],
        rows: usize,
        vocab: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let shape = Shape::new(data.len(), rows, vocab, stride)?;
        Ok(Self { data, shape })
    }

    /// The same logits, seen through a transform.
    #[must_use]
    pub const fn with_transform(mut self, transform: Transform) -> Self {
        self.shape.transform = transform;
        self
    }

    /// The same view, to read.
    #[must_use]
    pub const fn as_logits(&self) -> Logits<'_, E> {
        Logits { data: self.data, shape: self.shape }
    }

    /// The same view for a shorter time, so that it can be used again.
    #[must_use]
    pub const fn reborrow(&mut self) -> LogitsMut<'_, E> {
        LogitsMut { data: self.data, shape: self.shape }
    }

    /// The first `rows` rows, and the others.
    pub(crate) fn split_at(self, rows: usize) -> (Self, Self) {
        let Self { data, shape } = self;
        let rows = rows.min(shape.rows);
        let elements = rows.saturating_mul(shape.stride).min(data.len());
        let (above, below) = data.split_at_mut_checked(elements).unwrap_or_default();
        let shapes = (Shape { rows, ..shape }, Shape { rows: shape.rows - rows, ..shape });
        (Self { data: above, shape: shapes.0 }, Self { data: below, shape: shapes.1 })
    }

    /// R.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.shape.rows
    }

    /// V.
    #[must_use]
    pub const fn vocab(&self) -> usize {
        self.shape.vocab
    }

    /// What turns an element into a logit.
    #[must_use]
    pub const fn transform(&self) -> Transform {
        self.shape.transform
    }

    /// The V elements of a row; empty past the last row.
    pub fn row_mut(&mut self, row: usize) -> &mut [E] {
        self.data.get_mut(self.shape.range(row)).unwrap_or_default()
    }

    /// All elements, and where the rows are among them.
    pub(crate) fn into_parts(self) -> (&'a mut [E], Shape) {
        (self.data, self.shape)
    }

    /// The elements of a row past its vocabulary, as many as the view has: those of the last may be
    /// missing.
    pub(crate) fn padding_mut(&mut self, row: usize) -> &mut [E] {
        let vocab = self.shape.vocab;
        self.whole_row_mut(row).get_mut(vocab..).unwrap_or_default()
    }

    /// The elements of a row with its padding, as many as the view has.
    pub(crate) fn whole_row_mut(&mut self, row: usize) -> &mut [E] {
        let start = row.saturating_mul(self.shape.stride).min(self.data.len());
        let end = start.saturating_add(self.shape.stride).min(self.data.len());
        self.data.get_mut(start..end).unwrap_or_default()
    }
}
