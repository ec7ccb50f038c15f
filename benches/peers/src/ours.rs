//! dpo-kernel: token log-probs, and gradients over the logits themselves.

use std::time::{Duration, Instant};

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Error, Layout, Logits, LogitsMut, Span, TokenOut, token_log_probs};

use crate::work::{Peer, Work};

pub struct Ours<'a> {
    work: &'a Work,
    /// Overwritten by their gradients, and put back before the next step.
    logits: Vec<f32>,
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    spans: [Span; 1],
    coefficients: Vec<f64>,
}

impl<'a> Ours<'a> {
    pub fn new(work: &'a Work) -> Self {
        let coefficients = work.coefficients.iter().map(|&c| f64::from(c)).collect();
        let spans = [Span::new(0, work.rows)];
        let (log_probs, norms) = (vec![0.0; work.rows], vec![RowNorm::default(); work.rows]);
        Self { work, logits: work.logits.clone(), log_probs, norms, spans, coefficients }
    }

    fn log_probs(&mut self) -> Result<(), Error> {
        let Work { rows, vocab, targets, .. } = self.work;
        let logits = Logits::new(&self.logits, *rows, *vocab)?;
        let layout = Layout::new(targets, &self.spans, *vocab)?;
        let out = TokenOut::new(&mut self.log_probs).with_norms(&mut self.norms);
        token_log_probs(Dispatch::detect(), logits, &layout, out).map(drop)
    }

    fn grads(&mut self) -> Result<(), Error> {
        let Work { rows, vocab, targets, .. } = self.work;
        let layout = Layout::new(targets, &self.spans, *vocab)?;
        let batch = GradBatch::new(&layout, &self.norms, &self.coefficients);
        let logits = LogitsMut::new(&mut self.logits, *rows, *vocab)?;
        logit_grads_in_place(Dispatch::detect(), logits, &batch)
    }
}

impl Peer for Ours<'_> {
    fn name(&self) -> String {
        let dispatch = Dispatch::detect();
        format!("dpo-kernel, {:?} {:?}", dispatch.level(), dispatch.arithmetic())
    }

    fn forward(&mut self) -> (Duration, Vec<f32>) {
        let start = Instant::now();
        self.log_probs().expect("the shapes are right");
        (start.elapsed(), self.log_probs.clone())
    }

    fn step(&mut self) -> Option<(Duration, Vec<f32>)> {
        let start = Instant::now();
        self.log_probs().and_then(|()| self.grads()).expect("the shapes are right");
        let elapsed = start.elapsed();
        let grads = self.logits.clone();
        self.logits.copy_from_slice(&self.work.logits);
        Some((elapsed, grads))
    }
}
