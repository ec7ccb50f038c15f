//! A run once more, put together from its pieces, with every figure computed by the plain model and
//! the formulas written anew. The pieces have tests of their own.

use dpo_kernel::Dispatch;
use dpo_kernel::loss::LossName;

use crate::SMALL_RECIPE;
use crate::batch::{plain_answers, softplus};
use crate::finetune::jsonl;
use crate::finetune::linear::Adapter;
use crate::finetune::model::Model;
use crate::finetune::objective::Objective;
use crate::finetune::random::Random;
use crate::finetune::text::{Example, Examples, Sequence};
use crate::finetune::train::{self, Phase, Recipe, Scoreboard};
use crate::plain::plain_of;

/// Phases that differ in everything.
pub(crate) const RECIPE: Recipe = Recipe {
    shape: SMALL_RECIPE.shape,
    pretraining: Phase { passes: 2, batch: 4, rate: 1e-2 },
    supervised: Phase { passes: 3, batch: 3, rate: 5e-3 },
    preference: Phase { passes: 4, batch: 5, rate: 2e-2 },
};

/// Pairs of which neighbours contradict each other, so that no model is right about all of them, and
/// right about other shares of those it was trained on than of the others.
pub(crate) fn lines() -> String {
    let line = |n: usize| {
        let (one, other) = ("so good".get(n % 4..).unwrap_or(""), "bad");
        let (chosen, rejected) = if n.is_multiple_of(3) { (other, one) } else { (one, other) };
        format!(
            "{{\"prompt\":\"{}{n}\",\"chosen\":\"{chosen}\",\"rejected\":\"{rejected}\"}}\n",
            "q".repeat(n % 5)
        )
    };
    (0..17).map(line).collect()
}

/// What comes before preferences.
pub(crate) struct Twin {
    pub(crate) examples: Examples,
    pub(crate) reference: Model,
    /// As the order of batches follows from it.
    pub(crate) random: Random,
    /// (steps, of steps, nats a byte) of both phases.
    pub(crate) phases: [Vec<(usize, usize, f64)>; 2],
}

impl Twin {
    pub(crate) fn new(lines: &str, seed: u64) -> Self {
        let mut random = Random(seed);
        let pairs = jsonl::parse("twin", lines.as_bytes()).expect("pairs");
        let examples = Examples::new(&pairs, &mut random);
        let mut reference = Model::new(RECIPE.shape, &mut random);
        let chosen: Vec<&Sequence> = examples.train.iter().map(|e| &e.chosen).collect();
        let mut both = Vec::new();
        examples.train.iter().for_each(|e| both.extend([&e.chosen, &e.rejected]));
        let phases =
            [(both, RECIPE.pretraining), (chosen, RECIPE.supervised)].map(|(texts, phase)| {
                let mut told = Vec::new();
                let report = |step, steps, loss| {
                    told.push((step, steps, loss));
                    Ok(())
                };
                let dispatch = Dispatch::detect();
                train::supervised(&mut reference, dispatch, &phase, &texts, &mut random, report)
                    .expect("training");
                told
            });
        Self { examples, reference, random, phases }
    }

    /// Trains the adapter and hands the model over after each step, with the batch's loss before it.
    pub(crate) fn preference(
        &self,
        name: LossName,
        steps: usize,
        mut each: impl FnMut(usize, &Model, &Objective, f64),
    ) {
        let board = Scoreboard::new(&self.reference, Dispatch::detect(), &self.examples.train)
            .expect("a reference");
        let objective = Objective::new(name, None).expect("defaults");
        let (mut model, mut random) = (self.reference.clone(), self.random.clone());
        let report = |step, model: &Model, objective: &Objective, loss| {
            each(step, model, objective, loss);
            Ok(())
        };
        let (first, plan) = ((Dispatch::detect(), objective), (&RECIPE.preference, steps));
        train::preference(&mut model, first, plan, &board, &mut random, report).expect("training");
    }

    /// What a policy makes of pairs, against this reference.
    pub(crate) fn look(&self, policy: &Model, examples: &[Example]) -> Look {
        let [policy, reference] =
            [(policy, Adapter::On), (&self.reference, Adapter::Off)].map(|(model, adapter)| {
                plain_answers(&plain_of(model, RECIPE.shape, adapter), examples)
            });
        let ratios: Vec<[f64; 2]> = (0..examples.len())
            .map(|i| [0, 1].map(|side| policy[2 * i + side].0 - reference[2 * i + side].0))
            .collect();
        Look { ratios, policy }
    }
}

/// Log-ratios (a, b) of pairs, and log-probs with their tokens.
pub(crate) struct Look {
    pub(crate) ratios: Vec<[f64; 2]>,
    pub(crate) policy: Vec<(f64, usize)>,
}

pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

impl Look {
    pub(crate) fn each(&self, value: impl Fn(f64, f64) -> f64) -> f64 {
        mean(self.ratios.iter().map(|&[a, b]| value(a, b)))
    }

    pub(crate) fn gap(&self) -> f64 {
        self.each(|a, b| a - b)
    }

    /// A tie is not right.
    pub(crate) fn accuracy(&self) -> f64 {
        self.each(|a, b| f64::from(u8::from(a - b > 1e-6)))
    }

    /// With β = 0.1.
    pub(crate) fn dpo(&self) -> f64 {
        self.each(|a, b| softplus(-0.1 * (a - b)))
    }
}

/// The steps of a report that comes `count` times and last at the end: the first at or past each
/// part.
pub(crate) fn milestones(steps: usize, count: usize) -> Vec<usize> {
    let mut at: Vec<usize> = (1..=count).map(|part| (part * steps).div_ceil(count)).collect();
    at.dedup();
    at
}

/// Fails unless two texts are the same words, and their numbers the same to a tolerance.
#[track_caller]
pub(crate) fn same_text(found: &str, expected: &str, tolerance: f64) {
    let words = |text: &str| -> Vec<String> {
        text.split([' ', '=', '\n']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (left, right) = (words(found), words(expected));
    assert_eq!(left.len(), right.len(), "{found}\nis not\n{expected}");
    for (word, wanted) in left.iter().zip(&right) {
        let near = match (word.parse::<f64>(), wanted.parse::<f64>()) {
            (Ok(x), Ok(y)) => {
                x.to_string().contains("NaN") == y.is_nan() && (x - y).abs() <= tolerance
            }
            _ => word == wanted,
        };
        let decimals = |word: &str| word.split_once('.').map(|(_, digits)| digits.len());
        let same_form = word.parse::<f64>().is_err() || decimals(word) == decimals(wanted);
        assert!(
            near && same_form,
            "{word:?} is not {wanted:?} in\n{found}\nwhich should be\n{expected}"
        );
    }
}
