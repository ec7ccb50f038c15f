//! What is done with a tensor's numbers once they are a view of the crate's: a step of pairs or of
//! answers, an evaluation, log-probs alone.

use dpo_kernel::gradient::Unscored;
use dpo_kernel::loss::BatchLoss;
use dpo_kernel::step::{ReadLogits, StepLogits, StepSummary, UnpairedStepBatch};
use dpo_kernel::unpaired::{UnpairedBatchLoss, UnpairedSummary};
use dpo_kernel::{Error, Executor, Layout, StepBatch, Summary, Workspace};

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

/// Something that is done with logits that are only read.
pub(crate) trait Reading {
    /// What comes of it.
    type Found;

    fn read<X: Executor, G: ReadLogits>(self, executor: X, logits: G)
    -> Result<Self::Found, Error>;
}

pub(crate) struct Pairs<'a, L> {
    pub(crate) loss: L,
    pub(crate) batch: StepBatch<'a>,
    pub(crate) workspace: &'a mut Workspace,
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
        self.workspace.preference_step(executor, self.loss, logits, &batch)
    }
}

pub(crate) struct Answers<'a, L> {
    pub(crate) loss: L,
    pub(crate) batch: UnpairedStepBatch<'a>,
    pub(crate) workspace: &'a mut Workspace,
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
        self.workspace.unpaired_step(executor, self.loss, logits, &batch)
    }
}

/// A step without gradients.
pub(crate) struct Evaluation<S>(pub(crate) S);

impl<S: Stages> Reading for Evaluation<S> {
    type Found = StepSummary<S::Sums>;

    fn read<X: Executor, G: ReadLogits>(
        self,
        executor: X,
        logits: G,
    ) -> Result<Self::Found, Error> {
        self.0.run(executor, logits, Unscored::Keep)
    }
}

/// Log-probs of sequences, which stay in the workspace.
pub(crate) struct Score<'a> {
    pub(crate) layout: &'a Layout<'a>,
    pub(crate) token_weights: Option<&'a [f32]>,
    pub(crate) workspace: &'a mut Workspace,
}

impl Reading for Score<'_> {
    type Found = ();

    fn read<X: Executor, G: ReadLogits>(self, executor: X, logits: G) -> Result<(), Error> {
        let Self { layout, token_weights, workspace } = self;
        workspace.score(executor, logits, layout, token_weights).map(|_| ())
    }
}
