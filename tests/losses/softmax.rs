//! S-DPO: one chosen answer against several.

use dpo_kernel::error::Buffer;
use dpo_kernel::loss::{PairLogProbs, PreferenceLoss, SoftmaxDpo};
use dpo_kernel::{
    Dpo, Error, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary,
    preference_loss,
};
use proptest::prelude::*;

use crate::close;

const POLICY: [f64; 6] = [-20.5, -25.25, -22.0, -30.0, -12.25, -18.5];
const REFERENCE: [f64; 6] = [-21.0, -24.5, -23.5, -29.0, -13.0, -18.0];
/// Two groups: 0 against 1, 2 and 3, and 4 against 5.
const PAIRS: [Pair; 4] = [Pair::new(0, 1), Pair::new(0, 2), Pair::new(0, 3), Pair::new(4, 5)];

#[derive(Debug, PartialEq)]
struct Found {
    summary: Summary,
    losses: Vec<PairLoss>,
    d: Vec<f64>,
}

fn run(
    beta: f64,
    pairs: &[Pair],
    policy: &[f64],
    weights: Option<&[f32]>,
    offsets: Option<&[f32]>,
    divisor: f64,
) -> Result<Found, Error> {
    let policy: Vec<_> = policy.iter().map(|&sum| SequenceLogProb { sum, count: 8 }).collect();
    let mut batch = PairBatch::new(pairs, &policy, Reference::Sums(&REFERENCE), divisor);
    (batch.weights, batch.offsets) = (weights, offsets);
    let mut losses = vec![PairLoss { loss: 7.5, ..PairLoss::default() }; pairs.len()];
    let mut d = vec![7.5; policy.len()];
    let out = PairOut::new(&mut losses, &mut d);
    let summary = preference_loss(SoftmaxDpo::new(beta)?, &batch, out);
    if matches!(summary, Err(Error::InvalidValue { .. } | Error::InputUnused { .. })) {
        assert!(d.iter().all(|&d| d == 7.5) && losses.iter().all(|l| l.loss == 7.5), "written");
    }
    summary.map(|summary| Found { summary, losses, d })
}

/// 50-digit arithmetic (mpmath) of −log softmax and its derivative, at β = 0.1 and offsets of 0.25
/// and 0.5 on the second and third pair.
#[test]
fn golden_figures() {
    let offsets = [0.0, 0.25, 0.5, 0.0];
    let found = run(0.1, &PAIRS, &POLICY, None, Some(&offsets), 1.0).unwrap();
    let (losses, d) = GOLDEN;
    for (found, expected) in found.losses.iter().zip(losses) {
        close("L", found.loss, expected, 1e-15);
    }
    for (found, expected) in found.d.iter().zip(d) {
        close("gradient", found / expected, 1.0, 1e-14);
    }
    assert_eq!(found.summary.loss_sum, found.losses[0].loss + found.losses[3].loss);
    // Rewards are each pair's own.
    let rewards = Dpo::new(0.1).unwrap();
    for (i, pair) in PAIRS.iter().enumerate() {
        let (c, r) = (pair.chosen, pair.rejected);
        let pair = PairLogProbs::new(POLICY[c], POLICY[r], REFERENCE[c], REFERENCE[r]);
        assert_eq!(found.losses[i].margin, rewards.evaluate(&pair).margin);
    }
}

/// Losses of the four pairs, gradients of the six sequences.
const GOLDEN: ([f64; 4], [f64; 6]) = (
    [1.551_942_688_890_483_66, 0.0, 0.0, 0.632_599_035_317_169_07],
    [
        -0.078_816_395_769_708_65,
        0.018_694_465_118_810_049,
        0.030_060_965_325_449_3,
        0.030_060_965_325_449_3,
        -0.046_879_062_662_624_374,
        0.046_879_062_662_624_374,
    ],
);

/// A group of one pair is DPO to the last bit.
#[test]
fn of_one_pair_is_dpo() {
    let (pairs, weights) = ([Pair::new(0, 1), Pair::new(4, 5)], [0.75, 2.0]);
    let offsets = [0.25, -1.5];
    let found = run(0.3, &pairs, &POLICY, Some(&weights), Some(&offsets), 3.0).unwrap();
    let policy = POLICY.map(|sum| SequenceLogProb { sum, count: 8 });
    let batch = PairBatch::new(&pairs, &policy, Reference::Sums(&REFERENCE), 3.0)
        .with_weights(&weights)
        .with_offsets(&offsets);
    let (mut losses, mut d) = ([PairLoss::default(); 2], [0.0; 6]);
    let out = PairOut::new(&mut losses, &mut d);
    let summary = preference_loss(&Dpo::new(0.3).unwrap(), &batch, out).unwrap();
    assert_eq!(found, Found { summary, losses: losses.to_vec(), d: d.to_vec() });
}

/// Weights scale a group; those of 0 take their pair out of it.
#[test]
fn of_weights() {
    let plain = run(0.1, &PAIRS, &POLICY, None, None, 1.0).unwrap();
    let doubled = run(0.1, &PAIRS, &POLICY, Some(&[2.0, 2.0, 2.0, 1.0]), None, 1.0).unwrap();
    assert_eq!(doubled.losses[0].loss, 2.0 * plain.losses[0].loss);
    assert_eq!(doubled.d[..4], plain.d[..4].iter().map(|d| 2.0 * d).collect::<Vec<_>>());
    assert_eq!(doubled.losses[3], plain.losses[3]);

    let weights = [0.0, 0.5, 0.5, 1.0];
    let found = run(0.1, &PAIRS, &POLICY, Some(&weights), None, 1.0).unwrap();
    let without = run(0.1, &PAIRS[1..], &POLICY, Some(&weights[1..]), None, 1.0).unwrap();
    assert_eq!((found.losses[0].loss, found.losses[0].d_rejected), (0.0, 0.0));
    assert_eq!(found.losses[1..], without.losses[..]);
    assert_eq!(found.d, without.d);
}

/// Unequal weights in a group are refused before anything is written.
#[test]
fn unequal_weights_are_refused() {
    let refused = |index, value| {
        Err::<(), _>(Error::InvalidValue { buffer: Buffer::PairWeights, index, value })
    };
    let with = |weights: [f32; 4]| run(0.1, &PAIRS, &POLICY, Some(&weights), None, 1.0).map(|_| ());
    assert_eq!(with([1.0, 1.0, 0.5, 1.0]), refused(2, 0.5));
    assert_eq!(with([1.0, 0.0, 0.5, 1.0]), refused(2, 0.5));
    assert_eq!(with([0.0, 0.5, 0.5, 1.0]), Ok(()));
    assert_eq!(with([0.0, 0.0, 0.0, 1.0]), Ok(()));
    assert_eq!(with([0.5, 0.5, 0.5, 1.0]), Ok(()));
}

/// A log-prob that is not finite spoils its group, and no other.
#[test]
fn broken_groups_are_named() {
    let mut policy = POLICY;
    policy[2] = f64::NEG_INFINITY;
    let found = run(0.1, &PAIRS, &policy, None, None, 1.0);
    assert_eq!(found.unwrap_err(), Error::NonFinitePairs { first: 0, count: 3 });
}

/// The plain softmax over the group, and differences of it.
fn plain(beta: f64, log_ratios: &[f64], offsets: &[f64]) -> f64 {
    let score = |i: usize| beta * log_ratios[i] + if i > 0 { offsets[i - 1] } else { 0.0 };
    let total: f64 = (0..log_ratios.len()).map(|i| (score(i) - score(0)).exp()).sum();
    total.ln()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..Default::default() })]

    #[test]
    fn equals_the_plain_softmax(
        log_ratios in prop::collection::vec(-20.0..20.0_f64, 2..6),
        offsets in prop::collection::vec(-8..8_i32, 5),
        beta in 0.01..1.0_f64,
    ) {
        let k = log_ratios.len() - 1;
        let offsets: Vec<f32> = offsets[..k].iter().map(|&x| x as f32 / 8.0).collect();
        let exact: Vec<f64> = offsets.iter().map(|&x| f64::from(x)).collect();
        let policy: Vec<f64> = (0..=k).map(|i| REFERENCE[i] + log_ratios[i]).collect();
        let ratios: Vec<f64> = (0..=k).map(|i| policy[i] - REFERENCE[i]).collect();
        let pairs: Vec<Pair> = (1..=k).map(|i| Pair::new(0, i)).collect();
        let mut padded = policy.clone();
        padded.resize(6, -1.0);
        let found = run(beta, &pairs, &padded, None, Some(&offsets), 1.0).unwrap();
        let expected = plain(beta, &ratios, &exact);
        prop_assert!((found.summary.loss_sum - expected).abs() < 1e-13 * (1.0 + expected), "{} is not {}", found.summary.loss_sum, expected);
        let h = 1e-4;
        for i in 0..=k {
            let at = |h: f64| {
                let mut moved = ratios.clone();
                moved[i] += h;
                plain(beta, &moved, &exact)
            };
            let slope = (at(h) - at(-h)) / (2.0 * h);
            prop_assert!((found.d[i] - slope).abs() < 1e-8, "{}: {} is not {}", i, found.d[i], slope);
        }
        // A softmax does not change when all scores move together.
        let sum: f64 = found.d.iter().sum();
        prop_assert!(sum.abs() < 1e-14, "{}", sum);
    }
}
