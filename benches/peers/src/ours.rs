//! dpo-kernel: token log-probs, and gradients over the logits themselves.

use std::time::{Duration, Instant};

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Dispatch, Element, Error, Layout, Logits, LogitsMut, Span, TokenOut, token_log_probs,
};

use crate::work::{Peer, Work};

pub struct Ours<'a, E> {
    work: &'a Work,
    dispatch: Dispatch,
    /// Overwritten by their gradients, and put back before the next step.
    logits: Vec<E>,
    original: Vec<E>,
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    spans: [Span; 1],
    coefficients: Vec<f64>,
}

impl<'a, E: Element> Ours<'a, E> {
    pub fn new(dispatch: Dispatch, work: &'a Work) -> Self {
        let coefficients = work.coefficients.iter().map(|&c| f64::from(c)).collect();
        let spans = [Span::new(0, work.rows)];
        let (log_probs, norms) = (vec![0.0; work.rows], vec![RowNorm::default(); work.rows]);
        let original = work.logits.iter().map(|&x| E::from_f32(x)).collect::<Vec<_>>();
        let logits = original.clone();
        Self { work, dispatch, logits, original, log_probs, norms, spans, coefficients }
    }

    fn log_probs(&mut self) -> Result<(), Error> {
        let Work { rows, vocab, targets, .. } = self.work;
        let logits = Logits::new(&self.logits, *rows, *vocab)?;
        let layout = Layout::new(targets, &self.spans, *vocab)?;
        let out = TokenOut::new(&mut self.log_probs).with_norms(&mut self.norms);
        token_log_probs(self.dispatch, logits, &layout, out).map(drop)
    }

    fn grads(&mut self) -> Result<(), Error> {
        let Work { rows, vocab, targets, .. } = self.work;
        let layout = Layout::new(targets, &self.spans, *vocab)?;
        let batch = GradBatch::new(&layout, &self.norms, &self.coefficients);
        let logits = LogitsMut::new(&mut self.logits, *rows, *vocab)?;
        logit_grads_in_place(self.dispatch, logits, &batch)
    }
}

impl<E: Element> Peer for Ours<'_, E> {
    fn name(&self) -> String {
        let dispatch = self.dispatch;
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
        let grads = self.logits.iter().map(|x| x.to_f32()).collect();
        self.logits.copy_from_slice(&self.original);
        Some((elapsed, grads))
    }
}
