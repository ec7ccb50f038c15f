//! A batch of pairs over N sequences, and the checks that need no loss.

use super::{Pair, PairLogProbs, Reference};
use crate::error::{Buffer, Parameter, check_values};
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
    /// Per-pair weights, P, finite and ≥ 0; 1 without. A pair of weight 0 is *left out*, as if it
    /// were not in the batch: its sequences, log-probs and offset are not looked at, so that they
    /// may be anything, and it adds to no sum, count or gradient.
    pub weights: Option<&'a [f32]>,
    /// Per-pair offsets, P, finite, subtracted from z; 0 without. A positive offset asks the
    /// chosen answer to win by more. See [`odpo_offset`](crate::training::odpo_offset),
    /// [`length_offset`](crate::training::length_offset).
    pub offsets: Option<&'a [f32]>,
    /// Divides the gradients: the pairs of the whole (accumulated, global) batch. Losses and
    /// summary stay sums.
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

    /// With an offset for each pair.
    #[must_use]
    pub const fn with_offsets(mut self, offsets: &'a [f32]) -> Self {
        self.offsets = Some(offsets);
        self
    }

    /// The pairs as a loss sees them, in order, those of weight 0 included
    /// ([`PairLogProbs::is_left_out`]). What a batch that was not checked lacks is NaN, or no token
    /// at all.
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
    check_weights(Buffer::PairWeights, weights, pairs.len())?;
    for (i, pair) in with_weight(pairs, weights) {
        check_pair(i, pair, sequences)?;
    }
    check_values(Buffer::PairOffsets, offsets, pairs.len(), weights, f32::is_finite)
}

/// Whether the weight of an entry is 0, which means that it is not there.
pub(crate) fn is_left_out(weights: Option<&[f32]>, index: usize) -> bool {
    weights.and_then(|weights| weights.get(index)).is_some_and(|&weight| weight == 0.0)
}

/// The entries that are there, with their indices.
pub(crate) fn with_weight<'a, T>(
    entries: &'a [T],
    weights: Option<&'a [f32]>,
) -> impl Iterator<Item = (usize, &'a T)> {
    entries.iter().enumerate().filter(move |&(i, _)| !is_left_out(weights, i))
}

/// One weight each, finite and ≥ 0.
pub(crate) fn check_weights(
    buffer: Buffer,
    weights: Option<&[f32]>,
    expected: usize,
) -> Result<(), Error> {
    check_values(buffer, weights, expected, None, |weight| weight.is_finite() && weight >= 0.0)
}

pub(crate) fn check_divisor(divisor: f64) -> Result<(), Error> {
    Parameter::Divisor.positive(divisor).map(|_| ())
}

/// Two different sequences a pair, among those there are.
pub(crate) fn check_indices(pairs: &[Pair], sequences: usize) -> Result<(), Error> {
    pairs.iter().enumerate().try_for_each(|(i, pair)| check_pair(i, pair, sequences))
}

pub(crate) fn check_pair(index: usize, pair: &Pair, sequences: usize) -> Result<(), Error> {
    let (pair, &Pair { chosen, rejected }) = (index, pair);
    for sequence in [chosen, rejected] {
        if sequence >= sequences {
            return Err(Error::SequenceOutOfRange { pair, sequence, sequences });
        }
    }
    if chosen == rejected {
        return Err(Error::PairOfOneSequence { pair, sequence: chosen });
    }
    Ok(())
}
