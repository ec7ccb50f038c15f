//! β-DPO's statistics against the authors' procedure, written down again in two passes.

use dpo_kernel::error::{Buffer, Parameter};
use dpo_kernel::training::{DynamicBeta, GapAverages, GapSums, pair_gaps};
use dpo_kernel::{Error, Pair, Reference, SequenceLogProb};
use proptest::prelude::*;

use crate::oracle::{U, co_spread, deviation, mean, sum};

fn sums_of(gaps: &[f64]) -> GapSums {
    let mut sums = GapSums::default();
    for &gap in gaps {
        sums.add(gap);
    }
    sums
}

fn after(batches: &[Vec<f64>], update: fn(&mut GapAverages, &[f64])) -> GapAverages {
    let mut averages = GapAverages::default();
    for batch in batches {
        update(&mut averages, batch);
    }
    averages
}

fn ours(averages: &mut GapAverages, batch: &[f64]) {
    averages.update(&sums_of(batch)).unwrap();
}

/// Compares with the averages in closed form: Σ 0.1 · 0.9^(T − t) of each batch's figures.
fn objection(batches: &[Vec<f64>], update: fn(&mut GapAverages, &[f64])) -> Option<String> {
    let found = after(batches, update);
    let weight = |t: usize| 0.1 * 0.9_f64.powf((batches.len() - 1 - t) as f64);
    let average = |figure: fn(&[f64]) -> f64| {
        sum(batches.iter().enumerate().map(|(t, batch)| weight(t) * figure(batch)))
    };
    let (m0, sigma) = (average(mean), average(deviation));
    // What sums lose of the mean and of the variance, and 4 roundings a step.
    let size = |batch: &[f64]| sum(batch.iter().map(|x| x.abs())) / batch.len() as f64;
    let lost_mean = 4.0 * batches.len() as f64 * U * average(size) + 40.0 * U * average(size);
    let lost_sigma = average(|batch| {
        let square_sum = sum(batch.iter().map(|x| x * x));
        let lost = 3.0 * (batch.len() + 1) as f64 * U * square_sum / (batch.len() - 1) as f64;
        // √(v + e) − √v, at most.
        (lost / deviation(batch).max(lost.sqrt())).min(lost.sqrt())
    });
    let lost_sigma = lost_sigma + 8.0 * batches.len() as f64 * U * sigma;
    let near =
        (found.mean - m0).abs() <= lost_mean && (found.deviation - sigma).abs() <= lost_sigma;
    (!near).then(|| format!("{found:?}, not {m0:e} ± {lost_mean:e}, {sigma:e} ± {lost_sigma:e}"))
}

fn batches() -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(-40.0..60.0, 2..20), 1..12)
}

proptest! {
    #![proptest_config(crate::common::quiet::quiet())]

    #[test]
    fn averages_are_the_authors(batches in batches()) {
        prop_assert_eq!(objection(&batches, ours), None);
    }

    /// Micro-batches add up before the averages move.
    #[test]
    fn merged_sums_are_the_whole(
        gaps in prop::collection::vec(-400_i32..400, 2..30),
        cut in 0_usize..30,
    ) {
        let gaps: Vec<f64> = gaps.into_iter().map(|x| f64::from(x) / 16.0).collect();
        let cut = cut.min(gaps.len());
        let mut merged = sums_of(&gaps[..cut]);
        merged += sums_of(&gaps[cut..]);
        prop_assert_eq!(merged, sums_of(&gaps));
    }

    #[test]
    fn weights_are_a_gaussian(
        gaps in prop::collection::vec(-60.0..60.0, 1..20),
        mean in -30.0..30.0,
        deviation in 0.5..20.0,
    ) {
        let averages = GapAverages { mean, deviation };
        prop_assert_eq!(weight_objection(&averages, &gaps, GapAverages::keep_weights), None);
    }
}

#[test]
fn planted_faults_of_the_averages_are_caught() {
    let batches = [vec![1.0, -3.0, 4.5], vec![2.0, 9.0], vec![-1.0, 0.5, 0.25, 7.0]];
    assert_eq!(objection(&batches, ours), None);
    let faults: [(&str, fn(&mut GapAverages, &[f64])); 4] = [
        ("over n", |averages, batch| {
            let n = batch.len() as f64;
            averages.mean = 0.9 * averages.mean + 0.1 * mean(batch);
            let over_n = (co_spread(batch, batch) / n).sqrt();
            averages.deviation = 0.9 * averages.deviation + 0.1 * over_n;
        }),
        ("kept 0.1", |averages, batch| {
            averages.mean = 0.1 * averages.mean + 0.9 * mean(batch);
            averages.deviation = 0.1 * averages.deviation + 0.9 * deviation(batch);
        }),
        ("variances", |averages, batch| {
            averages.mean = 0.9 * averages.mean + 0.1 * mean(batch);
            let variance = 0.9 * averages.deviation.powi(2) + 0.1 * deviation(batch).powi(2);
            averages.deviation = variance.sqrt();
        }),
        ("corrected start", |averages, batch| {
            let first = averages.deviation == 0.0;
            ours(averages, batch);
            if first {
                *averages = GapAverages { mean: mean(batch), deviation: deviation(batch) };
            }
        }),
    ];
    for (name, fault) in faults {
        assert!(objection(&batches, fault).is_some(), "{name} went unnoticed");
    }
}

type Weigh = fn(&GapAverages, &[f64], &mut [f64]) -> Result<(), Error>;

fn weight_objection(averages: &GapAverages, gaps: &[f64], weigh: Weigh) -> Option<String> {
    let mut found = vec![f64::NAN; gaps.len()];
    weigh(averages, gaps, &mut found).unwrap();
    let squares: Vec<f64> =
        gaps.iter().map(|gap| ((gap - averages.mean) / averages.deviation).powi(2)).collect();
    let least = squares.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = found.iter().copied().fold(0.0, f64::max);
    let off = found.iter().zip(&squares).position(|(&found, &square)| {
        let exact = (0.5 * (least - square)).exp();
        let bound = 8.0 * U * (1.0 + square + least) * exact + f64::from_bits(1);
        let near = (found - exact).abs() <= bound;
        !near
    });
    (largest != 1.0 || off.is_some()).then(|| format!("{gaps:?}: {found:?} at {off:?}"))
}

#[test]
fn planted_faults_of_the_weights_are_caught() {
    let averages = GapAverages { mean: 1.5, deviation: 2.0 };
    let gaps = [1.0, 4.0, -2.5, 1.75];
    assert_eq!(weight_objection(&averages, &gaps, GapAverages::keep_weights), None);
    let faults: [(&str, Weigh); 3] = [
        ("no half", |averages, gaps, out| {
            averages.keep_weights(gaps, out)?;
            for w in out {
                *w = w.powi(2);
            }
            Ok(())
        }),
        ("unscaled", |averages, gaps, out| {
            for (gap, out) in gaps.iter().zip(out) {
                *out = (-0.5 * ((gap - averages.mean) / averages.deviation).powi(2)).exp();
            }
            Ok(())
        }),
        ("variance for deviation", |averages, gaps, out| {
            GapAverages { deviation: averages.deviation.powi(2), ..*averages }
                .keep_weights(gaps, out)
        }),
    ];
    for (name, fault) in faults {
        assert!(weight_objection(&averages, &gaps, fault).is_some(), "{name} went unnoticed");
    }
}

/// A batch a hundred deviations off: the plain density is 0 for all, ours still ranks them.
#[test]
fn weights_of_a_batch_far_off_do_not_underflow() {
    let averages = GapAverages { mean: 0.0, deviation: 1.0 };
    let gaps = [100.0, 100.01, 101.0, -100.0];
    assert_eq!((-0.5 * 100.0_f64.powi(2)).exp(), 0.0, "the control: the density itself is 0");
    assert_eq!(weight_objection(&averages, &gaps, GapAverages::keep_weights), None);
    let mut weights = [f64::NAN; 4];
    averages.keep_weights(&gaps, &mut weights).unwrap();
    assert_eq!((weights[0], weights[3]), (1.0, 1.0));
    assert!(weights[1] > 0.36 && weights[1] < 0.37, "{weights:?}");
    // No spread yet, or no batch at all.
    GapAverages::default().keep_weights(&gaps, &mut weights).unwrap();
    assert_eq!(weights, [1.0; 4]);
    assert_eq!(averages.keep_weights(&[], &mut []), Ok(()));
}

/// One pair has no deviation, and none has no mean; neither may poison the state.
#[test]
fn small_batches_move_what_they_can() {
    let before = GapAverages { mean: 2.0, deviation: 3.0 };
    let mut averages = before;
    averages.update(&GapSums::default()).unwrap();
    assert_eq!(averages, before, "an empty batch");
    averages.update(&sums_of(&[7.0])).unwrap();
    assert_eq!(averages, GapAverages { mean: 0.9 * 2.0 + (1.0 - 0.9) * 7.0, deviation: 3.0 });
    assert!(sums_of(&[7.0]).deviation().is_nan() && GapSums::default().mean().is_nan());
    assert_eq!(sums_of(&[0.1; 7]).deviation(), 0.0, "equal gaps, whose sums round");
    let mut averages = before;
    let mut broken = sums_of(&[1.0, 2.0]);
    broken.add(f64::NAN);
    assert!(matches!(averages.update(&broken), Err(Error::InvalidValue { index: 0, .. })));
    let broken = GapSums { pairs: 2, sum: 1.0, square_sum: f64::INFINITY };
    let value = f64::INFINITY;
    let expected = Error::InvalidValue { buffer: Buffer::GapSums, index: 1, value };
    assert_eq!(averages.update(&broken), Err(expected));
    assert_eq!(averages, before);
}

#[test]
fn beta_follows_the_gap_and_has_a_floor() {
    let averages = GapAverages { mean: 1.25, deviation: 1.0 };
    for base in [0.05, 0.1, 2.0] {
        for gain in [0.0, 0.6, 3.0] {
            let dynamic = DynamicBeta::new(base, gain).unwrap();
            for gap in [-50.0, -1.0, 0.0, 1.25, 1.3, 4.0, 70.0] {
                let exact = f64::max(1e-3, base + base * gain * gap - base * gain * 1.25);
                let found = dynamic.beta(&averages, gap);
                let bound = 8.0 * U * base * (1.0 + gain * (gap.abs() + 1.25));
                assert!((found - exact).abs() <= bound, "{base} {gain} {gap}: {found} {exact}");
            }
            assert_eq!(dynamic.beta(&averages, 1.25), base, "an average batch has β0");
            assert!(dynamic.beta(&averages, f64::NAN).is_nan(), "not a plausible β");
        }
    }
    assert_eq!(DynamicBeta::new(1e-4, 0.0).unwrap().beta(&averages, 0.0), 1e-3);
    for base in [0.0, -0.1, f64::INFINITY, f64::NAN] {
        let error = DynamicBeta::new(base, 0.6).unwrap_err();
        assert!(matches!(error, Error::Parameter { parameter: Parameter::Beta, .. }), "{error}");
    }
    for gain in [-0.1, f64::INFINITY, f64::NAN] {
        let error = DynamicBeta::new(0.1, gain).unwrap_err();
        assert!(
            matches!(error, Error::Parameter { parameter: Parameter::BetaGain, .. }),
            "{error}"
        );
    }
}

fn sequence(sum: f64) -> SequenceLogProb {
    SequenceLogProb { sum, count: 2 }
}

#[test]
fn gaps_are_differences_of_log_ratios() {
    let policy = [-20.5, -25.25, -3.0, -8.0].map(sequence);
    let reference = [-21.0, -24.5, -3.0, -10.0];
    let pairs = [Pair::new(0, 1), Pair::new(3, 2), Pair::new(1, 3)];
    let mut gaps = [f64::NAN; 3];
    let sums = pair_gaps(&pairs, None, &policy, Reference::Sums(&reference), &mut gaps).unwrap();
    assert_eq!(gaps, [1.25, 2.0, -2.75], "no β in them");
    assert_eq!(sums, GapSums { pairs: 3, sum: 0.5, square_sum: 1.5625 + 4.0 + 7.5625 });
    let stored = reference.map(sequence);
    let mut again = [f64::NAN; 3];
    pair_gaps(&pairs, None, &policy, Reference::Sequences(&stored), &mut again).unwrap();
    assert_eq!(again, gaps);
    let mut none = [];
    assert_eq!(
        pair_gaps(&[], None, &policy, Reference::Sums(&reference), &mut none),
        Ok(GapSums::default())
    );
}

/// A pair of weight 0 may name no sequence, or one without tokens or without a log-prob.
#[test]
fn gaps_of_pairs_that_are_left_out() {
    let policy = [-20.5, -25.25, f64::NAN, f64::NEG_INFINITY].map(sequence);
    let reference = [-21.0, -24.5, -3.0, f64::NAN];
    let pairs = [Pair::new(2, 0), Pair::new(0, 1), Pair::new(9, 9), Pair::new(1, 3)];
    let weights = [0.0, 2.5, -0.0, 0.0];
    let mut gaps = [f64::NAN; 4];
    let found = pair_gaps(&pairs, Some(&weights), &policy, Reference::Sums(&reference), &mut gaps);
    assert_eq!(found, Ok(GapSums { pairs: 1, sum: 1.25, square_sum: 1.5625 }));
    assert_eq!(gaps, [0.0, 1.25, 0.0, 0.0]);
    let found = pair_gaps(&pairs[3..], None, &policy, Reference::Sums(&reference), &mut gaps[3..]);
    assert_eq!(found, Err(Error::NonFinitePairs { first: 0, count: 1 }), "with a weight");
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let policy = [-1.0, -2.0].map(sequence);
    let refused = |pairs: &[Pair], reference: Reference<'_>, gaps: usize| {
        let mut out = vec![12.5; gaps];
        let error = pair_gaps(pairs, None, &policy, reference, &mut out).unwrap_err();
        assert_eq!(out, vec![12.5; gaps], "{error}");
        error
    };
    let sums = Reference::Sums(&[-1.0, -2.0]);
    assert_eq!(refused(&[Pair::new(0, 1)], Reference::Free, 1), Error::ReferenceMissing);
    let expected = Error::SequenceOutOfRange { pair: 0, sequence: 2, sequences: 2 };
    assert_eq!(refused(&[Pair::new(0, 2)], sums, 1), expected);
    let expected = Error::PairOfOneSequence { pair: 0, sequence: 0 };
    assert_eq!(refused(&[Pair::new(0, 0)], sums, 1), expected);
    let expected = Error::Length { buffer: Buffer::Gaps, expected: 1, found: 0 };
    assert_eq!(refused(&[Pair::new(0, 1)], sums, 0), expected);
    let expected = Error::Length { buffer: Buffer::Reference, expected: 2, found: 0 };
    assert_eq!(refused(&[Pair::new(0, 1)], Reference::Sums(&[]), 1), expected);
    let other = [policy[0], SequenceLogProb { sum: -2.0, count: 9 }];
    let expected = Error::TokenCountMismatch { sequence: 1, policy: 2, reference: 9 };
    assert_eq!(refused(&[Pair::new(0, 1)], Reference::Sequences(&other), 1), expected);

    // So are weights that are none.
    let mut out = [12.5; 2];
    let two = [Pair::new(0, 1), Pair::new(1, 0)];
    let found = pair_gaps(&two, Some(&[1.0, -1.0]), &policy, sums, &mut out);
    let buffer = Buffer::PairWeights;
    assert_eq!(found, Err(Error::InvalidValue { buffer, index: 1, value: -1.0 }));
    let found = pair_gaps(&two, Some(&[1.0]), &policy, sums, &mut out);
    assert_eq!(found, Err(Error::Length { buffer, expected: 2, found: 1 }));
    assert_eq!(out, [12.5; 2]);

    // Broken log-probs are named after the other gaps are complete.
    let policy = [-1.0, -2.0, f64::NEG_INFINITY].map(sequence);
    let pairs = [Pair::new(0, 1), Pair::new(2, 0), Pair::new(1, 0), Pair::new(1, 2)];
    let mut gaps = [12.5; 4];
    let found = pair_gaps(&pairs, None, &policy, Reference::Sums(&[0.0; 3]), &mut gaps);
    assert_eq!(found, Err(Error::NonFinitePairs { first: 1, count: 2 }));
    assert_eq!((gaps[0], gaps[2]), (1.0, -1.0));
    assert!(gaps[1].is_nan() && gaps[3].is_nan());

    let averages = GapAverages { mean: 0.0, deviation: 1.0 };
    let mut weights = [12.5; 2];
    let error = averages.keep_weights(&[0.5, f64::NAN], &mut weights).unwrap_err();
    assert!(matches!(error, Error::InvalidValue { buffer: Buffer::Gaps, index: 1, .. }), "{error}");
    // Distances beyond f64 have no difference.
    for (gap, deviation) in [(1e308, 0.5), (40.0, 1e-307)] {
        let averages = GapAverages { mean: 0.0, deviation };
        let found = averages.keep_weights(&[0.0, gap], &mut weights);
        assert_eq!(found, Err(Error::InvalidValue { buffer: Buffer::Gaps, index: 1, value: gap }));
    }
    for (index, averages) in [
        GapAverages { mean: f64::INFINITY, deviation: 1.0 },
        GapAverages { mean: 0.0, deviation: f64::INFINITY },
    ]
    .into_iter()
    .enumerate()
    {
        let found = averages.keep_weights(&[0.5, 1.0], &mut weights);
        let (buffer, value) = (Buffer::GapAverages, f64::INFINITY);
        assert_eq!(found, Err(Error::InvalidValue { buffer, index, value }));
    }
    let expected = Error::Length { buffer: Buffer::KeepWeights, expected: 1, found: 2 };
    assert_eq!(averages.keep_weights(&[0.5], &mut weights), Err(expected));
    assert_eq!(weights, [12.5; 2]);
}
