//! Pairs of sequences, their log-probs, and the batch over them.

use super::Summary;
use crate::error::{Buffer, Parameter, check_length};
use crate::{Error, SequenceLogProb};

/// A preference: the sequence that was chosen and the one that was rejected, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Pair {
    /// Index of the chosen sequence.
    pub chosen: usize,
    /// Index of the rejected sequence.
    pub rejected: usize,
}

impl Pair {
    /// A preference of sequence `chosen` over sequence `rejected`.
    #[must_use]
    pub const fn new(chosen: usize, rejected: usize) -> Self {
        Self { chosen, rejected }
    }
}

/// Log-probs of the sequences under the frozen reference, from the same weights with the adapter off
/// or stored earlier. There is no default: a forgotten reference is not a reference of zeros.
///
/// At step 0 the loss is exactly ln 2 if the reference was computed in the policy's
/// [`Arithmetic`](crate::Arithmetic): choose it explicitly if the two are computed on different machines.
#[derive(Clone, Copy, Debug)]
pub enum Reference<'a> {
    /// As [`sequence_log_probs`](crate::sequence_log_probs) made them, from fresh or stored per-token
    /// log-probs. The token counts are checked against the policy's.
    Sequences(&'a [SequenceLogProb]),
    /// Stored sums, one a sequence.
    Sums(&'a [f64]),
}

impl Reference<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Sequences(x) => x.len(),
            Self::Sums(x) => x.len(),
        }
    }

    pub(crate) fn sum(&self, sequence: usize) -> f64 {
        match self {
            Self::Sequences(x) => x.get(sequence).map_or(f64::NAN, |s| s.sum),
            Self::Sums(x) => x.get(sequence).copied().unwrap_or(f64::NAN),
        }
    }

    /// One entry a sequence, with the policy's token counts.
    pub(crate) fn check(&self, policy: impl ExactSizeIterator<Item = usize>) -> Result<(), Error> {
        check_length(Buffer::Reference, policy.len(), self.len())?;
        if let Self::Sequences(reference) = self {
            for (sequence, (policy, r)) in policy.zip(*reference).enumerate() {
                if policy != r.count {
                    let reference = r.count;
                    return Err(Error::TokenCountMismatch { sequence, policy, reference });
                }
            }
        }
        Ok(())
    }
}

/// A loss of one pair of answers.
pub trait PreferenceLoss {
    /// Loss, rewards, margin and gradients of one pair, in f64.
    ///
    /// Never panics. Where a result is not a finite number every field is NaN: a loss does not turn
    /// a broken input into a plausible number.
    #[must_use]
    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss;
}

/// The four log-probs of one pair, with its weight and margin offset.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PairLogProbs {
    /// `log π(y_w)`
    pub policy_chosen: f64,
    /// `log π(y_l)`
    pub policy_rejected: f64,
    /// `log π_ref(y_w)`
    pub reference_chosen: f64,
    /// `log π_ref(y_l)`
    pub reference_rejected: f64,
    /// Factor on the loss, ≥ 0.
    pub weight: f64,
    /// Subtracted from z: by how much the chosen answer must win.
    pub offset: f64,
}

impl PairLogProbs {
    /// Four log-probs with weight 1 and offset 0.
    #[must_use]
    pub const fn new(
        policy_chosen: f64,
        policy_rejected: f64,
        reference_chosen: f64,
        reference_rejected: f64,
    ) -> Self {
        Self {
            policy_chosen,
            policy_rejected,
            reference_chosen,
            reference_rejected,
            weight: 1.0,
            offset: 0.0,
        }
    }

    /// With a factor on the loss.
    #[must_use]
    pub const fn with_weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// With a margin that the chosen answer must win by.
    #[must_use]
    pub const fn with_offset(mut self, offset: f64) -> Self {
        self.offset = offset;
        self
    }
}

/// What a loss says of one pair. Nothing is divided by a batch size here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct PairLoss {
    /// weight · ℓ(z)
    pub loss: f64,
    /// Implicit reward `β·(log π − log π_ref)` of the chosen answer.
    pub reward_chosen: f64,
    /// Implicit reward of the rejected answer.
    pub reward_rejected: f64,
    /// β·(a − b): the difference of the rewards, formed from the log-ratios.
    pub margin: f64,
    /// `∂L/∂log π(y_w)`
    pub d_chosen: f64,
    /// `∂L/∂log π(y_l)`
    pub d_rejected: f64,
}

impl PairLoss {
    pub(super) const NAN: Self = Self {
        loss: f64::NAN,
        reward_chosen: f64::NAN,
        reward_rejected: f64::NAN,
        margin: f64::NAN,
        d_chosen: f64::NAN,
        d_rejected: f64::NAN,
    };

    pub(super) fn is_finite(&self) -> bool {
        let Self { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = *self;
        [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
            .into_iter()
            .all(f64::is_finite)
    }
}

/// A batch of pairs over N sequences.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PairBatch<'a> {
    /// The P preferences. A sequence may stand in several of them, or in none.
    pub pairs: &'a [Pair],
    /// Policy log-probs, N.
    pub policy: &'a [SequenceLogProb],
    /// Reference log-probs, N.
    pub reference: Reference<'a>,
    /// Per-pair weights, P, finite and ≥ 0; 1 without.
    pub weights: Option<&'a [f32]>,
    /// Per-pair margin offsets, P, finite, subtracted from z; 0 without. A positive offset asks the
    /// chosen answer to win by more.
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
/// Each pair's loss is [`PreferenceLoss::evaluate`]; `d_log_probs` is filled with `∂(Σ L / divisor)/∂log π(y)` over the
/// pairs that name a sequence, in pair order.
///
/// # Numerics
/// f64 throughout. Summary and losses are not divided: means are the caller's, over its own batch.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::SequenceOutOfRange`],
/// [`Error::PairOfOneSequence`], [`Error::TokenCountMismatch`], [`Error::Parameter`] for the divisor,
/// [`Error::InvalidValue`] for weights and offsets.
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
pub fn preference_loss<L: PreferenceLoss>(
    loss: &L,
    batch: &PairBatch<'_>,
    out: PairOut<'_>,
) -> Result<Summary, Error> {
    let PairBatch { pairs, policy, reference, weights, offsets, divisor } = *batch;
    check_pairs(pairs, policy.len(), weights, offsets, divisor)?;
    reference.check(policy.iter().map(|sequence| sequence.count))?;
    check_length(Buffer::PairLosses, pairs.len(), out.losses.len())?;
    check_length(Buffer::SequenceGrads, policy.len(), out.d_log_probs.len())?;

    out.d_log_probs.fill(0.0);
    let policy_sum = |i: usize| policy.get(i).map_or(f64::NAN, |s| s.sum);
    let mut summary = Summary::default();
    let (mut first, mut count) = (0, 0);
    for (i, (&Pair { chosen, rejected }, to)) in pairs.iter().zip(out.losses).enumerate() {
        let entry = |x: Option<&[f32]>, default| {
            x.and_then(|x| x.get(i)).map_or(default, |&x| f64::from(x))
        };
        let found = loss.evaluate(&PairLogProbs {
            policy_chosen: policy_sum(chosen),
            policy_rejected: policy_sum(rejected),
            reference_chosen: reference.sum(chosen),
            reference_rejected: reference.sum(rejected),
            weight: entry(weights, 1.0),
            offset: entry(offsets, 0.0),
        });
        let is_finite = found.is_finite() && (found.d_chosen / divisor).is_finite();
        let found = if is_finite { found } else { PairLoss::NAN };
        if is_finite {
            summary += &found;
        } else {
            first = if count == 0 { i } else { first };
            count += 1;
        }
        for (sequence, d) in [(chosen, found.d_chosen), (rejected, found.d_rejected)] {
            if let Some(to) = out.d_log_probs.get_mut(sequence) {
                *to += d / divisor;
            }
        }
        *to = found;
    }
    if count == 0 { Ok(summary) } else { Err(Error::NonFinitePairs { first, count }) }
}

/// Every check of a batch that does not need log-probs.
pub(crate) fn check_pairs(
    pairs: &[Pair],
    sequences: usize,
    weights: Option<&[f32]>,
    offsets: Option<&[f32]>,
    divisor: f64,
) -> Result<(), Error> {
    if !(divisor.is_normal() && divisor > 0.0) {
        return Err(Error::Parameter { parameter: Parameter::Divisor, value: divisor });
    }
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
    check_values(Buffer::PairWeights, weights, pairs.len(), |w| w.is_finite() && w >= 0.0)?;
    check_values(Buffer::PairOffsets, offsets, pairs.len(), f32::is_finite)
}

fn check_values(
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
