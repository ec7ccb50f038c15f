//! The step over answers without a partner.

use super::logits::StepLogits;
use super::scratch::{StepScratch, StepSummary};
use super::stages::{broken_rows, count};
use crate::Error;
use crate::error::{Buffer, check_length};
use crate::executor::Executor;
use crate::gradient::{GradBatch, Unscored, write_coefficients};
use crate::layout::Layout;
use crate::pair::Reference;
use crate::sequence::{check_token_weights, sum_tokens};
use crate::token::TokenOut;
use crate::unpaired::{
    AnswerLoss, UnpairedAnswer, UnpairedBatch, UnpairedBatchLoss, UnpairedOut, UnpairedSummary,
    check_answers, unpaired_loss,
};

/// What a step over answers without a partner is about.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UnpairedStepBatch<'a> {
    /// Which rows are scored, and the sequence of each.
    pub layout: &'a Layout<'a>,
    /// The answers among the sequences, M.
    pub answers: &'a [UnpairedAnswer],
    /// Log-probs of the sequences under the reference, N.
    pub reference: Reference<'a>,
    /// As [`UnpairedBatch::weights`].
    pub weights: Option<&'a [f32]>,
    /// As in [`sequence_log_probs`](crate::sequence_log_probs); the reference's sums must have been
    /// weighted alike.
    pub token_weights: Option<&'a [f32]>,
    /// As [`UnpairedBatch::divisor`].
    pub divisor: f64,
    /// What becomes of rows that are not scored and of padding columns.
    pub unscored: Unscored,
}

impl<'a> UnpairedStepBatch<'a> {
    /// A step without weights, whose gradients `divisor` divides: the answers of the whole
    /// (accumulated, global) batch.
    #[must_use]
    pub const fn new(
        layout: &'a Layout<'a>,
        answers: &'a [UnpairedAnswer],
        reference: Reference<'a>,
        divisor: f64,
    ) -> Self {
        let unscored = Unscored::Keep;
        Self { layout, answers, reference, weights: None, token_weights: None, divisor, unscored }
    }

    /// With a weight for each answer.
    #[must_use]
    pub const fn with_weights(mut self, weights: &'a [f32]) -> Self {
        self.weights = Some(weights);
        self
    }

    /// With a weight for each token.
    #[must_use]
    pub const fn with_token_weights(mut self, token_weights: &'a [f32]) -> Self {
        self.token_weights = Some(token_weights);
        self
    }

    /// With [`Unscored::Zero`] or [`Unscored::Keep`] for rows that are not scored and padding
    /// columns.
    #[must_use]
    pub const fn with_unscored(mut self, unscored: Unscored) -> Self {
        self.unscored = unscored;
        self
    }

    /// The number whose gradient a step writes, from the summary of this step: Σ L / divisor. Over
    /// micro-batches with the divisor of the whole batch these numbers add up.
    #[must_use]
    pub fn total_loss(&self, summary: &StepSummary<UnpairedSummary>) -> f64 {
        let UnpairedSummary { desirable_loss_sum, undesirable_loss_sum, .. } = summary.loss;
        (desirable_loss_sum + undesirable_loss_sum) / self.divisor
    }
}

/// Policy logits → loss summary and logit gradients of answers that are good or bad on their own:
/// KTO, BCO, APO, A*PO and every other [`UnpairedLoss`](crate::loss::UnpairedLoss), or one for each
/// answer.
///
/// As [`preference_step`](crate::preference_step), with [`unpaired_loss`] in the place of
/// [`preference_loss`](crate::preference_loss).
///
/// KTO's K must be known before the call, because it is part of the loss. It comes from log-ratios
/// of mismatched answers: score them under the policy, add them to
/// [`LogRatioSums`](crate::training::LogRatioSums), and give
/// [`kto_k`](crate::training::LogRatioSums::kto_k) to [`Kto::new`](crate::loss::Kto::new).
///
/// # Errors
/// As [`preference_step`](crate::preference_step), with [`Error::NonFiniteAnswers`] in the place of
/// [`Error::NonFinitePairs`].
///
/// # Panics
/// Never.
///
/// # Example
/// ```
/// use dpo_kernel::{loss::Kto, row::RowNorm, step::*, unpaired::*, *};
/// let mut logits = [0.5_f32, -1.0, 2.0, 0.0, 3.0, -0.5];
/// let (targets, spans) = ([2, 0], [Span::new(0, 1), Span::new(1, 2)]);
/// let layout = Layout::new(&targets, &spans, 3)?;
/// let answers = [
///     UnpairedAnswer { sequence: 0, label: Label::Desirable },
///     UnpairedAnswer { sequence: 1, label: Label::Undesirable },
/// ];
/// let reference = Reference::Sums(&[-0.2413113, -3.0769466]);
/// let batch = UnpairedStepBatch::new(&layout, &answers, reference, 2.0);
///
/// let (mut log_probs, mut norms) = ([0.0; 2], [RowNorm::default(); 2]);
/// let (mut sequences, mut losses) = ([SequenceLogProb::default(); 2], [AnswerLoss::default(); 2]);
/// let (mut d_log_probs, mut coefficients) = ([0.0; 2], [0.0; 2]);
/// let scratch = StepScratch::new(
///     &mut log_probs, &mut norms, &mut sequences, &mut losses, &mut d_log_probs, &mut coefficients,
/// );
/// let view = LogitsMut::new(&mut logits, 2, 3)?;
/// let summary = unpaired_step(Dispatch::detect(), &Kto::new(0.1, 0.0)?, view, &batch, scratch)?;
/// assert!((summary.mean_loss() - 0.5).abs() < 1e-6);
/// assert!(logits[2] < 0.0 && logits[3] > 0.0, "descent raises the good answer's logit");
/// # Ok::<(), Error>(())
/// ```
pub fn unpaired_step<X: Executor, L: UnpairedBatchLoss, G: StepLogits>(
    executor: X,
    loss: L,
    mut logits: G,
    batch: &UnpairedStepBatch<'_>,
    scratch: StepScratch<'_, AnswerLoss>,
) -> Result<StepSummary<UnpairedSummary>, Error> {
    let UnpairedStepBatch { layout, answers, reference, weights, token_weights, .. } = *batch;
    let (divisor, sequences) = (batch.divisor, layout.sequences());
    check_token_weights(token_weights, layout.rows())?;
    let of_answers = UnpairedBatch { answers, policy: &[], reference, weights, divisor };
    check_answers(&loss, &of_answers, sequences, |i| count(layout, i, token_weights))?;
    logits.check(executor, layout)?;
    scratch.check(layout.rows(), sequences)?;
    check_length(Buffer::AnswerLosses, answers.len(), scratch.losses.len())?;

    let StepScratch { log_probs, norms, sequences, losses, d_log_probs, coefficients, .. } =
        scratch;
    let out = TokenOut::new(log_probs).with_norms(norms);
    let (_, tokens) = logits.score(executor, layout, out);
    sum_tokens(log_probs, layout, token_weights, sequences);
    let of_answers = UnpairedBatch { policy: sequences, ..of_answers };
    let found = unpaired_loss(loss, &of_answers, UnpairedOut::new(losses, d_log_probs));
    if found.is_err() {
        let broken = broken_rows(layout, norms, d_log_probs, token_weights, None);
        broken.rows().map_err(|error| logits.blame(error))?;
    }
    let summary = StepSummary { loss: found?, tokens, ..StepSummary::default() };
    write_coefficients(layout, d_log_probs, token_weights, None, coefficients);
    let grads = GradBatch::new(layout, norms, coefficients).with_unscored(batch.unscored);
    logits.write_grads(executor, &grads)?;
    Ok(summary)
}
