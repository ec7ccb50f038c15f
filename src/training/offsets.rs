//! Offsets of a pair, subtracted from z: ODPO's from two scores, R-DPO's from two lengths.

use crate::Error;
use crate::error::Parameter;

/// The offset of ODPO, from the scores of both answers, in rewards. It is subtracted from z
/// ([`PairBatch::with_offsets`](crate::PairBatch::with_offsets)).
///
/// ```text
/// offset = α·ln(s_w − s_l)      z = β·(a − b) − offset
/// ```
///
/// `score_gap` is `s_w − s_l`, in the unit of the scores. The further the scores are apart, the
/// more the chosen answer must win by. α = 1 in the paper. A gap below 1 gives a negative offset.
/// Equal scores have no offset, and neither has a rejected answer that scores better: both are
/// refused.
///
/// # Errors
/// [`Error::Parameter`] unless α is finite and ≥ 0 and the gap finite and > 0.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::training::odpo_offset;
/// assert_eq!(odpo_offset(1.0, 1.0)?, 0.0);
/// assert!((odpo_offset(0.5, 4.0)? - 2.0_f64.ln()).abs() < 1e-15);
/// assert!(odpo_offset(1.0, 0.0).is_err(), "equal scores");
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
///
/// Amini et al. 2024, arXiv 2402.10571.
#[doc(alias = "ODPO")]
#[doc(alias = "margin offset")]
pub fn odpo_offset(alpha: f64, score_gap: f64) -> Result<f64, Error> {
    let alpha = Parameter::OffsetScale.not_negative(alpha)?;
    Ok(alpha * libm::log(Parameter::ScoreGap.positive(score_gap)?))
}

/// The offset of R-DPO, from the lengths of both answers, in rewards. It is subtracted from z
/// ([`PairBatch::with_offsets`](crate::PairBatch::with_offsets)).
///
/// ```text
/// offset = −α·(n_w − n_l)      z = β·(a − b) − offset = β·(a − b) + α·(n_w − n_l)
/// ```
///
/// α is in rewards a token; lengths are in scored tokens. The sign is often confused. At α > 0 a
/// *longer* winner (`n_w > n_l`) has a larger z: its length already counts in its favour, so its
/// gradient is weaker, and the policy learns less from preferences that length explains. A shorter
/// winner is pushed harder.
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
///
/// Park et al. 2024, arXiv 2403.19159.
#[doc(alias = "R-DPO")]
#[doc(alias = "r_dpo")]
#[doc(alias = "length penalty")]
#[doc(alias = "length regularization")]
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn length_offset(
    alpha: f64,
    chosen_tokens: usize,
    rejected_tokens: usize,
) -> Result<f64, Error> {
    let alpha = Parameter::LengthPenalty.finite(alpha)?;
    Ok(alpha * (rejected_tokens as f64 - chosen_tokens as f64))
}
