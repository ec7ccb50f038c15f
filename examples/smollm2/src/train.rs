//! Steps of DPO, and what the pairs come to without one.

use std::time::Instant;

use dpo_kernel_candle::dpo_kernel::{
    Dpo, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary, preference_loss,
};

use crate::args::{Options, Order, Schedule};
use crate::batch::{Example, Packed};
use crate::lora::{Adapter, Loras};
use crate::loss::Scorer;
use crate::model::Model;
use crate::optimizer::{AdamW, Grads};
use crate::random::Random;
use crate::report::Record;
use crate::{Outcome, fault};

/// Pairs in the order in which steps take them, pass after pass.
#[derive(Debug)]
pub struct Turns {
    order: Order,
    random: Random,
    pass: Vec<usize>,
    at: usize,
}

impl Turns {
    /// Of so many pairs, from the first step on.
    #[must_use]
    pub fn new(count: usize, order: Order, random: Random) -> Self {
        Self { order, random, pass: (0..count).collect(), at: count }
    }

    /// The next pair's index; 0 of none.
    pub fn turn(&mut self) -> usize {
        if self.at >= self.pass.len() {
            self.at = 0;
            if self.order == Order::Shuffled {
                self.random.shuffle(&mut self.pass);
            }
        }
        self.at += 1;
        self.pass.get(self.at - 1).copied().unwrap_or(0)
    }
}

/// The learning rate of a step, counted from 0.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "steps are few")]
pub fn rate_at(options: &Options, step: usize, steps: usize) -> f64 {
    match options.schedule {
        Schedule::Constant => options.rate,
        Schedule::Linear => options.rate * (1.0 - step as f64 / steps as f64),
    }
}

/// Log-probs of all answers: chosen, rejected, chosen, …
///
/// # Errors
/// candle's and the crate's.
pub fn log_probs(
    model: &Model,
    scorer: &mut Scorer,
    loras: Option<&Loras>,
    examples: &[Example],
) -> Outcome<Vec<SequenceLogProb>> {
    let mut found = Vec::with_capacity(2 * examples.len());
    for example in examples {
        let packed = Packed::new([example])?;
        let states = model.states(&packed, loras)?;
        found.extend_from_slice(scorer.log_probs(&states, &packed)?);
    }
    Ok(found)
}

/// The loss of pairs from log-probs: chosen, rejected, chosen, …
///
/// # Errors
/// The crate's.
pub fn summary(
    loss: &Dpo,
    policy: &[SequenceLogProb],
    reference: &[SequenceLogProb],
) -> Outcome<Summary> {
    let pairs: Vec<_> =
        (0..policy.len() / 2).map(|pair| Pair::new(2 * pair, 2 * pair + 1)).collect();
    let batch = PairBatch::new(&pairs, policy, Reference::Sequences(reference), 1.0);
    let mut losses = vec![PairLoss::default(); pairs.len()];
    let mut d_log_probs = vec![0.0; policy.len()];
    Ok(preference_loss(loss, &batch, PairOut::new(&mut losses, &mut d_log_probs))?)
}

/// One step: its batch in micro-batches, then an update. A pair comes with its reference.
///
/// # Errors
/// candle's and the crate's.
pub fn step(
    model: &Model,
    (adapter, optimizer): (&Adapter, &mut AdamW),
    (scorer, loss): (&mut Scorer, &Dpo),
    pairs: &[(&Example, [SequenceLogProb; 2])],
    (micro_batch, rate): (usize, f64),
) -> Outcome<Record> {
    let start = Instant::now();
    let mut grads: Grads = adapter.vars().map(|var| vec![0.0; var.elem_count()]).collect();
    let mut all = Summary::default();
    let mut record = Record { rate, ..Record::default() };
    #[allow(clippy::cast_precision_loss, reason = "pairs of a batch are few")]
    let divisor = pairs.len() as f64;
    for pairs in pairs.chunks(micro_batch.max(1)) {
        let packed = Packed::new(pairs.iter().map(|(example, _)| *example))?;
        let reference: Vec<_> = pairs.iter().flat_map(|(_, reference)| *reference).collect();
        let states = model.states(&packed, Some(&adapter.trained()))?;
        let loss_start = Instant::now();
        let (scalar, found) = scorer.step(&states, &packed, &reference, (loss, divisor))?;
        record.loss_seconds += loss_start.elapsed().as_secs_f64();
        drop(states);
        let store = scalar.backward()?;
        for (var, sum) in adapter.vars().zip(&mut grads) {
            let grad = store.get(var.as_tensor());
            let grad = grad.ok_or_else(|| fault("a trained matrix without a gradient".into()))?;
            let grad: Vec<f32> = grad.flatten_all()?.to_vec1()?;
            sum.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += grad);
        }
        for sequences in scorer.sequences().chunks_exact(2) {
            if let [chosen, rejected] = sequences {
                record.chosen.push(chosen.sum);
                record.rejected.push(rejected.sum);
            }
        }
        all.pairs += found.pairs;
        all.correct += found.correct;
        all.loss_sum += found.loss_sum;
        all.margin_sum += found.margin_sum;
        record.tokens += pairs.iter().map(|(example, _)| example.tokens()).sum::<usize>();
    }
    record.norm = optimizer.step(adapter.vars(), &grads, rate)?;
    (record.loss, record.margin) = (all.mean_loss(), all.mean_margin());
    record.accuracy = all.accuracy();
    record.seconds = start.elapsed().as_secs_f64();
    Ok(record)
}
