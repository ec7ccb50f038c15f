//! Offsets of a pair, subtracted from z: ODPO's from two scores, R-DPO's from two lengths.

use crate::Error;
use crate::error::Parameter;

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
