//! Steps 1 to 3: the objective, its optimum and the reward that an optimum implies.
//!
//! For a prompt with n answers, where `r* = max r_i` over the answers that the reference can give:
//!
//! ```text
//! t_i      = log π_ref(i) + (r_i − r*)/β           ≤ 0 for a normalised reference
//! m        = max t_i
//! λ        = log Σ exp(t_i − m)                     = log1p of the sum without its largest term
//! log Z    = r*/β + (m + λ)
//! log π*_i = (t_i − m) − λ
//! ```
//!
//! The textbook fold starts from `log π_ref + r/β`. This one differs in that
//! 1. r* is taken out before the division, so that rewards shifted by a constant give the same bits
//!    as long as the shift itself is exact, and `r/β` may be 10⁶ or overflow without harm to π*;
//! 2. the largest term is left out of the sum and `log1p` adds it, so that a policy that is certain
//!    up to 10⁻³⁰ still knows those 10⁻³⁰;
//! 3. all sums are compensated (Neumaier), so that error bounds do not grow with n.

use super::sum::Sum;
use crate::error::{Buffer, Error, Parameter};

/// The answers to one prompt: their reference log-probs and their true rewards.
///
/// All lengths are n, the number of answers. A reference log-prob of −inf is an answer that the
/// reference never gives; no policy at a finite distance from the reference gives it either.
///
/// Normalisation of the reference is not checked: a missing factor becomes a part of Z and cancels
/// with it.
///
/// # Example
/// ```
/// use dpo_kernel::theory::AnswerSet;
///
/// let reference = [0.5_f64.ln(), 0.5_f64.ln()];
/// let answers = AnswerSet::new(&reference, &[1.0, 0.0], 0.5)?;
/// let mut best = [0.0; 2];
/// answers.optimal_policy(&mut best)?;
/// // exp(r/β) is e² for the first answer and 1 for the second.
/// assert!((best[0] - best[1] - 2.0).abs() < 1e-15);
/// assert!((answers.objective(&best)? - 0.5 * answers.log_partition()).abs() < 1e-15);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AnswerSet<'a> {
    pub(super) ref_log_probs: &'a [f64],
    pub(super) rewards: &'a [f64],
    pub(super) beta: f64,
    best_reward: f64,
    max_tilt: f64,
    log_sum: f64,
}

impl<'a> AnswerSet<'a> {
    /// Checks the answers of one prompt and folds them to their partition function.
    ///
    /// Shapes: `ref_log_probs` and `rewards` hold one number an answer.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0; [`Error::Length`] if there is no answer or
    /// the lengths differ; [`Error::InvalidValue`] for a reference log-prob of NaN or +inf, for a
    /// reward that is not finite, or (with index 0) if every reference log-prob is −inf.
    ///
    /// # Panics
    /// Never.
    pub fn new(ref_log_probs: &'a [f64], rewards: &'a [f64], beta: f64) -> Result<Self, Error> {
        if !(beta.is_finite() && beta > 0.0) {
            return Err(Error::Parameter { parameter: Parameter::Beta, value: beta });
        }
        check_length(ref_log_probs.len().max(1), ref_log_probs)?;
        check_length(ref_log_probs.len(), rewards)?;
        check_values(ref_log_probs, is_log_prob)?;
        check_values(rewards, f64::is_finite)?;

        let possible = || ref_log_probs.iter().zip(rewards).filter(|(l, _)| l.is_finite());
        let best_reward = possible().map(|(_, &r)| r).fold(f64::NEG_INFINITY, f64::max);
        if !best_reward.is_finite() {
            return Err(invalid(0, f64::NEG_INFINITY));
        }
        let tilt = |(&l, &r): (&f64, &f64)| l + (r - best_reward) / beta;
        let max_tilt = possible().map(tilt).fold(f64::NEG_INFINITY, f64::max);
        let mut rest = Sum::default();
        let mut largest_left_out = false;
        for t in possible().map(tilt) {
            if t >= max_tilt && !largest_left_out {
                largest_left_out = true;
            } else {
                rest.add(libm::exp(t - max_tilt));
            }
        }
        let log_sum = libm::log1p(rest.value());
        Ok(Self { ref_log_probs, rewards, beta, best_reward, max_tilt, log_sum })
    }

    /// The objective: the expected reward of a policy, less β times its KL divergence from the
    /// reference.
    ///
    /// ```text
    /// J(π) = Σ_i π_i r_i − β Σ_i π_i (log π_i − log π_ref(i))
    /// ```
    ///
    /// Shapes: `log_probs` holds one number an answer.
    ///
    /// # Numerics
    /// Within `2⁻⁵³ · 8 · Σ π_i (|r_i| + β |log π_i − log π_ref(i)|)`, for any n. Probabilities of
    /// 0 contribute 0. A policy that gives an answer which the reference never gives is at an
    /// infinite distance: −inf. That the probabilities sum to 1 is up to the caller.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::InvalidValue`] for a log-prob of NaN or +inf.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::theory::AnswerSet;
    ///
    /// let reference = [0.25_f64.ln(), 0.75_f64.ln()];
    /// let answers = AnswerSet::new(&reference, &[4.0, 0.0], 0.1)?;
    /// // The reference has divergence 0 and its expected reward.
    /// assert_eq!(answers.objective(&reference)?, 1.0);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    ///
    /// Source: Rafailov et al. 2023, equation 3.
    pub fn objective(&self, log_probs: &[f64]) -> Result<f64, Error> {
        check_length(self.rewards.len(), log_probs)?;
        check_values(log_probs, is_log_prob)?;
        let mut expected_reward = Sum::default();
        let mut divergence = Sum::default();
        for ((&l, &l_ref), &reward) in log_probs.iter().zip(self.ref_log_probs).zip(self.rewards) {
            let prob = libm::exp(l);
            if prob > 0.0 {
                expected_reward.add(prob * reward);
                divergence.add(prob * (l - l_ref));
            }
        }
        Ok(expected_reward.value() - self.beta * divergence.value())
    }

    /// The log of the partition function. β times it is the maximum of the objective.
    ///
    /// ```text
    /// log Z = log Σ_i π_ref(i) exp(r_i/β)
    /// ```
    ///
    /// # Numerics
    /// Within `2⁻⁵³ · (|r*|/β + |m + λ| + |log Z| + 6 λ + E_π*[2 |r − r*|/β + |t| + |t − m|])`, in
    /// the letters defined in this file's head. An r/β that overflows gives ±inf here, and nowhere
    /// else.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::theory::AnswerSet;
    ///
    /// let reference = [0.5_f64.ln(), 0.5_f64.ln()];
    /// let answers = AnswerSet::new(&reference, &[3.0, 3.0], 1e-3)?;
    /// assert_eq!(answers.log_partition(), 3000.0);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    ///
    /// Source: Rafailov et al. 2023, equation 4 and its appendix A.1.
    #[must_use]
    pub fn log_partition(&self) -> f64 {
        self.best_reward / self.beta + (self.max_tilt + self.log_sum)
    }

    /// The optimal policy, at which the objective is largest: the reference times `exp(r/β)`,
    /// normalised.
    ///
    /// ```text
    /// log π*_i = log π_ref(i) + r_i/β − log Z
    /// ```
    ///
    /// Shapes: `log_probs` receives one log-prob an answer.
    ///
    /// # Numerics
    /// The margin `β[(log π*_w − log π_ref(w)) − (log π*_l − log π_ref(l))]` differs from
    /// `r_w − r_l` by at most `2⁻⁵³ (15 D + 8 β A + 2 β ln n)`, where D is the range of the rewards
    /// and A the largest `|log π_ref|`, both over the answers that the reference can give. A
    /// constant added to all rewards changes no bit, unless the addition rounds. Answers that the
    /// reference never gives get −inf.
    ///
    /// # Errors
    /// [`Error::Length`], with nothing written.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::theory::AnswerSet;
    ///
    /// let reference = [0.5_f64.ln(), 0.5_f64.ln(), f64::NEG_INFINITY];
    /// let answers = AnswerSet::new(&reference, &[7.0, 7.0, 9.0], 0.1)?;
    /// let mut best = [0.0; 3];
    /// answers.optimal_policy(&mut best)?;
    /// assert_eq!(best, reference);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    ///
    /// Source: Rafailov et al. 2023, equation 4.
    pub fn optimal_policy(&self, log_probs: &mut [f64]) -> Result<(), Error> {
        check_length(self.rewards.len(), log_probs)?;
        for ((out, &l), &r) in log_probs.iter_mut().zip(self.ref_log_probs).zip(self.rewards) {
            *out = if l.is_finite() {
                (l + (r - self.best_reward) / self.beta - self.max_tilt) - self.log_sum
            } else {
                f64::NEG_INFINITY
            };
        }
        Ok(())
    }

    /// The rewards for which a policy is optimal.
    ///
    /// ```text
    /// r̂_i = β (log π_i − log π_ref(i)) + β log Z
    /// ```
    ///
    /// Shapes: `log_probs` holds and `rewards` receives one number an answer. A `log_partition` of
    /// 0 leaves out the constant of the prompt, which no preference depends on.
    ///
    /// # Numerics
    /// The log-ratio is formed first, for it is exactly 0 where policy and reference agree. A
    /// policy log-prob of −inf implies a reward of −inf.
    ///
    /// # Errors
    /// [`Error::Length`]; [`Error::InvalidValue`] for a log-prob of NaN or +inf, and for a
    /// reference log-prob of −inf, because any reward explains an answer that is never given. The
    /// output has not changed then.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::theory::AnswerSet;
    ///
    /// let reference = [0.25_f64.ln(), 0.75_f64.ln()];
    /// let answers = AnswerSet::new(&reference, &[1.5, -2.0], 0.1)?;
    /// let (mut best, mut implied) = ([0.0; 2], [0.0; 2]);
    /// answers.optimal_policy(&mut best)?;
    /// answers.implicit_rewards(&best, answers.log_partition(), &mut implied)?;
    /// assert!((implied[0] - 1.5).abs() < 1e-14 && (implied[1] + 2.0).abs() < 1e-14);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    ///
    /// Source: Rafailov et al. 2023, equation 5.
    pub fn implicit_rewards(
        &self,
        log_probs: &[f64],
        log_partition: f64,
        rewards: &mut [f64],
    ) -> Result<(), Error> {
        check_length(self.rewards.len(), log_probs)?;
        check_length(self.rewards.len(), rewards)?;
        check_values(log_probs, is_log_prob)?;
        check_values(self.ref_log_probs, f64::is_finite)?;
        for ((out, &l), &l_ref) in rewards.iter_mut().zip(log_probs).zip(self.ref_log_probs) {
            *out = self.beta * (l - l_ref) + self.beta * log_partition;
        }
        Ok(())
    }
}

pub(super) fn check_length(expected: usize, found: &[f64]) -> Result<(), Error> {
    if found.len() == expected {
        Ok(())
    } else {
        Err(Error::Length { buffer: Buffer::Answers, expected, found: found.len() })
    }
}

pub(super) fn check_values(values: &[f64], valid: fn(f64) -> bool) -> Result<(), Error> {
    match values.iter().enumerate().find(|(_, value)| !valid(**value)) {
        None => Ok(()),
        Some((index, &value)) => Err(invalid(index, value)),
    }
}

/// A log-prob may be −inf. Positive ones are let through: rounding makes them, and scale cancels.
pub(super) fn is_log_prob(value: f64) -> bool {
    value < f64::INFINITY
}

pub(super) const fn invalid(index: usize, value: f64) -> Error {
    Error::InvalidValue { buffer: Buffer::Answers, index, value }
}
