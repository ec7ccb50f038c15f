//! Supervised training of the base weights, then DPO training of the adapter.

use dpo_kernel::{
    Dispatch, Dpo, Error, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary,
    preference_loss,
};

use super::batch::{Batch, Scored, pairs};
use super::linear::Adapter;
use super::model::{Model, Shape};
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
    fn rate_at(&self, step: usize, steps: usize) -> f32 {
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
struct Adam {
    mean: Vec<f32>,
    square: Vec<f32>,
    step: i32,
}

impl Adam {
    fn new(count: usize) -> Self {
        Self { mean: vec![0.0; count], square: vec![0.0; count], step: 0 }
    }

    fn update(&mut self, weights: &mut [f32], grads: &[f32], rate: f32) {
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
fn batches(count: usize, size: usize, random: &mut Random) -> impl Iterator<Item = Vec<usize>> {
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
        let grads = batch.backward(model, model.weights.base.len());
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

/// What a policy makes of the pairs of a scoreboard.
#[derive(Debug)]
pub struct Score {
    pub summary: Summary,
    pub losses: Vec<PairLoss>,
}

impl<'a> Scoreboard<'a> {
    pub fn new(model: &Model, dispatch: Dispatch, examples: &'a [Example]) -> Result<Self, Error> {
        Ok(Self { examples, reference: log_probs(model, dispatch, examples, Adapter::Off)? })
    }

    /// Loss and rewards of every pair with the adapter on: stages token, sequence, preference.
    pub fn evaluate(&self, model: &Model, dispatch: Dispatch, dpo: &Dpo) -> Result<Score, Error> {
        let policy = log_probs(model, dispatch, self.examples, Adapter::On)?;
        let pairs = pairs(policy.len());
        let reference = Reference::Sequences(&self.reference);
        let batch = PairBatch::new(&pairs, &policy, reference, pairs.len().max(1) as f64);
        let mut losses = vec![PairLoss::default(); pairs.len()];
        let mut d_log_probs = vec![0.0; policy.len()];
        let out = PairOut { losses: &mut losses, d_log_probs: &mut d_log_probs };
        let summary = preference_loss(dpo, &batch, out)?;
        Ok(Score { summary, losses })
    }
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

fn answers<'a>(examples: impl Iterator<Item = &'a Example>) -> Vec<Scored<'a>> {
    let scored = |sequence: &'a Sequence| (sequence.tokens.as_slice(), sequence.answer_rows());
    examples.flat_map(|example| [scored(&example.chosen), scored(&example.rejected)]).collect()
}

/// Trains the adapter; after each step tells its number, the model, and the batch's summary before
/// the step.
pub fn preference(
    model: &mut Model,
    (dispatch, dpo): (Dispatch, &Dpo),
    (phase, steps): (&Phase, usize),
    train: &Scoreboard<'_>,
    random: &mut Random,
    mut report: impl FnMut(usize, &Model, Summary) -> Outcome,
) -> Outcome {
    let mut adam = Adam::new(model.weights.adapter.len());
    let order = batches(train.examples.len(), phase.batch, random);
    for (step, indices) in order.take(steps).enumerate() {
        let examples = indices.iter().map(|&pair| &train.examples[pair]);
        let reference: Vec<SequenceLogProb> = indices
            .iter()
            .flat_map(|&pair| [train.reference[2 * pair], train.reference[2 * pair + 1]])
            .collect();
        let mut batch = Batch::forward(model, &answers(examples), Adapter::On);
        let summary = batch.preference(dispatch, dpo, &reference)?;
        let grads = batch.backward(model, model.weights.adapter.len());
        adam.update(&mut model.weights.adapter, &grads, phase.rate_at(step, steps));
        report(step + 1, model, summary)?;
    }
    Ok(())
}
