//! Random answer sets, the policies that are judged on them, and the bookkeeping of bounds.

use std::cell::Cell;

use dpo_kernel::theory::AnswerSet;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// The error of one rounding.
pub(crate) const U: f64 = f64::EPSILON / 2.0;

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) reference: Vec<f64>,
    pub(crate) rewards: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    /// Raw material for policies to compare with.
    pub(crate) noise: Vec<f64>,
    pub(crate) beta: f64,
    pub(crate) shift: f64,
}

impl Instance {
    pub(crate) fn answers(&self) -> AnswerSet<'_> {
        AnswerSet::new(&self.reference, &self.rewards, self.beta).unwrap()
    }

    pub(crate) fn shifted(&self) -> Self {
        let rewards = self.rewards.iter().map(|r| r + self.shift).collect();
        Self { rewards, ..self.clone() }
    }

    /// Answers that the reference can give; there are always two.
    pub(crate) fn possible(&self) -> Vec<usize> {
        (0..self.reference.len()).filter(|&i| self.reference[i].is_finite()).collect()
    }

    pub(crate) fn best_reward(&self) -> f64 {
        self.possible().iter().map(|&i| self.rewards[i]).fold(f64::NEG_INFINITY, f64::max)
    }

    /// `W = Σ_{i<j} w_i w_j`
    pub(crate) fn pair_weight(&self) -> f64 {
        let (sum, squares) = self.weights.iter().fold((0.0, 0.0), |(s, q), w| (s + w, q + w * w));
        (sum * sum - squares) / 2.0
    }

    /// A policy that has nothing to do with the rewards, on the support of the reference.
    pub(crate) fn random_policy(&self) -> Vec<f64> {
        let logits = self.noise.iter().zip(&self.reference);
        log_softmax(logits.map(|(x, l)| if l.is_finite() { 4.0 * x } else { *l }))
    }

    /// Rounding errors of log π*_i apart from that of log Z, in units of u.
    ///
    /// One each for r − r*, `q = (r − r*)/β`, `t = log π_ref + q`, t − m and (t − m) − λ; both of
    /// the last are at most |log π*|.
    pub(crate) fn policy_roundings(&self, policy: &[f64]) -> Vec<f64> {
        let best = self.best_reward();
        let answers = policy.iter().zip(&self.reference).zip(&self.rewards);
        let roundings = answers.map(|((log_prob, reference), reward)| {
            let q = (reward - best) / self.beta;
            2.0 * q.abs() + (reference + q).abs() + 2.0 * log_prob.abs()
        });
        roundings.collect()
    }
}

pub(crate) fn log_softmax(logits: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let logits: Vec<f64> = logits.into_iter().collect();
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = logits.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    logits.iter().map(|x| x - max - log_sum).collect()
}

/// 10^[−3, 3], evenly in the logarithm.
fn magnitude() -> impl Strategy<Value = f64> {
    (-3.0..=3.0).prop_map(|exponent| 10_f64.powf(exponent))
}

pub(crate) fn instances(most_answers: usize) -> impl Strategy<Value = Instance> {
    (2..=most_answers).prop_flat_map(|n| {
        let answer = (-1.0..=1.0, -1.0..=1.0, -1.0..=1.0, 0.0..=1.0, 0..8_u8);
        let scales = (magnitude(), magnitude(), 0.0..=30.0, -1000.0..=1000.0);
        (proptest::collection::vec(answer, n), scales).prop_map(
            move |(answers, (beta, reward_scale, spread, shift))| {
                // The first two answers are always possible; an eighth of the others is not.
                let possible = |i: usize| i < 2 || answers[i].4 != 0;
                let logits = answers.iter().enumerate();
                let logits =
                    logits.map(|(i, a)| if possible(i) { spread * a.0 } else { f64::NEG_INFINITY });
                Instance {
                    reference: log_softmax(logits),
                    rewards: answers.iter().map(|a| reward_scale * a.1).collect(),
                    weights: (0..n)
                        .map(|i| if possible(i) { 0.01 + answers[i].3 } else { 0.0 })
                        .collect(),
                    noise: answers.iter().map(|a| a.2).collect(),
                    beta,
                    shift,
                }
            },
        )
    })
}

/// The part of a bound that the worst error used up, or a failure.
pub(crate) type Checked = Result<f64, String>;

/// Collects errors in units of their bounds.
#[derive(Default)]
pub(crate) struct Bounded {
    pub(crate) worst: f64,
}

impl Bounded {
    pub(crate) fn check(&mut self, what: &str, error: f64, bound: f64) -> Result<(), String> {
        // The bound itself is a sum of rounded terms. NaN fails the comparison.
        let bound = bound * (1.0 + 64.0 * U);
        if error.abs() <= bound {
            self.worst = self.worst.max(if bound > 0.0 { error.abs() / bound } else { 0.0 });
            Ok(())
        } else {
            Err(format!("{what}: error {error:e} exceeds its bound {bound:e}"))
        }
    }
}

/// Runs a checker on many random cases; returns the largest part of a bound that was used up.
pub(crate) fn holds<S: Strategy>(
    cases: u32,
    strategy: S,
    check: impl Fn(&S::Value) -> Checked,
) -> f64 {
    let worst = Cell::new(0.0_f64);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&strategy, |case| match check(&case) {
        Ok(used) => {
            worst.set(worst.get().max(used));
            Ok(())
        }
        Err(why) => Err(TestCaseError::fail(why)),
    });
    if let Err(why) = result {
        panic!("{why}");
    }
    println!("worst error: {:.3} of its bound", worst.get());
    worst.get()
}

/// The same, and fails if the bounds are looser than they need be.
pub(crate) fn holds_tightly<S: Strategy>(
    cases: u32,
    strategy: S,
    check: impl Fn(&S::Value) -> Checked,
) {
    let worst = holds(cases, strategy, check);
    assert!(worst > 0.02, "the bound is loose: {worst:e} of it is used");
}

pub(crate) type Policy = fn(&Instance) -> Vec<f64>;

pub(crate) fn optimal(case: &Instance) -> Vec<f64> {
    let mut log_probs = vec![f64::NAN; case.reference.len()];
    case.answers().optimal_policy(&mut log_probs).unwrap();
    log_probs
}

/// A "log Z" that depends on the answer does not cancel.
fn partition_depends_on_answer(case: &Instance) -> Vec<f64> {
    let policy = optimal(case).into_iter().enumerate();
    policy.map(|(i, l)| if i == 0 { l - 1e-6 * l.abs().max(1.0) } else { l }).collect()
}

fn tilted_the_wrong_way(case: &Instance) -> Vec<f64> {
    optimal(&Instance { rewards: case.rewards.iter().map(|r| -r).collect(), ..case.clone() })
}

fn tilted_with_wrong_beta(case: &Instance) -> Vec<f64> {
    optimal(&Instance { beta: 1.001 * case.beta, ..case.clone() })
}

fn reference_forgotten(case: &Instance) -> Vec<f64> {
    let scaled = case.rewards.iter().map(|r| r / case.beta);
    let possible = scaled.zip(&case.reference);
    log_softmax(possible.map(|(x, l)| if l.is_finite() { x } else { *l }))
}

pub(crate) const WRONG: [(&str, Policy); 4] = [
    ("log Z depends on the answer", partition_depends_on_answer),
    ("the tilt has the wrong sign", tilted_the_wrong_way),
    ("the tilt has the wrong beta", tilted_with_wrong_beta),
    ("the reference is forgotten", reference_forgotten),
];
