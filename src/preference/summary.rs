//! What is worth watching of a batch, as sums with counts, so that batches add up.

use crate::pair::PairLoss;
use core::ops::AddAssign;

/// The margin from which a pair counts as saturated: its gradient under the sigmoid loss, σ(−10) of
/// β, is less than a ten-thousandth of what it was at step 0.
const SATURATED: f64 = 10.0;

/// Sums over the pairs of a batch. Summaries of micro-batches and machines add up with `+=`.
///
/// The means divide by [`pairs`](Self::pairs), which counts the pairs that are there, whatever
/// their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
#[repr(C)]
pub struct Summary {
    /// Pairs summed.
    pub pairs: u64,
    /// Pairs whose margin is > 0.
    pub correct: u64,
    /// Pairs whose margin is exactly 0, as all are at step 0; neither correct nor wrong. Pairs that
    /// stay here may be [identical](crate::training::identical_pairs).
    pub ties: u64,
    /// Pairs whose chosen answer is less likely under the policy than under the reference: its
    /// implicit reward is < 0. A growing share beside a falling loss is *likelihood displacement*:
    /// the policy learns to prefer by making both answers unlikely. Of losses without a reference
    /// it says nothing.
    ///
    /// Razin et al. 2024, arXiv 2410.08847; Pal et al. 2024, arXiv 2402.13228 (its remedy,
    /// [`DpopInside`](crate::loss::DpopInside)).
    pub displaced: u64,
    /// Pairs whose margin is ≥ 10: learned. Under the sigmoid loss their gradient is less than a
    /// ten-thousandth of what it was at step 0, and a batch of them moves nothing: β is too large,
    /// or the data are exhausted. The margin is that of the rewards; losses of means reach their
    /// flat end at another one.
    pub saturated: u64,
    /// Pairs whose margin is ≤ −10. Under the sigmoid loss they pull with the full gradient: look
    /// for swapped labels. Under losses that flatten on both sides (EXO, APO, KTO) they are given
    /// up.
    pub saturated_wrong: u64,
    /// Pairs of weight 0, which are in no other figure.
    pub left_out: u64,
    /// Σ loss, each times its weight.
    pub loss_sum: f64,
    /// Σ implicit reward of the chosen answers.
    pub reward_chosen_sum: f64,
    /// Σ implicit reward of the rejected answers.
    pub reward_rejected_sum: f64,
    /// Σ margin: of the rewards. Neither a target margin γ nor offsets are subtracted, so it is not
    /// the distance by which a loss with either is satisfied.
    pub margin_sum: f64,
}

impl Summary {
    /// Adds one pair of weight 0.
    pub(crate) fn add_left_out(&mut self) {
        count(&mut self.left_out, true);
    }

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

    /// Mean margin of the rewards. Neither a target margin γ nor offsets are subtracted.
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

    /// Share of pairs whose chosen answer has lost likelihood against the reference.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn displaced_share(&self) -> f64 {
        self.mean(self.displaced as f64)
    }

    /// Share of pairs whose margin is ≥ 10 or ≤ −10.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn saturated_share(&self) -> f64 {
        self.mean(self.saturated.saturating_add(self.saturated_wrong) as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn mean(&self, sum: f64) -> f64 {
        sum / self.pairs as f64
    }
}

impl AddAssign<&PairLoss> for Summary {
    /// Adds one pair, whatever it holds: skip pairs that are not finite, and pairs of weight 0.
    fn add_assign(&mut self, pair: &PairLoss) {
        const BELOW: f64 = SATURATED.next_down();
        count(&mut self.pairs, true);
        count_above(&mut self.correct, pair.margin, 0.0);
        // Exactly 0 is meant: both log-ratios agree.
        count(&mut self.ties, pair.margin.to_bits() << 1 == 0);
        count_above(&mut self.displaced, -pair.reward_chosen, 0.0);
        count_above(&mut self.saturated, pair.margin, BELOW);
        count_above(&mut self.saturated_wrong, -pair.margin, BELOW);
        add(&mut self.loss_sum, pair.loss);
        add(&mut self.reward_chosen_sum, pair.reward_chosen);
        add(&mut self.reward_rejected_sum, pair.reward_rejected);
        add(&mut self.margin_sum, pair.margin);
    }
}

// Not inlined where a u64 takes two registers, and f64 is often software: their copies would be
// larger than their calls.

#[cfg_attr(target_pointer_width = "32", inline(never))]
fn count_above(to: &mut u64, x: f64, bound: f64) {
    count(to, x > bound);
}

#[cfg_attr(target_pointer_width = "32", inline(never))]
fn add(to: &mut f64, x: f64) {
    *to += x;
}

#[cfg_attr(target_pointer_width = "32", inline(never))]
fn count(to: &mut u64, is: bool) {
    *to = to.saturating_add(u64::from(is));
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.pairs = self.pairs.saturating_add(other.pairs);
        self.correct = self.correct.saturating_add(other.correct);
        self.ties = self.ties.saturating_add(other.ties);
        self.displaced = self.displaced.saturating_add(other.displaced);
        self.saturated = self.saturated.saturating_add(other.saturated);
        self.saturated_wrong = self.saturated_wrong.saturating_add(other.saturated_wrong);
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.loss_sum += other.loss_sum;
        self.reward_chosen_sum += other.reward_chosen_sum;
        self.reward_rejected_sum += other.reward_rejected_sum;
        self.margin_sum += other.margin_sum;
    }
}
