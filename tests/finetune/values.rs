//! Losses as their papers have them, at what the example starts each from; and its captions.

use dpo_kernel::SequenceLogProb;
use dpo_kernel::loss::LossName;

use crate::batch::softplus;
use crate::finetune::objective::{Objective, Yardstick};

const TOKENS: [usize; 6] = [10, 12, 7, 9, 15, 8];
const POLICY: [f64; 6] = [-20.5, -25.25, -16.0, -14.5, -31.25, -17.25];
const REFERENCE: [f64; 6] = [-21.0, -24.5, -15.25, -15.0, -33.0, -17.0];

fn sequences(sums: [f64; 6]) -> Vec<SequenceLogProb> {
    sums.into_iter().zip(TOKENS).map(|(sum, count)| SequenceLogProb { sum, count }).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// One pair: log-probs πc, πr and log-ratios a, b, with the tokens m, n of both answers.
struct Pair {
    c: f64,
    r: f64,
    a: f64,
    b: f64,
    m: f64,
    n: f64,
}

/// The mean of a formula over the pairs.
fn pairs(value: impl Fn(&Pair) -> f64) -> f64 {
    let one = |i: usize| {
        let [c, r] = [POLICY[2 * i], POLICY[2 * i + 1]];
        let (a, b) = (c - REFERENCE[2 * i], r - REFERENCE[2 * i + 1]);
        value(&Pair { c, r, a, b, m: TOKENS[2 * i] as f64, n: TOKENS[2 * i + 1] as f64 })
    };
    (0..3).map(one).sum::<f64>() / 3.0
}

/// The likelihood term: −Σ log π of the chosen answers over their tokens, 32 in all.
fn nll() -> f64 {
    -(POLICY[0] + POLICY[2] + POLICY[4]) / 32.0
}

/// K of KTO: 0.1 nats, the mean of what was seen of others' answers.
const K: f64 = 0.1;

#[test]
fn objectives_have_the_values_of_their_papers() {
    let square = |x: f64| x * x;
    let hinge = |x: f64| x.max(0.0);
    let odds = |x: f64| (x.exp() / (1.0 - x.exp())).ln();
    let alpha = |x: f64| (1.0 - (-0.25 * x).exp()) / 0.25;
    // δ of BCO: 0.1 times the mean log-ratio of all that was seen, these six answers.
    let delta = 0.1 * pairs(|p| (p.a + p.b) / 2.0);
    for (name, expected) in [
        (LossName::Sigmoid, pairs(|p| softplus(-0.1 * (p.a - p.b)))),
        (LossName::Hinge, pairs(|p| hinge(1.0 - 0.1 * (p.a - p.b)))),
        (LossName::Ipo, pairs(|p| square(p.a / p.m - p.b / p.n - 0.25))),
        (LossName::IpoSum, pairs(|p| square(p.a - p.b - 10.0))),
        (LossName::SppoHard, pairs(|p| square(p.a - 10.0) + square(p.b + 10.0))),
        (LossName::SigmoidNorm, pairs(|p| softplus(-10.0 * (p.a / p.m - p.b / p.n)))),
        (LossName::SimPo, pairs(|p| softplus(1.0 - 10.0 * (p.c / p.m - p.r / p.n)))),
        (
            LossName::AlphaPo,
            pairs(|p| softplus(1.0 - 10.0 * (alpha(p.c / p.m) - alpha(p.r / p.n)))),
        ),
        (LossName::RpoSquare, pairs(|p| square(0.1 * (p.a - p.b) - 2.0))),
        (LossName::Cpo, pairs(|p| softplus(-0.1 * (p.c - p.r))) + nll()),
        (LossName::CpoHinge, pairs(|p| hinge(1.0 - 0.1 * (p.c - p.r))) + nll()),
        (LossName::CpoIpo, pairs(|p| square(p.c / p.m - p.r / p.n - 0.25)) + nll()),
        (LossName::TpoL, pairs(|p| softplus(1.0 - 10.0 * (p.c / p.m - p.r / p.n))) + nll()),
        // A tenth of −Σ log π of the chosen answers, over the pairs.
        (LossName::Slic, pairs(|p| hinge(1.0 - (p.c - p.r))) + 0.1 * 32.0 * nll() / 3.0),
        (LossName::Orpo, pairs(|p| 0.1 * softplus(odds(p.r / p.n) - odds(p.c / p.m))) + nll()),
        (LossName::Bco, pairs(|p| softplus(delta - 0.1 * p.a) + softplus(0.1 * p.b - delta))),
        (
            LossName::Kto,
            pairs(|p| (2.0 - sigmoid(0.1 * (p.a - K)) - sigmoid(0.1 * (K - p.b))) / 2.0),
        ),
        // (β a − A)² of every answer, A = ±1.
        (LossName::AStarPo, pairs(|p| (square(0.1 * p.a - 1.0) + square(0.1 * p.b + 1.0)) / 2.0)),
        (LossName::RewardModel, pairs(|p| softplus(p.r - p.c))),
        (LossName::Sft, nll()),
        (
            LossName::CalDpo,
            pairs(|p| softplus(p.b - p.a) + (square(p.a - 10.0) + square(p.b + 10.0)) / 2.0),
        ),
    ] {
        let mut objective = Objective::new(name, None).expect("defaults");
        let others = [0.5, -0.3].map(|ratio| SequenceLogProb { sum: ratio - 9.0, count: 4 });
        let before = [9.0; 2].map(|sum| SequenceLogProb { sum: -sum, count: 4 });
        // A batch before this one, which counts no longer.
        objective.observe_mismatched(&others[..1], &before[..1]).expect("log-probs");
        objective.observe_mismatched(&others, &before).expect("log-probs");
        let (policy, reference) = (sequences(POLICY), sequences(REFERENCE));
        objective.observe(&policy, &reference).expect("log-probs");
        let found = objective.evaluate(&policy, &reference).expect("a loss");
        let error = (found.loss - expected).abs() / expected.abs().max(1.0);
        assert!(error < 1e-12, "{name:?}: {} is not {expected}", found.loss);
    }
}

/// Rewards of what has none are DPO's: those of A*PO, and of plain likelihood.
#[test]
fn rewards_are_told_of_losses_without_any() {
    let (policy, reference) = (sequences(POLICY), sequences(REFERENCE));
    for name in [LossName::AStarPo, LossName::Sft, LossName::Sigmoid] {
        let objective = Objective::new(name, None).expect("defaults");
        let found = objective.evaluate(&policy, &reference).expect("a loss");
        let (margin, expected) = (found.summary.mean_margin(), pairs(|p| 0.1 * (p.a - p.b)));
        assert!((margin - expected).abs() < 1e-13, "{name:?}: {margin} is not {expected}");
        assert_eq!(found.losses.len(), 3, "{name:?}");
        let first = found.losses[0];
        assert!((first.reward_chosen - 0.05).abs() < 1e-13, "{name:?}: {first:?}");
        assert!((first.reward_rejected + 0.075).abs() < 1e-13, "{name:?}: {first:?}");
    }
    let sft = Objective::new(LossName::Sft, None).expect("defaults");
    let found = sft.evaluate(&policy, &reference).expect("a loss");
    assert_eq!(found.d_log_probs, [0.0; 6], "no preference has a slope");
    let d_nll = found.d_nll.expect("a likelihood term");
    for (i, d) in d_nll.into_iter().enumerate() {
        let expected = if i % 2 == 0 { -1.0 / 32.0 } else { 0.0 };
        assert!((d - expected).abs() < 1e-15, "sequence {i}: {d}");
    }
}

/// Whatever the loss, the yardstick is log-ratios in nats.
#[test]
fn the_yardstick_is_in_nats() {
    let found = Yardstick::of(&sequences(POLICY), &sequences(REFERENCE)).expect("log-probs");
    let near = |what: &str, found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-12, "{what}: {found} is not {expected}");
    };
    near("chosen", found.log_ratios.mean_reward_chosen(), pairs(|p| p.a));
    near("rejected", found.log_ratios.mean_reward_rejected(), pairs(|p| p.b));
    near("gap", found.log_ratios.mean_margin(), pairs(|p| p.a - p.b));
    // a − b of 1.25, −1.25 and 2; leads of −2, −2 and 7 tokens.
    near("accuracy", found.log_ratios.accuracy(), 2.0 / 3.0);
    near("lead", found.lengths.mean_lead(), 1.0);
    near("Σ d·gap", found.lengths.product_sum, -2.5 + 2.5 + 14.0);
}

/// What captions call the parameter: β, or what a loss has in its place. A β of one's own replaces
/// the default, and one that a loss has no use for is refused.
#[test]
fn captions_name_the_parameter() {
    for name in LossName::ALL {
        let expected = match name {
            LossName::Ipo | LossName::CpoIpo | LossName::TpoIpo => "β = 2",
            LossName::IpoSum | LossName::SppoHard | LossName::CalDpo => "β = 0.05",
            LossName::SigmoidNorm | LossName::TpoL | LossName::SimPo | LossName::AlphaPo => {
                "β = 10"
            }
            LossName::RewardModel | LossName::Sft => "no parameter",
            LossName::Orpo => "λ = 0.1",
            LossName::Slic => "δ = 1",
            _ => "β = 0.1",
        };
        assert_eq!(Objective::new(name, None).expect("defaults").parameter(), expected, "{name:?}");
        match Objective::new(name, Some(0.75)) {
            Ok(objective) => assert_eq!(objective.parameter(), "β = 0.75", "{name:?}"),
            Err(error) => assert!(!expected.starts_with('β'), "{name:?}: {error}"),
        }
    }
}
