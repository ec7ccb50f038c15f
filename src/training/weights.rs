//! Weights and offsets that stand around a loss: LD-DPO, WPO, ODPO, R-DPO.
//!
//! None of them is differentiated, so each is a number that the host computes before the loss, and any
//! loss that reads it takes it.

use crate::error::{Buffer, NonFinite, Parameter, check_length};
use crate::layout::Layout;
use crate::pair::{Pair, check_indices};
use crate::{Error, RowDetails};

/// Token weights of length-desensitized DPO (Liu et al. 2024, arXiv 2409.06411): 1 up to the length of the
/// pair's shorter answer, α past it.
///
/// ```text
/// log π̂(y) = Σ_{t ≤ l} log p_t + α·Σ_{t > l} log p_t      l = min(n_w, n_l), in scored tokens
/// ```
///
/// Sum **both** policy and reference with these weights ([`sequence_log_probs`](crate::sequence_log_probs),
/// as TRL from 0.29 on): a reference of plain sums starts off ln 2. So the reference must be stored per
/// token. α = 1, or answers of equal length, is the loss without weights, exactly. `weights`, R, is written
/// in the rows of sequences that a pair names, scored or not, and left alone elsewhere.
///
/// # Errors
/// Before anything is written: [`Error::Parameter`] unless α ∈ [0, 1]; [`Error::Length`] unless `weights` has
/// a weight for each target; those of pairs; [`Error::TokenWeightsDiffer`] if a sequence stands in
/// two pairs whose shorter answers differ in length so that one weight cannot serve both.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Layout, Pair, Span};
/// use dpo_kernel::training::ld_token_weights;
/// let (ids, spans) = ([5, 6, 7, 8, 9], [Span::new(0, 2), Span::new(2, 5)]);
/// let layout = Layout::new(&ids, &spans, 10)?;
/// let mut weights = [1.0; 5];
/// ld_token_weights(0.25, &layout, &[Pair::new(0, 1)], &mut weights)?;
/// assert_eq!(weights, [1.0, 1.0, 1.0, 1.0, 0.25]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
pub fn ld_token_weights(
    alpha: f64,
    layout: &Layout<'_>,
    pairs: &[Pair],
    weights: &mut [f32],
) -> Result<(), Error> {
    let alpha = Parameter::TailWeight.check(alpha, (0.0..=1.0).contains(&alpha))?;
    #[allow(clippy::cast_possible_truncation, reason = "weights are f32")]
    let tail = alpha as f32;
    check_length(Buffer::TokenWeights, layout.rows(), weights.len())?;
    check_indices(pairs, layout.sequences())?;
    let rows = |i: usize| layout.spans().get(i).map_or(0..0, |span| span.start..span.end);
    let tokens = |i: usize| layout.tokens(i);
    let shared = |pair: &Pair| tokens(pair.chosen).min(tokens(pair.rejected));
    check_shared(pairs, tokens, shared)?;

    for pair in pairs {
        let length = shared(pair);
        for sequence in [pair.chosen, pair.rejected] {
            let mut token = 0;
            for row in rows(sequence) {
                token += usize::from(layout.targets().scored(row).is_some());
                if let Some(to) = weights.get_mut(row) {
                    *to = if token <= length { 1.0 } else { tail };
                }
            }
        }
    }
    Ok(())
}

/// One set of weights for each sequence. Sequences that stand in one pair each, as they mostly do, in
/// ascending order, take one pass; others are compared in pairs, because there is nowhere to note them.
fn check_shared(
    pairs: &[Pair],
    tokens: impl Fn(usize) -> usize,
    shared: impl Fn(&Pair) -> usize,
) -> Result<(), Error> {
    let bounds = |p: &Pair| (p.chosen.min(p.rejected), p.chosen.max(p.rejected));
    if pairs.is_sorted_by(|x, y| bounds(x).1 < bounds(y).0) {
        return Ok(());
    }
    for (i, later) in pairs.iter().enumerate() {
        for earlier in pairs.iter().take(i) {
            for sequence in [later.chosen, later.rejected] {
                let is_shared = earlier.chosen == sequence || earlier.rejected == sequence;
                if is_shared {
                    // Past its own end a sequence has no token to weigh.
                    let own = tokens(sequence);
                    if shared(earlier).min(own) != shared(later).min(own) {
                        return Err(Error::TokenWeightsDiffer { pair: i, sequence });
                    }
                }
            }
        }
    }
    Ok(())
}

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
/// Before anything is written: [`Error::Length`], those of pairs.
/// After all other weights are complete: [`Error::NonFinitePairs`]; the weights of those pairs are NaN.
///
/// # Panics
/// Never.
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

/// The margin offset of ODPO (Amini et al. 2024, arXiv 2402.10571): `α·ln(s_w − s_l)` of two scores, to be
/// subtracted from z ([`PairBatch::with_offsets`](crate::PairBatch::with_offsets)).
///
/// A pair that is far apart must win by more. α = 1 in the paper. A gap below 1 gives a negative offset;
/// equal scores, or a rejected answer that scores better, have none.
///
/// # Errors
/// [`Error::Parameter`] unless α is finite and ≥ 0 and the gap finite and > 0.
///
/// # Panics
/// Never.
pub fn odpo_offset(alpha: f64, score_gap: f64) -> Result<f64, Error> {
    let alpha = Parameter::OffsetScale.not_negative(alpha)?;
    Ok(alpha * libm::log(Parameter::ScoreGap.positive(score_gap)?))
}

/// The margin offset of R-DPO (Park et al. 2024, arXiv 2403.19159): `−α·(n_w − n_l)`, to be subtracted
/// from z ([`PairBatch::with_offsets`](crate::PairBatch::with_offsets)).
///
/// ```text
/// z = β·(a − b) + α·(n_w − n_l)
/// ```
///
/// The sign is often confused. At α > 0 a *longer* winner (`n_w > n_l`) has a larger z: it is already counted
/// as ahead for its length, so its gradient is weaker, and the policy learns less from preferences that length
/// explains. A shorter winner is pushed harder.
///
/// # Errors
/// [`Error::Parameter`] unless α is finite.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::Dpo;
/// use dpo_kernel::loss::{PairLogProbs, PreferenceLoss};
/// use dpo_kernel::training::length_offset;
/// let pair = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5);
/// let dpo = Dpo::new(0.1)?;
/// // The winner is two tokens shorter: z = 0.125 − 0.02, a larger loss and a stronger gradient.
/// let offset = length_offset(0.01, 10, 12)?;
/// assert!((offset - 0.02).abs() < 1e-16);
/// let (plain, shorter) = (dpo.evaluate(&pair), dpo.evaluate(&pair.with_offset(offset)));
/// assert!(shorter.loss > plain.loss && shorter.d_chosen < plain.d_chosen);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn length_offset(
    alpha: f64,
    chosen_tokens: usize,
    rejected_tokens: usize,
) -> Result<f64, Error> {
    let alpha = Parameter::LengthPenalty.finite(alpha)?;
    Ok(alpha * (rejected_tokens as f64 - chosen_tokens as f64))
}
