//! Steps 3 and 4: log Z cancels, and with it whatever is added to all rewards of a prompt.

use dpo_kernel::theory::preference_prob;

use crate::CASES;
use crate::instance::{
    Bounded, Checked, Instance, Policy, U, holds, holds_tightly, instances, optimal,
};

/// Bound of `z − (r_w − r_l)` for the margin z that the optimal policy implies.
///
/// Computed are, each with one rounding: `d = r − r*`, `q = d/β`, `t = log π_ref + q`, `s = t − m`,
/// `l = s − λ`, `a = l − log π_ref` for both answers, then `h = a_w − a_l`, `z = βh`. The numbers m
/// and λ carry errors too, but the same ones in both answers, so that they drop out. Hence
///
/// ```text
/// |z − (r_w − r_l)| ≤ u [Σ_{w,l} β (2|q| + |t| + |s| + |l| + |a|) + 3 |r_w − r_l|]
/// ```
///
/// where the third |r_w − r_l| is that of the test's own subtraction. With range D of the rewards
/// and A = max |log π_ref| each answer has β|q| ≤ D; β|t|, β|s|, β|a| ≤ D + βA; |l| ≤ |s| + ln n:
/// the bound that the documentation states, u (15 D + 8 βA + 2β ln n).
pub(crate) struct MarginBound<'a> {
    case: &'a Instance,
    of_answer: Vec<f64>,
}

impl<'a> MarginBound<'a> {
    pub(crate) fn new(case: &'a Instance, policy: &[f64]) -> Self {
        let log_ratios = policy.iter().zip(&case.reference).map(|(l, reference)| l - reference);
        let roundings = case.policy_roundings(policy).into_iter().zip(log_ratios);
        let of_answer = roundings.map(|(roundings, a)| case.beta * (roundings + a.abs()));
        Self { case, of_answer: of_answer.collect() }
    }

    pub(crate) fn of(&self, w: usize, l: usize) -> f64 {
        let delta = self.case.rewards[w] - self.case.rewards[l];
        U * (self.of_answer[w] + self.of_answer[l] + 3.0 * delta.abs())
    }
}

/// The implied margin of every pair is the difference of the true rewards, whatever f(x) was added
/// to them. Adding it rounds both rewards once more: u (|r_w + f| + |r_l + f|).
pub(crate) fn log_partition_cancels(case: &Instance, policy: Policy) -> Checked {
    let mut bounded = Bounded::default();
    let possible = case.possible();
    for (shift, seen) in [(0.0, case.clone()), (case.shift, case.shifted())] {
        let log_probs = policy(&seen);
        let margin_bound = MarginBound::new(&seen, &log_probs);
        let range =
            possible.iter().map(|&i| seen.best_reward() - seen.rewards[i]).fold(0.0, f64::max);
        let spread = possible.iter().map(|&i| -seen.reference[i]).fold(0.0, f64::max);
        let log_n = (seen.rewards.len() as f64).ln();
        let documented = U * (15.0 * range + 8.0 * seen.beta * spread + 2.0 * seen.beta * log_n);
        for (k, &w) in possible.iter().enumerate() {
            for &l in &possible[..k] {
                let a = |i: usize| log_probs[i] - seen.reference[i];
                let error = seen.beta * (a(w) - a(l)) - (case.rewards[w] - case.rewards[l]);
                let shifting = if shift == 0.0 {
                    0.0
                } else {
                    U * (seen.rewards[w].abs() + seen.rewards[l].abs())
                };
                bounded.check("margin", error, shifting + margin_bound.of(w, l))?;
                bounded.check("margin, documented", error, shifting + documented)?;
            }
        }
    }
    Ok(bounded.worst)
}

#[test]
fn log_partition_cancels_from_every_margin() {
    holds_tightly(CASES, instances(40), |case| log_partition_cancels(case, optimal));
}

/// Bound of log Z, as documented: `u (|r*|/β + |m + λ| + |log Z| + 6 λ + E_π*[2|q| + |t| + |t −
/// m|])`. An error of t enters log Z with the weight π* of its answer, and m drops out; 6 λ is
/// `exp`, the sum and `log1p`. Here |m| + λ stands for |m + λ|, and |t − m| ≤ |log π*|.
pub(crate) fn log_partition_bound(case: &Instance) -> f64 {
    let tilted = optimal(case);
    let best = case.best_reward();
    let largest =
        case.possible().into_iter().max_by(|&i, &j| tilted[i].total_cmp(&tilted[j])).unwrap();
    let log_sum = -tilted[largest];
    let m = case.reference[largest] + (case.rewards[largest] - best) / case.beta;
    let roundings = case.policy_roundings(&tilted);
    let expected = |i: usize| tilted[i].exp() * (roundings[i] - tilted[i].abs());
    let expected: f64 = case.possible().into_iter().map(expected).sum();
    let log_z = case.answers().log_partition();
    U * ((best / case.beta).abs() + m.abs() + 7.0 * log_sum + log_z.abs() + expected)
}

/// Adding f(x) to the rewards moves log Z by f/β and nothing else.
///
/// With r' = r + f, rounded, Δ = r_i − r_j is off by e = u (|r'_i| + |r'_j| + |Δ'|) + u |Δ|, and
/// * log Z by the bounds of both, u max|r'|/β for r', and 2u |f|/β + u |log Z'| in this test;
/// * P = σ(Δ) by e/4, for σ' ≤ 1/4, plus 4u P for each evaluation: `exp`, a sum, a quotient;
/// * L by the mean of |ΔP| |z|, plus 20u L for each evaluation;
/// * ∂L/∂log π_i by β/W Σ_j w_i w_j |ΔP|, plus 20u β/W Σ_j w_i w_j |σ(z) − σ(Δ)| for each.
fn rewards_are_known_up_to_a_shift(case: &Instance) -> Checked {
    let mut bounded = Bounded::default();
    let moved = case.shifted();
    let largest = moved.rewards.iter().fold(0.0_f64, |most, r| most.max(r.abs()));
    let (before, after) = (case.answers().log_partition(), moved.answers().log_partition());
    let own = U * (largest + 2.0 * case.shift.abs()) / case.beta + U * after.abs();
    let bound = log_partition_bound(case) + log_partition_bound(&moved) + own;
    bounded.check("log Z", (after - case.shift / case.beta) - before, bound)?;

    let policy = case.random_policy();
    let (mut d_before, mut d_after) = (policy.clone(), policy.clone());
    case.answers().population_loss_grad(&policy, &case.weights, &mut d_before).unwrap();
    moved.answers().population_loss_grad(&policy, &case.weights, &mut d_after).unwrap();
    let per_pair = case.pair_weight();
    let mut loss_bound = 0.0;
    for i in case.possible() {
        let mut grad_bound = 0.0;
        for j in case.possible().into_iter().filter(|&j| j != i) {
            let (delta, delta_moved) =
                (case.rewards[i] - case.rewards[j], moved.rewards[i] - moved.rewards[j]);
            let rounded = moved.rewards[i].abs() + moved.rewards[j].abs() + delta_moved.abs();
            let slack = U * (rounded + delta.abs()) / 4.0;
            let (p, p_moved) = (
                preference_prob(case.rewards[i], case.rewards[j]),
                preference_prob(moved.rewards[i], moved.rewards[j]),
            );
            bounded.check("preference", p - p_moved, slack + 8.0 * U * p)?;
            let a = |i: usize| policy[i] - case.reference[i];
            let z = case.beta * (a(i) - a(j));
            let weight = case.weights[i] * case.weights[j] / per_pair;
            loss_bound += weight / 2.0 * slack * z.abs();
            let pull = (preference_prob(z, 0.0) - p).abs();
            grad_bound += case.beta * weight * (slack + 40.0 * U * pull);
        }
        bounded.check("gradient", d_after[i] - d_before[i], grad_bound)?;
    }
    let loss = case.answers().population_loss(&policy, &case.weights).unwrap();
    let moved_loss = moved.answers().population_loss(&policy, &case.weights).unwrap();
    bounded.check("loss", moved_loss - loss, loss_bound + 40.0 * U * loss)?;
    Ok(bounded.worst)
}

#[test]
fn rewards_are_known_up_to_a_function_of_the_prompt() {
    holds_tightly(CASES / 2, instances(24), rewards_are_known_up_to_a_shift);
}

/// On a grid where r + f does not round, "unchanged" means every bit.
#[test]
fn exact_shifts_change_no_bit() {
    let grid = |x: f64| (x * 1_048_576.0).round() / 1_048_576.0;
    holds(CASES / 2, instances(24), |case| {
        let mut case = case.clone();
        case.rewards.iter_mut().for_each(|r| *r = grid(*r));
        case.shift = grid(case.shift);
        let moved = case.shifted();
        let figures = |case: &Instance| {
            let (mut d, policy) = (case.noise.clone(), case.random_policy());
            case.answers().population_loss_grad(&policy, &case.weights, &mut d).unwrap();
            d.push(case.answers().population_loss(&policy, &case.weights).unwrap());
            d.extend(optimal(case));
            d
        };
        if figures(&case) == figures(&moved) { Ok(1.0) } else { Err("bits differ".into()) }
    });
}
