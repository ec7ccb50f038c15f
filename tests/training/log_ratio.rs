//! KTO's K and BCO's δ: sums over batches, against compensated sums over everything.

use dpo_kernel::error::Buffer;
use dpo_kernel::training::LogRatioSums;
use dpo_kernel::{Error, Reference, SequenceLogProb};
use proptest::prelude::*;

use crate::oracle::{U, mean, sum};

fn sequences(sums: &[f64]) -> Vec<SequenceLogProb> {
    sums.iter().map(|&sum| SequenceLogProb { sum, count: 3 }).collect()
}

fn of(policy: &[f64], reference: &[f64]) -> LogRatioSums {
    let mut sums = LogRatioSums::default();
    sums.add_batch(&sequences(policy), Reference::Sums(reference)).unwrap();
    sums
}

/// Log-probs of policy and reference, and where to cut them into batches.
fn log_probs() -> impl Strategy<Value = (Vec<(f64, f64)>, usize)> {
    (prop::collection::vec((-300.0..0.0, -300.0..0.0), 1..40), 0_usize..40)
}

/// What a checker holds of the two statistics of a run.
fn objection(
    values: &[(f64, f64)],
    cut: usize,
    statistics: impl Fn(&[(f64, f64)], usize) -> (f64, f64),
) -> Option<String> {
    let ratios: Vec<f64> = values.iter().map(|(policy, reference)| policy - reference).collect();
    let n = ratios.len() as f64;
    // n additions, one division, one product.
    let bound = (n + 3.0) * U * sum(ratios.iter().map(|x| x.abs())) / n;
    let (k, delta) = statistics(values, cut);
    let exact = mean(&ratios);
    let k_fails = (k - exact.max(0.0)).abs() > bound || k < 0.0;
    let delta_fails = (delta - 0.1 * exact).abs() > 0.1 * bound;
    (k_fails || delta_fails).then(|| format!("K = {k}, delta = {delta}, mean {exact} ± {bound:e}"))
}

fn split(values: &[(f64, f64)]) -> (Vec<f64>, Vec<f64>) {
    values.iter().copied().unzip()
}

fn in_two_batches(values: &[(f64, f64)], cut: usize) -> [LogRatioSums; 2] {
    let (policy, reference) = split(values);
    let cut = cut.min(values.len());
    [of(&policy[..cut], &reference[..cut]), of(&policy[cut..], &reference[cut..])]
}

proptest! {
    #![proptest_config(crate::common::quiet::quiet())]

    #[test]
    fn of_a_run_are_those_of_everything((values, cut) in log_probs()) {
        let merged = |values: &[(f64, f64)], cut| {
            let [mut sums, second] = in_two_batches(values, cut);
            sums += second;
            (sums.kto_k(), sums.bco_shift(0.1))
        };
        prop_assert_eq!(objection(&values, cut, merged), None);
    }

    /// Merged, or added one after the other: with exact sums the same to the bit.
    #[test]
    fn merges_are_the_whole(values in prop::collection::vec((-800_i32..0, -800_i32..0), 1..40), cut in 0_usize..40) {
        let values: Vec<(f64, f64)> =
            values.iter().map(|&(p, r)| (f64::from(p) / 8.0, f64::from(r) / 8.0)).collect();
        let (policy, reference) = split(&values);
        let whole = of(&policy, &reference);
        let [first, second] = in_two_batches(&values, cut);
        let mut merged = first;
        merged += second;
        prop_assert_eq!(merged, whole);
        let cut = cut.min(values.len());
        let mut kept = first;
        kept.add_batch(&sequences(&policy[cut..]), Reference::Sums(&reference[cut..])).unwrap();
        prop_assert_eq!(kept, whole);
        prop_assert_eq!(whole.mean(), mean(&values.iter().map(|(p, r)| p - r).collect::<Vec<_>>()));
    }
}

#[test]
fn planted_faults_are_caught() {
    // Two batches, of which the first has a negative mean.
    let values = [(-9.0, -7.0), (-30.0, -37.5), (-12.0, -12.25), (-4.0, -5.0), (-8.0, -8.0)];
    let honest = |values: &[(f64, f64)], cut: usize| {
        let [mut sums, second] = in_two_batches(values, cut);
        sums += second;
        (sums.kto_k(), sums.bco_shift(0.1))
    };
    assert_eq!(objection(&values, 1, honest), None);
    let swapped = |values: &[(f64, f64)], cut: usize| {
        let swapped: Vec<_> = values.iter().map(|&(p, r)| (r, p)).collect();
        honest(&swapped, cut)
    };
    assert!(objection(&values, 1, swapped).is_some(), "reference − policy");
    let maxima = |values: &[(f64, f64)], cut: usize| {
        let [a, b] = in_two_batches(values, cut);
        let (a_share, n) = (cut as f64, values.len() as f64);
        ((a_share * a.kto_k() + (n - a_share) * b.kto_k()) / n, honest(values, cut).1)
    };
    assert!(objection(&values, 1, maxima).is_some(), "the mean of the parts' maxima");
    let of_means = |values: &[(f64, f64)], cut: usize| {
        let [a, b] = in_two_batches(values, cut);
        (honest(values, cut).0, 0.1 * f64::midpoint(a.mean(), b.mean()))
    };
    assert!(objection(&values, 1, of_means).is_some(), "every batch alike, whatever its size");
    let without_beta =
        |values: &[(f64, f64)], cut: usize| (honest(values, cut).0, 10.0 * honest(values, cut).1);
    assert!(objection(&values, 1, without_beta).is_some(), "log-ratios instead of rewards");
}

/// TRL's RunningMoments, fed with every reward, and fed with each batch's mean as one sample.
#[test]
fn trl_agrees_where_the_docs_say_so() {
    struct RunningMoments {
        mean: f64,
        count: f64,
    }
    impl RunningMoments {
        fn update(&mut self, rewards: &[f64]) {
            let total = self.count + rewards.len() as f64;
            self.mean += (mean(rewards) - self.mean) * rewards.len() as f64 / total;
            self.count = total;
        }
    }
    let beta = 0.25;
    let batches = [vec![4.0, -2.0, 1.0, 3.0], vec![-6.0, 2.5, 0.5, 1.0], vec![10.0]];
    let mut every = RunningMoments { mean: 0.0, count: 1e-24 };
    let mut means = RunningMoments { mean: 0.0, count: 1e-24 };
    let mut ours = LogRatioSums::default();
    for (index, batch) in batches.iter().enumerate() {
        let rewards: Vec<f64> = batch.iter().map(|ratio| beta * ratio).collect();
        every.update(&rewards);
        means.update(&[mean(&rewards)]);
        ours.add_batch(&sequences(batch), Reference::Sums(&vec![0.0; batch.len()])).unwrap();
        let delta = ours.bco_shift(beta);
        assert!((delta - every.mean).abs() < 1e-15, "batch {index}: {delta} {}", every.mean);
        let short = index == 2;
        assert_eq!(
            (delta - means.mean).abs() > 0.1,
            short,
            "only the short batch tells them apart"
        );
    }
}

#[test]
fn of_nothing_and_of_equals() {
    let nothing = LogRatioSums::default();
    assert!(nothing.mean().is_nan());
    assert_eq!((nothing.kto_k(), nothing.bco_shift(0.1)), (0.0, 0.0));
    let same = of(&[-20.5, -1e-3], &[-20.5, -1e-3]);
    assert_eq!(same, LogRatioSums { count: 2, log_ratio_sum: 0.0 }, "policy = reference");
    assert_eq!((same.kto_k().to_bits(), same.bco_shift(0.1)), (0, 0.0));
    let negative = of(&[-5.0], &[-1.0]);
    assert_eq!((negative.kto_k().to_bits(), negative.bco_shift(0.5)), (0, -2.0));
    let broken = LogRatioSums { count: 1, log_ratio_sum: f64::NAN };
    assert!(broken.kto_k().is_nan(), "what is not a number must not become a K");
}

#[test]
fn bad_input_is_refused_and_adds_nothing() {
    let before = of(&[-3.0, -4.0], &[-3.5, -5.0]);
    let refused = |policy: &[SequenceLogProb], reference: Reference<'_>| {
        let mut sums = before;
        let error = sums.add_batch(policy, reference).unwrap_err();
        assert_eq!(sums, before, "{error}");
        error
    };
    let policy = sequences(&[-1.0, -2.0]);
    assert_eq!(refused(&policy, Reference::Free), Error::ReferenceMissing);
    let expected = Error::Length { buffer: Buffer::Reference, expected: 2, found: 1 };
    assert_eq!(refused(&policy, Reference::Sums(&[-1.0])), expected);
    let other = [policy[0], SequenceLogProb { sum: -2.0, count: 4 }];
    let expected = Error::TokenCountMismatch { sequence: 1, policy: 3, reference: 4 };
    assert_eq!(refused(&policy, Reference::Sequences(&other)), expected);
    let inf = f64::NEG_INFINITY;
    let invalid = |buffer, index, value| Error::InvalidValue { buffer, index, value };
    assert_eq!(
        refused(&sequences(&[-1.0, inf]), Reference::Sums(&[-1.0, -1.0])),
        invalid(Buffer::Sequences, 1, inf)
    );
    assert_eq!(refused(&policy, Reference::Sums(&[inf, 0.0])), invalid(Buffer::Reference, 0, inf));
    assert_eq!(
        refused(&sequences(&[-1.7e308]), Reference::Sums(&[1.7e308])),
        invalid(Buffer::Sequences, 0, -1.7e308)
    );
}
