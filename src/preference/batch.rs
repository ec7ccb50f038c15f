//! A batch of pairs under a loss: the one entry that all losses of pairs go through.

use super::Summary;
use crate::Error;
use crate::error::{Buffer, NonFinite, check_length};
use crate::loss::BatchLoss;
use crate::pair::{Pair, PairBatch, PairLoss, check_pairs, is_left_out, with_weight};

/// Where [`preference_loss`] writes.
#[derive(Debug)]
#[non_exhaustive]
pub struct PairOut<'a> {
    /// One a pair, P; zeros for pairs of weight 0.
    pub losses: &'a mut [PairLoss],
    /// `∂(Σ L / divisor)/∂log π` of every sequence, N; 0 where no pair with a weight names it.
    pub d_log_probs: &'a mut [f64],
}

impl<'a> PairOut<'a> {
    /// Losses, P, and gradients, N.
    #[must_use]
    pub const fn new(losses: &'a mut [PairLoss], d_log_probs: &'a mut [f64]) -> Self {
        Self { losses, d_log_probs }
    }
}

/// Loss, implicit rewards, margin and gradient of every pair, and their sums.
///
/// `loss` is a reference to any [`PreferenceLoss`](crate::loss::PreferenceLoss), a
/// [`PerPair`](crate::loss::PerPair), or a loss of the whole batch
/// ([`Aot::over`](crate::loss::Aot::over)). `d_log_probs` is filled with
/// `∂(Σ L / divisor)/∂log π(y)` over the pairs that name a sequence, in pair order.
///
/// A pair of weight 0 is left out, as if it were not in the batch: it may name sequences without
/// tokens or out of range, and hold NaN. [`Summary::left_out`] counts it, and nothing else does.
/// Sequences that no other pair names are not looked at either: they may be empty, and their token
/// counts may differ between policy and reference.
///
/// # Numerics
/// f64 throughout. Summary and losses are not divided: means are the caller's, over its own batch.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::SequenceOutOfRange`],
/// [`Error::PairOfOneSequence`], [`Error::TokenCountMismatch`], [`Error::Parameter`] for the
/// divisor, [`Error::InvalidValue`] for weights and offsets, and for weights that the loss cannot
/// take; [`Error::NoScoredTokens`] for a sequence of a pair that has no token;
/// [`Error::ReferenceMissing`] and [`Error::InputUnused`] where [`BatchLoss::inputs`] and the batch
/// differ. After all other pairs are complete: [`Error::NonFinitePairs`] for pairs whose loss, or
/// whose gradient over the divisor, is not finite; their losses and the gradients of their
/// sequences are NaN.
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
/// let out = PairOut::new(&mut losses, &mut d_log_probs);
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
    let policy = batch.policy;
    let tokens = |sequence: usize| policy.get(sequence).map_or(0, |found| found.count);
    check_preferences(&loss, batch, policy.len(), tokens)?;
    check_length(Buffer::PairLosses, batch.pairs.len(), out.losses.len())?;
    check_length(Buffer::SequenceGrads, policy.len(), out.d_log_probs.len())?;
    let mut summary = Summary::default();
    loss.evaluate_all(batch, out.losses);
    add_up(batch.pairs, batch.weights, batch.divisor, out, &mut summary)?;
    Ok(summary)
}

/// The sums over the pairs, and the gradients of their sequences, of losses that were evaluated. It
/// is the same for every loss, so it is not generic.
#[inline(never)]
pub(crate) fn add_up(
    pairs: &[Pair],
    weights: Option<&[f32]>,
    divisor: f64,
    out: PairOut<'_>,
    summary: &mut Summary,
) -> Result<(), Error> {
    out.d_log_probs.fill(0.0);
    let mut bad = NonFinite::NONE;
    for (i, (&Pair { chosen, rejected }, found)) in pairs.iter().zip(out.losses).enumerate() {
        if is_left_out(weights, i) {
            *found = PairLoss::default();
            summary.add_left_out();
            continue;
        }
        let mut d = [found.d_chosen, found.d_rejected];
        let mut is_finite = found.is_finite();
        for d in &mut d {
            *d /= divisor;
            is_finite &= d.is_finite();
        }
        if is_finite {
            *summary += &*found;
        } else {
            bad.see(i);
            *found = PairLoss::NAN;
            d = [f64::NAN; 2];
        }
        for (sequence, d) in [chosen, rejected].into_iter().zip(d) {
            if let Some(to) = out.d_log_probs.get_mut(sequence) {
                *to += d;
            }
        }
    }
    bad.pairs()
}

/// Every check of a batch that needs no log-probs: `tokens` is how many tokens of a sequence are
/// scored, and [`PairBatch::policy`] is not read.
pub(crate) fn check_preferences<L: BatchLoss>(
    loss: &L,
    batch: &PairBatch<'_>,
    sequences: usize,
    tokens: impl Fn(usize) -> usize,
) -> Result<(), Error> {
    let PairBatch { pairs, reference, weights, offsets, divisor, .. } = *batch;
    check_pairs(pairs, sequences, weights, offsets, divisor)?;
    let inputs = loss.inputs(weights);
    reference.check_use(inputs.reference)?;
    if offsets.is_some() && !inputs.offsets {
        return Err(Error::InputUnused { buffer: Buffer::PairOffsets });
    }
    loss.check(pairs, weights)?;
    reference.check_length(sequences)?;
    for (_, &Pair { chosen, rejected }) in with_weight(pairs, weights) {
        for sequence in [chosen, rejected] {
            reference.check_tokens(sequence, tokens(sequence))?;
        }
    }
    Ok(())
}
