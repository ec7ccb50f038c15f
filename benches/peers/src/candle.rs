//! candle: `log_softmax`, `gather`, and its autograd.

use std::time::{Duration, Instant};

use candle_core::{D, Device, Result, Tensor, Var};

use crate::work::{Peer, Work};

pub struct Candle {
    logits: Var,
    targets: Tensor,
    coefficients: Tensor,
}

impl Candle {
    pub fn new(work: &Work) -> Result<Self> {
        let device = Device::Cpu;
        let column = (work.rows, 1);
        Ok(Self {
            logits: Var::from_slice(&work.logits, (work.rows, work.vocab), &device)?,
            targets: Tensor::from_slice(&work.targets, column, &device)?,
            coefficients: Tensor::from_slice(&work.coefficients, column, &device)?,
        })
    }

    fn log_probs(&self, logits: &Tensor) -> Result<Tensor> {
        candle_nn::ops::log_softmax(logits, D::Minus1)?.gather(&self.targets, D::Minus1)
    }

    fn grads(&self) -> Result<Tensor> {
        let loss = (self.log_probs(&self.logits)? * &self.coefficients)?.sum_all()?;
        let grads = loss.backward()?;
        grads
            .get(&self.logits)
            .cloned()
            .ok_or_else(|| candle_core::Error::Msg("no gradient".into()))
    }
}

impl Peer for Candle {
    fn name(&self) -> String {
        "candle 0.11, log_softmax + gather".into()
    }

    fn forward(&mut self) -> (Duration, Vec<f32>) {
        // Without a graph, as for a reference model.
        let logits = self.logits.as_detached_tensor();
        let start = Instant::now();
        let found = self.log_probs(&logits).expect("candle's forward");
        let elapsed = start.elapsed();
        let values = found.flatten_all().and_then(|found| found.to_vec1());
        (elapsed, values.expect("candle's log-probs"))
    }

    fn step(&mut self) -> Option<(Duration, Vec<f32>)> {
        let start = Instant::now();
        let found = self.grads().expect("candle's backward");
        let elapsed = start.elapsed();
        let values = found.flatten_all().and_then(|found| found.to_vec1());
        Some((elapsed, values.expect("candle's gradients")))
    }
}
