//! Stage 3: from token log-probs to sequence log-probs.

use crate::error::{Buffer, check_length, check_values};
use crate::{Error, Layout};

/// log π(y|x) of one sequence, and how many tokens it was summed over.
///
/// Losses on means need both; carrying the count from the loop that sums keeps them consistent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct SequenceLogProb {
    /// Σ of the (weighted) token log-probs.
    pub sum: f64,
    /// Scored tokens of weight ≠ 0. A sequence of none may not be named by a pair, an answer or a
    /// term.
    pub count: usize,
}

impl SequenceLogProb {
    /// Sum over count. With token weights it is Σ w·log p over the tokens of weight ≠ 0, not over
    /// Σ w: what losses of mean log-probs (`SimPO`, IPO) then read.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Sums token log-probs over each span: `sum = Σ_t w_t · log p_t` over its scored rows, in f64.
///
/// The one way to sequence log-probs, for policy and for stored per-token references alike, so that
/// equal token log-probs give equal sums. `token_weights`, R, finite, weight the tokens; 1 each
/// without. A token of weight 0 is as if it were not there: it is not counted, and its log-prob may
/// be NaN.
///
/// # Numerics
/// f64 sums in row order: within count · 2⁻⁵³ of Σ |w·log p|.
/// NaN and −inf log-probs pass into the sum, where [`preference_loss`](crate::preference_loss)
/// names the pair.
///
/// # Errors
/// Before anything is written: [`Error::Length`]; [`Error::InvalidValue`] for a token weight that
/// is not finite.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Layout, SequenceLogProb, Span, sequence_log_probs};
/// let (targets, spans) = ([7, 8, 9], [Span::new(0, 2)]);
/// let layout = Layout::new(&targets, &spans, 10)?;
/// let mut out = [SequenceLogProb::default()];
/// sequence_log_probs(&[-0.5, -0.25, -9.0], &layout, None, &mut out)?;
/// assert_eq!(out, [SequenceLogProb { sum: -0.75, count: 2 }]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
pub fn sequence_log_probs(
    log_probs: &[f32],
    layout: &Layout<'_>,
    token_weights: Option<&[f32]>,
    out: &mut [SequenceLogProb],
) -> Result<(), Error> {
    check_length(Buffer::TokenLogProbs, layout.rows(), log_probs.len())?;
    check_length(Buffer::Sequences, layout.sequences(), out.len())?;
    check_token_weights(token_weights, layout.rows())?;
    sum_tokens(log_probs, layout, token_weights, out);
    Ok(())
}

/// [`sequence_log_probs`] of what was checked.
pub(crate) fn sum_tokens(
    log_probs: &[f32],
    layout: &Layout<'_>,
    token_weights: Option<&[f32]>,
    out: &mut [SequenceLogProb],
) {
    for (sequence, out) in out.iter_mut().enumerate() {
        let mut found = SequenceLogProb::default();
        for (row, weight) in weighted_rows(layout, sequence, token_weights) {
            let log_prob = f64::from(log_probs.get(row).copied().unwrap_or(f32::NAN));
            found.sum += weight * log_prob;
            found.count += 1;
        }
        *out = found;
    }
}

/// The rows of a sequence that are scored with a weight other than 0, and that weight.
pub(crate) fn weighted_rows(
    layout: &Layout<'_>,
    sequence: usize,
    token_weights: Option<&[f32]>,
) -> impl Iterator<Item = (usize, f64)> {
    layout.scored_rows(sequence).filter_map(move |(row, _)| {
        let weight = weight_of(token_weights, row);
        (weight != 0.0).then_some((row, weight))
    })
}

/// One weight a row, all finite.
pub(crate) fn check_token_weights(weights: Option<&[f32]>, rows: usize) -> Result<(), Error> {
    check_values(Buffer::TokenWeights, weights, rows, None, f32::is_finite)
}

/// The weight of a row, a pair or an answer: 1 without weights.
pub(crate) fn weight_of(weights: Option<&[f32]>, index: usize) -> f64 {
    weights.map_or(1.0, |weights| weights.get(index).copied().map_or(f64::NAN, f64::from))
}
