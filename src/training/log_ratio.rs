//! The mean log-ratio of a batch or a run: KTO's K and BCO's δ.

use core::ops::AddAssign;

use crate::error::Buffer;
use crate::{Error, Reference, SequenceLogProb};

/// Sums for the mean log-ratio of sequences, in nats: K of KTO and δ of BCO.
///
/// ```text
/// K = max(0, mean (log π(y'|x) − log π_ref(y'|x)))      mismatched answers y' of one batch:  kto_k
/// δ = β · mean (log π(y|x) − log π_ref(y|x))            all answers of the whole run:        bco_shift
/// ```
///
/// Both are constants to the gradient. Sums of micro-batches and machines add up with `+=`.
///
/// # KTO: where the mismatched answers go
/// KTO needs a second set of sequences: each prompt x with a completion y' that belongs to another
/// prompt. They are extra sequences of the batch. [`token_log_probs`](crate::token_log_probs) and
/// [`sequence_log_probs`](crate::sequence_log_probs) score them as they score the answers, under
/// the policy and under the reference. No answer names them, so they have no loss, and their
/// gradient is 0. Their log-ratios go into `LogRatioSums` by [`add_batch`](Self::add_batch), and
/// [`kto_k`](Self::kto_k) gives K. Then [`unpaired_loss`](crate::unpaired::unpaired_loss) runs with
/// [`Kto`](crate::loss::Kto) of that K.
///
/// ```
/// use dpo_kernel::loss::Kto;
/// use dpo_kernel::training::LogRatioSums;
/// use dpo_kernel::unpaired::*;
/// use dpo_kernel::{Reference, SequenceLogProb};
/// // Prompts x0 and x1 with answers y0 (good) and y1 (bad). Sequences, all scored in one sweep:
/// //            x0 y0   x1 y1   x0 y1  x1 y0       the last two are the mismatched ones
/// let policy = [-20.5, -25.25, -31.0, -28.0].map(|sum| SequenceLogProb { sum, count: 10 });
/// let reference = [-21.0, -24.5, -31.5, -28.25];
///
/// let mut mismatched = LogRatioSums::default(); // a new one for each batch
/// mismatched.add_batch(&policy[2..], Reference::Sums(&reference[2..]))?;
/// let k = mismatched.kto_k();
/// assert_eq!(k, (0.5 + 0.25) / 2.0);
///
/// let answers = [
///     UnpairedAnswer { sequence: 0, label: Label::Desirable },
///     UnpairedAnswer { sequence: 1, label: Label::Undesirable },
/// ];
/// let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&reference), 2.0);
/// let (mut losses, mut d_log_probs) = ([AnswerLoss::default(); 2], [0.0; 4]);
/// let out = UnpairedOut::new(&mut losses, &mut d_log_probs);
/// unpaired_loss(&Kto::new(0.1, k)?, &batch, out)?;
/// assert!((losses[0].loss - 0.496_875_040_689).abs() < 1e-12); // σ(−0.1·(0.5 − K))
/// assert_eq!(d_log_probs[2..], [0.0, 0.0]);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[doc(alias = "kto")]
#[doc(alias = "K")]
#[doc(alias = "kl")]
#[doc(alias = "z0")]
#[doc(alias = "reference point")]
#[doc(alias = "mismatched")]
#[doc(alias = "bco")]
#[doc(alias = "RunningMoments")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct LogRatioSums {
    /// Sequences summed.
    pub count: u64,
    /// Σ `log π − log π_ref`
    pub log_ratio_sum: f64,
}

impl LogRatioSums {
    /// Adds the log-ratio of every sequence: `policy` and `reference` have one entry a sequence, N.
    ///
    /// For K these are the mismatched sequences alone, for δ the answers alone. Sequences without a
    /// scored token are not counted.
    ///
    /// # Numerics
    /// Sums in f64, in order: the error is within count · 2⁻⁵³ · Σ |log-ratio|. Policy ≡ reference
    /// adds exactly 0.
    ///
    /// # Errors
    /// [`Error::ReferenceMissing`], [`Error::Length`], [`Error::TokenCountMismatch`], and
    /// [`Error::InvalidValue`] for the first log-prob that is not finite; nothing has been added
    /// then.
    ///
    /// # Panics
    /// Never.
    pub fn add_batch(
        &mut self,
        policy: &[SequenceLogProb],
        reference: Reference<'_>,
    ) -> Result<(), Error> {
        reference.check_use(true)?;
        reference.check(policy.iter().map(|sequence| sequence.count))?;
        let (mut sum, mut added) = (self.log_ratio_sum, 0);
        for (index, sequence) in policy.iter().enumerate().filter(|(_, found)| found.count != 0) {
            let value = reference.sum(index);
            let log_ratio = sequence.sum - value;
            if !log_ratio.is_finite() {
                let is_policy = value.is_finite();
                let (buffer, value) = if is_policy {
                    (Buffer::Sequences, sequence.sum)
                } else {
                    (Buffer::Reference, value)
                };
                return Err(Error::InvalidValue { buffer, index, value });
            }
            sum += log_ratio;
            added += 1;
        }
        self.log_ratio_sum = sum;
        self.count = self.count.saturating_add(added);
        Ok(())
    }

    /// Mean log-ratio, in nats; NaN without sequences.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn mean(&self) -> f64 {
        self.log_ratio_sum / self.count as f64
    }

    /// KTO's reference point K, in nats, an estimate of KL(π ‖ `π_ref`); 0 without sequences.
    ///
    /// ```text
    /// K = max(0, mean (log π(y'|x) − log π_ref(y'|x)))
    /// ```
    ///
    /// The sums must be of *mismatched* sequences: each prompt with a completion y' that belongs to
    /// another prompt, usually that of the next example in the batch. [`LogRatioSums`] shows where
    /// they go. A batch of one example has no mismatched answer. A sampler that puts examples of
    /// one prompt side by side makes none either.
    ///
    /// Add up the sums of all micro-batches and machines before the call. The maximum is taken of
    /// the mean of the whole batch; the mean of the parts' maxima is larger.
    ///
    /// [`Kto`](crate::loss::Kto) takes K. Ethayarajh et al. 2024, arXiv 2402.01306.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "kto")]
    #[doc(alias = "K")]
    #[doc(alias = "kl")]
    #[doc(alias = "z0")]
    #[doc(alias = "reference point")]
    #[must_use]
    pub fn kto_k(&self) -> f64 {
        if self.log_ratio_sum <= 0.0 { 0.0 } else { self.mean() }
    }

    /// BCO's reward shift δ, in rewards: the mean implicit reward of all answers that the run has
    /// seen, chosen and rejected alike; 0 before the first.
    ///
    /// ```text
    /// δ = β · mean (log π(y|x) − log π_ref(y|x))
    /// ```
    ///
    /// Add a batch before you take its δ, as the trainers do: the batch that is learned from is
    /// part of the mean. Every sequence counts once and alike.
    ///
    /// TRL's `BCOTrainer` has the same mean in its `RunningMoments`, in f32. TRL's `DPOTrainer` up
    /// to 0.28 (`bco_pair`) feeds it the mean of each batch as one sample, so a short last batch
    /// counts as much as a full one; from 0.29 on δ is 0 there. No loss reads the standard
    /// deviation of `RunningMoments`.
    ///
    /// [`Bco::with_shift`](crate::loss::Bco::with_shift) takes δ. Jung et al. 2024, arXiv
    /// 2404.04656.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "bco")]
    #[doc(alias = "delta")]
    #[doc(alias = "RunningMoments")]
    #[doc(alias = "running mean")]
    #[must_use]
    pub fn bco_shift(&self, beta: f64) -> f64 {
        if self.count == 0 { 0.0 } else { beta * self.mean() }
    }
}

impl AddAssign for LogRatioSums {
    fn add_assign(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.log_ratio_sum += other.log_ratio_sum;
    }
}
