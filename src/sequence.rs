//! Stage 3: from token log-probs to sequence log-probs.

use crate::Error;
use crate::error::{Buffer, check_length};
use crate::span::{self, Span, Targets};

/// log π(y|x) of one sequence, and how many tokens it was summed over.
///
/// Losses on means need both; carrying the count from the loop that sums keeps them consistent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct SequenceLogProb {
    /// Σ of the (weighted) token log-probs.
    pub sum: f64,
    /// Scored tokens, ≥ 1.
    pub count: usize,
}

impl SequenceLogProb {
    /// Sum over count.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Sums token log-probs over each span: `sum = Σ_t w_t · log p_t` over its scored rows, in f64.
///
/// The one way to sequence log-probs, for policy and for stored per-token references alike, so that
/// equal token log-probs give equal sums. `token_weights` (one a row, finite) weight the tokens; the
/// count is of tokens all the same.
///
/// # Numerics
/// f64 sums in row order: within count · 2⁻⁵³ of Σ |w·log p|.
/// NaN and −inf log-probs pass into the sum, where [`preference_loss`](crate::preference_loss) names
/// the pair.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::SpanOutOfRange`],
/// [`Error::SpansOverlap`], [`Error::NoScoredTokens`], [`Error::InvalidValue`] for a token weight that
/// is not finite.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{SequenceLogProb, Span, Targets, sequence_log_probs};
/// let mut out = [SequenceLogProb::default()];
/// let targets = Targets::new(&[7, 8, 9]);
/// sequence_log_probs(&[-0.5, -0.25, -9.0], targets, &[Span::new(0, 2)], None, &mut out)?;
/// assert_eq!(out, [SequenceLogProb { sum: -0.75, count: 2 }]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
pub fn sequence_log_probs(
    log_probs: &[f32],
    targets: Targets<'_>,
    spans: &[Span],
    token_weights: Option<&[f32]>,
    out: &mut [SequenceLogProb],
) -> Result<(), Error> {
    let rows = log_probs.len();
    span::check(targets, spans, rows, None)?;
    check_length(Buffer::Sequences, spans.len(), out.len())?;
    check_token_weights(token_weights, rows)?;
    for (&span, out) in spans.iter().zip(out) {
        let mut sequence = SequenceLogProb::default();
        for (row, _) in targets.scored_rows(span) {
            let log_prob = f64::from(log_probs.get(row).copied().unwrap_or(f32::NAN));
            sequence.sum += match weight_of(token_weights, row) {
                // A token without weight says nothing, even where it is masked.
                Some(weight) => {
                    if weight == 0.0 {
                        0.0
                    } else {
                        weight * log_prob
                    }
                }
                None => log_prob,
            };
            sequence.count += 1;
        }
        *out = sequence;
    }
    Ok(())
}

/// One weight a row, all finite.
pub(crate) fn check_token_weights(weights: Option<&[f32]>, rows: usize) -> Result<(), Error> {
    let Some(weights) = weights else { return Ok(()) };
    let buffer = Buffer::TokenWeights;
    check_length(buffer, rows, weights.len())?;
    match weights.iter().position(|w| !w.is_finite()) {
        None => Ok(()),
        Some(index) => {
            let value = weights.get(index).copied().map_or(f64::NAN, f64::from);
            Err(Error::InvalidValue { buffer, index, value })
        }
    }
}

/// The weight of a row, if there are weights.
pub(crate) fn weight_of(weights: Option<&[f32]>, row: usize) -> Option<f64> {
    weights.and_then(|weights| weights.get(row)).copied().map(f64::from)
}
