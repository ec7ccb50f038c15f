//! Each function once by hand, with numbers that differ in every place.

use dpo_kernel::theory::{AnswerSet, preference_log_prob, preference_prob};

use crate::instance::U;

const REFERENCE: [f64; 3] = [-1.5, -1.0, -2.0];
const POLICY: [f64; 3] = [-1.0, -2.0, -0.5];
const REWARDS: [f64; 3] = [2.0, -1.0, 0.5];
const BETA: f64 = 0.5;

/// Within some roundings of terms of the size of 1, which every figure here is a sum of.
fn near(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 16.0 * U * expected.abs().max(1.0),
        "{found} is not {expected}"
    );
}

/// β·(log π − log π_ref) + β·log Z: every figure here is exact.
#[test]
fn implicit_rewards() {
    let answers = AnswerSet::new(&REFERENCE, &REWARDS, BETA).unwrap();
    let mut rewards = [f64::NAN; 3];
    answers.implicit_rewards(&POLICY, 3.0, &mut rewards).unwrap();
    assert_eq!(rewards, [0.25 + 1.5, -0.5 + 1.5, 0.75 + 1.5]);
    answers.implicit_rewards(&POLICY, 0.0, &mut rewards).unwrap();
    assert_eq!(rewards, [0.25, -0.5, 0.75]);
    // Of the optimal policy they are the rewards themselves.
    let mut optimal = [f64::NAN; 3];
    answers.optimal_policy(&mut optimal).unwrap();
    answers.implicit_rewards(&optimal, answers.log_partition(), &mut rewards).unwrap();
    for (found, expected) in rewards.into_iter().zip(REWARDS) {
        near(found, expected);
    }
}

/// Σ π·r − β·Σ π·(log π − log π_ref), and its maximum β·log Z.
#[test]
fn objective_and_partition() {
    let answers = AnswerSet::new(&REFERENCE, &REWARDS, BETA).unwrap();
    let terms = POLICY.iter().zip(REFERENCE).zip(REWARDS);
    let expected: f64 = terms.map(|((l, l_ref), r)| l.exp() * (r - BETA * (l - l_ref))).sum();
    near(answers.objective(&POLICY).unwrap(), expected);
    let tilted = REFERENCE.iter().zip(REWARDS).map(|(l, r)| (l + r / BETA).exp());
    let log_z = tilted.sum::<f64>().ln();
    near(answers.log_partition(), log_z);
    let mut optimal = [f64::NAN; 3];
    answers.optimal_policy(&mut optimal).unwrap();
    for ((found, l), r) in optimal.into_iter().zip(REFERENCE).zip(REWARDS) {
        near(found, l + r / BETA - log_z);
    }
    near(answers.objective(&optimal).unwrap(), BETA * log_z);
}

/// Over three pairs of unequal weights, as printed, and its gradient.
#[test]
fn population_loss_and_gradient() {
    let weights = [1.0, 3.0, 0.5];
    let answers = AnswerSet::new(&REFERENCE, &REWARDS, BETA).unwrap();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let ratio = |i: usize| POLICY[i] - REFERENCE[i];
    let (mut loss, mut total, mut grads) = (0.0, 0.0, [0.0; 3]);
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let (z, delta) = (BETA * (ratio(i) - ratio(j)), REWARDS[i] - REWARDS[j]);
        let weight = weights[i] * weights[j];
        let won = -sigmoid(delta) * sigmoid(z).ln();
        loss += weight * (won - sigmoid(-delta) * sigmoid(-z).ln());
        total += weight;
        let d = weight * BETA * (sigmoid(z) - sigmoid(delta));
        grads[i] += d;
        grads[j] -= d;
    }
    near(answers.population_loss(&POLICY, &weights).unwrap(), loss / total);
    let mut found = [f64::NAN; 3];
    answers.population_loss_grad(&POLICY, &weights, &mut found).unwrap();
    for (found, expected) in found.into_iter().zip(grads) {
        near(found, expected / total);
    }
}

/// σ and log σ of the difference of two rewards.
#[test]
fn preferences() {
    near(preference_prob(2.0, -1.0), 1.0 / (1.0 + (-3.0_f64).exp()));
    near(preference_log_prob(2.0, -1.0), -(-3.0_f64).exp().ln_1p());
    near(preference_log_prob(-1.0, 2.0), -3.0_f64.exp().ln_1p());
}

/// An answer of weight 0 is in no pair, whatever its log-prob.
#[test]
fn answers_of_weight_0_are_not_compared() {
    let answers = AnswerSet::new(&REFERENCE, &REWARDS, BETA).unwrap();
    let weights = [0.5, 2.0, 0.0];
    let of = |third| {
        let policy = [POLICY[0], POLICY[1], third];
        let mut grads = [f64::NAN; 3];
        answers.population_loss_grad(&policy, &weights, &mut grads).unwrap();
        (answers.population_loss(&policy, &weights).unwrap(), grads)
    };
    let (loss, grads) = of(POLICY[2]);
    assert!(loss > 0.0 && grads[2] == 0.0 && grads[0] != 0.0, "{loss} {grads:?}");
    assert_eq!(of(f64::NEG_INFINITY), (loss, grads));
}

/// Terms that cancel but for what one rounding would keep, in both orders of size.
#[test]
fn sums_are_rounded_once() {
    let sum = |terms: &[f64]| {
        let mut sum = sum::Sum::default();
        for &term in terms {
            sum.add(term);
        }
        sum.value()
    };
    assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
    assert_eq!(sum(&[1e100, 1.0, -1e100, 1.0]), 2.0);
    assert_eq!(sum(&[1.0, 0.5 * U, 0.5 * U, 0.5 * U, 0.5 * U]), 1.0 + 2.0 * U);
    assert_eq!(sum(&[3.0, -0.25]), 2.75);
    assert_eq!(sum(&[1.0, f64::NEG_INFINITY]), f64::NEG_INFINITY);
}

#[path = "../../src/theory/sum.rs"]
mod sum;
