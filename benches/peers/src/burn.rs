//! burn on its `flex` backend: `log_softmax`, `gather`, and its autodiff.

use std::time::{Duration, Instant};

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::work::{Peer, Work};

pub struct Burn {
    logits: Tensor<2>,
    tracked: Tensor<2>,
    targets: Tensor<2, Int>,
    tracked_targets: Tensor<2, Int>,
    coefficients: Tensor<2>,
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("f32 tensors")
}

impl Burn {
    pub fn new(work: &Work) -> Self {
        let (plain, tracking) = (Device::flex(), Device::flex().autodiff());
        let logits = || TensorData::new(work.logits.clone(), [work.rows, work.vocab]);
        let ids = work.targets.iter().map(|&id| i64::from(id)).collect::<Vec<_>>();
        let targets = || TensorData::new(ids.clone(), [work.rows, 1]);
        let coefficients = TensorData::new(work.coefficients.clone(), [work.rows, 1]);
        Self {
            logits: Tensor::from_data(logits(), &plain),
            tracked: Tensor::<2>::from_data(logits(), &tracking).require_grad(),
            targets: Tensor::from_data(targets(), &plain),
            tracked_targets: Tensor::from_data(targets(), &tracking),
            coefficients: Tensor::from_data(coefficients, &tracking),
        }
    }
}

impl Peer for Burn {
    fn name(&self) -> String {
        "burn 0.22 (flex), log_softmax + gather".into()
    }

    fn forward(&mut self) -> (Duration, Vec<f32>) {
        let start = Instant::now();
        let found = log_softmax(self.logits.clone(), 1).gather(1, self.targets.clone());
        let elapsed = start.elapsed();
        (elapsed, values(found))
    }

    fn step(&mut self) -> Option<(Duration, Vec<f32>)> {
        let start = Instant::now();
        let found = log_softmax(self.tracked.clone(), 1).gather(1, self.tracked_targets.clone());
        let grads = (found * self.coefficients.clone()).sum().backward();
        let found = self.tracked.grad(&grads).expect("burn's gradient");
        let elapsed = start.elapsed();
        Some((elapsed, values(found)))
    }
}
