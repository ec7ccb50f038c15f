//! One pair of answers: what a loss is given of it, and what it says.

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
    /// Factor on the loss, ≥ 0. At 0 the pair is left out: every figure of its [`PairLoss`] is 0,
    /// whatever the other fields hold.
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
        self.weight == 0.0
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

/// What a loss says of one pair. Nothing is divided by a batch size here. Of a pair that is left
/// out (weight 0) every figure is 0.
///
/// Rewards and margin are for watching: they are those of the raw log-ratios, whatever divergence,
/// length normalisation or offset the loss itself applies to them, as in TRL. Losses without a
/// reference have none to compare with and report β times the log-prob (or mean log-prob) that they
/// read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct PairLoss {
    /// weight · L
    pub loss: f64,
    /// Implicit reward `β·(log π − log π_ref)` of the chosen answer.
    pub reward_chosen: f64,
    /// Implicit reward of the rejected answer.
    pub reward_rejected: f64,
    /// β·(a − b): the difference of the rewards, formed from the log-ratios. Neither a target
    /// margin γ nor an offset is subtracted.
    pub margin: f64,
    /// weight · `∂L/∂log π(y_w)`, not divided.
    pub d_chosen: f64,
    /// weight · `∂L/∂log π(y_l)`, not divided.
    pub d_rejected: f64,
}

impl PairLoss {
    pub(crate) const NAN: Self = Self {
        loss: f64::NAN,
        reward_chosen: f64::NAN,
        reward_rejected: f64::NAN,
        margin: f64::NAN,
        d_chosen: f64::NAN,
        d_rejected: f64::NAN,
    };

    /// Of a pair of weight 1, with the rewards β·a and β·b.
    pub(crate) fn of_log_ratios(beta: f64, (a, b): (f64, f64), loss: f64, d: (f64, f64)) -> Self {
        Self {
            loss,
            reward_chosen: beta * a,
            reward_rejected: beta * b,
            margin: beta * (a - b),
            d_chosen: d.0,
            d_rejected: d.1,
        }
    }

    /// Times the pair's weight: all 0 if the weight is; all NaN if a figure, or the pair's offset,
    /// is no number.
    pub(crate) fn of(self, pair: &PairLogProbs) -> Self {
        if pair.is_left_out() {
            Self::default()
        } else if pair.offset.is_finite() {
            self.weighted(pair.weight)
        } else {
            Self::NAN
        }
    }

    /// Times a weight; all NaN if a figure is no number.
    pub(crate) fn weighted(self, weight: f64) -> Self {
        let weighted = Self {
            loss: weight * self.loss,
            d_chosen: weight * self.d_chosen,
            d_rejected: weight * self.d_rejected,
            ..self
        };
        if weighted.is_finite() { weighted } else { Self::NAN }
    }

    /// Not inlined where code is scarce: both its callers are in every program with a loss.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn is_finite(&self) -> bool {
        let Self { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = *self;
        [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected]
            .into_iter()
            .all(f64::is_finite)
    }
}
