//! A batch of sequences: the model's passes on two threads, and the crate's stages on buffers that
//! stay here.
//!
//! Logits of all sequences lie packed below one another, one span of rows each, and only rows that
//! are scored exist.

use std::ops::Range;
use std::{panic, thread};

use dpo_kernel::gradient::{GradBatch, logit_grads_in_place, token_coefficients};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Dispatch, Error, Layout, Logits, LogitsMut, Pair, SequenceLogProb, Span, TokenOut,
    sequence_log_probs, token_log_probs,
};

use super::linear::Adapter;
use super::model::{Model, Tape, VOCAB};
use super::objective::Objective;

/// Tokens of a sequence and the rows of it that are scored.
pub type Scored<'a> = (&'a [u8], Range<usize>);

/// A forward pass and the buffers that the library's stages fill.
#[derive(Debug)]
pub struct Batch {
    tapes: Vec<Tape>,
    /// Logits, and after a loss their gradients.
    logits: Vec<f32>,
    targets: Vec<u32>,
    spans: Vec<Span>,
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    sequences: Vec<SequenceLogProb>,
}

impl Batch {
    /// Runs the model over every sequence.
    pub fn forward(model: &Model, sequences: &[Scored<'_>], adapter: Adapter) -> Self {
        let mut targets = Vec::new();
        let mut spans = Vec::new();
        for (tokens, rows) in sequences {
            let start = targets.len();
            // The shift by one: row t scores the token after it.
            targets.extend(tokens[rows.start + 1..=rows.end].iter().map(|&token| u32::from(token)));
            spans.push(Span { start, end: targets.len() });
        }
        let rows = targets.len();
        let mut logits = vec![0.0; rows * VOCAB];
        let (first, second) = sequences.split_at(sequences.len() / 2);
        let border = spans.get(first.len()).map_or(0, |span| span.start);
        let (first_logits, second_logits) = logits.split_at_mut(border * VOCAB);
        let run = |sequences: &[Scored<'_>], mut logits: &mut [f32]| -> Vec<Tape> {
            let forward = |(tokens, rows): &Scored<'_>| {
                let (out, rest) = std::mem::take(&mut logits).split_at_mut(rows.len() * VOCAB);
                logits = rest;
                model.forward(tokens, rows.clone(), adapter, out)
            };
            sequences.iter().map(forward).collect()
        };
        let (mut tapes, others) = both(|| run(first, first_logits), || run(second, second_logits));
        tapes.extend(others);
        Self {
            tapes,
            logits,
            targets,
            log_probs: vec![0.0; rows],
            norms: vec![RowNorm::default(); rows],
            sequences: vec![SequenceLogProb::default(); spans.len()],
            spans,
        }
    }

    /// Log-probability of every sequence: stages token and sequence.
    pub fn score(&mut self, dispatch: Dispatch) -> Result<&[SequenceLogProb], Error> {
        let layout = Layout::new(&self.targets, &self.spans, VOCAB)?;
        let logits = Logits::new(&self.logits, layout.rows(), VOCAB)?;
        let out = TokenOut::new(&mut self.log_probs).with_norms(&mut self.norms);
        token_log_probs(dispatch, logits, &layout, out)?;
        sequence_log_probs(&self.log_probs, &layout, None, &mut self.sequences)?;
        Ok(&self.sequences)
    }

    /// The mean of −log p over all tokens, as supervised training has it; the logits become its
    /// gradients.
    pub fn likelihood(&mut self, dispatch: Dispatch) -> Result<f64, Error> {
        let rows = self.targets.len();
        let loss = -self.score(dispatch)?.iter().map(|sequence| sequence.sum).sum::<f64>();
        self.pull(dispatch, &vec![-1.0 / rows as f64; rows])?;
        Ok(loss / rows as f64)
    }

    /// The loss of sequences that come as chosen, rejected, chosen, …; the logits become its
    /// gradients.
    ///
    /// [`preference_step`](dpo_kernel::preference_step) is this in one call; a loss that looks at
    /// the log-probs before it is made, as BCO does, takes the stages.
    pub fn preference(
        &mut self,
        dispatch: Dispatch,
        objective: &mut Objective,
        reference: &[SequenceLogProb],
    ) -> Result<f64, Error> {
        self.score(dispatch)?;
        objective.observe(&self.sequences, reference)?;
        let found = objective.evaluate(&self.sequences, reference)?;
        let layout = Layout::new(&self.targets, &self.spans, VOCAB)?;
        let mut coefficients = vec![0.0; layout.rows()];
        let d_nll = found.d_nll.as_deref();
        token_coefficients(&layout, &found.d_log_probs, None, d_nll, &mut coefficients)?;
        self.pull(dispatch, &coefficients)?;
        Ok(found.loss)
    }

    /// Stage gradient: from ∂L/∂log p of every row to the gradients of the logits.
    fn pull(&mut self, dispatch: Dispatch, coefficients: &[f64]) -> Result<(), Error> {
        let layout = Layout::new(&self.targets, &self.spans, VOCAB)?;
        let logits = LogitsMut::new(&mut self.logits, layout.rows(), VOCAB)?;
        let grads = GradBatch::new(&layout, &self.norms, coefficients);
        logit_grads_in_place(dispatch, logits, &grads)
    }

    /// The gradient of what the forward pass trains, from the logits' gradients. Each thread sums
    /// its half of the sequences in order and the halves are added last, so that every run gives
    /// the same result.
    pub fn backward(&self, model: &Model, count: usize) -> Vec<f32> {
        let run = |half: Range<usize>| {
            let mut grads = vec![0.0; count];
            for (tape, span) in self.tapes[half.clone()].iter().zip(&self.spans[half]) {
                let d_logits = &self.logits[span.start * VOCAB..span.end * VOCAB];
                model.backward(tape, d_logits, &mut grads);
            }
            grads
        };
        let middle = self.tapes.len() / 2;
        let (mut grads, others) = both(|| run(0..middle), || run(middle..self.tapes.len()));
        grads.iter_mut().zip(others).for_each(|(grad, other)| *grad += other);
        grads
    }
}

/// The pairs of sequences that come as chosen, rejected, chosen, rejected, …
pub fn pairs(sequences: usize) -> Vec<Pair> {
    (0..sequences / 2).map(|pair| Pair { chosen: 2 * pair, rejected: 2 * pair + 1 }).collect()
}

/// Runs the second closure on a thread of its own.
fn both<T: Send>(first: impl FnOnce() -> T, second: impl FnOnce() -> T + Send) -> (T, T) {
    thread::scope(|scope| {
        let second = scope.spawn(second);
        (first(), second.join().unwrap_or_else(|cause| panic::resume_unwind(cause)))
    })
}
