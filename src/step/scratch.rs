//! The buffers of a step, and what it reports.

use core::ops::Deref;

use crate::Error;
use crate::error::{Buffer, check_length};
use crate::loss::NllSummary;
use crate::pair::PairLoss;
use crate::row::RowNorm;
use crate::sequence::SequenceLogProb;
use crate::token::TokenSummary;

/// Buffers of a step over R rows, N sequences and P pairs (or M answers); afterwards they hold what
/// the stages found. `L` is [`PairLoss`], or [`AnswerLoss`](crate::unpaired::AnswerLoss) for
/// answers without a partner.
#[derive(Debug)]
#[non_exhaustive]
pub struct StepScratch<'a, L = PairLoss> {
    /// Token log-probs, R.
    pub log_probs: &'a mut [f32],
    /// Norms of the rows, R.
    pub norms: &'a mut [RowNorm],
    /// Policy log-probs of the sequences, N.
    pub sequences: &'a mut [SequenceLogProb],
    /// Losses, P or M.
    pub losses: &'a mut [L],
    /// ∂L/∂log π of the sequences, N.
    pub d_log_probs: &'a mut [f64],
    /// The gradients of an NLL term by sequence, N with such a term.
    pub d_nll: &'a mut [f64],
    /// ∂L/∂log p of the tokens, R.
    pub coefficients: &'a mut [f64],
}

impl<'a, L> StepScratch<'a, L> {
    /// The buffers in the order of the stages: R, R, N, P or M, N, R.
    #[must_use]
    pub const fn new(
        log_probs: &'a mut [f32],
        norms: &'a mut [RowNorm],
        sequences: &'a mut [SequenceLogProb],
        losses: &'a mut [L],
        d_log_probs: &'a mut [f64],
        coefficients: &'a mut [f64],
    ) -> Self {
        Self { log_probs, norms, sequences, losses, d_log_probs, d_nll: &mut [], coefficients }
    }

    /// With memory for the gradients of an NLL term, N.
    #[must_use]
    pub const fn with_nll(mut self, d_nll: &'a mut [f64]) -> Self {
        self.d_nll = d_nll;
        self
    }

    pub(super) fn check(&self, rows: usize, sequences: usize) -> Result<(), Error> {
        check_length(Buffer::TokenLogProbs, rows, self.log_probs.len())?;
        check_length(Buffer::RowNorms, rows, self.norms.len())?;
        check_length(Buffer::Sequences, sequences, self.sequences.len())?;
        check_length(Buffer::SequenceGrads, sequences, self.d_log_probs.len())?;
        check_length(Buffer::TokenCoefficients, rows, self.coefficients.len())
    }
}

/// What a step reports: the sums of its loss, to which it dereferences, of its tokens and of its
/// NLL term.
///
/// `mean_loss()` is that of [`loss`](Self::loss) alone. What a host logs as the loss of a step, NLL
/// term and divisors included, is [`StepBatch::total_loss`](super::StepBatch::total_loss). Over
/// micro-batches and machines the three sums add up, each with `+=`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StepSummary<S> {
    /// Sums over the pairs or the answers.
    pub loss: S,
    /// Tokens scored, and how many of them are masked.
    pub tokens: TokenSummary,
    /// Sums of the NLL term; zeros without.
    pub nll: NllSummary,
}

impl<S> Deref for StepSummary<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.loss
    }
}
