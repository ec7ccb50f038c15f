//! Both trainings step by step beside their like: batches drawn anew, Adam in f64, losses of the
//! plain model.

use dpo_kernel::loss::LossName;
use dpo_kernel::{Dispatch, SequenceLogProb};

use crate::SMALL_RECIPE;
use crate::batch::{dpo, examples, plain_answer, plain_answers};
use crate::finetune::batch::{Batch, Scored};
use crate::finetune::linear::Adapter;
use crate::finetune::model::Model;
use crate::finetune::objective::Objective;
use crate::finetune::random::Random;
use crate::finetune::text::{Example, Sequence};
use crate::finetune::train::{self, Phase, Scoreboard};
use crate::plain::{plain_of, tuned};

/// Adam of the paper with β₁ = 0.9, β₂ = 0.98, ε = 1e-8, in f64.
struct Adam {
    m: Vec<f64>,
    v: Vec<f64>,
    weights: Vec<f64>,
}

impl Adam {
    fn of(weights: &[f32]) -> Self {
        let zeros = vec![0.0; weights.len()];
        let weights = weights.iter().copied().map(f64::from).collect();
        Self { m: zeros.clone(), v: zeros, weights }
    }

    /// Step t counts from 1.
    fn step(&mut self, t: i32, grads: &[f32], rate: f64) {
        for (i, &g) in grads.iter().enumerate() {
            let g = f64::from(g);
            self.m[i] = 0.9 * self.m[i] + 0.1 * g;
            self.v[i] = 0.98 * self.v[i] + 0.02 * g * g;
            let (m, v) =
                (self.m[i] / (1.0 - 0.9_f64.powi(t)), self.v[i] / (1.0 - 0.98_f64.powi(t)));
            self.weights[i] -= rate * m / (v.sqrt() + 1e-8);
        }
    }

    fn weights(&self) -> Vec<f32> {
        #[allow(clippy::cast_possible_truncation, reason = "as the example keeps them")]
        self.weights.iter().map(|&w| w as f32).collect()
    }

    /// The worst distance of weights, relative to how far they came.
    fn distance(&self, start: &[f32], found: &[f32]) -> f64 {
        let came = self.weights.iter().zip(start).map(|(w, s)| (w - f64::from(*s)).abs());
        let off = self.weights.iter().zip(found).map(|(w, f)| (w - f64::from(*f)).abs());
        off.fold(0.0, f64::max) / came.fold(0.0, f64::max)
    }
}

/// Up over the first twentieth of the steps, down to 0 behind the last.
fn rate(peak: f64, step: usize, steps: usize) -> f64 {
    let (step, steps) = (step as f64, steps as f64);
    let up = (step + 1.0) / (steps / 20.0).max(1.0);
    peak * up.min(1.0) * (steps - step) / steps
}

/// Each pass in a new order, cut to batches; the last of a pass may be shorter.
pub(crate) fn batches(
    count: usize,
    size: usize,
    steps: usize,
    random: &mut Random,
) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut out = Vec::new();
    while out.len() < steps {
        random.shuffle(&mut order);
        out.extend(order.chunks(size).map(<[usize]>::to_vec));
    }
    out.truncate(steps);
    out
}

#[test]
fn passes_make_steps() {
    for (passes, batch, count, steps) in [
        (10, 8, 256, 320),
        (1, 4, 5, 2),
        (3, 4, 1, 3),
        (8, 16, 128, 64),
        (2, 3, 9, 6),
        (2, 3, 10, 8),
    ] {
        let phase = Phase { passes, batch, rate: 1.0 };
        assert_eq!(phase.steps(count), steps, "{passes} passes of {count} by {batch}");
    }
}

/// 84 steps: the rate rises over the first four.
#[test]
fn supervised_training_is_adam_on_the_likelihood() {
    let (shape, examples) = (SMALL_RECIPE.shape, examples());
    let texts: Vec<&Sequence> = examples.iter().flat_map(|e| [&e.chosen, &e.rejected]).collect();
    let phase = Phase { passes: 42, batch: 5, rate: 3e-3 };
    let start = tuned(shape, 11);
    let mut model = start.clone();
    let mut losses = Vec::new();
    let report = |step, steps, loss| {
        losses.push((step, steps, loss));
        Ok(())
    };
    let (dispatch, mut random) = (Dispatch::detect(), Random(6));
    train::supervised(&mut model, dispatch, &phase, &texts, &mut random, report).expect("training");
    assert_eq!(model.weights.adapter, start.weights.adapter, "the adapter stays as it was");
    assert_eq!(losses.len(), 84, "42 passes of two batches");

    let (mut twin, mut adam, mut again) = (start.clone(), Adam::of(&start.weights.base), Random(6));
    for (step, indices) in batches(6, 5, 84, &mut again).into_iter().enumerate() {
        let texts: Vec<&Sequence> = indices.iter().map(|&i| texts[i]).collect();
        let plain = plain_of(&twin, shape, Adapter::Off);
        let all = texts.iter().map(|text| plain.log_prob(&text.tokens, 1));
        let (sum, tokens) = all.fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let (at, of, loss) = losses[step];
        assert_eq!((at, of), (step + 1, 84), "steps count from 1");
        let expected = -sum / tokens as f64;
        assert!((loss - expected).abs() < 1e-3, "step {at}: {loss} nats a byte, not {expected}");
        let scored: Vec<Scored<'_>> =
            texts.iter().map(|text| (text.tokens.as_slice(), text.all_rows())).collect();
        let mut batch = Batch::forward(&twin, &scored, Adapter::Off);
        batch.likelihood(dispatch).expect("finite");
        let grads = batch.backward(dispatch).expect("gradients");
        adam.step(i32::try_from(at).expect("few"), &grads, rate(3e-3, step, 84));
        twin.weights.base = adam.weights();
    }
    assert_eq!(again.bits(), random.bits(), "as many numbers were drawn");
    let off = adam.distance(&start.weights.base, &model.weights.base);
    assert!(off < 2e-3, "the weights are off by {off} of their way");
}

/// The loss of a batch under each objective as the papers have it, with what it has gathered.
struct Course {
    name: LossName,
    /// Log-ratios of every answer trained on so far.
    seen: Vec<f64>,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Course {
    const BETA: f64 = 0.1;

    fn loss(&mut self, models: [&crate::plain::Plain; 2], examples: &[Example]) -> f64 {
        let [policy, reference] = models.map(|plain| plain_answers(plain, examples));
        let ratios: Vec<f64> = policy.iter().zip(&reference).map(|(p, r)| p.0 - r.0).collect();
        self.seen.extend(&ratios);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let pairs = ratios.len() as f64 / 2.0;
        match self.name {
            LossName::Bco => {
                let delta = Self::BETA * mean(&self.seen);
                let one = |pair: &[f64]| {
                    let [a, b] = [Self::BETA * pair[0] - delta, Self::BETA * pair[1] - delta];
                    crate::batch::softplus(-a) + crate::batch::softplus(b)
                };
                ratios.chunks_exact(2).map(one).sum::<f64>() / pairs
            }
            LossName::Kto => {
                // Each prompt with both answers to the next, the last with those to the first.
                let n = examples.len();
                let strangers = (0..n).filter(|_| n > 1).flat_map(|i| {
                    let [prompt, next] = [&examples[i], &examples[(i + 1) % n]];
                    [&next.chosen, &next.rejected].map(|other| {
                        let other = &other.tokens[other.opening().len()..];
                        let tokens = [prompt.chosen.opening(), other].concat();
                        let start = prompt.chosen.opening().len();
                        let [p, r] = models.map(|plain| plain.log_prob(&tokens, start).0);
                        p - r
                    })
                });
                let strangers: Vec<f64> = strangers.collect();
                let k = if n > 1 { mean(&strangers).max(0.0) } else { self.k_of_none() };
                let one = |(i, r): (usize, &f64)| {
                    1.0 - sigmoid(Self::BETA * if i % 2 == 0 { r - k } else { k - r })
                };
                ratios.iter().enumerate().map(one).sum::<f64>() / (2.0 * pairs)
            }
            _ => dpo(Self::BETA, &policy, &reference),
        }
    }

    /// A batch of one pair has no other prompt: K stays what the batch before it had. The runs
    /// below have no such batch.
    fn k_of_none(&self) -> f64 {
        panic!("{:?} met a batch of one", self.name)
    }
}

#[test]
fn preference_training_is_adam_on_the_adapter_against_a_frozen_reference() {
    let (shape, examples, dispatch) = (SMALL_RECIPE.shape, examples(), Dispatch::detect());
    let start = Model::new(shape, &mut Random(12));
    let phase = Phase { passes: 0, batch: 2, rate: 2e-2 };
    for (name, size, steps) in
        [(LossName::Sigmoid, 2, 42), (LossName::Bco, 2, 9), (LossName::Kto, 3, 24)]
    {
        let phase = Phase { batch: size, ..phase };
        let board = Scoreboard::new(&start, dispatch, &examples).expect("a reference");
        let objective = Objective::new(name, None).expect("defaults");
        let (mut model, mut random) = (start.clone(), Random(8));
        let (mut course, mut before) = (Course { name, seen: Vec::new() }, start.clone());
        let reference = plain_of(&start, shape, Adapter::Off);
        let order = batches(3, size, steps, &mut Random(8));
        let mut adam = Adam::of(&start.weights.adapter);
        let mut last = 0;
        let report = |step: usize, model: &Model, _: &Objective, loss: f64| {
            last += 1;
            assert_eq!(step, last, "{name:?}: steps count from 1");
            let examples: Vec<Example> =
                order[step - 1].iter().map(|&i| examples[i].clone()).collect();
            let policy = plain_of(&before, shape, Adapter::On);
            let expected = course.loss([&policy, &reference], &examples);
            assert!((loss - expected).abs() < 2e-5, "{name:?}, {step}: {loss}, not {expected}");
            assert_eq!(model.weights.base, start.weights.base, "{name:?}: the reference is frozen");
            if name == LossName::Sigmoid {
                let grads = gradient(&before, &start, &examples);
                adam.step(i32::try_from(step).expect("few"), &grads, rate(2e-2, step - 1, steps));
                let off = adam.distance(&start.weights.adapter, &model.weights.adapter);
                assert!(off < 1e-3, "step {step}: the adapter is off by {off} of its way");
            }
            before = model.clone();
            Ok(())
        };
        let plan = (&phase, steps);
        train::preference(&mut model, (dispatch, objective), plan, &board, &mut random, report)
            .expect("training");
        assert_eq!(last, steps, "{name:?}: every step was told");
    }
}

/// The adapter's gradient of DPO's loss, by a batch of its own.
fn gradient(model: &Model, start: &Model, examples: &[Example]) -> Vec<f32> {
    let scored: Vec<Scored<'_>> = (examples.iter().flat_map(|e| [&e.chosen, &e.rejected]))
        .map(|sequence| (sequence.tokens.as_slice(), sequence.answer_rows()))
        .collect();
    let reference = plain_of(start, SMALL_RECIPE.shape, Adapter::Off);
    let reference = examples.iter().flat_map(|e| [&e.chosen, &e.rejected]).map(|sequence| {
        let (sum, count) = plain_answer(&reference, sequence);
        SequenceLogProb { sum, count }
    });
    let reference: Vec<SequenceLogProb> = reference.collect();
    let mut objective = Objective::new(LossName::Sigmoid, None).expect("defaults");
    let mut batch = Batch::forward(model, &scored, Adapter::On);
    batch.preference(Dispatch::detect(), &mut objective, &reference).expect("finite");
    batch.backward(Dispatch::detect()).expect("gradients")
}

/// The reference is the model with its adapter off, whatever the adapter has become.
#[test]
fn a_scoreboard_keeps_the_model_without_its_adapter() {
    let (shape, examples, dispatch) = (SMALL_RECIPE.shape, examples(), Dispatch::detect());
    let model = tuned(shape, 13);
    let board = Scoreboard::new(&model, dispatch, &examples).expect("a reference");
    let objective = Objective::new(LossName::Sigmoid, None).expect("defaults");
    let score = board.evaluate(&model, dispatch, &objective).expect("a score");
    let [on, off] = [Adapter::On, Adapter::Off]
        .map(|adapter| plain_answers(&plain_of(&model, shape, adapter), &examples));
    let expected = dpo(0.1, &on, &off);
    assert!((score.found.loss - expected).abs() < 1e-5, "{} is not {expected}", score.found.loss);
    assert!(!score.is_reference && (expected - 2.0_f64.ln()).abs() > 1e-3, "{expected}");
}
