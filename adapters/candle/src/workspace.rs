//! The step, and the memory that it keeps.

use candle_core::Tensor;
use dpo_kernel::loss::BatchLoss;
use dpo_kernel::step::{StepSummary, UnpairedStepBatch};
use dpo_kernel::unpaired::{AnswerLoss, UnpairedBatchLoss, UnpairedSummary};
use dpo_kernel::{Executor, Layout, PairLoss, SequenceLogProb, StepBatch, Summary};

use crate::error::Error;
use crate::input::{Found, Input, Room};
use crate::node;
use crate::stages::{Answers, Evaluation, Pairs, Score, Stages};

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
    /// batch add up to that of the whole batch. In 16 bits the gradients are rounded before a factor
    /// above the loss comes, so put the factor into the divisor.
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
    stages: dpo_kernel::Workspace,
    room: Room,
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
    /// tensors, and [`Error::Kernel`] with those of the step. No gradient exists then.
    ///
    /// # Panics
    /// Never. Where memory is lacking, [the page](crate#errors) says which is an error.
    ///
    /// # Example
    /// On the [front page](crate).
    pub fn preference_step<X: Executor, L: BatchLoss, I: Input>(
        &mut self,
        executor: X,
        loss: L,
        input: I,
        batch: &StepBatch<'_>,
    ) -> Result<Step<Summary>, Error> {
        let Self { stages: workspace, room } = self;
        let stages = Pairs { loss, batch: *batch, workspace };
        let (summary, grads) = run(executor, &input, batch.layout, stages, room)?;
        Ok(Step { loss: node::loss(single(batch.total_loss(&summary)), grads)?, summary })
    }

    /// Loss and gradients of answers without a partner, by
    /// [`unpaired_step`](dpo_kernel::step::unpaired_step); otherwise as
    /// [`preference_step`](Self::preference_step).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// Never. Where memory is lacking, [the page](crate#errors) says which is an error.
    ///
    /// # Example
    /// ```
    /// use candle_core::{Device, Var};
    /// use dpo_kernel_candle::dpo_kernel::loss::Kto;
    /// use dpo_kernel_candle::dpo_kernel::step::UnpairedStepBatch;
    /// use dpo_kernel_candle::dpo_kernel::unpaired::{Label, UnpairedAnswer};
    /// use dpo_kernel_candle::dpo_kernel::{Dispatch, Layout, Reference, Span};
    /// use dpo_kernel_candle::{Logits, Workspace};
    /// let logits = Var::randn(0_f32, 1.0, (2, 10), &Device::Cpu)?;
    /// let (targets, spans) = ([3, 7], [Span::new(0, 2)]);
    /// let layout = Layout::new(&targets, &spans, 10)?;
    /// let answers = [UnpairedAnswer::new(0, Label::Desirable)];
    /// let batch = UnpairedStepBatch::new(&layout, &answers, Reference::Sums(&[-4.5]), 1.0);
    /// let (mut workspace, loss) = (Workspace::new(), Kto::new(0.1, 0.0)?);
    /// let step =
    ///     workspace.unpaired_step(Dispatch::detect(), &loss, Logits::new(&logits), &batch)?;
    /// assert!(step.loss.backward()?.get(&logits).is_some());
    /// # Ok::<(), dpo_kernel_candle::Error>(())
    /// ```
    pub fn unpaired_step<X: Executor, L: UnpairedBatchLoss, I: Input>(
        &mut self,
        executor: X,
        loss: L,
        input: I,
        batch: &UnpairedStepBatch<'_>,
    ) -> Result<Step<UnpairedSummary>, Error> {
        let Self { stages: workspace, room } = self;
        let stages = Answers { loss, batch: *batch, workspace };
        let (summary, grads) = run(executor, &input, batch.layout, stages, room)?;
        Ok(Step { loss: node::loss(single(batch.total_loss(&summary)), grads)?, summary })
    }

    /// Log-probs of the sequences, without a gradient: a [`Reference`](dpo_kernel::Reference), or
    /// what KTO's K is made of. Copy what is found before the next call.
    ///
    /// # Errors
    /// Those of the tensors; [`dpo_kernel::Error::NonFiniteRows`] only of rows whose token weight is
    /// not 0.
    ///
    /// # Panics
    /// Never. Where memory is lacking, [the page](crate#errors) says which is an error.
    ///
    /// # Example
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use dpo_kernel_candle::dpo_kernel::{Dispatch, Layout, Reference, Span};
    /// use dpo_kernel_candle::{Logits, Workspace};
    /// let logits = Tensor::zeros((3, 10), candle_core::DType::F32, &Device::Cpu)?;
    /// let (targets, spans) = ([3, 7, 1], [Span::new(0, 2), Span::new(2, 3)]);
    /// let (mut workspace, layout) = (Workspace::new(), Layout::new(&targets, &spans, 10)?);
    /// let on = Dispatch::detect();
    /// let found = workspace.score(on, Logits::new(&logits), &layout, None)?.to_vec();
    /// assert!((found[0].sum + 2.0 * 10_f64.ln()).abs() < 1e-6);
    /// let reference = Reference::Sequences(&found); // of every step that is to come
    /// # Ok::<(), dpo_kernel_candle::Error>(())
    /// ```
    pub fn score<X: Executor, I: Input>(
        &mut self,
        executor: X,
        input: I,
        layout: &Layout<'_>,
        token_weights: Option<&[f32]>,
    ) -> Result<&[SequenceLogProb], Error> {
        let Self { stages: workspace, room } = self;
        input.read(executor, layout, Score { layout, token_weights, workspace }, room)?;
        Ok(self.sequences())
    }

    /// Token log-probs of the last call, R; those of rows that are not scored are NaN or of an
    /// earlier call.
    #[must_use]
    pub fn log_probs(&self) -> &[f32] {
        self.stages.log_probs()
    }

    /// Log-probs of the last call's sequences, N.
    #[must_use]
    pub fn sequences(&self) -> &[SequenceLogProb] {
        self.stages.sequences()
    }

    /// Losses of the last step's pairs, P; none if it was one of answers.
    #[must_use]
    pub fn pair_losses(&self) -> &[PairLoss] {
        self.stages.pair_losses()
    }

    /// Losses of the last step's answers, M; none if it was one of pairs.
    #[must_use]
    pub fn answer_losses(&self) -> &[AnswerLoss] {
        self.stages.answer_losses()
    }
}

/// A step, or an evaluation where candle asks for no gradient.
fn run<X: Executor, I: Input, S: Stages>(
    executor: X,
    input: &I,
    layout: &Layout<'_>,
    stages: S,
    room: &mut Room,
) -> Result<Found<S::Sums>, Error> {
    if input.is_tracked() {
        return input.step(executor, layout, stages, room);
    }
    Ok((input.read(executor, layout, Evaluation(stages), room)?, Vec::new()))
}

#[allow(clippy::cast_possible_truncation, reason = "candle's losses are f32")]
fn single(loss: f64) -> f32 {
    loss as f32
}
