//! What is worth watching of a batch, as sums with counts, so that batches add up.

use super::PairLoss;
use core::ops::AddAssign;

/// Sums over the pairs of a batch. Summaries of micro-batches and machines add up with `+=`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Summary {
    /// Pairs summed.
    pub pairs: u64,
    /// Pairs whose margin is > 0.
    pub correct: u64,
    /// Pairs whose margin is exactly 0, as all are at step 0; neither correct nor wrong.
    pub ties: u64,
    /// Σ loss
    pub loss_sum: f64,
    /// Σ implicit reward of the chosen answers.
    pub reward_chosen_sum: f64,
    /// Σ implicit reward of the rejected answers.
    pub reward_rejected_sum: f64,
    /// Σ margin
    pub margin_sum: f64,
}

impl Summary {
    /// Σ loss / pairs; NaN of an empty summary, as are the other means.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        self.mean(self.loss_sum)
    }

    /// Mean implicit reward of the chosen answers.
    #[must_use]
    pub fn mean_reward_chosen(&self) -> f64 {
        self.mean(self.reward_chosen_sum)
    }

    /// Mean implicit reward of the rejected answers.
    #[must_use]
    pub fn mean_reward_rejected(&self) -> f64 {
        self.mean(self.reward_rejected_sum)
    }

    /// Mean margin.
    #[must_use]
    pub fn mean_margin(&self) -> f64 {
        self.mean(self.margin_sum)
    }

    /// Share of pairs with a margin > 0; ties do not count.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn accuracy(&self) -> f64 {
        self.mean(self.correct as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn mean(&self, sum: f64) -> f64 {
        sum / self.pairs as f64
    }
}

impl AddAssign<&PairLoss> for Summary {
    /// Adds one pair, whatever it holds: leave pairs that are not finite out.
    fn add_assign(&mut self, pair: &PairLoss) {
        *self += Self {
            pairs: 1,
            correct: u64::from(pair.margin > 0.0),
            // Exactly 0 is meant: both log-ratios agree.
            ties: u64::from(pair.margin.abs() <= 0.0),
            loss_sum: pair.loss,
            reward_chosen_sum: pair.reward_chosen,
            reward_rejected_sum: pair.reward_rejected,
            margin_sum: pair.margin,
        };
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.pairs = self.pairs.saturating_add(other.pairs);
        self.correct = self.correct.saturating_add(other.correct);
        self.ties = self.ties.saturating_add(other.ties);
        self.loss_sum += other.loss_sum;
        self.reward_chosen_sum += other.reward_chosen_sum;
        self.reward_rejected_sum += other.reward_rejected_sum;
        self.margin_sum += other.margin_sum;
    }
}
