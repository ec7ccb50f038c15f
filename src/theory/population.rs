//! Steps 4 and 5: preferences between answers, and the loss over the whole population of pairs.
//!
//! Two answers are drawn with probabilities proportional to `w`, again until they differ, and
//! labelled by Bradley and Terry with the true rewards. With `z_ij = β(a_i − a_j)`, where
//! `a = log π − log π_ref`, and `Δ_ij = r_i − r_j`:
//!
//! ```text
//! W      = Σ_{i<j} w_i w_j
//! L      = 1/W Σ_{i<j} w_i w_j [σ(Δ_ij) softplus(−z_ij) + σ(−Δ_ij) softplus(z_ij)]
//! ∂L/∂z  = σ(z) − σ(Δ)                       so the minimum is at z = Δ, for every pair
//! ∂L/∂log π_i = β/W Σ_j w_i w_j (σ(z_ij) − σ(Δ_ij))
//! ```
//!
//! The third line is why minimising the loss recovers π*: each pair is a regression of
//! z onto Δ, log Z is in neither, and the z of all pairs fix the policy up to its normalisation.

use super::answers::{AnswerSet, Sum, check_length, check_values, invalid};
use crate::error::{Error, Parameter};
use crate::math::{log_sigmoid, sigmoid, sigmoid_difference, softplus};

/// The log of the probability that the first answer is preferred to the second.
///
/// ```text
/// log P(y_w ≻ y_l) = log σ(r_w − r_l) = min(Δ, 0) − log(1 + exp(−|Δ|)),   Δ = r_w − r_l
/// ```
///
/// # Numerics
/// Both tails keep their relative accuracy, a few units in the last place: `−exp(−Δ)` on the right,
/// Δ itself on the left. NaN rewards, and two equal infinite ones, give NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::theory::preference_log_prob;
///
/// assert_eq!(preference_log_prob(3.0, 3.0), -core::f64::consts::LN_2);
/// assert_eq!(preference_log_prob(0.0, 1000.0), -1000.0);
/// assert!(preference_log_prob(100.0, 0.0) < 0.0);
/// ```
///
/// Source: Bradley and Terry 1952; Rafailov et al. 2023, equations 1 and 6.
#[must_use]
pub fn preference_log_prob(reward_chosen: f64, reward_rejected: f64) -> f64 {
    log_sigmoid(reward_chosen - reward_rejected)
}

/// The probability that the first answer is preferred to the second.
///
/// ```text
/// P(y_w ≻ y_l) = σ(r_w − r_l)
/// ```
///
/// # Numerics
/// Accurate to a few units in the last place down to the smallest f64: the small side of σ is
/// computed, never `1 − σ`. NaN rewards, and two equal infinite ones, give NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::theory::preference_prob;
///
/// assert_eq!(preference_prob(3.0, 3.0), 0.5);
/// assert_eq!(preference_prob(1.0, 0.0) + preference_prob(0.0, 1.0), 1.0);
/// assert!(preference_prob(0.0, 700.0) > 0.0);
/// ```
///
/// Source: Bradley and Terry 1952; Rafailov et al. 2023, equations 1 and 6.
#[must_use]
pub fn preference_prob(reward_chosen: f64, reward_rejected: f64) -> f64 {
    sigmoid(reward_chosen - reward_rejected)
}

impl AnswerSet<'_> {
    /// The DPO loss that infinitely many labelled pairs would give.
    ///
    /// ```text
    /// L(π) = E_{i≠j ~ w} [ −σ(r_i − r_j) log σ(β[(log π_i − log π_ref(i)) − (log π_j − log π_ref(j))])
    ///                      −σ(r_j − r_i) log σ(the same, negated) ]
    /// ```
    ///
    /// Shapes: `log_probs` and `weights` hold one number an answer. Weights need not sum to 1; all
    /// equal is the uniform population, and an answer of weight 0 is in no pair.
    ///
    /// # Numerics
    /// Relative to L within `2⁻⁵³ · 20`, for any n, given z and Δ of the pairs. Those are rounded
    /// themselves, Δ once and z within `2⁻⁵³ · β (|a_i| + |a_j| + 2 |a_i − a_j|)`; L moves by no more
    /// than the z do.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::InvalidValue`] for a weight that is negative or not finite, and
    /// for a policy or reference log-prob that is not finite although its answer has weight;
    /// [`Error::Parameter`] with the divisor W unless it is finite and > 0, that is, unless two
    /// answers have weight.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::theory::AnswerSet;
    ///
    /// let reference = [0.2_f64.ln(), 0.8_f64.ln()];
    /// let answers = AnswerSet::new(&reference, &[1.0, 0.0], 0.1)?;
    /// // At the reference every margin is 0, so every pair costs ln 2.
    /// let loss = answers.population_loss(&reference, &[1.0, 1.0])?;
    /// assert_eq!(loss, core::f64::consts::LN_2);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    ///
    /// Source: Rafailov et al. 2023, equations 2 and 7.
    pub fn population_loss(&self, log_probs: &[f64], weights: &[f64]) -> Result<f64, Error> {
        let divisor = self.pair_weight(log_probs, weights)?;
        let mut loss = Sum::default();
        let compared = || self.compared(log_probs, weights).filter(|answer| answer.weight > 0.0);
        for (i, first) in compared().enumerate() {
            for second in compared().take(i) {
                let z = self.beta * (first.log_ratio - second.log_ratio);
                let delta = first.reward - second.reward;
                let cross_entropy = sigmoid(delta) * softplus(-z) + sigmoid(-delta) * softplus(z);
                loss.add(first.weight * second.weight * cross_entropy);
            }
        }
        Ok(loss.value() / divisor)
    }

    /// The gradient of [`Self::population_loss`] with respect to the log-probs.
    ///
    /// ```text
    /// d_i = ∂L/∂log π_i = β/W Σ_j w_i w_j (σ(z_ij) − σ(r_i − r_j))
    /// ```
    ///
    /// It sums to 0, and so it is the gradient with respect to the logits θ of π = softmax(θ) too:
    /// `∂L/∂θ_k = d_k − π_k Σ_i d_i`. The normaliser of the policy cancels like that of π*.
    ///
    /// Shapes: `log_probs` and `weights` hold and `d_log_probs` receives one number an answer.
    ///
    /// # Numerics
    /// `σ(z) − σ(Δ)` is computed as `σ(z) σ(−Δ) (1 − exp(Δ − z))`, which keeps its relative accuracy
    /// in both tails and is exactly 0 at z = Δ. What pair (i, j) gives to i it takes from j, to
    /// the bit.
    ///
    /// # Errors
    /// As [`Self::population_loss`]; the output has not changed then.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::theory::AnswerSet;
    ///
    /// let reference = [0.5_f64.ln(), 0.5_f64.ln()];
    /// let answers = AnswerSet::new(&reference, &[1000.0, 0.0], 0.1)?;
    /// let mut d_log_probs = [0.0; 2];
    /// answers.population_loss_grad(&reference, &[1.0, 1.0], &mut d_log_probs)?;
    /// // The first answer always wins: −β σ(−0) and its opposite.
    /// assert_eq!(d_log_probs, [-0.05, 0.05]);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    ///
    /// Source: Rafailov et al. 2023, section 4, "What does the DPO update do?".
    pub fn population_loss_grad(
        &self,
        log_probs: &[f64],
        weights: &[f64],
        d_log_probs: &mut [f64],
    ) -> Result<(), Error> {
        check_length(self.rewards.len(), d_log_probs)?;
        let divisor = self.pair_weight(log_probs, weights)?;
        for (d, first) in d_log_probs.iter_mut().zip(self.compared(log_probs, weights)) {
            let mut pull = Sum::default();
            for second in self.compared(log_probs, weights) {
                let z = self.beta * (first.log_ratio - second.log_ratio);
                let delta = first.reward - second.reward;
                pull.add(first.weight * second.weight * sigmoid_difference(z, delta, z - delta));
            }
            *d = self.beta * (pull.value() / divisor);
        }
        Ok(())
    }

    /// Checks what is compared with what, and gives `W = Σ_{i<j} w_i w_j`.
    fn pair_weight(&self, log_probs: &[f64], weights: &[f64]) -> Result<f64, Error> {
        check_length(self.rewards.len(), log_probs)?;
        check_length(self.rewards.len(), weights)?;
        check_values(weights, |weight| weight.is_finite() && weight >= 0.0)?;
        let mut divisor = Sum::default();
        let mut before = Sum::default();
        for (index, ((&l, &l_ref), &weight)) in
            log_probs.iter().zip(self.ref_log_probs).zip(weights).enumerate()
        {
            if weight > 0.0 && !(l.is_finite() && l_ref.is_finite()) {
                return Err(invalid(index, if l.is_finite() { l_ref } else { l }));
            }
            divisor.add(weight * before.value());
            before.add(weight);
        }
        let divisor = divisor.value();
        if divisor.is_finite() && divisor > 0.0 {
            Ok(divisor)
        } else {
            Err(Error::Parameter { parameter: Parameter::Divisor, value: divisor })
        }
    }

    /// The answers as the pairs see them. Those of weight 0 get a log-ratio that does no harm.
    fn compared(&self, log_probs: &[f64], weights: &[f64]) -> impl Iterator<Item = Compared> {
        let answers = log_probs.iter().zip(self.ref_log_probs).zip(self.rewards).zip(weights);
        answers.map(|(((&l, &l_ref), &reward), &weight)| Compared {
            log_ratio: if weight > 0.0 { l - l_ref } else { 0.0 },
            reward,
            weight,
        })
    }
}

struct Compared {
    log_ratio: f64,
    reward: f64,
    weight: f64,
}
