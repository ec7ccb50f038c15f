//! One sequence: the weighted sum of its token log-probs, and the way back.
//!
//! ```text
//! sum   = Σ_t w_t log p_t      over the rows t of the span whose target is not ignored
//! count = number of these rows with w_t ≠ 0
//! ∂sum/∂log p_t = w_t
//! ```
//!
//! Ignored rows are not read: their log-prob may be NaN.

use super::rows::Sum;

/// The target of a row that is not scored: −100 as a u32.
pub const IGNORE_INDEX: u32 = (-100_i32).cast_unsigned();

/// The log-prob of a sequence and how many tokens it is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SequenceLogProb {
    /// `Σ w_t log p_t`
    pub sum: f64,
    /// Tokens scored with a weight ≠ 0.
    pub count: usize,
}

/// Adds up the scored tokens of the span `[start, end)`. Without weights they all count 1.
#[must_use]
pub fn sequence_log_prob(
    log_probs: &[f64],
    targets: &[u32],
    ignore: u32,
    weights: Option<&[f64]>,
    (start, end): (usize, usize),
) -> SequenceLogProb {
    let mut sum = Sum::default();
    let mut count = 0;
    for row in start..end {
        let weight = token_factor(targets, ignore, weights, row);
        if let (Some(weight), Some(log_prob)) = (weight, log_probs.get(row)) {
            // A token of weight 0 is as if it were not there, even where its log-prob is −inf.
            if weight != 0.0 {
                sum.add(weight * log_prob);
                count += 1;
            }
        }
    }
    SequenceLogProb { sum: sum.value(), count }
}

/// `∂sum/∂log p` of a row: its weight, or None where the row is not scored.
#[must_use]
pub fn token_factor(
    targets: &[u32],
    ignore: u32,
    weights: Option<&[f64]>,
    row: usize,
) -> Option<f64> {
    let scored = targets.get(row).is_some_and(|&target| target != ignore);
    let weight = weights.map_or(Some(1.0), |weights| weights.get(row).copied());
    weight.filter(|_| scored)
}
