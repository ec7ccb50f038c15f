//! The numbers of the derivation's five steps, from what a person moves.

use alloc::vec::Vec;

use dpo_kernel::loss::PreferenceLoss;
use dpo_kernel::theory::{AnswerSet, preference_log_prob, preference_prob};
use dpo_kernel::{
    Dpo, Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, preference_loss,
};

/// Steps 1 to 3 for a prompt of n answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    /// `E[r] − β KL` of the policy.
    pub objective: f64,
    /// Its largest value, β log Z.
    pub maximum: f64,
    /// log Z.
    pub log_partition: f64,
    /// `E[r]` of the policy.
    pub expected_reward: f64,
    /// π*, n probabilities.
    pub optimum: Vec<f64>,
    /// β log(π*/π_ref), n.
    pub log_ratios: Vec<f64>,
    /// The rewards that π* implies, n.
    pub implied: Vec<f64>,
}

impl Answers {
    /// From probabilities under the reference, rewards and probabilities under a policy, n each.
    ///
    /// # Errors
    /// Those of [`AnswerSet`].
    pub fn new(
        reference: &[f64],
        rewards: &[f64],
        policy: &[f64],
        beta: f64,
    ) -> Result<Self, Error> {
        let logs = |probs: &[f64]| probs.iter().copied().map(libm::log).collect::<Vec<_>>();
        let (ref_log_probs, log_probs) = (logs(reference), logs(policy));
        let answers = AnswerSet::new(&ref_log_probs, rewards, beta)?;
        let (objective, log_partition) = (answers.objective(&log_probs)?, answers.log_partition());
        let mut best = alloc::vec![0.0; rewards.len()];
        answers.optimal_policy(&mut best)?;
        let (mut log_ratios, mut implied) = (best.clone(), best.clone());
        answers.implicit_rewards(&best, 0.0, &mut log_ratios)?;
        answers.implicit_rewards(&best, log_partition, &mut implied)?;
        Ok(Self {
            objective,
            maximum: beta * log_partition,
            log_partition,
            expected_reward: policy.iter().zip(rewards).map(|(p, r)| p * r).sum(),
            optimum: best.iter().copied().map(libm::exp).collect(),
            log_ratios,
            implied,
        })
    }

    /// All numbers: the four, then π*, log-ratios and rewards.
    pub fn numbers(&self) -> Vec<f64> {
        let four = [self.objective, self.maximum, self.log_partition, self.expected_reward];
        let lists = [&four[..], &self.optimum, &self.log_ratios, &self.implied];
        lists.concat()
    }
}

/// Step 4: log P and P that the first answer is preferred.
pub fn preference(reward_chosen: f64, reward_rejected: f64) -> [f64; 2] {
    [
        preference_log_prob(reward_chosen, reward_rejected),
        preference_prob(reward_chosen, reward_rejected),
    ]
}

/// Step 5: DPO's loss of a pair and its gradients, from log-ratios log π − log π_ref.
///
/// # Errors
/// Those of [`Dpo::new`] and [`preference_loss`].
pub fn pair_loss(beta: f64, [chosen, rejected]: [f64; 2]) -> Result<PairLoss, Error> {
    // Log-probs are ≤ 0: the reference is as far below 0 as the policy may be above it.
    let sequence = |sum| SequenceLogProb { sum, count: 1 };
    let low = -chosen.abs().max(rejected.abs());
    let policy = [chosen, rejected].map(|ratio| sequence(low + ratio));
    let reference = [sequence(low); 2];
    let (mut losses, mut d_log_probs) = ([PairLoss::default()], [0.0; 2]);
    let pairs = [Pair::new(0, 1)];
    let batch = PairBatch::new(&pairs, &policy, Reference::Sequences(&reference), 1.0);
    let out = PairOut::new(&mut losses, &mut d_log_probs);
    // One instance for all losses, as the trainer has it.
    let loss: &dyn PreferenceLoss = &Dpo::new(beta)?;
    preference_loss(loss, &batch, out)?;
    let [loss] = losses;
    Ok(loss)
}
