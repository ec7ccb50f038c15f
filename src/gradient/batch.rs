//! What the backward is given, its checks, and each scored row's part of it.

use crate::error::{Buffer, check_length};
use crate::layout::{Layout, Span};
use crate::row::RowNorm;
use crate::{Error, Transform};

/// What becomes of the elements that no gradient belongs to: rows that are not scored (no span
/// covers them, or their target is the ignore value), and padding columns past the vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unscored {
    /// They are not written. **In place they still hold logits**, numbers of 10 or 11 beside
    /// gradients of 1e-2: a host that multiplies the whole buffer by its head would train on them.
    #[default]
    Keep,
    /// They become 0, so that the whole buffer is a gradient.
    Zero,
}

/// What the backward needs beside the logits: where they are scored, their norms, and ∂L/∂log p.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GradBatch<'a> {
    /// As in the forward.
    pub layout: &'a Layout<'a>,
    /// What [`token_log_probs`](crate::token_log_probs) kept of these logits, R. Rows whose
    /// coefficient is 0 need none.
    pub norms: &'a [RowNorm],
    /// `∂L/∂log p` of the target of each row, R: of
    /// [`token_coefficients`](crate::gradient::token_coefficients), or of any loss of tokens (GRPO
    /// and its kin). Those of rows that are not scored are not read.
    pub coefficients: &'a [f64],
    /// What becomes of everything else; [`Unscored::Keep`] unless the host says otherwise.
    pub unscored: Unscored,
}

impl<'a> GradBatch<'a> {
    /// A backward that writes the scored rows alone.
    #[must_use]
    pub const fn new(
        layout: &'a Layout<'a>,
        norms: &'a [RowNorm],
        coefficients: &'a [f64],
    ) -> Self {
        Self { layout, norms, coefficients, unscored: Unscored::Keep }
    }

    /// With [`Unscored::Zero`] or [`Unscored::Keep`] for rows that are not scored and padding
    /// columns.
    #[must_use]
    pub const fn with_unscored(mut self, unscored: Unscored) -> Self {
        self.unscored = unscored;
        self
    }

    /// Not inlined, so that its variables are not on the stack while rows are swept.
    #[inline(never)]
    pub(crate) fn check(
        &self,
        rows: usize,
        vocab: usize,
        transform: Transform,
    ) -> Result<(), Error> {
        self.layout.check_shape(rows, vocab)?;
        check_length(Buffer::RowNorms, rows, self.norms.len())?;
        check_length(Buffer::TokenCoefficients, rows, self.coefficients.len())?;
        for sequence in 0..self.layout.sequences() {
            for (row, _) in self.layout.scored_rows(sequence) {
                let coefficient = self.coefficients.get(row).copied().unwrap_or(f64::NAN);
                check_coefficient(coefficient, transform, row)?;
                if !is_zero(coefficient) {
                    check_norm(self.norms.get(row), row)?;
                }
            }
        }
        Ok(())
    }

    /// The scored rows among `rows` with their target, norm and coefficient c.
    pub(crate) fn rows(&self, rows: Span) -> impl Iterator<Item = (usize, RowGrad)> {
        self.layout.scored_rows_within(rows).filter_map(move |(row, target)| {
            let target = usize::try_from(target).ok()?;
            let (norm, coefficient) = (*self.norms.get(row)?, *self.coefficients.get(row)?);
            Some((row, RowGrad { target, norm, coefficient }))
        })
    }
}

/// Whether c is 0, which calls nothing where f64 is software.
pub(super) fn is_zero(c: f64) -> bool {
    c.abs().to_bits() == 0
}

/// A norm that a forward has made.
pub(crate) fn check_norm(norm: Option<&RowNorm>, row: usize) -> Result<(), Error> {
    let norm = norm.copied().unwrap_or(RowNorm::INVALID);
    if norm.is_valid() {
        Ok(())
    } else {
        let value = f64::from(norm.inverse);
        Err(Error::InvalidValue { buffer: Buffer::RowNorms, index: row, value })
    }
}

/// A coefficient that fits in f32 with the transform's slope.
pub(crate) fn check_coefficient(c: f64, transform: Transform, row: usize) -> Result<(), Error> {
    const LARGEST: u64 = (f32::MAX as f64 / 1.5).to_bits();
    // Compared as bits, which calls nothing where f64 is software; NaN is above all of them.
    if (c * transform.slope()).abs().to_bits() <= LARGEST {
        Ok(())
    } else {
        Err(Error::InvalidValue { buffer: Buffer::TokenCoefficients, index: row, value: c })
    }
}

/// One row's part in the backward.
#[derive(Clone, Copy)]
pub(crate) struct RowGrad {
    pub(crate) target: usize,
    pub(crate) norm: RowNorm,
    /// c
    pub(crate) coefficient: f64,
}
