//! Steps of DPO, and what the pairs come to without one.

use std::time::Instant;

use dpo_kernel_candle::dpo_kernel::{
    Dpo, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary, preference_loss,
};
use rayon::prelude::*;

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
    loras: Option<&Loras>,
    examples: &[Example],
) -> Outcome<Vec<SequenceLogProb>> {
    let scorer = || Scorer::new(model.head());
    let found = examples.par_iter().map_init(scorer, |scorer, example| {
        let packed = Packed::new([example])?;
        let states = model.states(&packed, loras)?;
        Ok(scorer.log_probs(&states, &packed)?.to_vec())
    });
    Ok(found.collect::<Outcome<Vec<_>>>()?.concat())
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

/// A pair and its reference.
pub type Referenced<'a> = (&'a Example, [SequenceLogProb; 2]);

/// What a micro-batch found.
struct Part {
    grads: Grads,
    summary: Summary,
    policy: Vec<SequenceLogProb>,
    loss_seconds: f64,
}

impl Part {
    fn new(
        model: &Model,
        adapter: &Adapter,
        scorer: &mut Scorer,
        pairs: &[Referenced<'_>],
        loss: (&Dpo, f64),
    ) -> Outcome<Self> {
        let packed = Packed::new(pairs.iter().map(|(example, _)| *example))?;
        let reference: Vec<_> = pairs.iter().flat_map(|(_, reference)| *reference).collect();
        let states = model.states(&packed, Some(&adapter.trained()))?;
        let start = Instant::now();
        let (scalar, summary) = scorer.step(&states, &packed, &reference, loss)?;
        let loss_seconds = start.elapsed().as_secs_f64();
        drop(states);
        let store = scalar.backward()?;
        let grads = adapter.vars().map(|var| {
            let grad = store.get(var.as_tensor());
            let grad = grad.ok_or_else(|| fault("a trained matrix without a gradient".into()))?;
            Ok(grad.flatten_all()?.to_vec1()?)
        });
        let grads = grads.collect::<Outcome<_>>()?;
        Ok(Self { grads, summary, policy: scorer.sequences().to_vec(), loss_seconds })
    }
}

/// One step: its batch in micro-batches, beside one another on rayon's threads, then an update. They
/// are added in their order, so that every run gives the same.
///
/// # Errors
/// candle's and the crate's.
pub fn step(
    model: &Model,
    (adapter, optimizer): (&Adapter, &mut AdamW),
    loss: &Dpo,
    pairs: &[Referenced<'_>],
    (micro_batch, rate): (usize, f64),
) -> Outcome<Record> {
    let start = Instant::now();
    #[allow(clippy::cast_precision_loss, reason = "pairs and threads are few")]
    let (divisor, threads) = (pairs.len() as f64, rayon::current_num_threads() as f64);
    let scorer = || Scorer::new(model.head());
    let micro_batches = pairs.par_chunks(micro_batch.max(1)).map_init(scorer, |scorer, pairs| {
        Part::new(model, adapter, scorer, pairs, (loss, divisor))
    });
    let mut grads: Grads = adapter.vars().map(|var| vec![0.0; var.elem_count()]).collect();
    let mut all = Summary::default();
    let mut record = Record { rate, ..Record::default() };
    let mut loss_seconds = 0.0;
    let mut parts = 0.0;
    for part in micro_batches.collect::<Outcome<Vec<_>>>()? {
        for (sums, grads) in grads.iter_mut().zip(part.grads) {
            sums.iter_mut().zip(grads).for_each(|(sum, grad)| *sum += grad);
        }
        for sequences in part.policy.chunks_exact(2) {
            if let [chosen, rejected] = sequences {
                record.chosen.push(chosen.sum);
                record.rejected.push(rejected.sum);
            }
        }
        all += part.summary;
        loss_seconds += part.loss_seconds;
        parts += 1.0;
    }
    record.norm = optimizer.step(adapter.vars(), &grads, rate)?;
    (record.loss, record.margin) = (all.mean_loss(), all.mean_margin());
    record.accuracy = all.accuracy();
    record.tokens = pairs.iter().map(|(example, _)| example.tokens()).sum();
    record.loss_seconds = loss_seconds / f64::min(threads, parts);
    record.seconds = start.elapsed().as_secs_f64();
    Ok(record)
}
