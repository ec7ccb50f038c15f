//! The step on the device: logits and gradients stay there, log-probs come back, coefficients go up.

use std::time::Instant;

use dpo_kernel::gradient::token_coefficients;
use dpo_kernel::{
    Dpo, Layout, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, preference_loss,
    sequence_log_probs,
};
use dpo_kernel_wgpu::{Error, HeadOperands, Kernels, Matrix, Targets, Transform};

use super::by_library::Step;
use super::data::{Batch, SIZE, VOCAB};

/// The head, on the device.
#[derive(Debug)]
pub(super) struct Trainer<'k, 'g> {
    kernels: &'k Kernels<'g, f32>,
    weights: Matrix<f32>,
}

/// A batch whose hidden states are on the device, and room for its logits there.
#[derive(Debug)]
pub(super) struct OnDevice {
    hidden: Matrix<f32>,
    logits: Matrix<f32>,
}

impl<'k, 'g> Trainer<'k, 'g> {
    pub(super) fn new(kernels: &'k Kernels<'g, f32>, weights: &[f32]) -> Result<Self, Error> {
        let weights = Matrix::new(kernels.gpu(), weights, VOCAB, SIZE, SIZE)?;
        Ok(Self { kernels, weights })
    }

    pub(super) fn upload(&self, batch: &Batch) -> Result<OnDevice, Error> {
        let (gpu, rows) = (self.kernels.gpu(), batch.targets.len());
        let hidden = Matrix::new(gpu, &batch.hidden, rows, SIZE, SIZE)?;
        Ok(OnDevice { hidden, logits: Matrix::zeros(gpu, rows, VOCAB)? })
    }

    /// Sequence log-probs of a batch under the weights as they are, by the head without logits.
    pub(super) fn score(
        &self,
        batch: &Batch,
        on_device: &OnDevice,
    ) -> Result<Vec<SequenceLogProb>, Error> {
        let layout = Layout::new(&batch.targets, &batch.spans, VOCAB)?;
        let head = HeadOperands { hidden: &on_device.hidden, weight: &self.weights, bias: None };
        let targets = Targets::new(&batch.targets);
        let scored = self.kernels.head_log_probs(&head, &targets, Transform::NONE)?;
        let mut log_probs = vec![0.0; batch.targets.len()];
        scored.log_probs(self.kernels.gpu(), &mut log_probs)?;
        let mut sequences = vec![SequenceLogProb::default(); batch.spans.len()];
        sequence_log_probs(&log_probs, &layout, None, &mut sequences)?;
        Ok(sequences)
    }

    pub(super) fn step(
        &mut self,
        batch: &Batch,
        on_device: &mut OnDevice,
        reference: &[SequenceLogProb],
        dpo: &Dpo,
        rate: f32,
    ) -> Result<Step, Error> {
        let start = Instant::now();
        let (kernels, gpu, rows) = (self.kernels, self.kernels.gpu(), batch.targets.len());
        let layout = Layout::new(&batch.targets, &batch.spans, VOCAB)?;
        let OnDevice { hidden, logits } = on_device;
        let head = HeadOperands { hidden, weight: &self.weights, bias: None };
        kernels.logits(&head, logits)?;
        let targets = Targets::new(&batch.targets);
        let scored = kernels.token_log_probs(logits, &targets, Transform::NONE)?;
        let mut log_probs = vec![0.0; rows];
        scored.log_probs(gpu, &mut log_probs)?;

        let mut policy = vec![SequenceLogProb::default(); batch.spans.len()];
        sequence_log_probs(&log_probs, &layout, None, &mut policy)?;
        #[allow(clippy::cast_precision_loss, reason = "eight pairs")]
        let divisor = batch.pairs.len() as f64;
        let reference = Reference::Sequences(reference);
        let pairs = PairBatch::new(&batch.pairs, &policy, reference, divisor);
        let mut losses = vec![PairLoss::default(); batch.pairs.len()];
        let mut d_log_probs = vec![0.0; policy.len()];
        let summary = preference_loss(dpo, &pairs, PairOut::new(&mut losses, &mut d_log_probs))?;
        let mut coefficients = vec![0.0; rows];
        token_coefficients(&layout, &d_log_probs, None, None, &mut coefficients)?;

        kernels.logit_grads_in_place(logits, &scored, &coefficients)?;
        kernels.weight_step(hidden, &scored, logits, &mut self.weights, rate)?;
        gpu.wait()?;
        Ok(Step { summary, log_probs, time: start.elapsed() })
    }

    /// The weights, copied from the device.
    pub(super) fn weights(&self) -> Result<Vec<f32>, Error> {
        let mut weights = vec![0.0; VOCAB * SIZE];
        self.weights.read(self.kernels.gpu(), &mut weights)?;
        Ok(weights)
    }
}
