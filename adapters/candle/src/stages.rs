//! A step of pairs or of answers, over whatever stands in the place of logits.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::loss::BatchLoss;
use dpo_kernel::step::{
    StepLogits, StepScratch, StepSummary, UnpairedStepBatch, preference_step, unpaired_step,
};
use dpo_kernel::unpaired::{AnswerLoss, UnpairedBatchLoss, UnpairedSummary};
use dpo_kernel::{Error, Executor, StepBatch, Summary};

/// A step that waits for its logits.
pub(crate) trait Stages {
    /// What its loss is summed up to.
    type Sums;

    /// Runs it, once. What becomes of rows that are not scored is said by the place of the
    /// gradients, not by the batch: they leave as a tensor, in which every element is a gradient.
    fn run<X: Executor, G: StepLogits>(
        self,
        executor: X,
        logits: G,
        unscored: Unscored,
    ) -> Result<StepSummary<Self::Sums>, Error>;
}

pub(crate) struct Pairs<'a, L> {
    pub(crate) loss: L,
    pub(crate) batch: StepBatch<'a>,
    pub(crate) scratch: StepScratch<'a>,
}

impl<L: BatchLoss> Stages for Pairs<'_, L> {
    type Sums = Summary;

    fn run<X: Executor, G: StepLogits>(
        self,
        executor: X,
        logits: G,
        unscored: Unscored,
    ) -> Result<StepSummary<Summary>, Error> {
        let batch = self.batch.with_unscored(unscored);
        preference_step(executor, self.loss, logits, &batch, self.scratch)
    }
}

pub(crate) struct Answers<'a, L> {
    pub(crate) loss: L,
    pub(crate) batch: UnpairedStepBatch<'a>,
    pub(crate) scratch: StepScratch<'a, AnswerLoss>,
}

impl<L: UnpairedBatchLoss> Stages for Answers<'_, L> {
    type Sums = UnpairedSummary;

    fn run<X: Executor, G: StepLogits>(
        self,
        executor: X,
        logits: G,
        unscored: Unscored,
    ) -> Result<StepSummary<UnpairedSummary>, Error> {
        let batch = self.batch.with_unscored(unscored);
        unpaired_step(executor, self.loss, logits, &batch, self.scratch)
    }
}
