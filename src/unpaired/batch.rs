//! A batch of unpaired answers under a loss.

use super::{AnswerLoss, Label, UnpairedAnswer, UnpairedBatchLoss, UnpairedSummary};
use crate::error::{Buffer, NonFinite, check_length};
use crate::loss::{Tangent, UnpairedLoss};
use crate::pair::{Reference, check_divisor, check_weights, is_left_out};
use crate::sequence::weight_of;
use crate::{Error, SequenceLogProb};

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
    /// A weight each, M, finite and ≥ 0; 1 without. An answer of weight 0 is *left out*, as if it
    /// were not in the batch: its sequence and log-probs are not looked at, so that they may be
    /// anything, and it adds to no sum, count or gradient.
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

/// Where [`unpaired_loss`] writes.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnpairedOut<'a> {
    /// One an answer, M; zeros for answers of weight 0.
    pub losses: &'a mut [AnswerLoss],
    /// `∂(Σ L / divisor)/∂log π` of every sequence, N; 0 where no answer with a weight names it.
    pub d_log_probs: &'a mut [f64],
}

impl<'a> UnpairedOut<'a> {
    /// Losses, M, and gradients, N.
    #[must_use]
    pub const fn new(losses: &'a mut [AnswerLoss], d_log_probs: &'a mut [f64]) -> Self {
        Self { losses, d_log_probs }
    }
}

/// Loss, implicit reward and gradient of every unpaired answer, and their sums.
///
/// ```text
/// ℓ₁(a) of a desirable answer, ℓ₂(a) of an undesirable one, a = log π(y) − log π_ref(y)
/// ```
///
/// `losses` is a reference to any unpaired loss ([`Kto`](crate::loss::Kto),
/// [`ApoZero`](crate::loss::ApoZero), [`Bco`](crate::loss::Bco), [`Nca`](crate::loss::Nca),
/// [`SppoHard`](crate::loss::SppoHard)), or a [`PerAnswer`](super::PerAnswer). The backward is that
/// of pairs: [`logit_grads`](crate::gradient::logit_grads) takes `d_log_probs`. The [module](super)
/// has the order of calls.
///
/// An answer of weight 0 is left out, as if it were not in the batch; [`UnpairedSummary::left_out`]
/// counts it, and nothing else does. Sequences that no other answer names are not looked at: they
/// may be empty, and their token counts may differ between policy and reference.
///
/// # Numerics
/// f64 throughout. Summary and losses are not divided.
///
/// # Errors
/// Before anything is written: [`Error::Length`], [`Error::AnswerOutOfRange`],
/// [`Error::NoScoredTokens`], [`Error::TokenCountMismatch`], [`Error::ReferenceMissing`],
/// [`Error::Parameter`] for the divisor, [`Error::InvalidValue`] for weights. After all other
/// answers are complete: [`Error::NonFiniteAnswers`] for answers whose loss, or whose gradient over
/// the divisor, is not finite; their losses and the gradients of their sequences are NaN.
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{loss::*, unpaired::*, *};
/// let policy = [-20.5, -25.25].map(|sum| SequenceLogProb { sum, count: 10 });
/// let answers =
///     [UnpairedAnswer::new(0, Label::Desirable), UnpairedAnswer::new(1, Label::Undesirable)];
/// let batch = UnpairedBatch::new(&answers, &policy, Reference::Sums(&[-21.0, -24.5]), 2.0);
/// let (mut losses, mut d_log_probs) = ([AnswerLoss::default(); 2], [0.0; 2]);
/// let out = UnpairedOut::new(&mut losses, &mut d_log_probs);
/// let summary = unpaired_loss(&Kto::new(0.1, 0.2)?, &batch, out)?;
/// assert!((summary.desirable_loss_sum - 0.49250056244937961).abs() < 1e-15);
/// assert!(d_log_probs[0] < 0.0 && d_log_probs[1] > 0.0);
/// # Ok::<(), Error>(())
/// ```
#[allow(clippy::needless_pass_by_value, reason = "a reference, as with pairs")]
pub fn unpaired_loss<L: UnpairedBatchLoss>(
    losses: L,
    batch: &UnpairedBatch<'_>,
    out: UnpairedOut<'_>,
) -> Result<UnpairedSummary, Error> {
    let UnpairedBatch { answers, policy, reference, weights, divisor } = *batch;
    let tokens = |sequence: usize| policy.get(sequence).map_or(0, |found| found.count);
    check_answers(&losses, batch, policy.len(), tokens)?;
    check_length(Buffer::AnswerLosses, answers.len(), out.losses.len())?;
    check_length(Buffer::SequenceGrads, policy.len(), out.d_log_probs.len())?;

    out.d_log_probs.fill(0.0);
    let mut summary = UnpairedSummary::default();
    let mut bad = NonFinite::NONE;
    for (i, (&UnpairedAnswer { sequence, label }, to)) in answers.iter().zip(out.losses).enumerate()
    {
        if is_absent(&losses, batch, i) {
            *to = AnswerLoss::default();
            summary += UnpairedSummary { left_out: 1, ..UnpairedSummary::default() };
            continue;
        }
        let policy = policy.get(sequence).map_or(f64::NAN, |found| found.sum);
        let log_ratio = policy - reference.sum(sequence);
        let found = losses.of_answer(i).map_or(AnswerLoss::NAN, |loss| {
            evaluate(loss, label, log_ratio, weight_of(weights, i))
        });
        let d = found.d_log_prob / divisor;
        let is_finite = found.is_finite() && d.is_finite();
        if is_finite {
            summary += UnpairedSummary::of(&found, label);
        } else {
            bad.see(i);
        }
        *to = if is_finite { found } else { AnswerLoss::NAN };
        if let Some(to) = out.d_log_probs.get_mut(sequence) {
            *to += if is_finite { d } else { f64::NAN };
        }
    }
    bad.answers().map(|()| summary)
}

/// Every check of a batch that needs no log-probs: `tokens` is how many tokens of a sequence are
/// scored, and [`UnpairedBatch::policy`] is not read.
pub(crate) fn check_answers<L: UnpairedBatchLoss>(
    losses: &L,
    batch: &UnpairedBatch<'_>,
    sequences: usize,
    tokens: impl Fn(usize) -> usize,
) -> Result<(), Error> {
    let UnpairedBatch { answers, reference, weights, divisor, .. } = *batch;
    check_divisor(divisor)?;
    check_weights(Buffer::AnswerWeights, weights, answers.len())?;
    losses.check(answers.len())?;
    for (answer, &UnpairedAnswer { sequence, .. }) in answers.iter().enumerate() {
        if sequence >= sequences && !is_absent(losses, batch, answer) {
            return Err(Error::AnswerOutOfRange { answer, sequence, sequences });
        }
    }
    reference.check_use(true)?;
    reference.check_length(sequences)?;
    for (i, &UnpairedAnswer { sequence, .. }) in answers.iter().enumerate() {
        if !is_absent(losses, batch, i) {
            reference.check_tokens(sequence, tokens(sequence))?;
        }
    }
    Ok(())
}

/// Whether an answer has weight 0, or its class has under its loss.
fn is_absent<L: UnpairedBatchLoss>(losses: &L, batch: &UnpairedBatch<'_>, index: usize) -> bool {
    let is_class_absent = || {
        let (desirable, undesirable) =
            losses.of_answer(index).map_or((false, false), UnpairedLoss::leaves_out);
        batch.answers.get(index).is_some_and(|answer| match answer.label {
            Label::Desirable => desirable,
            Label::Undesirable => undesirable,
        })
    };
    is_left_out(batch.weights, index) || is_class_absent()
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
