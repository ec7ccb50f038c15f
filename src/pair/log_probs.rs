//! The input of a loss for one pair.

/// The log-probs of one pair, with its token counts, its weight and its offset.
///
/// Token counts that were not given are 0, and reference log-probs that were not given are NaN. A
/// loss that reads such a value returns NaN, and no plausible wrong number.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PairLogProbs {
    /// `log π(y_w)`
    pub policy_chosen: f64,
    /// `log π(y_l)`
    pub policy_rejected: f64,
    /// `log π_ref(y_w)`; NaN without a reference.
    pub reference_chosen: f64,
    /// `log π_ref(y_l)`; NaN without a reference.
    pub reference_rejected: f64,
    /// Scored tokens of the chosen answer; 0 if unknown.
    pub chosen_tokens: usize,
    /// Scored tokens of the rejected answer; 0 if unknown.
    pub rejected_tokens: usize,
    /// Factor on the loss, ≥ 0. At 0 the pair is left out: every figure of its
    /// [`PairLoss`](crate::PairLoss) is 0, whatever the other fields hold.
    pub weight: f64,
    /// Subtracted from z: by how much, in rewards, the chosen answer must win.
    pub offset: f64,
}

impl PairLogProbs {
    /// Four log-probs with weight 1, offset 0 and unknown token counts.
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
            chosen_tokens: 0,
            rejected_tokens: 0,
            weight: 1.0,
            offset: 0.0,
        }
    }

    /// The policy's two log-probs, for losses that have no reference.
    #[must_use]
    pub const fn reference_free(policy_chosen: f64, policy_rejected: f64) -> Self {
        Self::new(policy_chosen, policy_rejected, f64::NAN, f64::NAN)
    }

    /// With the token counts that losses of mean log-probs divide by.
    #[must_use]
    pub const fn with_tokens(mut self, chosen: usize, rejected: usize) -> Self {
        self.chosen_tokens = chosen;
        self.rejected_tokens = rejected;
        self
    }

    /// With a factor on the loss.
    #[must_use]
    pub const fn with_weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// With an offset: by how much, in rewards, the chosen answer must win.
    #[must_use]
    pub const fn with_offset(mut self, offset: f64) -> Self {
        self.offset = offset;
        self
    }

    /// Whether the weight is 0, which means that the pair is not there.
    #[must_use]
    pub const fn is_left_out(&self) -> bool {
        self.weight.abs().to_bits() == 0
    }

    /// Whether there is an offset; losses without a difference of rewards have no place for it.
    pub(crate) fn has_offset(&self) -> bool {
        !self.is_left_out() && (self.offset.is_nan() || self.offset.abs() > 0.0)
    }

    /// `a = log π(y_w) − log π_ref(y_w)` and b, the same of `y_l`. Formed before anything is
    /// subtracted from anything else: where policy and reference agree they are exactly 0.
    pub(crate) fn log_ratios(&self) -> (f64, f64) {
        (self.policy_chosen - self.reference_chosen, self.policy_rejected - self.reference_rejected)
    }
}
