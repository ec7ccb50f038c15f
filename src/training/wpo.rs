//! Pair weights of WPO: how likely the policy is to say the answers of a pair itself.

use crate::error::{Buffer, NonFinite, check_length};
use crate::pair::{Pair, check_indices};
use crate::span;
use crate::{Error, RowDetails, Span, Targets};

/// Whether WPO's weights are bounded; the implementations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WpoBound {
    /// A pair weighs at most 1, as in the authors' code and in TRL to 0.28.
    AtMostOne,
    /// No bound, as in TRL from 0.29 on.
    Unbounded,
}

/// Pair weights of WPO (Zhou et al. 2024, arXiv 2406.11827): how likely the policy is to say these answers
/// itself, so that preferences count as if they were on-policy.
///
/// ```text
/// w(y) = exp(1/n · Σ_t (log p_t − log Σ_v p_v²))      weight of a pair = w(y_w)·w(y_l)
/// ```
///
/// `log_probs` and `details`, R, are of one sweep over the policy's logits
/// ([`TokenOut::with_details`](crate::TokenOut::with_details)); `weights`, P, goes to
/// [`PairBatch::with_weights`](crate::PairBatch::with_weights). TRL weighs every term of a mixture with it,
/// NLL included; here the NLL has its own weight.
///
/// # Numerics
/// Sums in f64; the weights are rounded to f32.
///
/// # Errors
/// Before anything is written: [`Error::Length`], those of spans and pairs.
/// After all other weights are complete: [`Error::NonFinitePairs`]; the weights of those pairs are NaN.
///
/// # Panics
/// Never.
pub fn wpo_pair_weights(
    bound: WpoBound,
    targets: Targets<'_>,
    spans: &[Span],
    pairs: &[Pair],
    log_probs: &[f32],
    details: &[RowDetails],
    weights: &mut [f32],
) -> Result<(), Error> {
    span::check(targets, spans, log_probs.len(), None)?;
    check_length(Buffer::RowDetails, log_probs.len(), details.len())?;
    check_indices(pairs, spans.len())?;
    check_length(Buffer::PairWeights, pairs.len(), weights.len())?;
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let mean = |sequence: usize| {
        let span = spans.get(sequence).copied().unwrap_or_default();
        let (mut sum, mut count) = (0.0, 0_usize);
        for (row, _) in targets.scored_rows(span) {
            let log_prob = log_probs.get(row).map_or(f64::NAN, |&x| f64::from(x));
            let squares = details.get(row).map_or(f64::NAN, |d| f64::from(d.log_sum_sq_probs));
            sum += log_prob - squares;
            count += 1;
        }
        sum / count as f64
    };
    let mut bad = NonFinite::NONE;
    for (i, (pair, to)) in pairs.iter().zip(weights).enumerate() {
        let exponent = mean(pair.chosen) + mean(pair.rejected);
        #[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
        let weight = libm::exp(exponent) as f32;
        // A token without probability (log p = −∞) weighs nothing, and its pair is not finite.
        if exponent.is_finite() && weight.is_finite() {
            *to = match bound {
                WpoBound::AtMostOne => weight.min(1.0),
                WpoBound::Unbounded => weight,
            };
        } else {
            bad.see(i);
            *to = f32::NAN;
        }
    }
    bad.pairs()
}
