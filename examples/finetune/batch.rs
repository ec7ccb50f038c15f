//! A batch of sequences: the model's passes on two threads, and the crate's stages on buffers that
//! stay here.
//!
//! Hidden states of all sequences lie packed below one another, one span of rows each, and only rows
//! that are scored exist. Logits never do.

use std::ops::Range;
use std::{fmt, panic, thread};

use dpo_kernel::gradient::{GradBatch, token_coefficients};
use dpo_kernel::row::RowNorm;
use dpo_kernel::{
    Dispatch, Error, Layout, Pair, SequenceLogProb, Span, TokenOut, sequence_log_probs,
};

use super::head::Pass;
use super::linear::Adapter;
use super::model::{Model, Tape, VOCAB};
use super::objective::Objective;

/// Tokens of a sequence and the rows of it that are scored.
pub type Scored<'a> = (&'a [u8], Range<usize>);

/// A forward pass and the buffers that the library's stages fill.
#[derive(Debug)]
pub struct Batch<'a> {
    model: &'a Model,
    tapes: Vec<Tape>,
    states: Vec<f32>,
    head: Pass<'a>,
    targets: Vec<u32>,
    spans: Vec<Span>,
    log_probs: Vec<f32>,
    norms: Vec<RowNorm>,
    sequences: Vec<SequenceLogProb>,
    /// ∂L/∂log p of every row, once there is a loss.
    coefficients: Vec<f64>,
}

/// What the head saves, in bytes. Hidden states are there either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    pub rows: usize,
    /// Of the logits that never were; their gradients would have taken their place.
    pub logits: usize,
    /// Of what is there instead.
    pub held: usize,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, logits, held } = *self;
        let [logits, held] = [logits, held].map(|bytes| bytes.div_ceil(1024));
        write!(
            f,
            "{held} KiB of hidden gradients and scratch, not {logits} KiB of logits and gradients in \
             place; {rows} rows at most"
        )
    }
}

impl<'a> Batch<'a> {
    /// Runs the model over every sequence, up to its head.
    pub fn forward(model: &'a Model, sequences: &[Scored<'_>], adapter: Adapter) -> Self {
        let mut targets = Vec::new();
        let mut spans = Vec::new();
        for (tokens, rows) in sequences {
            let start = targets.len();
            // The shift by one: row t scores the token after it.
            targets.extend(tokens[rows.start + 1..=rows.end].iter().map(|&token| u32::from(token)));
            spans.push(Span { start, end: targets.len() });
        }
        let (rows, width) = (targets.len(), model.width());
        let mut states = vec![0.0; rows * width];
        let (first, second) = sequences.split_at(sequences.len() / 2);
        let border = spans.get(first.len()).map_or(0, |span| span.start);
        let (first_states, second_states) = states.split_at_mut(border * width);
        let run = |sequences: &[Scored<'_>], mut states: &mut [f32]| -> Vec<Tape> {
            let forward = |(tokens, rows): &Scored<'_>| {
                let (out, rest) = std::mem::take(&mut states).split_at_mut(rows.len() * width);
                states = rest;
                model.forward(tokens, rows.clone(), adapter, out)
            };
            sequences.iter().map(forward).collect()
        };
        let (mut tapes, others) = both(|| run(first, first_states), || run(second, second_states));
        tapes.extend(others);
        Self {
            model,
            tapes,
            states,
            head: Pass::new(&model.head, &model.weights, adapter),
            targets,
            log_probs: vec![0.0; rows],
            norms: vec![RowNorm::default(); rows],
            sequences: vec![SequenceLogProb::default(); spans.len()],
            spans,
            coefficients: vec![0.0; rows],
        }
    }

    /// Log-probability of every sequence: stages token and sequence.
    pub fn score(&mut self, dispatch: Dispatch) -> Result<&[SequenceLogProb], Error> {
        let layout = Layout::new(&self.targets, &self.spans, VOCAB)?;
        let out = TokenOut::new(&mut self.log_probs).with_norms(&mut self.norms);
        self.head.score(dispatch, &self.states, &layout, out)?;
        sequence_log_probs(&self.log_probs, &layout, None, &mut self.sequences)?;
        Ok(&self.sequences)
    }

    /// The mean of −log p over all tokens, as supervised training has it.
    pub fn likelihood(&mut self, dispatch: Dispatch) -> Result<f64, Error> {
        let rows = self.targets.len();
        let loss = -self.score(dispatch)?.iter().map(|sequence| sequence.sum).sum::<f64>();
        self.coefficients.fill(-1.0 / rows as f64);
        Ok(loss / rows as f64)
    }

    /// The loss of sequences that come as chosen, rejected, chosen, …
    ///
    /// [`preference_step`](dpo_kernel::preference_step) with a
    /// [`TrainedStep`](dpo_kernel::step::TrainedHead) is this and the head's backward in one call; a
    /// loss that looks at the log-probs before it is made, as BCO does, takes the stages.
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
        let d_nll = found.d_nll.as_deref();
        token_coefficients(&layout, &found.d_log_probs, None, d_nll, &mut self.coefficients)?;
        Ok(found.loss)
    }

    /// The gradient of what the forward pass trains, after a loss: through the head, then through
    /// the model. There each thread sums its half of the sequences in order and the halves are added
    /// last, so that every run gives the same result.
    pub fn backward(&mut self, dispatch: Dispatch) -> Result<Vec<f32>, Error> {
        let layout = Layout::new(&self.targets, &self.spans, VOCAB)?;
        let batch = GradBatch::new(&layout, &self.norms, &self.coefficients);
        let (mut grads, zeros) = (self.head.zeros(), self.head.zeros());
        self.head.backward(dispatch, &self.states, &batch, &mut grads)?;
        let run = |half: Range<usize>, mut grads: Vec<f32>| {
            let width = self.model.width();
            for (tape, span) in self.tapes[half.clone()].iter().zip(&self.spans[half]) {
                let states = &self.states[span.start * width..span.end * width];
                let d_states = self.head.d_states(span.start..span.end);
                self.model.backward(tape, states, d_states, &mut grads);
            }
            grads
        };
        let (middle, end) = (self.tapes.len() / 2, self.tapes.len());
        let (mut grads, others) = both(|| run(0..middle, grads), || run(middle..end, zeros));
        grads.iter_mut().zip(others).for_each(|(grad, other)| *grad += other);
        Ok(grads)
    }

    /// What the head has saved, after a backward.
    pub fn memory(&self) -> Memory {
        let rows = self.targets.len();
        Memory { rows, logits: rows * VOCAB * size_of::<f32>(), held: self.head.bytes() }
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
