//! Answers without a partner: each is desirable or undesirable on its own.

use crate::error::{Buffer, NonFinite, check_length};
use crate::loss::{Tangent, UnpairedLoss};
use crate::pair::{Reference, check_divisor, check_values};
use crate::{Error, SequenceLogProb};
use core::ops::AddAssign;

/// What a rater said of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Label {
    /// Good: treated as a chosen answer.
    Desirable = 1,
    /// Bad: treated as a rejected answer.
    Undesirable = 0,
}

/// A sequence with its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct UnpairedAnswer {
    /// Index of the sequence.
    pub sequence: usize,
    /// Its label.
    pub label: Label,
}

/// A batch of M unpaired answers among N sequences.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UnpairedBatch<'a> {
    /// The answers, M. A sequence may stand in several of them, or in none.
    pub answers: &'a [UnpairedAnswer],
    /// Policy log-probs, N.
    pub policy: &'a [SequenceLogProb],
    /// Reference log-probs, N.
    pub reference: Reference<'a>,
    /// A weight each, M, finite and ≥ 0; 1 without.
    pub weights: Option<&'a [f32]>,
    /// Divides the gradients: the answers of the whole (accumulated, global) batch.
    pub divisor: f64,
}

impl<'a> UnpairedBatch<'a> {
    /// A batch without weights.
    #[must_use]
    pub const fn new(
        answers: &'a [UnpairedAnswer],
        policy: &'a [SequenceLogProb],
        reference: Reference<'a>,
        divisor: f64,
    ) -> Self {
        Self { answers, policy, reference, weights: None, divisor }
    }

    /// With a weight for each answer.
    #[must_use]
    pub const fn with_weights(mut self, weights: &'a [f32]) -> Self {
        self.weights = Some(weights);
        self
    }
}

/// What a loss says of one unpaired answer. Nothing is divided by a batch size here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct AnswerLoss {
    /// weight · ℓ
    pub loss: f64,
    /// Implicit reward `β·(log π − log π_ref)`.
    pub reward: f64,
    /// `∂L/∂log π`
    pub d_log_prob: f64,
}

/// Where [`unpaired_loss`] writes.
#[derive(Debug)]
pub struct UnpairedOut<'a> {
    /// One an answer, M.
    pub losses: &'a mut [AnswerLoss],
    /// `∂(Σ L / divisor)/∂log π` of every sequence, N; 0 where no answer names it.
    pub d_log_probs: &'a mut [f64],
}

/// Sums over unpaired answers; those of micro-batches and machines add up with `+=`. A class that does not
/// occur adds 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct UnpairedSummary {
    /// Desirable answers summed.
    pub desirable: u64,
    /// Undesirable answers summed.
    pub undesirable: u64,
    /// Σ loss of the desirable answers.
    pub desirable_loss_sum: f64,
    /// Σ loss of the undesirable answers.
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
}

impl AddAssign for UnpairedSummary {
    fn add_assign(&mut self, other: Self) {
        self.desirable = self.desirable.saturating_add(other.desirable);
        self.undesirable = self.undesirable.saturating_add(other.undesirable);
        self.desirable_loss_sum += other.desirable_loss_sum;
        self.undesirable_loss_sum += other.undesirable_loss_sum;
        self.desirable_reward_sum += other.desirable_reward_sum;
        self.undesirable_reward_sum += other.undesirable_reward_sum;
    }
}

/// Loss, implicit reward and gradient of every unpaired answer, and their sums.
///
/// For any unpaired loss: [`Kto`](crate::loss::Kto), [`ApoZero`](crate::loss::ApoZero), [`Bco`](crate::loss::Bco),
/// [`Nca`](crate::loss::Nca), [`SppoHard`](crate::loss::SppoHard). The backward is that of pairs:
/// [`logit_grads`](crate::logit_grads) takes `d_log_probs`.
///
/// # Numerics
/// f64 throughout. Summary and losses are not divided.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::AnswerOutOfRange`],
/// [`Error::TokenCountMismatch`], [`Error::ReferenceMissing`], [`Error::Parameter`] for the divisor,
/// [`Error::InvalidValue`] for weights.
/// After all other answers are complete: [`Error::NonFiniteAnswers`]; the losses of those answers and the
/// gradients of their sequences are NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{loss::*, unpaired::*, *};
/// let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
/// let answers = [
///     UnpairedAnswer { sequence: 0, label: Label::Desirable },
///     UnpairedAnswer { sequence: 1, label: Label::Undesirable },
/// ];
/// let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&[-21.0, -24.5]), 2.0);
/// let (mut losses, mut d_log_probs) = ([AnswerLoss::default(); 2], [0.0; 2]);
/// let out = UnpairedOut { losses: &mut losses, d_log_probs: &mut d_log_probs };
/// let summary = unpaired_loss(&Kto::new(0.1, 0.2)?, &batch, out)?;
/// assert!((summary.desirable_loss_sum - 0.49250056244937961).abs() < 1e-15);
/// assert!(d_log_probs[0] < 0.0 && d_log_probs[1] > 0.0);
/// # Ok::<(), Error>(())
/// ```
pub fn unpaired_loss<L: UnpairedLoss + ?Sized>(
    loss: &L,
    batch: &UnpairedBatch<'_>,
    out: UnpairedOut<'_>,
) -> Result<UnpairedSummary, Error> {
    let UnpairedBatch { answers, policy, reference, weights, divisor } = *batch;
    check_divisor(divisor)?;
    let sequences = policy.len();
    if let Some(answer) = answers.iter().position(|a| a.sequence >= sequences) {
        let sequence = answers.get(answer).map_or(usize::MAX, |a| a.sequence);
        return Err(Error::AnswerOutOfRange { answer, sequence, sequences });
    }
    check_values(Buffer::AnswerWeights, weights, answers.len(), |w| w.is_finite() && w >= 0.0)?;
    reference.check_use(true)?;
    reference.check(policy.iter().map(|sequence| sequence.count))?;
    check_length(Buffer::AnswerLosses, answers.len(), out.losses.len())?;
    check_length(Buffer::SequenceGrads, sequences, out.d_log_probs.len())?;

    out.d_log_probs.fill(0.0);
    let mut summary = UnpairedSummary::default();
    let mut bad = NonFinite::NONE;
    for (i, (answer, to)) in answers.iter().zip(out.losses).enumerate() {
        let weight = weights.and_then(|w| w.get(i)).map_or(1.0, |&w| f64::from(w));
        let policy = policy.get(answer.sequence).map_or(f64::NAN, |s| s.sum);
        let log_ratio = policy - reference.sum(answer.sequence);
        let mut found = evaluate(loss, answer.label, log_ratio, weight);
        let mut d = found.d_log_prob / divisor;
        if [found.loss, found.reward, d].into_iter().all(f64::is_finite) {
            summary += found.summary(answer.label);
        } else {
            bad.see(i);
            (found, d) = (AnswerLoss::NAN, f64::NAN);
        }
        if let Some(to) = out.d_log_probs.get_mut(answer.sequence) {
            *to += d;
        }
        *to = found;
    }
    bad.answers().map(|()| summary)
}

fn evaluate<L: UnpairedLoss + ?Sized>(
    loss: &L,
    label: Label,
    log_ratio: f64,
    weight: f64,
) -> AnswerLoss {
    let Tangent { value, slope } = match label {
        Label::Desirable => loss.chosen(log_ratio),
        Label::Undesirable => loss.rejected(log_ratio),
    };
    AnswerLoss { loss: weight * value, reward: loss.beta() * log_ratio, d_log_prob: weight * slope }
}

impl AnswerLoss {
    const NAN: Self = Self { loss: f64::NAN, reward: f64::NAN, d_log_prob: f64::NAN };

    fn summary(&self, label: Label) -> UnpairedSummary {
        let none = UnpairedSummary::default();
        match label {
            Label::Desirable => UnpairedSummary {
                desirable: 1,
                desirable_loss_sum: self.loss,
                desirable_reward_sum: self.reward,
                ..none
            },
            Label::Undesirable => UnpairedSummary {
                undesirable: 1,
                undesirable_loss_sum: self.loss,
                undesirable_reward_sum: self.reward,
                ..none
            },
        }
    }
}
