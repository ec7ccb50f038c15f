//! A batch of pairs: its inputs, its checks, and the one entry that all losses of pairs go through.

use super::{BatchLoss, Inputs, Pair, PairLogProbs, PairLoss, Reference, Summary};
use crate::error::{Buffer, NonFinite, Parameter, check_length};
use crate::{Error, SequenceLogProb};

/// A batch of pairs over N sequences.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PairBatch<'a> {
    /// The P preferences. A sequence may stand in several of them, or in none.
    pub pairs: &'a [Pair],
    /// Policy log-probs, N.
    pub policy: &'a [SequenceLogProb],
    /// Reference log-probs, N, or [`Reference::Free`] for a loss that has none.
    pub reference: Reference<'a>,
    /// Per-pair weights, P, finite and ≥ 0; 1 without.
    pub weights: Option<&'a [f32]>,
    /// Per-pair margin offsets, P, finite, subtracted from z; 0 without. A positive offset asks the
    /// chosen answer to win by more. See [`odpo_offset`](crate::odpo_offset),
    /// [`length_offset`](crate::length_offset).
    pub offsets: Option<&'a [f32]>,
    /// Divides the gradients: the pairs of the whole (accumulated, global) batch. Losses and summary
    /// stay sums.
    pub divisor: f64,
}

impl<'a> PairBatch<'a> {
    /// A batch without weights and offsets.
    #[must_use]
    pub const fn new(
        pairs: &'a [Pair],
        policy: &'a [SequenceLogProb],
        reference: Reference<'a>,
        divisor: f64,
    ) -> Self {
        Self { pairs, policy, reference, weights: None, offsets: None, divisor }
    }

    /// With a weight for each pair.
    #[must_use]
    pub const fn with_weights(mut self, weights: &'a [f32]) -> Self {
        self.weights = Some(weights);
        self
    }

    /// With a margin offset for each pair.
    #[must_use]
    pub const fn with_offsets(mut self, offsets: &'a [f32]) -> Self {
        self.offsets = Some(offsets);
        self
    }

    /// The pairs as a loss sees them, in order. What a batch that was not checked lacks is NaN, or no
    /// token at all.
    pub fn log_probs(&self) -> impl Iterator<Item = PairLogProbs> {
        (0..self.pairs.len()).map(|pair| self.pair(pair))
    }

    pub(super) fn pair(&self, pair: usize) -> PairLogProbs {
        let Pair { chosen, rejected } =
            self.pairs.get(pair).copied().unwrap_or(Pair::new(usize::MAX, usize::MAX));
        let policy = |sequence: usize| {
            let missing = SequenceLogProb { sum: f64::NAN, count: 0 };
            self.policy.get(sequence).copied().unwrap_or(missing)
        };
        let entry = |x: Option<&[f32]>, default| {
            x.map_or(default, |x| x.get(pair).map_or(f64::NAN, |&x| f64::from(x)))
        };
        let (policy_chosen, policy_rejected) = (policy(chosen), policy(rejected));
        PairLogProbs {
            policy_chosen: policy_chosen.sum,
            policy_rejected: policy_rejected.sum,
            reference_chosen: self.reference.sum(chosen),
            reference_rejected: self.reference.sum(rejected),
            chosen_tokens: policy_chosen.count,
            rejected_tokens: policy_rejected.count,
            weight: entry(self.weights, 1.0),
            offset: entry(self.offsets, 0.0),
        }
    }
}

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
/// `loss` is a reference to any [`PreferenceLoss`](crate::PreferenceLoss), a [`PerPair`](crate::PerPair), or a loss of the
/// whole batch ([`Aot::over`](crate::Aot::over)). `d_log_probs` is filled with
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
    check_loss(&loss, pairs.len(), reference, weights, offsets)?;
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

/// Every check of a batch that needs neither log-probs nor the loss.
pub(crate) fn check_pairs(
    pairs: &[Pair],
    sequences: usize,
    weights: Option<&[f32]>,
    offsets: Option<&[f32]>,
    divisor: f64,
) -> Result<(), Error> {
    check_divisor(divisor)?;
    check_indices(pairs, sequences)?;
    check_values(Buffer::PairWeights, weights, pairs.len(), |w| w.is_finite() && w >= 0.0)?;
    check_values(Buffer::PairOffsets, offsets, pairs.len(), f32::is_finite)
}

pub(super) fn check_divisor(divisor: f64) -> Result<(), Error> {
    Parameter::Divisor.positive(divisor).map(|_| ())
}

/// Two different sequences a pair, among those there are.
pub(crate) fn check_indices(pairs: &[Pair], sequences: usize) -> Result<(), Error> {
    for (pair, &Pair { chosen, rejected }) in pairs.iter().enumerate() {
        for sequence in [chosen, rejected] {
            if sequence >= sequences {
                return Err(Error::SequenceOutOfRange { pair, sequence, sequences });
            }
        }
        if chosen == rejected {
            return Err(Error::PairOfOneSequence { pair, sequence: chosen });
        }
    }
    Ok(())
}

/// A loss and a batch that ask for the same inputs; token counts are checked apart.
pub(crate) fn check_loss<L: BatchLoss>(
    loss: &L,
    pairs: usize,
    reference: Reference<'_>,
    weights: Option<&[f32]>,
    offsets: Option<&[f32]>,
) -> Result<(), Error> {
    let inputs = loss.inputs();
    reference.check_use(inputs.reference)?;
    if offsets.is_some() && !inputs.offsets {
        return Err(Error::InputUnused { buffer: Buffer::PairOffsets });
    }
    loss.check(pairs, weights.is_some())
}

/// At least one token in each answer of a pair, if the loss divides by them.
fn check_tokens(inputs: Inputs, pairs: &[Pair], policy: &[SequenceLogProb]) -> Result<(), Error> {
    let is_empty = |&i: &usize| inputs.tokens && policy.get(i).is_some_and(|s| s.count == 0);
    match pairs.iter().flat_map(|p| [p.chosen, p.rejected]).find(is_empty) {
        Some(sequence) => Err(Error::NoScoredTokens { sequence }),
        None => Ok(()),
    }
}

/// One value each, all of them valid.
pub(super) fn check_values(
    buffer: Buffer,
    values: Option<&[f32]>,
    expected: usize,
    valid: impl Fn(f32) -> bool,
) -> Result<(), Error> {
    let Some(values) = values else { return Ok(()) };
    check_length(buffer, expected, values.len())?;
    match values.iter().enumerate().find(|&(_, &value)| !valid(value)) {
        None => Ok(()),
        Some((index, &value)) => {
            Err(Error::InvalidValue { buffer, index, value: f64::from(value) })
        }
    }
}
