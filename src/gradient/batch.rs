//! What the backward is given, its checks, and each scored row's part of it.

use crate::error::{Buffer, check_length};
use crate::row::RowNorm;
use crate::sequence::{check_token_weights, weight_of};
use crate::span::{self, Span, Targets};
use crate::{Error, Transform};

/// What the backward needs beside the logits: where they are scored, their norms, and ∂L/∂log π.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GradBatch<'a> {
    /// Target of each row, R, as in the forward.
    pub targets: Targets<'a>,
    /// Rows of each sequence, N, as in the forward.
    pub spans: &'a [Span],
    /// What [`token_log_probs`](crate::token_log_probs) kept of these logits, R. Rows whose coefficient
    /// is 0 need none.
    pub norms: &'a [RowNorm],
    /// `∂L/∂log π` of each sequence, N.
    pub d_log_probs: &'a [f64],
    /// Token weights as in [`sequence_log_probs`](crate::sequence_log_probs), R; 1 without.
    pub token_weights: Option<&'a [f32]>,
    /// `∂L/∂log p` of every token of a sequence, N, apart from the token weights: that of an NLL term
    /// ([`nll_loss`](crate::loss::nll_loss)); 0 without.
    pub d_nll: Option<&'a [f64]>,
}

impl<'a> GradBatch<'a> {
    /// A batch without token weights.
    #[must_use]
    pub const fn new(
        targets: Targets<'a>,
        spans: &'a [Span],
        norms: &'a [RowNorm],
        d_log_probs: &'a [f64],
    ) -> Self {
        Self { targets, spans, norms, d_log_probs, token_weights: None, d_nll: None }
    }

    /// With a weight for each token.
    #[must_use]
    pub const fn with_token_weights(mut self, token_weights: &'a [f32]) -> Self {
        self.token_weights = Some(token_weights);
        self
    }

    /// With the gradient of an NLL term.
    #[must_use]
    pub const fn with_nll(mut self, d_nll: &'a [f64]) -> Self {
        self.d_nll = Some(d_nll);
        self
    }

    /// c of a row: what its sequence's log-prob passes on to it, and its own.
    fn coefficient(&self, sequence: usize, d: f64, row: usize) -> f64 {
        let weighted = d * weight_of(self.token_weights, row).unwrap_or(1.0);
        match self.d_nll {
            Some(d_nll) => weighted + d_nll.get(sequence).copied().unwrap_or(f64::NAN),
            None => weighted,
        }
    }

    pub(super) fn check(
        &self,
        rows: usize,
        vocab: usize,
        transform: Transform,
    ) -> Result<(), Error> {
        span::check(self.targets, self.spans, rows, Some(vocab))?;
        check_length(Buffer::RowNorms, rows, self.norms.len())?;
        check_length(Buffer::SequenceGrads, self.spans.len(), self.d_log_probs.len())?;
        check_token_weights(self.token_weights, rows)?;
        if let Some(d_nll) = self.d_nll {
            let buffer = Buffer::NllGrads;
            check_length(buffer, self.spans.len(), d_nll.len())?;
            if let Some((index, &value)) = d_nll.iter().enumerate().find(|(_, d)| !d.is_finite()) {
                return Err(Error::InvalidValue { buffer, index, value });
            }
        }
        for (sequence, (&span, &d)) in self.spans.iter().zip(self.d_log_probs).enumerate() {
            check_coefficient(d, transform, sequence)?;
            for (row, _) in self.targets.scored_rows(span) {
                let coefficient = self.coefficient(sequence, d, row);
                check_coefficient(coefficient, transform, sequence)?;
                if coefficient.abs() > 0.0 {
                    check_norm(self.norms.get(row), row)?;
                }
            }
        }
        Ok(())
    }

    /// The scored rows among `rows` with their target, norm and coefficient c.
    pub(super) fn rows(self, rows: Span) -> impl Iterator<Item = (usize, Column)> {
        let sequences = self.spans.iter().zip(self.d_log_probs).enumerate();
        sequences.flat_map(move |(sequence, (&span, &d))| {
            self.targets.scored_rows(span.within(rows)).filter_map(move |(row, target)| {
                let coefficient = self.coefficient(sequence, d, row);
                let target = usize::try_from(target).ok()?;
                let norm = *self.norms.get(row)?;
                Some((row, Column { target, norm, coefficient }))
            })
        })
    }
}

/// A norm that a forward has made.
pub(super) fn check_norm(norm: Option<&RowNorm>, row: usize) -> Result<(), Error> {
    let norm = norm.copied().unwrap_or(RowNorm::INVALID);
    if norm.is_valid() {
        Ok(())
    } else {
        let value = f64::from(norm.inverse);
        Err(Error::InvalidValue { buffer: Buffer::RowNorms, index: row, value })
    }
}

/// A coefficient that fits in f32 with the transform's slope.
pub(super) fn check_coefficient(
    c: f64,
    transform: Transform,
    sequence: usize,
) -> Result<(), Error> {
    if (c * transform.slope()).abs() <= f64::from(f32::MAX) / 1.5 {
        Ok(())
    } else {
        Err(Error::InvalidValue { buffer: Buffer::SequenceGrads, index: sequence, value: c })
    }
}

/// One row's part in the backward.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) target: usize,
    pub(super) norm: RowNorm,
    pub(super) coefficient: f64,
}
