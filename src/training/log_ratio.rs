//! The mean log-ratio of a batch or a run: KTO's K and BCO's δ.

use core::ops::AddAssign;

use crate::error::Buffer;
use crate::{Error, Reference, SequenceLogProb};

/// Sums for the mean of `log π(y|x) − log π_ref(y|x)` over sequences; they add up over micro-batches
/// and machines with `+=`.
///
/// Kept over one batch they are KTO's estimate of K, over a whole run BCO's δ. Both are constants to
/// the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct LogRatioSums {
    /// Sequences summed.
    pub count: u64,
    /// Σ `log π − log π_ref`
    pub log_ratio_sum: f64,
}

impl LogRatioSums {
    /// Adds every sequence of a batch.
    ///
    /// # Numerics
    /// f64 sums in order: within count · 2⁻⁵³ of Σ |log-ratio|. Policy ≡ reference adds exactly 0.
    ///
    /// # Errors
    /// [`Error::ReferenceMissing`], [`Error::Length`], [`Error::TokenCountMismatch`], and
    /// [`Error::InvalidValue`] for the first log-prob that is not finite; nothing has been added then.
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
        let mut sum = self.log_ratio_sum;
        for (index, sequence) in policy.iter().enumerate() {
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
        }
        self.log_ratio_sum = sum;
        let added = u64::try_from(policy.len()).unwrap_or(u64::MAX);
        self.count = self.count.saturating_add(added);
        Ok(())
    }

    /// Mean log-ratio; NaN of nothing.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn mean(&self) -> f64 {
        self.log_ratio_sum / self.count as f64
    }

    /// KTO's reference point `K = max(0, mean (log π(y'|x) − log π_ref(y'|x)))`, an estimate of
    /// KL(π ‖ `π_ref`); 0 of nothing.
    ///
    /// The sums must be of *mismatched* sequences, each prompt with a completion y' that belongs to
    /// another: usually that of the next example in the batch. A batch of one has no other, and a
    /// sampler that puts examples of one prompt side by side mismatches nothing.
    ///
    /// Add up the sums of all micro-batches and machines first: the maximum is of the whole batch's
    /// mean, which the mean of the parts' maxima exceeds.
    ///
    /// What [`Kto`](crate::loss::Kto) takes; Ethayarajh et al. 2024, arXiv 2402.01306.
    #[must_use]
    pub fn kto_k(&self) -> f64 {
        if self.log_ratio_sum <= 0.0 { 0.0 } else { self.mean() }
    }

    /// BCO's reward shift `δ = β · mean (log π − log π_ref)`: the mean implicit reward of every
    /// answer that the run has seen, chosen and rejected alike; 0 before the first.
    ///
    /// Add a batch before its own δ is taken, as the trainers do: the batch that is learned from is
    /// part of the mean. Every sequence counts once and alike.
    ///
    /// TRL's `RunningMoments` has the same mean in its `BCOTrainer`, in f32. In the `DPOTrainer` up to
    /// 0.28 (`bco_pair`) it is fed each batch's mean as one sample, so that a short last batch counts as much as
    /// a full one; from 0.29 on δ is 0 there. Its standard deviation, which no loss reads, divides by
    /// count − 1.
    ///
    /// What [`Bco::with_shift`](crate::loss::Bco::with_shift) takes; Jung et al. 2024, arXiv 2404.04656.
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
