//! Steps of dpo-kernel: from hidden states to gradients, by any head, frozen or trained.

use dpo_kernel::gradient::GradBatch;
use dpo_kernel::head::{
    Head, HeadGrads, HeadRow, HeadScratch, Hidden, HiddenMut, head_forward, head_grads,
    head_token_log_probs, hidden_grads_in_place,
};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{Dispatch, Element, Error, TokenOut};

use crate::work::{Found, Work};

pub struct Step<'a, E, H> {
    work: &'a Work<E>,
    dispatch: Dispatch,
    pub head: H,
    at_once: Vec<HeadRow>,
    numbers: Vec<f32>,
    norms: Vec<RowNorm>,
    found: Found,
}

impl<'a, E: Element, H: Head<E>> Step<'a, E, H> {
    /// All rows at once.
    pub fn new(work: &'a Work<E>, dispatch: Dispatch, head: H) -> Self {
        let rows = work.rows;
        let numbers = vec![0.0; HeadScratch::numbers(&head, rows)];
        let found = Found {
            log_probs: vec![0.0; rows],
            coefficients: vec![0.0; rows],
            grads: vec![0.0; rows * work.size],
        };
        let (at_once, norms) = (vec![HeadRow::NEW; rows], vec![RowNorm::default(); rows]);
        Self { work, dispatch, head, at_once, numbers, norms, found }
    }

    /// Log-probs alone, as of a reference model.
    pub fn forward(&mut self) {
        self.score().expect("the shapes are right");
    }

    fn score(&mut self) -> Result<(), Error> {
        let Work { rows, size, states, .. } = self.work;
        let states = Hidden::new(states, *rows, *size)?;
        let out = TokenOut::new(&mut self.found.log_probs).with_norms(&mut self.norms);
        let scratch = HeadScratch::new(&mut self.at_once, &mut self.numbers);
        let layout = self.work.layout();
        head_token_log_probs(self.dispatch, states, &self.head, &layout, out, scratch)?;
        Ok(())
    }

    /// Forward and backward of a frozen head.
    pub fn frozen(&mut self) -> &Found {
        self.step().expect("the shapes are right");
        &self.found
    }

    fn step(&mut self) -> Result<(), Error> {
        let Work { rows, size, states, .. } = self.work;
        let (states, layout) = (Hidden::new(states, *rows, *size)?, self.work.layout());
        let Found { log_probs, coefficients, grads } = &mut self.found;
        let out = TokenOut::new(log_probs).with_norms(&mut self.norms);
        let sums = HiddenMut::new(grads, *rows, *size)?;
        let scratch = HeadScratch::new(&mut self.at_once, &mut self.numbers);
        head_forward(self.dispatch, states, &self.head, &layout, out, sums, scratch)?;
        self.work.coefficients(log_probs, coefficients);
        let batch = GradBatch::new(&layout, &self.norms, coefficients);
        let sums = HiddenMut::new(grads, *rows, *size)?;
        let scratch = HeadScratch::new(&mut self.at_once, &mut self.numbers);
        hidden_grads_in_place(self.dispatch, states, &self.head, &batch, sums, scratch)
    }

    /// Forward and backward of a trained head: `weights`, V × H, are its gradient.
    pub fn trained(&mut self, weights: &mut [E]) -> &Found {
        self.trained_step(weights).expect("the shapes are right");
        &self.found
    }

    fn trained_step(&mut self, weights: &mut [E]) -> Result<(), Error> {
        let Work { rows, size, vocab, states, .. } = self.work;
        self.score()?;
        let (states, layout) = (Hidden::new(states, *rows, *size)?, self.work.layout());
        let grads = HeadGrads::of_weights(weights, *vocab, *size)?;
        let numbers = HeadScratch::numbers_trained(self.dispatch, &self.head, *rows, &grads);
        self.numbers.resize(numbers.max(self.numbers.len()), 0.0);
        let Found { log_probs, coefficients, grads: hidden } = &mut self.found;
        self.work.coefficients(log_probs, coefficients);
        let batch = GradBatch::new(&layout, &self.norms, coefficients);
        let hidden = HiddenMut::new(hidden, *rows, *size)?;
        let scratch = HeadScratch::new(&mut self.at_once, &mut self.numbers);
        head_grads(self.dispatch, states, &self.head, &batch, hidden, grads, scratch)
    }
}
