//! The Bradley–Terry loss of a reward model.

use super::options::{FromOptions, Given};
use super::{Inputs, PreferenceLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};
use crate::pair::{PairLogProbs, PairLoss};

/// The Bradley–Terry loss of a reward model, with a margin and a pull of the rewards to 0.
///
/// ```text
/// r_w, r_l: the model's scores of the two answers, in the place of log π(y_w) and log π(y_l)
/// z = r_w − r_l − m          m: the pair's offset
/// L = softplus(−z) + c·(r_w + r_l)²
/// ∂L/∂r_w = −σ(−z) + 2c·(r_w + r_l)      ∂L/∂r_l = σ(−z) + 2c·(r_w + r_l)
/// ```
///
/// TRL's reward trainer, `OpenRLHF`, NeMo-RL; no c by default, 0.01 where it is used
/// (`center_rewards_coefficient` in TRL). A reward model says one number of an answer, so there is
/// nothing to sum: give the scores as [`SequenceLogProb::sum`](crate::SequenceLogProb) with
/// [`Reference::Free`](crate::Reference::Free), and take `d_log_probs` as gradients of the scores.
/// There is no β: rewards are the scores.
///
/// Sources: Ouyang et al. 2022, arXiv 2203.02155; the margin Touvron et al. 2023 (Llama 2), arXiv
/// 2307.09288; the pull Eisenstein et al. 2023, arXiv 2312.09244.
///
/// # Example
/// ```
/// use dpo_kernel::loss::{PairLogProbs, PreferenceLoss, RewardModel};
/// let loss = RewardModel::new().with_centering(0.01)?;
/// let found = loss.evaluate(&PairLogProbs::reference_free(1.5, -0.5).with_offset(1.0));
/// // z = 1, and the rewards sum to 1.
/// assert!((found.loss - (0.31326168751822286 + 0.01)).abs() < 1e-15);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[doc(alias = "Bradley-Terry")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RewardModel {
    centering: f64,
}

impl RewardModel {
    /// The loss without a pull to 0.
    #[must_use]
    pub const fn new() -> Self {
        Self { centering: 0.0 }
    }

    /// With the pull c on the sum of the rewards.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless c is finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "center_rewards_coefficient")]
    pub fn with_centering(self, centering: f64) -> Result<Self, Error> {
        Ok(Self { centering: Parameter::Centering.not_negative(centering)? })
    }
}

impl PreferenceLoss for RewardModel {
    fn inputs(&self) -> Inputs {
        Inputs { reference: false, tokens: false, offsets: true }
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        let (chosen, rejected) = (pair.policy_chosen, pair.policy_rejected);
        let margin = chosen - rejected;
        let z = margin - pair.offset;
        let share = sigmoid(-z);
        // Without a pull no sum of rewards is too large.
        let (pull, slope) = if self.centering > 0.0 {
            let sum = chosen + rejected;
            (self.centering * (sum * sum), 2.0 * self.centering * sum)
        } else {
            (0.0, 0.0)
        };
        PairLoss {
            loss: softplus(-z) + pull,
            reward_chosen: chosen,
            reward_rejected: rejected,
            margin,
            d_chosen: slope - share,
            d_rejected: slope + share,
        }
        .of(pair)
    }
}

impl FromOptions for RewardModel {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new().with_centering(given.centering().unwrap_or(0.0))
    }
}
