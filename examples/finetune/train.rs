//! Supervised training of the base weights, then DPO training of the adapter.

use dpo_kernel::{Dispatch, Error, SequenceLogProb};

use super::batch::{Batch, Memory, Scored};
use super::linear::Adapter;
use super::model::{Model, Shape};
use super::objective::{Found, Objective, Yardstick};
use super::random::Random;
use super::text::{Example, Sequence};

/// Nothing, or whatever went wrong.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How long and how fast to train.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    pub passes: usize,
    /// Texts, or pairs, a step.
    pub batch: usize,
    pub rate: f32,
}

impl Phase {
    /// Steps that the passes take.
    pub fn steps(&self, count: usize) -> usize {
        self.passes * count.div_ceil(self.batch)
    }

    /// The learning rate at a step: up over the first twentieth, then down to zero in a straight
    /// line.
    pub fn rate_at(&self, step: usize, steps: usize) -> f32 {
        let (step, steps) = (step as f32, steps as f32);
        self.rate * ((step + 1.0) / (0.05 * steps).max(1.0)).min(1.0) * (1.0 - step / steps)
    }
}

/// Sizes and phases; the defaults fit a hundred to a few hundred short pairs.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub shape: Shape,
    /// Both answers of every training pair: a small stand-in for the corpus that a base model has
    /// read. From chosen answers alone this small model learns those by heart; DPO then tells pairs
    /// apart by familiarity, and that is of no use on held-out ones.
    pub pretraining: Phase,
    /// The chosen answers only.
    pub supervised: Phase,
    /// The pairs; `--steps` overrides the passes.
    pub preference: Phase,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            shape: Shape { width: 64, hidden: 192, blocks: 2 },
            pretraining: Phase { passes: 10, batch: 8, rate: 4e-3 },
            supervised: Phase { passes: 1, batch: 4, rate: 1e-3 },
            preference: Phase { passes: 8, batch: 16, rate: 1e-3 },
        }
    }
}

/// Adam (Kingma, Ba 2015) over one vector of weights, without weight decay.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    pub mean: Vec<f32>,
    pub square: Vec<f32>,
    pub step: i32,
}

impl Adam {
    pub fn new(count: usize) -> Self {
        Self { mean: vec![0.0; count], square: vec![0.0; count], step: 0 }
    }

    pub fn update(&mut self, weights: &mut [f32], grads: &[f32], rate: f32) {
        const KEEP: (f32, f32) = (0.9, 0.98);
        self.step += 1;
        let unbias = (1.0 - KEEP.0.powi(self.step), 1.0 - KEEP.1.powi(self.step));
        let moments = self.mean.iter_mut().zip(&mut self.square);
        for ((weight, grad), (mean, square)) in weights.iter_mut().zip(grads).zip(moments) {
            *mean = KEEP.0 * *mean + (1.0 - KEEP.0) * grad;
            *square = KEEP.1 * *square + (1.0 - KEEP.1) * grad * grad;
            *weight -= rate * (*mean / unbias.0) / ((*square / unbias.1).sqrt() + 1e-8);
        }
    }
}

/// Endless batches of indices below `count`, shuffled anew for each pass.
pub fn batches(count: usize, size: usize, random: &mut Random) -> impl Iterator<Item = Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    std::iter::repeat_with(move || {
        random.shuffle(&mut order);
        order.chunks(size).map(<[usize]>::to_vec).collect::<Vec<_>>()
    })
    .flatten()
}

/// Trains the base weights to continue the texts, prompts included; tells step, steps and loss in
/// nats a byte.
pub fn supervised(
    model: &mut Model,
    dispatch: Dispatch,
    phase: &Phase,
    texts: &[&Sequence],
    random: &mut Random,
    mut report: impl FnMut(usize, usize, f64) -> Outcome,
) -> Outcome {
    let steps = phase.steps(texts.len());
    let mut adam = Adam::new(model.weights.base.len());
    for (step, indices) in batches(texts.len(), phase.batch, random).take(steps).enumerate() {
        let texts = indices.iter().map(|&index| texts[index]);
        let texts: Vec<Scored<'_>> =
            texts.map(|text| (text.tokens.as_slice(), text.all_rows())).collect();
        let mut batch = Batch::forward(model, &texts, Adapter::Off);
        let loss = batch.likelihood(dispatch)?;
        let grads = batch.backward(dispatch)?;
        adam.update(&mut model.weights.base, &grads, phase.rate_at(step, steps));
        report(step + 1, steps, loss)?;
    }
    Ok(())
}

/// Pairs with the log-probs of their sequences under the reference, which never change.
#[derive(Debug)]
pub struct Scoreboard<'a> {
    pub examples: &'a [Example],
    reference: Vec<SequenceLogProb>,
}

impl<'a> Scoreboard<'a> {
    pub fn new(model: &Model, dispatch: Dispatch, examples: &'a [Example]) -> Result<Self, Error> {
        Ok(Self { examples, reference: log_probs(model, dispatch, examples, Adapter::Off)? })
    }

    /// What the policy, the adapter switched on, makes of the pairs.
    pub fn evaluate(
        &self,
        model: &Model,
        dispatch: Dispatch,
        objective: &Objective,
    ) -> Result<Score, Error> {
        let policy = log_probs(model, dispatch, self.examples, Adapter::On)?;
        let found = objective.evaluate(&policy, &self.reference)?;
        let yardstick = Yardstick::of(&policy, &self.reference)?;
        Ok(Score { found, yardstick, is_reference: policy == self.reference })
    }
}

/// Loss and rewards of every pair of a scoreboard, as the objective has them, and by the yardstick.
#[derive(Debug)]
pub struct Score {
    pub found: Found,
    pub yardstick: Yardstick,
    /// Whether every log-prob is the reference's, to the bit.
    pub is_reference: bool,
}

/// Log-probs of the answers, chosen, rejected, chosen, …
fn log_probs(
    model: &Model,
    dispatch: Dispatch,
    examples: &[Example],
    adapter: Adapter,
) -> Result<Vec<SequenceLogProb>, Error> {
    let mut out = Vec::with_capacity(2 * examples.len());
    for examples in examples.chunks(16) {
        let mut batch = Batch::forward(model, &answers(examples.iter()), adapter);
        out.extend_from_slice(batch.score(dispatch)?);
    }
    Ok(out)
}

fn scored(sequence: &Sequence) -> Scored<'_> {
    (sequence.tokens.as_slice(), sequence.answer_rows())
}

fn answers<'a>(examples: impl Iterator<Item = &'a Example>) -> Vec<Scored<'a>> {
    examples.flat_map(|example| [scored(&example.chosen), scored(&example.rejected)]).collect()
}

/// Every prompt with the answers to the next one, the last with those to the first.
pub fn mismatched(examples: &[&Example]) -> Vec<Sequence> {
    let next = examples.iter().cycle().skip(1);
    let answers = examples.iter().zip(next).flat_map(|(example, next)| {
        let prompt = &example.chosen;
        [prompt.answered_by(&next.chosen), prompt.answered_by(&next.rejected)]
    });
    answers.collect()
}

/// Log-probs of the sequences' answers with the adapter on, and with it off.
fn with_and_without(
    model: &Model,
    dispatch: Dispatch,
    sequences: &[Sequence],
) -> Result<[Vec<SequenceLogProb>; 2], Error> {
    let scored: Vec<Scored<'_>> = sequences.iter().map(scored).collect();
    let run = |adapter| {
        let mut batch = Batch::forward(model, &scored, adapter);
        Ok(batch.score(dispatch)?.to_vec())
    };
    Ok([run(Adapter::On)?, run(Adapter::Off)?])
}

/// Trains the adapter; after each step tells its number, the model, the objective, and the batch's
/// loss before the step. Returns what the head saved in the largest batch.
pub fn preference(
    model: &mut Model,
    (dispatch, mut objective): (Dispatch, Objective),
    (phase, steps): (&Phase, usize),
    train: &Scoreboard<'_>,
    random: &mut Random,
    mut report: impl FnMut(usize, &Model, &Objective, f64) -> Outcome,
) -> Outcome<Memory> {
    let mut adam = Adam::new(model.weights.adapter.len());
    let mut memory = Memory::default();
    let order = batches(train.examples.len(), phase.batch, random);
    for (step, indices) in order.take(steps).enumerate() {
        let examples: Vec<&Example> = indices.iter().map(|&pair| &train.examples[pair]).collect();
        let reference: Vec<SequenceLogProb> = indices
            .iter()
            .flat_map(|&pair| [train.reference[2 * pair], train.reference[2 * pair + 1]])
            .collect();
        // A batch of one pair has no other prompt.
        if objective.wants_mismatched() && examples.len() > 1 {
            let sequences = mismatched(&examples);
            let [policy, reference] = with_and_without(model, dispatch, &sequences)?;
            objective.observe_mismatched(&policy, &reference)?;
        }
        let mut batch = Batch::forward(model, &answers(examples.into_iter()), Adapter::On);
        let loss = batch.preference(dispatch, &mut objective, &reference)?;
        let grads = batch.backward(dispatch)?;
        memory = memory.max(batch.memory());
        adam.update(&mut model.weights.adapter, &grads, phase.rate_at(step, steps));
        report(step + 1, model, &objective, loss)?;
    }
    Ok(memory)
}
