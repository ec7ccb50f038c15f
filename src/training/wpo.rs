//! Pair weights of WPO: how likely the policy is to say the answers of a pair itself.

use crate::Error;
use crate::error::{Buffer, NonFinite, check_length};
use crate::layout::Layout;
use crate::pair::{Pair, check_indices};
use crate::row::RowDetails;

/// Whether the [weights of WPO](wpo_pair_weights) are bounded. The implementations differ, so there
/// is no default.
#[doc(alias = "WPO")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WpoBound {
    /// A pair weighs at most 1, as in the authors' code and in TRL to 0.28.
    AtMostOne,
    /// No bound, as in TRL from 0.29 on.
    Unbounded,
}

/// Pair weights of WPO: how likely the policy is to give these answers itself, so that preferences
/// count as if they were on-policy.
///
/// ```text
/// w(y) = exp(1/n · Σ_t (log p_t − log Σ_v p_v²))      weight of a pair = w(y_w)·w(y_l)
/// ```
///
/// The sum is over the n scored tokens of y, and v runs over the vocabulary. WPO is a loss, mostly
/// [`Dpo`](crate::Dpo), with these weights
/// ([`PairBatch::with_weights`](crate::PairBatch::with_weights)). They are constants to its
/// gradient.
///
/// # Shapes
/// `log_probs` and `details`, R, of one call of [`token_log_probs`](crate::token_log_probs) over
/// the policy's logits, with [`TokenOut::with_details`](crate::TokenOut::with_details); of
/// `layout`; `pairs` and `weights`, P.
///
/// # Numerics
/// Sums in f64; the weights are rounded to f32.
///
/// # Errors
/// Before anything is written: [`Error::Length`], and the errors of pairs, as
/// [`identical_pairs`](crate::training::identical_pairs) has them. After all other weights are
/// complete: [`Error::NonFinitePairs`]; the weights of those pairs are NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::training::{WpoBound, wpo_pair_weights};
/// use dpo_kernel::{Layout, Pair, Span};
/// use dpo_kernel::row::RowDetails;
/// // Two answers of one token. log Σ p² is −1 in both rows; the tokens have log p = −1.5 and −1.25.
/// let mut row = RowDetails::default();
/// row.log_sum_sq_probs = -1.0;
/// let (targets, spans) = ([3, 5], [Span::new(0, 1), Span::new(1, 2)]);
/// let layout = Layout::new(&targets, &spans, 10)?;
/// let mut weights = [0.0];
/// wpo_pair_weights(
///     WpoBound::AtMostOne,
///     &layout,
///     &[Pair::new(0, 1)],
///     &[-1.5, -1.25],
///     &[row; 2],
///     &mut weights,
/// )?;
/// assert_eq!(weights, [(-0.5_f64 - 0.25).exp() as f32]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
///
/// Zhou et al. 2024, arXiv 2406.11827. In TRL these weights scale every term of a mixture, the NLL
/// too. So they do in a [`preference_step`](crate::preference_step): an NLL term on the chosen
/// answers takes the weights of the pairs, unless
/// [`nll_weights`](crate::step::StepBatch::nll_weights) are given.
#[doc(alias = "WPO")]
#[doc(alias = "use_weighting")]
#[doc(alias = "weighted preference optimization")]
pub fn wpo_pair_weights(
    bound: WpoBound,
    layout: &Layout<'_>,
    pairs: &[Pair],
    log_probs: &[f32],
    details: &[RowDetails],
    weights: &mut [f32],
) -> Result<(), Error> {
    check_length(Buffer::TokenLogProbs, layout.rows(), log_probs.len())?;
    check_length(Buffer::RowDetails, layout.rows(), details.len())?;
    check_indices(pairs, layout.sequences())?;
    check_length(Buffer::PairWeights, pairs.len(), weights.len())?;
    for sequence in pairs.iter().flat_map(|pair| [pair.chosen, pair.rejected]) {
        if layout.tokens(sequence) == 0 {
            return Err(Error::NoScoredTokens { sequence });
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let mean = |sequence: usize| {
        let (mut sum, mut count) = (0.0, 0_usize);
        for (row, _) in layout.scored_rows(sequence) {
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
