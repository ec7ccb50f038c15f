//! What a preference logit is made of: the scores of two answers.
//!
//! ```text
//! LogRatio       g(log π − log π_ref)          g of the f-divergence; the log-ratio itself for KL
//! MeanLogRatio   g(log π − log π_ref) / n
//! LogProb        log π                         no reference
//! MeanLogProb    log π / n                     no reference
//! PowerLogProb   (1 − e^(−α·log π / n)) / α    no reference
//! ```
//!
//! n is the number of scored tokens. Sum or mean, reference or none: the score's type says it, so
//! that a loss of means cannot be given sums.

use super::divergence::{Divergence, ReverseKl, power};
use crate::pair::PairLogProbs;

/// A score of an answer.
pub(super) trait Score: Copy {
    /// Whether it compares with a reference.
    const REFERENCE: bool;
    /// Whether it divides by the tokens.
    const TOKENS: bool;

    /// The scores' difference and their slopes.
    fn compare(&self, pair: &PairLogProbs) -> Comparison;
}

/// Two answers under a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Comparison {
    /// `s(y_w) − s(y_l)`
    pub(super) difference: f64,
    pub(super) chosen: Scored,
    pub(super) rejected: Scored,
    /// Difference of the rewards, over β.
    pub(super) reward_difference: f64,
}

/// One answer under a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    /// Implicit reward over β.
    pub(super) reward: f64,
    /// ∂s/∂log π times `tokens`.
    pub(super) slope: f64,
    /// n of a mean, 1 of a sum: the last division, so that it is rounded once.
    pub(super) tokens: f64,
}

/// The sum of the tokens' log-ratios, under an f-divergence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LogRatio<D = ReverseKl>(pub(super) D);

/// The log-ratio under an f-divergence, over the number of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct MeanLogRatio<D = ReverseKl>(pub(super) D);

/// The sum of the tokens' log-probs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogProb;

/// The mean of the tokens' log-probs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MeanLogProb;

/// The reward of `AlphaPO`, a power of the geometric mean of the tokens' probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PowerLogProb {
    pub(super) alpha: f64,
}

impl<D: Divergence> Score for LogRatio<D> {
    const REFERENCE: bool = true;
    const TOKENS: bool = false;

    fn compare(&self, pair: &PairLogProbs) -> Comparison {
        let (a, b) = pair.log_ratios();
        let scored = |reward| Scored { reward, slope: self.0.slope(reward), tokens: 1.0 };
        Comparison {
            difference: self.0.difference(a, b),
            chosen: scored(a),
            rejected: scored(b),
            reward_difference: a - b,
        }
    }
}

impl<D: Divergence> Score for MeanLogRatio<D> {
    const REFERENCE: bool = true;
    const TOKENS: bool = true;

    fn compare(&self, pair: &PairLogProbs) -> Comparison {
        let (a, b) = pair.log_ratios();
        let (n_chosen, n_rejected) = tokens(pair);
        let scored = |reward, tokens| Scored { reward, slope: self.0.slope(reward), tokens };
        Comparison {
            difference: self.0.mean_difference((a, n_chosen), (b, n_rejected)),
            chosen: scored(a, n_chosen),
            rejected: scored(b, n_rejected),
            reward_difference: a - b,
        }
    }
}

impl Score for LogProb {
    const REFERENCE: bool = false;
    const TOKENS: bool = false;

    fn compare(&self, pair: &PairLogProbs) -> Comparison {
        let scored = |reward| Scored { reward, slope: 1.0, tokens: 1.0 };
        let difference = pair.policy_chosen - pair.policy_rejected;
        Comparison {
            difference,
            chosen: scored(pair.policy_chosen),
            rejected: scored(pair.policy_rejected),
            reward_difference: difference,
        }
    }
}

impl Score for MeanLogProb {
    const REFERENCE: bool = false;
    const TOKENS: bool = true;

    fn compare(&self, pair: &PairLogProbs) -> Comparison {
        let (chosen, rejected) = mean_log_probs(pair);
        let difference = chosen.reward - rejected.reward;
        Comparison { difference, chosen, rejected, reward_difference: difference }
    }
}

impl Score for PowerLogProb {
    const REFERENCE: bool = false;
    const TOKENS: bool = true;

    fn compare(&self, pair: &PairLogProbs) -> Comparison {
        let (mut chosen, mut rejected) = mean_log_probs(pair);
        chosen.slope = power::slope(self.alpha, chosen.reward);
        rejected.slope = power::slope(self.alpha, rejected.reward);
        Comparison {
            difference: power::difference(self.alpha, chosen.reward, rejected.reward),
            chosen,
            rejected,
            reward_difference: chosen.reward - rejected.reward,
        }
    }
}

/// Both token counts. A count of 0 makes the gradients NaN or infinite, hence the pair NaN.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) fn tokens(pair: &PairLogProbs) -> (f64, f64) {
    (pair.chosen_tokens as f64, pair.rejected_tokens as f64)
}

/// Both mean log-probs, as rewards.
pub(super) fn mean_log_probs(pair: &PairLogProbs) -> (Scored, Scored) {
    let scored = |log_prob, tokens| Scored { reward: log_prob / tokens, slope: 1.0, tokens };
    let (n_chosen, n_rejected) = tokens(pair);
    (scored(pair.policy_chosen, n_chosen), scored(pair.policy_rejected, n_rejected))
}
