//! A batch of pairs under a loss: the one entry that all losses of pairs go through.

use super::Summary;
use crate::error::{Buffer, NonFinite, check_length};
use crate::loss::{BatchLoss, Inputs};
use crate::pair::{Pair, PairBatch, PairLoss, Reference, check_pairs};
use crate::{Error, SequenceLogProb};

/// Where [`preference_loss`] writes.
#[derive(Debug)]
pub struct PairOut<'a> {
    /// One a pair, P.
    pub losses: &'a mut [PairLoss],
    /// `∂(Σ L / divisor)/∂log π` of every sequence, N; 0 where no pair names it.
    pub d_log_probs: &'a mut [f64],
}

/// Loss, implicit rewards, margin and gradient of every pair, and their sums.
///
/// `loss` is a reference to any [`PreferenceLoss`](crate::loss::PreferenceLoss), a [`PerPair`](crate::loss::PerPair), or a loss of the
/// whole batch ([`Aot::over`](crate::loss::Aot::over)). `d_log_probs` is filled with
/// `∂(Σ L / divisor)/∂log π(y)` over the pairs that name a sequence, in pair order.
///
/// # Numerics
/// f64 throughout. Summary and losses are not divided: means are the caller's, over its own batch.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::SequenceOutOfRange`],
/// [`Error::PairOfOneSequence`], [`Error::TokenCountMismatch`], [`Error::Parameter`] for the divisor,
/// [`Error::InvalidValue`] for weights and offsets; [`Error::ReferenceMissing`],
/// [`Error::InputUnused`] and [`Error::NoScoredTokens`] where [`BatchLoss::inputs`] and the batch
/// differ.
/// After all other pairs are complete: [`Error::NonFinitePairs`]; the losses of those pairs and the
/// gradients of their sequences are NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{Dpo, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb};
/// use dpo_kernel::preference_loss;
/// let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
/// let (pairs, reference) = ([Pair::new(0, 1)], [-21.0, -24.5]);
/// let batch = PairBatch::new(&pairs, &policy, Reference::Sums(&reference), 1.0);
/// let (mut losses, mut d_log_probs) = ([PairLoss::default()], [0.0; 2]);
/// let out = PairOut { losses: &mut losses, d_log_probs: &mut d_log_probs };
/// let summary = preference_loss(&Dpo::new(0.1)?, &batch, out)?;
/// assert!((summary.mean_loss() - 0.632599035317169).abs() < 1e-15);
/// assert_eq!(d_log_probs[0], -d_log_probs[1]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
pub fn preference_loss<L: BatchLoss>(
    loss: L,
    batch: &PairBatch<'_>,
    out: PairOut<'_>,
) -> Result<Summary, Error> {
    let PairBatch { pairs, policy, reference, weights, offsets, divisor } = *batch;
    check_pairs(pairs, policy.len(), weights, offsets, divisor)?;
    check_loss(&loss, pairs, reference, weights, offsets)?;
    reference.check(policy.iter().map(|sequence| sequence.count))?;
    check_tokens(loss.inputs(), pairs, policy)?;
    check_length(Buffer::PairLosses, pairs.len(), out.losses.len())?;
    check_length(Buffer::SequenceGrads, policy.len(), out.d_log_probs.len())?;

    loss.evaluate_all(batch, out.losses);
    out.d_log_probs.fill(0.0);
    let mut summary = Summary::default();
    let mut bad = NonFinite::NONE;
    for (i, (&Pair { chosen, rejected }, found)) in pairs.iter().zip(out.losses).enumerate() {
        let [d_chosen, d_rejected] = [found.d_chosen, found.d_rejected].map(|d| d / divisor);
        if found.is_finite() && d_chosen.is_finite() && d_rejected.is_finite() {
            summary += &*found;
        } else {
            bad.see(i);
            *found = PairLoss::NAN;
        }
        for (sequence, d) in [(chosen, found.d_chosen), (rejected, found.d_rejected)] {
            if let Some(to) = out.d_log_probs.get_mut(sequence) {
                *to += d / divisor;
            }
        }
    }
    bad.pairs().map(|()| summary)
}

/// A loss and a batch that ask for the same inputs; token counts are checked apart.
pub(crate) fn check_loss<L: BatchLoss>(
    loss: &L,
    pairs: &[Pair],
    reference: Reference<'_>,
    weights: Option<&[f32]>,
    offsets: Option<&[f32]>,
) -> Result<(), Error> {
    let inputs = loss.inputs();
    reference.check_use(inputs.reference)?;
    if offsets.is_some() && !inputs.offsets {
        return Err(Error::InputUnused { buffer: Buffer::PairOffsets });
    }
    loss.check(pairs, weights)
}

/// At least one token in each answer of a pair, if the loss divides by them.
fn check_tokens(inputs: Inputs, pairs: &[Pair], policy: &[SequenceLogProb]) -> Result<(), Error> {
    let is_empty = |&i: &usize| inputs.tokens && policy.get(i).is_some_and(|s| s.count == 0);
    match pairs.iter().flat_map(|p| [p.chosen, p.rejected]).find(is_empty) {
        Some(sequence) => Err(Error::NoScoredTokens { sequence }),
        None => Ok(()),
    }
}
