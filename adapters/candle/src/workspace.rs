//! The step, and the memory that it keeps.

use candle_core::Tensor;
use dpo_kernel::loss::BatchLoss;
use dpo_kernel::row::RowNorm;
use dpo_kernel::step::{StepScratch, StepSummary, UnpairedStepBatch};
use dpo_kernel::unpaired::{AnswerLoss, UnpairedBatchLoss, UnpairedSummary};
use dpo_kernel::{Executor, Layout, PairLoss, SequenceLogProb, StepBatch, Summary};

use crate::error::Error;
use crate::evaluate;
use crate::input::{Input, Room, grow};
use crate::node;
use crate::stages::{Answers, Pairs};

/// A step's loss, and what is worth telling of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step<S> {
    /// A scalar of f32 that `backward()` goes through, to every tensor that candle tracks:
    ///
    /// ```text
    /// Σ loss / divisor + Σ NLL / divisor of the term
    /// ```
    ///
    /// which is what the gradients are of. Losses of micro-batches with the divisor of the whole
    /// batch add up to that of the whole batch.
    pub loss: Tensor,
    /// Sums over the pairs or answers, the tokens, and the NLL term.
    pub summary: StepSummary<S>,
}

/// Runs steps, in memory that grows to the largest and is used again.
///
/// What the stages found of the last call is here until the next: pairs, answers, sequences,
/// tokens.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(crate) log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    pub(crate) sequences: Vec<SequenceLogProb>,
    pub(crate) pair_losses: Vec<PairLoss>,
    pub(crate) answer_losses: Vec<AnswerLoss>,
    pub(crate) d_log_probs: Vec<f64>,
    pub(crate) d_nll: Vec<f64>,
    coefficients: Vec<f64>,
    pub(crate) room: Room,
}

impl Workspace {
    /// No memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loss and gradients of preferences, by
    /// [`preference_step`](dpo_kernel::preference_step): `loss`, `batch` and `executor` are what it
    /// takes.
    ///
    /// The gradients are made here, in the forward, and `backward()` hands them on. If candle tracks
    /// none of the input's tensors, none is made: an evaluation. [`StepBatch::unscored`] has no say,
    /// because the gradients leave as whole tensors: rows that are not scored are exact zeros in
    /// them.
    ///
    /// # Errors
    /// [`Error::Device`], [`Error::DType`], [`Error::Strides`], [`Error::Shape`] of the input's
    /// tensors, and [`Error::Kernel`] with those of the step. No gradient exists then. An
    /// evaluation refuses every scored row that is not finite, a step those that the loss depends
    /// on.
    ///
    /// # Panics
    /// Never.
    pub fn preference_step<X: Executor, L: BatchLoss, I: Input>(
        &mut self,
        executor: X,
        loss: L,
        input: I,
        batch: &StepBatch<'_>,
    ) -> Result<Step<Summary>, Error> {
        self.answer_losses.clear();
        let (summary, grads) = if input.is_tracked() {
            self.grow(batch.layout, batch.pairs.len(), 0)?;
            let scratch = StepScratch::new(
                &mut self.log_probs,
                &mut self.norms,
                &mut self.sequences,
                &mut self.pair_losses,
                &mut self.d_log_probs,
                &mut self.coefficients,
            );
            let scratch = scratch.with_nll(&mut self.d_nll);
            let stages = Pairs { loss, batch: *batch, scratch };
            input.step(executor, batch.layout, stages, &mut self.room)?
        } else {
            (evaluate::pairs(self, executor, loss, &input, batch)?, Vec::new())
        };
        let of_pairs = summary.loss.loss_sum / batch.divisor;
        let of_term = batch.nll.map_or(0.0, |term| evaluate::mean_nll(&term, &summary.nll));
        Ok(Step { loss: node::loss(single(of_pairs + of_term), grads)?, summary })
    }

    /// Loss and gradients of answers without a partner, by
    /// [`unpaired_step`](dpo_kernel::step::unpaired_step); otherwise as
    /// [`preference_step`](Self::preference_step).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Never.
    pub fn unpaired_step<X: Executor, L: UnpairedBatchLoss, I: Input>(
        &mut self,
        executor: X,
        loss: L,
        input: I,
        batch: &UnpairedStepBatch<'_>,
    ) -> Result<Step<UnpairedSummary>, Error> {
        self.pair_losses.clear();
        let (summary, grads) = if input.is_tracked() {
            self.grow(batch.layout, 0, batch.answers.len())?;
            let scratch = StepScratch::new(
                &mut self.log_probs,
                &mut self.norms,
                &mut self.sequences,
                &mut self.answer_losses,
                &mut self.d_log_probs,
                &mut self.coefficients,
            );
            let stages = Answers { loss, batch: *batch, scratch };
            input.step(executor, batch.layout, stages, &mut self.room)?
        } else {
            (evaluate::answers(self, executor, loss, &input, batch)?, Vec::new())
        };
        let UnpairedSummary { desirable_loss_sum, undesirable_loss_sum, .. } = summary.loss;
        let of_answers = (desirable_loss_sum + undesirable_loss_sum) / batch.divisor;
        Ok(Step { loss: node::loss(single(of_answers), grads)?, summary })
    }

    /// Log-probs of the sequences, without a gradient: a [`Reference`](dpo_kernel::Reference), or
    /// what KTO's K is made of. Copy what is found before the next call.
    ///
    /// # Errors
    /// Those of the tensors; [`dpo_kernel::Error::NonFiniteRows`] only of rows whose token weight is
    /// not 0.
    ///
    /// # Panics
    /// Never.
    pub fn score<X: Executor, I: Input>(
        &mut self,
        executor: X,
        input: I,
        layout: &Layout<'_>,
        token_weights: Option<&[f32]>,
    ) -> Result<&[SequenceLogProb], Error> {
        evaluate::score(self, executor, &input, layout, token_weights)?;
        Ok(&self.sequences)
    }

    /// Token log-probs of the last call, R; those of rows that are not scored are NaN or of an
    /// earlier call.
    #[must_use]
    pub fn log_probs(&self) -> &[f32] {
        &self.log_probs
    }

    /// Log-probs of the last call's sequences, N.
    #[must_use]
    pub fn sequences(&self) -> &[SequenceLogProb] {
        &self.sequences
    }

    /// Losses of the last step's pairs, P; none if it was one of answers.
    #[must_use]
    pub fn pair_losses(&self) -> &[PairLoss] {
        &self.pair_losses
    }

    /// Losses of the last step's answers, M; none if it was one of pairs.
    #[must_use]
    pub fn answer_losses(&self) -> &[AnswerLoss] {
        &self.answer_losses
    }

    /// Every buffer, to the lengths of a step.
    pub(crate) fn grow(
        &mut self,
        layout: &Layout<'_>,
        pairs: usize,
        answers: usize,
    ) -> Result<(), dpo_kernel::Error> {
        let (rows, sequences) = (layout.rows(), layout.sequences());
        resize(&mut self.log_probs, rows, f32::NAN)?;
        resize(&mut self.norms, rows, RowNorm::default())?;
        resize(&mut self.coefficients, rows, 0.0)?;
        resize(&mut self.sequences, sequences, SequenceLogProb::default())?;
        resize(&mut self.d_log_probs, sequences, 0.0)?;
        resize(&mut self.d_nll, sequences, 0.0)?;
        resize(&mut self.pair_losses, pairs, PairLoss::default())?;
        resize(&mut self.answer_losses, answers, AnswerLoss::default())
    }
}

/// This length; the memory only grows.
fn resize<T: Clone>(buffer: &mut Vec<T>, len: usize, fill: T) -> Result<(), dpo_kernel::Error> {
    grow(buffer, len, fill)?;
    buffer.truncate(len);
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "candle's losses are f32")]
fn single(loss: f64) -> f32 {
    loss as f32
}
