//! What both kinds of step share: the forward over tokens, and what of it matters.

use crate::Error;
use crate::error::NonFinite;
use crate::executor::Executor;
use crate::layout::Layout;
use crate::row::RowNorm;
use crate::sequence::{weight_of, weighted_rows};
use crate::token::{TokenOut, TokenSummary, score_tokens};

use super::logits::StepLogits;

/// Which rows a step depends on.
pub(super) struct Needed<'a, F> {
    pub(super) layout: &'a Layout<'a>,
    pub(super) token_weights: Option<&'a [f32]>,
    /// Whether tokens of weight 0 are read too, by an NLL term.
    pub(super) every_token: bool,
    /// Whether anything of weight ≠ 0 names a sequence.
    pub(super) is_named: F,
}

impl<F: Fn(usize) -> bool> Needed<'_, F> {
    /// Token log-probs and norms of all scored rows. Rows that are not finite are an error only where the step
    /// depends on them.
    pub(super) fn score<X: Executor, G: StepLogits>(
        &self,
        executor: X,
        logits: &G,
        log_probs: &mut [f32],
        norms: &mut [RowNorm],
    ) -> Result<TokenSummary, Error> {
        let out = TokenOut::new(log_probs).with_norms(norms);
        let (found, summary) = score_tokens(executor, logits.logits(), self.layout, out)?;
        if found.rows().is_err() {
            self.broken(norms).rows()?;
        }
        Ok(summary)
    }

    /// The rows without a norm that the step depends on.
    #[cold]
    fn broken(&self, norms: &[RowNorm]) -> NonFinite {
        let mut bad = NonFinite::NONE;
        for sequence in (0..self.layout.sequences()).filter(|&sequence| (self.is_named)(sequence)) {
            for (row, _) in self.layout.scored_rows(sequence) {
                let is_read = self.every_token || weight_of(self.token_weights, row) != 0.0;
                if is_read && !norms.get(row).is_some_and(RowNorm::is_valid) {
                    bad.see(row);
                }
            }
        }
        bad
    }
}

/// Scored tokens of weight ≠ 0 in a sequence.
pub(super) fn count(layout: &Layout<'_>, sequence: usize, token_weights: Option<&[f32]>) -> usize {
    weighted_rows(layout, sequence, token_weights).count()
}
