//! Step 5: the population loss, its gradient, and what minimises it.

use dpo_kernel::theory::preference_prob;
use proptest::prelude::*;

use crate::CASES;
use crate::cancellation::MarginBound;
use crate::instance::{
    Bounded, Checked, Instance, Policy, U, holds, holds_tightly, instances, log_softmax, optimal,
};

/// At π* the gradient of the population loss is 0.
///
/// z = Δ + e with |e| bounded by [`MarginBound`], and the gradient is β/W Σ_j w_i w_j (σ(z) − σ(Δ))
/// with |σ(z) − σ(Δ)| ≤ |e| σ'(Δ) exp(|e|), because the logarithm of σ' has slope at most 1.
pub(crate) fn gradient_vanishes(case: &Instance, policy: Policy) -> Checked {
    let mut bounded = Bounded::default();
    let log_probs = policy(case);
    let mut d = vec![f64::NAN; log_probs.len()];
    case.answers().population_loss_grad(&log_probs, &case.weights, &mut d).unwrap();
    let per_pair = case.beta / case.pair_weight();
    let margin_bound = MarginBound::new(case, &log_probs);
    for (i, &d) in d.iter().enumerate() {
        let pairs = case.possible().into_iter().filter(|&j| j != i && case.weights[i] > 0.0);
        let bound: f64 = pairs
            .map(|j| {
                let e = margin_bound.of(i, j);
                let (r_i, r_j) = (case.rewards[i], case.rewards[j]);
                let slope = preference_prob(r_i, r_j) * preference_prob(r_j, r_i);
                per_pair * case.weights[i] * case.weights[j] * e * slope * e.exp()
            })
            .sum();
        bounded.check("gradient at the optimum", d, bound * (1.0 + 40.0 * U))?;
    }
    Ok(bounded.worst)
}

#[test]
fn the_gradient_vanishes_at_the_optimal_policy() {
    holds_tightly(CASES, instances(24), |case| gradient_vanishes(case, optimal));
}

pub(crate) type Gradient = fn(&Instance, &[f64]) -> Vec<f64>;

pub(crate) fn gradient(case: &Instance, log_probs: &[f64]) -> Vec<f64> {
    let mut d = vec![f64::NAN; log_probs.len()];
    case.answers().population_loss_grad(log_probs, &case.weights, &mut d).unwrap();
    d
}

pub(crate) fn ascent(case: &Instance, log_probs: &[f64]) -> Vec<f64> {
    gradient(case, log_probs).into_iter().map(|d| -d).collect()
}

pub(crate) fn beta_forgotten(case: &Instance, log_probs: &[f64]) -> Vec<f64> {
    gradient(case, log_probs).into_iter().map(|d| d / case.beta).collect()
}

/// The gradient with respect to the logits θ of π = softmax(θ), against differences of the loss.
///
/// D(h) = [8 (L(h) − L(−h)) − (L(2h) − L(−2h))] / 12h is off by h⁴/30 max|L⁗'|. In θ_i the loss is
/// a mean of softplus(±βθ_i + …) over the pairs, of which i has the share s_i: |L⁗'| ≤ β⁵ s_i/4, so
/// h = 10⁻³/β leaves β s_i 10⁻¹²/120. Each L is off by 20u L, and through z by up to
/// u β (2|log π| + 2|a| + 2|a|) per answer of the pair (log-softmax, log-ratio, margin); the
/// coefficients of D amplify an error in L by 18/12h. It sums to 0 within 20u of its absolute sum.
pub(crate) fn gradient_is_the_slope(case: &Instance, gradient: Gradient) -> Checked {
    let mut bounded = Bounded::default();
    let theta = case.random_policy();
    let d = gradient(case, &theta);
    let loss_at = |i: usize, step: f64| {
        let mut moved = theta.clone();
        moved[i] += step;
        case.answers().population_loss(&log_softmax(moved), &case.weights).unwrap()
    };
    let h = 1e-3 / case.beta;
    let loss = loss_at(0, 0.0);
    let margin = |i: usize| 2.0 * theta[i].abs() + 4.0 * (theta[i] - case.reference[i]).abs();
    let margin = case.possible().into_iter().map(margin).fold(0.0, f64::max) + 8.0 * h;
    let loss_bound = U * (20.0 * loss + 2.0 * case.beta * margin);
    for i in case.possible() {
        let near = loss_at(i, h) - loss_at(i, -h);
        let far = loss_at(i, 2.0 * h) - loss_at(i, -2.0 * h);
        let slope = (8.0 * near - far) / (12.0 * h);
        let bound = case.beta * 1e-12 / 120.0 + loss_bound * 1.5 / h;
        bounded.check("slope", slope - d[i], bound + 20.0 * U * d[i].abs())?;
    }
    let absolute: f64 = d.iter().map(|d| d.abs()).sum();
    bounded.check(
        "sum of the gradient",
        d.iter().sum(),
        20.0 * U * absolute + f64::MIN_POSITIVE,
    )?;
    Ok(bounded.worst)
}

/// Few answers and moderate log-ratios, so that differences can see the slope.
pub(crate) fn small_instances() -> impl Strategy<Value = Instance> {
    (instances(6), -1.0..=1.0_f64).prop_map(|(mut case, exponent)| {
        case.beta = 10_f64.powf(exponent);
        let largest = case.rewards.iter().fold(0.0_f64, |most, r| most.max(r.abs()));
        case.rewards.iter_mut().for_each(|r| *r *= 1.5 / largest);
        case
    })
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    holds_tightly(CASES, small_instances(), |case| gradient_is_the_slope(case, gradient));
}

/// Gradient descent on the loss, from the reference, ends at π*.
///
/// With uniform weights the Hessian is at most that of ¼β² W⁻¹ Σ (θ_i − θ_j)²/2, with all non-zero
/// eigenvalues β²/(2(n−1)); the step is one over it. Rewards lie within ±1.5, so σ' ≥ 0.045 on
/// the way, each step leaves at most 1 − 4·0.045 of the error, and 120 steps leave 4.6·10⁻¹¹ of the
/// 3/β that it starts from, times √6 for the change of norms. A distance d between all log-probs
/// bounds the divergence KL by d and the total variation by (exp(d) − 1)/2.
pub(crate) fn descent_recovers(case: &Instance, gradient: Gradient) -> Checked {
    let weights = case.reference.iter().map(|l| f64::from(u8::from(l.is_finite()))).collect();
    let case = Instance { weights, ..case.clone() };
    let step = 2.0 * (case.possible().len() - 1) as f64 / (case.beta * case.beta);
    let mut theta = case.reference.clone();
    for _ in 0..120 {
        let d = gradient(&case, &theta);
        theta = log_softmax(theta.iter().zip(d).map(|(l, d)| l - step * d));
    }
    let best = optimal(&case);
    let distances = case.possible().into_iter().map(|i| (theta[i] - best[i]).abs());
    let mut bounded = Bounded::default();
    bounded.check("log-probs", distances.fold(0.0, f64::max), 3.4e-10 / case.beta + 1e-12)?;
    Ok(bounded.worst)
}

#[test]
fn descent_on_the_loss_recovers_the_optimal_policy() {
    holds(256, small_instances(), |case| descent_recovers(case, gradient));
}
