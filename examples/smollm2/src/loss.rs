//! From hidden states to log-probs, the DPO loss and hidden gradients, by the crate: logits exist a
//! tile at a time.

use candle_core::Tensor;
use dpo_kernel_candle::dpo_kernel::{
    Dispatch, Dpo, Layout, Parallel, Reference, SequenceLogProb, StepBatch, Summary,
};
use dpo_kernel_candle::{Head, Workspace};

use crate::Outcome;
use crate::batch::Packed;

/// A head, and the buffers of a step, over rayon's threads.
#[derive(Debug)]
pub struct Scorer {
    head: Tensor,
    executor: Parallel,
    workspace: Workspace,
}

impl Scorer {
    /// With a head, V × H, that is not trained.
    #[must_use]
    pub fn new(head: &Tensor) -> Self {
        let executor = Parallel::new(Dispatch::detect());
        Self { head: head.detach(), executor, workspace: Workspace::new() }
    }

    /// Log-probs of the sequences, without a gradient.
    ///
    /// # Errors
    /// Of the crate: states that are not finite, a target outside the vocabulary.
    pub fn log_probs(&mut self, states: &Tensor, packed: &Packed) -> Outcome<&[SequenceLogProb]> {
        let layout = Layout::new(&packed.targets, &packed.spans, self.head.dim(0)?)?;
        let head = Head::new(states, &self.head);
        Ok(self.workspace.score(self.executor, head, &layout, None)?)
    }

    /// The loss of pairs over a divisor, which candle's backward goes through: hidden gradients are
    /// made here.
    ///
    /// # Errors
    /// As [`Scorer::log_probs`].
    pub fn step(
        &mut self,
        states: &Tensor,
        packed: &Packed,
        reference: &[SequenceLogProb],
        (loss, divisor): (&Dpo, f64),
    ) -> Outcome<(Tensor, Summary)> {
        let layout = Layout::new(&packed.targets, &packed.spans, self.head.dim(0)?)?;
        let pairs = packed.pairs();
        let batch = StepBatch::new(&layout, &pairs, Reference::Sequences(reference), divisor);
        let head = Head::new(states, &self.head);
        let step = self.workspace.preference_step(self.executor, loss, head, &batch)?;
        Ok((step.loss, step.summary.loss))
    }

    /// Log-probs of the last step's sequences.
    #[must_use]
    pub fn sequences(&self) -> &[SequenceLogProb] {
        self.workspace.sequences()
    }
}
