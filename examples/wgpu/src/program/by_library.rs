//! The step on the processor: the library's own, in portable arithmetic.

use std::time::{Duration, Instant};

use dpo_kernel::head::{HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, Linear};
use dpo_kernel::step::{ScoredHead, TrainedHead};
use dpo_kernel::{
    Arithmetic, Dispatch, Dpo, Error, Layout, Level, Reference, SequenceLogProb, StepBatch,
    Summary, Workspace,
};

use super::data::{Batch, SIZE, VOCAB};

/// The head and the memory of a step.
#[derive(Debug)]
pub(super) struct Trainer {
    pub(super) weights: Vec<f32>,
    grads: Vec<f32>,
    hidden_grads: Vec<f32>,
    rows: Vec<HeadRow>,
    numbers: Vec<f32>,
    workspace: Workspace,
    dispatch: Dispatch,
}

/// What a step shows.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) summary: Summary,
    pub(super) log_probs: Vec<f32>,
    pub(super) time: Duration,
}

impl Trainer {
    pub(super) fn new(weights: Vec<f32>) -> Result<Self, Error> {
        Ok(Self {
            grads: vec![0.0; weights.len()],
            weights,
            hidden_grads: Vec::new(),
            rows: Vec::new(),
            numbers: Vec::new(),
            workspace: Workspace::new(),
            dispatch: Dispatch::new(Level::detect(), Arithmetic::Portable)?,
        })
    }

    /// Sequence log-probs of a batch under the weights as they are.
    pub(super) fn score(&mut self, batch: &Batch) -> Result<Vec<SequenceLogProb>, Error> {
        let rows = batch.targets.len();
        let layout = Layout::new(&batch.targets, &batch.spans, VOCAB)?;
        let head = Linear::new(&self.weights, VOCAB, SIZE)?;
        self.rows.resize(rows, HeadRow::NEW);
        self.numbers.resize(HeadScratch::numbers::<f32, _>(&head, rows), 0.0);
        let scratch = HeadScratch::new(&mut self.rows, &mut self.numbers);
        let states = Hidden::new(&batch.hidden, rows, SIZE)?;
        let head = ScoredHead::new(states, &head, scratch);
        self.workspace.score(self.dispatch, head, &layout, None)?;
        Ok(self.workspace.sequences().to_vec())
    }

    pub(super) fn step(
        &mut self,
        batch: &Batch,
        reference: &[SequenceLogProb],
        dpo: &Dpo,
        rate: f32,
    ) -> Result<Step, Error> {
        let start = Instant::now();
        let rows = batch.targets.len();
        let layout = Layout::new(&batch.targets, &batch.spans, VOCAB)?;
        #[allow(clippy::cast_precision_loss, reason = "eight pairs")]
        let divisor = batch.pairs.len() as f64;
        let reference = Reference::Sequences(reference);
        let step = StepBatch::new(&layout, &batch.pairs, reference, divisor);
        let head = Linear::new(&self.weights, VOCAB, SIZE)?;
        self.hidden_grads.resize(rows * SIZE, 0.0);
        self.rows.resize(rows, HeadRow::NEW);
        let grads = HeadGrads::of_weights(&mut self.grads, VOCAB, SIZE)?;
        let numbers =
            HeadScratch::numbers_trained::<_, f32, _, f32>(self.dispatch, &head, rows, &grads);
        self.numbers.resize(numbers, 0.0);
        let scratch = HeadScratch::new(&mut self.rows, &mut self.numbers);
        let states = Hidden::new(&batch.hidden, rows, SIZE)?;
        let hidden = HiddenMut::new(&mut self.hidden_grads, rows, SIZE)?;
        let trained = TrainedHead::new(states, &head, hidden, grads, scratch);
        let summary = self.workspace.preference_step(self.dispatch, dpo, trained, &step)?.loss;
        for (weight, grad) in self.weights.iter_mut().zip(&self.grads) {
            *weight -= rate * grad;
        }
        let log_probs = self.workspace.log_probs().to_vec();
        Ok(Step { summary, log_probs, time: start.elapsed() })
    }
}
