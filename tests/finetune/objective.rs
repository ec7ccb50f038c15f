//! Every loss as an objective: its gradient, what it gathers, and that its steps lower it.

use dpo_kernel::loss::LossName;
use dpo_kernel::{Dispatch, SequenceLogProb};

use crate::finetune::model::Model;
use crate::finetune::objective::{Found, Objective};
use crate::finetune::random::Random;
use crate::finetune::text::Examples;
use crate::finetune::train::{self, Scoreboard};
use crate::{SMALL, SMALL_RECIPE, pair};

/// Log-probs of three pairs, no two differences alike, and so far from each loss's kinks that a
/// step of finite differences does not cross one.
fn log_probs() -> [Vec<SequenceLogProb>; 2] {
    let sequences = |sums: [f64; 6]| -> Vec<SequenceLogProb> {
        let counts = [10, 12, 7, 9, 15, 8];
        sums.into_iter().zip(counts).map(|(sum, count)| SequenceLogProb { sum, count }).collect()
    };
    [
        sequences([-20.5, -25.25, -16.0, -14.5, -31.25, -17.25]),
        sequences([-21.0, -24.5, -15.25, -15.0, -33.0, -17.0]),
    ]
}

/// What an objective finds after it has seen a batch, and others' answers.
fn primed(name: LossName) -> Objective {
    let [policy, reference] = log_probs();
    let mut objective = Objective::new(name, None).expect("defaults");
    objective.observe_mismatched(&policy, &reference).expect("log-probs");
    objective.observe(&policy, &reference).expect("log-probs");
    objective
}

/// The worst disagreement between an objective's gradients and central differences of its loss,
/// relative to the largest of them.
fn slope_error(name: LossName, fault: impl Fn(&mut Found)) -> f64 {
    const STEP: f64 = 1e-4;
    let ([policy, reference], objective) = (log_probs(), primed(name));
    let mut found = objective.evaluate(&policy, &reference).expect("finite log-probs");
    fault(&mut found);
    let d_nll = found.d_nll.unwrap_or_else(|| vec![0.0; policy.len()]);
    let (mut worst, mut largest) = (0.0f64, 0.0f64);
    for (i, (d, d_nll)) in found.d_log_probs.iter().zip(d_nll).enumerate() {
        let at = |shift: f64| {
            let mut moved = policy.clone();
            moved[i].sum += shift;
            objective.evaluate(&moved, &reference).expect("finite log-probs").loss
        };
        let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        worst = worst.max((d + d_nll - slope).abs());
        largest = largest.max(slope.abs());
    }
    worst / largest
}

#[test]
fn every_objective_has_the_gradient_of_its_loss() {
    for name in LossName::ALL {
        let error = slope_error(name, |_| {});
        assert!(error < 1e-6, "{name:?}: {error:e}");
        let planted = slope_error(name, |found| {
            found.d_log_probs.iter_mut().for_each(|d| *d *= 1.001);
            found.d_nll.iter_mut().flatten().for_each(|d| *d *= 1.001);
        });
        assert!(planted > 5e-4, "{name:?}: a fault of a thousandth went unseen: {planted:e}");
    }
}

/// δ of BCO and K of KTO are those of what has been seen, and tell in the loss; others look at
/// nothing.
#[test]
fn statistics_are_gathered_for_those_that_need_them() {
    let [policy, reference] = log_probs();
    for name in LossName::ALL {
        let loss =
            |objective: &Objective| objective.evaluate(&policy, &reference).expect("loss").loss;
        let fresh = Objective::new(name, None).expect("defaults");
        let moved = loss(&primed(name)).to_bits() != loss(&fresh).to_bits();
        assert_eq!(moved, matches!(name, LossName::Bco | LossName::Kto), "{name:?}");
        assert_eq!(fresh.wants_mismatched(), name == LossName::Kto, "{name:?}");
    }
}

#[test]
fn every_loss_takes_steps_and_lowers_itself() {
    let lines = (0..10).map(|n| pair(&format!("p{n}"), "good", "bad")).collect::<Vec<_>>();
    let examples = Examples::new(&lines, &mut Random(1));
    let (dispatch, mut random) = (Dispatch::detect(), Random(7));
    let reference = Model::new(SMALL_RECIPE.shape, &mut random);
    let board = Scoreboard::new(&reference, dispatch, &examples.train).expect("a scoreboard");
    for name in LossName::ALL {
        let objective = Objective::new(name, None).expect("defaults");
        let mut model = reference.clone();
        let before = board.evaluate(&model, dispatch, &objective).expect("a score");
        assert!(before.is_reference, "{name:?}: a fresh adapter");
        let (mut steps, mut last) = (0, None);
        let report = |step, _: &Model, objective: &Objective, batch: f64| {
            assert!(batch.is_finite(), "{name:?}: batch loss {batch} at step {step}");
            (steps, last) = (step, Some(*objective));
            Ok(())
        };
        let (plan, order) = ((&SMALL, 12), &mut Random(3));
        train::preference(&mut model, (dispatch, objective), plan, &board, order, report)
            .expect("training");
        assert_eq!(steps, 12, "{name:?}");
        let last = last.expect("an objective");
        let after = board.evaluate(&model, dispatch, &last).expect("a score");
        let (first, now) = (before.found.loss, after.found.loss);
        assert!(now < first - 1e-3 * first.abs(), "{name:?}: {first} became {now}");
        let gap = after.yardstick.log_ratios.mean_margin();
        assert!(gap > 0.05, "{name:?}: the gap is {gap} nats");
    }
}
