//! Steps 1 and 2: π* is the optimum, and the maximum is β log Z.

use dpo_kernel::theory::AnswerSet;

use crate::CASES;
use crate::cancellation::log_partition_bound;
use crate::instance::{
    Bounded, Checked, Instance, Policy, U, holds_tightly, instances, log_softmax, optimal,
};

/// Policies that try to beat `best`: random ones, small steps along each coordinate, probability
/// moved between neighbours, and optima of slightly wrong β and rewards.
fn challengers(case: &Instance, best: &[f64]) -> Vec<Vec<f64>> {
    let possible = case.possible();
    let mut all = vec![case.random_policy(), case.reference.clone(), best.to_vec()];
    for (k, &i) in possible.iter().enumerate().take(6) {
        for step in [1.0, -1e-2, 1e-4] {
            let mut logits = best.to_vec();
            logits[i] += step;
            all.push(log_softmax(logits));
        }
        let j = possible[(k + 1) % possible.len()];
        let mut moved = best.to_vec();
        let part = 0.125 * best[i].exp();
        moved[i] = best[i] + 0.875_f64.ln();
        moved[j] = (best[j].exp() + part).ln();
        all.push(moved);
    }
    for factor in [0.5, 0.999, 1.000_01, 2.0] {
        all.push(optimal(&Instance { beta: case.beta * factor, ..case.clone() }));
    }
    let tilted = case.rewards.iter().zip(&case.noise).map(|(r, x)| r + 1e-3 * case.beta * x);
    all.push(optimal(&Instance { rewards: tilted.collect(), ..case.clone() }));
    all
}

/// Every policy q misses the maximum β log Z by exactly β KL(q ‖ π*), so none beats π*.
///
/// The identity `J(q) + β KL(q ‖ π*) = β log Z Σ q` holds for every q, even an unnormalised one.
/// Its terms are off by
/// * J: 8u Σ q (|r| + β|log q − log π_ref|), as documented;
/// * β KL, computed here: `exp`, two products, a difference, a sum, β: 8u β Σ q |log q − log π*|,
///   and π* itself is off by the roundings of `Instance::policy_roundings` and those of λ, which
///   are among those of log Z;
/// * β log Z Σ q: its bound and 6u of itself, for `exp`, the sum, two products and the difference.
pub(crate) fn no_policy_is_better(case: &Instance, policy: Policy) -> Checked {
    let mut bounded = Bounded::default();
    let (answers, best) = (case.answers(), policy(case));
    let maximum = case.beta * answers.log_partition();
    let maximum_bound = case.beta * log_partition_bound(case) + 6.0 * U * maximum.abs();
    let objective_bound = |q: &[f64]| -> f64 {
        let given = case.possible().into_iter().filter(|&i| q[i].exp() > 0.0);
        let terms = given.map(|i| {
            q[i].exp() * (case.rewards[i].abs() + case.beta * (q[i] - case.reference[i]).abs())
        });
        8.0 * U * terms.sum::<f64>()
    };
    let roundings = case.policy_roundings(&best);
    // A q of mass 1 + η is worth M (J − β log M), M = 1 + η, and its sum is known to 4u.
    let off_the_simplex = |mass: f64| (maximum.abs() + case.beta) * ((mass - 1.0).abs() + 4.0 * U);
    let best_mass = best.iter().map(|l| l.exp()).sum();
    let at_best_bound = objective_bound(&best) + maximum_bound + off_the_simplex(best_mass);
    let at_best = answers.objective(&best).unwrap();
    for q in challengers(case, &best) {
        let (mut divergence, mut mass, mut slack) = (0.0, 0.0, 0.0);
        for i in case.possible().into_iter().filter(|&i| q[i].exp() > 0.0) {
            let prob = q[i].exp();
            mass += prob;
            divergence += prob * (q[i] - best[i]);
            slack += prob * (8.0 * (q[i] - best[i]).abs() + roundings[i]);
        }
        let divergence = case.beta * divergence;
        let value = answers.objective(&q).unwrap();
        let bound = objective_bound(&q) + case.beta * U * slack + maximum_bound * mass;
        bounded.check(
            "J(q) + β KL(q ‖ π*) − β log Z",
            value + divergence - maximum * mass,
            bound,
        )?;
        let allowed = bound + off_the_simplex(mass) + at_best_bound;
        if value > at_best + allowed {
            return Err(format!("{value} beats {at_best} by more than {allowed:e}"));
        }
        if divergence > 4.0 * allowed && value >= at_best {
            return Err(format!("{value} is as good as {at_best}, {divergence:e} away"));
        }
    }
    Ok(bounded.worst)
}

#[test]
fn no_policy_is_better_than_the_optimal_one() {
    holds_tightly(CASES, instances(40), |case| no_policy_is_better(case, optimal));
}

#[test]
fn answers_beyond_the_reference_are_infinitely_far() {
    let reference = [0.0, f64::NEG_INFINITY];
    let answers = AnswerSet::new(&reference, &[0.0, 1e6], 1e-3).unwrap();
    assert_eq!(answers.objective(&[-0.5, -1.0]), Ok(f64::NEG_INFINITY));
    assert_eq!(answers.objective(&reference), Ok(0.0));
}
