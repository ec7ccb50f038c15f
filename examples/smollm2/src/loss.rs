//! From hidden states to log-probs, the DPO loss and hidden gradients, by the crate: logits exist a
//! tile at a time.

use candle_core::{CpuStorage, CustomOp1, Layout as TensorLayout, Result as TensorResult, Shape, Tensor};
use dpo_kernel::head::{HeadRow, HeadScratch, Hidden, HiddenMut, Linear, head_token_log_probs};
use dpo_kernel::step::FrozenHead;
use dpo_kernel::{
    Dispatch, Dpo, Layout, Parallel, Reference, SequenceLogProb, StepBatch, Summary, TokenOut,
    Workspace, sequence_log_probs,
};

use crate::Outcome;
use crate::batch::Packed;
use crate::numbers::with_numbers;

/// Rows that go through the head together; its weights are read once for each group.
const GROUP: usize = 512;

/// The buffers of a step.
#[derive(Debug)]
pub struct Scorer {
    executor: Parallel,
    workspace: Workspace,
    rows: Vec<HeadRow>,
    numbers: Vec<f32>,
}

impl Default for Scorer {
    fn default() -> Self {
        let executor = Parallel::new(Dispatch::detect());
        Self { executor, workspace: Workspace::new(), rows: vec![HeadRow::NEW; GROUP], numbers: Vec::new() }
    }
}

impl Scorer {
    /// Log-probs of the sequences, without a gradient.
    pub fn log_probs(&mut self, head: &Tensor, states: &Tensor, packed: &Packed) -> Outcome<Vec<SequenceLogProb>> {
        let (vocab, size) = head.dims2()?;
        let layout = Layout::new(&packed.targets, &packed.spans, vocab)?;
        let mut log_probs = vec![0.0; packed.targets.len()];
        let mut found = vec![SequenceLogProb::default(); packed.spans.len()];
        let run = with_numbers(head, |weights| with_numbers(states, |states| Ok((|| {
            let head = Linear::new(weights, vocab, size)?;
            let states = Hidden::new(states, packed.targets.len(), size)?;
            self.numbers.resize(HeadScratch::numbers_over::<_, f32, _>(self.executor, &head, GROUP), 0.0);
            let scratch = HeadScratch::new(&mut self.rows, &mut self.numbers);
            head_token_log_probs(self.executor, states, &head, &layout, TokenOut::new(&mut log_probs), scratch)
        })())))?;
        run?;
        sequence_log_probs(&log_probs, &layout, None, &mut found)?;
        Ok(found)
    }

    /// The loss of pairs, over a divisor.
    pub fn step(
        &mut self,
        head: &Tensor,
        states: &Tensor,
        packed: &Packed,
        reference: &[SequenceLogProb],
        (loss, divisor): (&Dpo, f64),
    ) -> Outcome<(Tensor, Summary)> {
        let (vocab, size) = head.dims2()?;
        let layout = Layout::new(&packed.targets, &packed.spans, vocab)?;
        let pairs = packed.pairs();
        let batch = StepBatch::new(&layout, &pairs, Reference::Sequences(reference), divisor);
        let mut grads = vec![0.0; packed.targets.len() * size];
        let run = with_numbers(head, |weights| with_numbers(states, |states| Ok((|| {
            let head = Linear::new(weights, vocab, size)?;
            let states = Hidden::new(states, packed.targets.len(), size)?;
            self.numbers.resize(HeadScratch::numbers_over::<_, f32, _>(self.executor, &head, GROUP), 0.0);
            let scratch = HeadScratch::new(&mut self.rows, &mut self.numbers);
            let to = HiddenMut::new(&mut grads, packed.targets.len(), size)?;
            let logits = FrozenHead::new(states, &head, to, scratch);
            self.workspace.preference_step(self.executor, loss, logits, &batch)
        })())))?;
        let summary = run?.loss;
        let grads = Tensor::from_vec(grads, states.shape(), states.device())?;
        Ok((states.apply_op1(Handed(summary.loss_sum / divisor, grads))?, summary))
    }

    /// Log-probs of the last step's sequences.
    pub fn sequences(&self) -> &[SequenceLogProb] {
        self.workspace.sequences()
    }
}

struct Handed(f64, Tensor);

impl CustomOp1 for Handed {
    fn name(&self) -> &'static str { "dpo" }
    fn cpu_fwd(&self, _: &CpuStorage, _: &TensorLayout) -> TensorResult<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![self.0 as f32]), Shape::from(())))
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> TensorResult<Option<Tensor>> {
        Ok(Some(self.1.clone()))
    }
}
