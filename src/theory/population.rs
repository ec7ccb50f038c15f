//! Step 5: the loss over the whole population of pairs.
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

use super::answers::{AnswerSet, check_length, check_values, invalid};
use super::sum::Sum;
use crate::error::{Error, Parameter};
use crate::math::{sigmoid, sigmoid_difference, softplus};

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
    /// themselves, Δ once and z within `2⁻⁵³ · β (|a_i| + |a_j| + 2 |a_i − a_j|)`; L moves by no
    /// more than the z do.
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
    /// // At the reference z = 0 for every pair, so every pair has loss ln 2.
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
    /// `σ(z) − σ(Δ)` is computed as `σ(z) σ(−Δ) (1 − exp(Δ − z))`, which keeps its relative
    /// accuracy in both tails and is exactly 0 at z = Δ. The two gradients of a pair are each
    /// other's negative, to the bit.
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
            let mut sum = Sum::default();
            for second in self.compared(log_probs, weights) {
                let z = self.beta * (first.log_ratio - second.log_ratio);
                let delta = first.reward - second.reward;
                sum.add(first.weight * second.weight * sigmoid_difference(z, delta, z - delta));
            }
            *d = self.beta * (sum.value() / divisor);
        }
        Ok(())
    }

    /// Checks log-probs and weights, and returns `W = Σ_{i<j} w_i w_j`.
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

    /// Log-ratio, reward and weight of each answer. An answer of weight 0 may have log-probs that
    /// are not finite: its log-ratio is 0.
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
