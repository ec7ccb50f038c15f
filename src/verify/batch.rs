//! A whole batch: logits → loss → logit gradients, pair by pair and row by row.
//!
//! ```text
//! L = 1/divisor Σ_pairs loss(πc, πr, rc, rr)
//! ∂L/∂x[t, j] = Σ_pairs with t · ∂loss/∂π · w_t/divisor · ([j = target_t] − p[t, j]) · dy/dx
//! ```
//!
//! Nothing is kept between the two directions: what the way back needs is computed again.

use super::preference::{Dpo, PairLogProbs, PairResult, preference_loss};
use super::rows::{Sum, Transform, log_prob, logit_grads, transform_row};
use super::sequence::token_factor;

/// Everything that the mean loss of a batch depends on.
///
/// Row t of the logits is `logits[t · stride..][..vocab]` and scores `targets[t]`. Sequences are
/// spans of rows; pairs name a chosen and a rejected sequence.
///
/// # Example
/// ```
/// use dpo_kernel::verify::{Batch, Dpo, IGNORE_INDEX, Transform, batch_loss_derivative};
///
/// // Two answers of one token each, over a vocabulary of two.
/// let batch = Batch {
///     logits: &[1.0, 0.0, 0.5, 0.0],
///     vocab: 2,
///     stride: 2,
///     transform: Transform::NONE,
///     targets: &[0, 1],
///     ignore: IGNORE_INDEX,
///     token_weights: None,
///     spans: &[(0, 1), (1, 2)],
///     pairs: &[(0, 1)],
///     reference: &[-0.5, -1.0],
///     pair_weights: None,
///     pair_offsets: None,
///     dpo: Dpo { beta: 0.1, label_smoothing: 0.0 },
///     divisor: 1.0,
/// };
/// let (mut scratch, mut d_logits) = ([0.0; 2], [0.0; 4]);
/// batch.add_logit_grads(&mut scratch, &mut d_logits);
/// for (i, d) in d_logits.into_iter().enumerate() {
///     assert!((d - batch_loss_derivative(&batch, i / 2, i % 2).derivative).abs() < 1e-16);
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Rows of logits, `stride` apart.
    pub logits: &'a [f64],
    /// V, the columns that are read.
    pub vocab: usize,
    /// Elements from one row to the next, ≥ V.
    pub stride: usize,
    /// What happens to logits before the softmax.
    pub transform: Transform,
    /// The token that each row predicts.
    pub targets: &'a [u32],
    /// The target of rows that are not scored.
    pub ignore: u32,
    /// `w_t` of each row, or 1 everywhere.
    pub token_weights: Option<&'a [f64]>,
    /// `[start, end)` of each sequence.
    pub spans: &'a [(usize, usize)],
    /// (chosen, rejected) sequences of each pair.
    pub pairs: &'a [(usize, usize)],
    /// Reference log-prob of each sequence.
    pub reference: &'a [f64],
    /// Weight of each pair, or 1. A pair of weight 0 is not there.
    pub pair_weights: Option<&'a [f64]>,
    /// Margin offset of each pair, or 0.
    pub pair_offsets: Option<&'a [f64]>,
    /// β and ε.
    pub dpo: Dpo,
    /// What the sum of the losses is divided by.
    pub divisor: f64,
}

impl Batch<'_> {
    /// The logits of a row; empty if there are too few.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        let start = row.saturating_mul(self.stride);
        self.logits.get(start..).and_then(|x| x.get(..self.vocab)).unwrap_or(&[])
    }

    /// The target of a row and the weight of its log-prob, unless the row is not scored.
    #[must_use]
    pub fn scored(&self, row: usize) -> Option<(usize, f64)> {
        let weight = token_factor(self.targets, self.ignore, self.token_weights, row)?;
        let target = usize::try_from(*self.targets.get(row)?).ok()?;
        Some((target, weight))
    }

    /// Log-prob of a sequence under the policy. `scratch` holds at least one row.
    #[must_use]
    pub fn sequence_log_prob(&self, sequence: usize, scratch: &mut [f64]) -> f64 {
        let y = scratch.get_mut(..self.vocab).unwrap_or_default();
        let mut sum = Sum::default();
        let (start, end) = self.spans.get(sequence).copied().unwrap_or((0, 0));
        for row in start..end {
            if let Some((target, weight)) = self.scored(row).filter(|&(_, weight)| weight != 0.0) {
                transform_row(self.row(row), &self.transform, y);
                sum.add(weight * log_prob(y, target));
            }
        }
        sum.value()
    }

    /// The figures of a pair, before the divisor. `scratch` holds one row.
    #[must_use]
    pub fn pair(&self, pair: usize, scratch: &mut [f64]) -> Option<PairResult> {
        let &(chosen, rejected) = self.pairs.get(pair)?;
        let log_probs = PairLogProbs {
            policy_chosen: self.sequence_log_prob(chosen, scratch),
            policy_rejected: self.sequence_log_prob(rejected, scratch),
            reference_chosen: *self.reference.get(chosen)?,
            reference_rejected: *self.reference.get(rejected)?,
        };
        let (weight, offset) = self.pair_options(pair)?;
        Some(preference_loss(&self.dpo, &log_probs, weight, offset))
    }

    /// Weight and offset of a pair.
    #[must_use]
    pub fn pair_options(&self, pair: usize) -> Option<(f64, f64)> {
        let weight = self.pair_weights.map_or(Some(1.0), |weights| weights.get(pair).copied())?;
        let offset = self.pair_offsets.map_or(Some(0.0), |offsets| offsets.get(pair).copied())?;
        Some((weight, offset))
    }

    /// `1/divisor Σ_pairs loss`. `scratch` holds one row.
    #[must_use]
    pub fn loss(&self, scratch: &mut [f64]) -> f64 {
        let mut sum = Sum::default();
        for pair in 0..self.pairs.len() {
            sum.add(self.pair(pair, scratch).map_or(f64::NAN, |result| result.loss));
        }
        sum.value() / self.divisor
    }

    /// Adds the gradient of [`Self::loss`] to `d_logits`, shaped like the logits. Rows that no pair
    /// with a weight scores are not touched. `scratch` holds one row.
    pub fn add_logit_grads(&self, scratch: &mut [f64], d_logits: &mut [f64]) {
        for (pair, &(chosen, rejected)) in self.pairs.iter().enumerate() {
            if self.pair_options(pair).is_some_and(|(weight, _)| weight == 0.0) {
                continue;
            }
            if let Some(result) = self.pair(pair, scratch) {
                self.add_sequence_grads(chosen, result.d_chosen, scratch, d_logits);
                self.add_sequence_grads(rejected, result.d_rejected, scratch, d_logits);
            }
        }
    }

    fn add_sequence_grads(
        &self,
        sequence: usize,
        d_log_prob: f64,
        scratch: &mut [f64],
        d_logits: &mut [f64],
    ) {
        let d_row = scratch.get_mut(..self.vocab).unwrap_or_default();
        let (start, end) = self.spans.get(sequence).copied().unwrap_or((0, 0));
        for row in start..end {
            if let Some((target, weight)) = self.scored(row) {
                let c = d_log_prob * weight / self.divisor;
                logit_grads(self.row(row), &self.transform, target, c, d_row);
                let d_logits = d_logits.iter_mut().skip(row.saturating_mul(self.stride));
                for (d_logit, part) in d_logits.zip(d_row.iter()) {
                    *d_logit += part;
                }
            }
        }
    }
}
