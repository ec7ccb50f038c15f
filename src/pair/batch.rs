//! A batch of pairs over N sequences, and the checks that need no loss.

use super::{Pair, PairLogProbs, Reference};
use crate::error::{Buffer, Parameter, check_length};
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
    /// chosen answer to win by more. See [`odpo_offset`](crate::training::odpo_offset),
    /// [`length_offset`](crate::training::length_offset).
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

    pub(crate) fn pair(&self, pair: usize) -> PairLogProbs {
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

pub(crate) fn check_divisor(divisor: f64) -> Result<(), Error> {
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

/// One value each, all of them valid.
pub(crate) fn check_values(
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
