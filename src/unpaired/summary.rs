//! Sums over unpaired answers, so that batches add up.

use core::ops::AddAssign;

use super::{AnswerLoss, Label};

/// Sums over unpaired answers; those of micro-batches and machines add up with `+=`. A class that
/// does not occur adds 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
#[repr(C)]
pub struct UnpairedSummary {
    /// Desirable answers summed.
    pub desirable: u64,
    /// Undesirable answers summed.
    pub undesirable: u64,
    /// Answers of weight 0, which are in no other figure.
    pub left_out: u64,
    /// Σ loss of the desirable answers, each times its weight.
    pub desirable_loss_sum: f64,
    /// Σ loss of the undesirable answers, each times its weight.
    pub undesirable_loss_sum: f64,
    /// Σ implicit reward of the desirable answers.
    pub desirable_reward_sum: f64,
    /// Σ implicit reward of the undesirable answers.
    pub undesirable_reward_sum: f64,
}

impl UnpairedSummary {
    /// Σ loss / answers; NaN of an empty summary.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn mean_loss(&self) -> f64 {
        let answers = self.desirable.saturating_add(self.undesirable);
        (self.desirable_loss_sum + self.undesirable_loss_sum) / answers as f64
    }

    pub(super) fn of(answer: &AnswerLoss, label: Label) -> Self {
        let none = Self::default();
        match label {
            Label::Desirable => Self {
                desirable: 1,
                desirable_loss_sum: answer.loss,
                desirable_reward_sum: answer.reward,
                ..none
            },
            Label::Undesirable => Self {
                undesirable: 1,
                undesirable_loss_sum: answer.loss,
                undesirable_reward_sum: answer.reward,
                ..none
            },
        }
    }
}

impl AddAssign for UnpairedSummary {
    fn add_assign(&mut self, other: Self) {
        self.desirable = self.desirable.saturating_add(other.desirable);
        self.undesirable = self.undesirable.saturating_add(other.undesirable);
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.desirable_loss_sum += other.desirable_loss_sum;
        self.undesirable_loss_sum += other.undesirable_loss_sum;
        self.desirable_reward_sum += other.desirable_reward_sum;
        self.undesirable_reward_sum += other.undesirable_reward_sum;
    }
}
