//! The correlation of length and margin against Pearson's in two passes.

use dpo_kernel::error::Buffer;
use dpo_kernel::training::LengthSums;
use dpo_kernel::{Error, Pair, PairLoss, SequenceLogProb};
use proptest::prelude::*;

use crate::oracle::{U, cancellation, co_spread, mean};

/// Lengths of chosen and rejected, and the margin.
type Case = (usize, usize, f64);

fn sums_of(cases: &[Case]) -> LengthSums {
    let mut sums = LengthSums::default();
    for &(chosen, rejected, margin) in cases {
        sums.add(chosen, rejected, margin);
    }
    sums
}

fn columns(cases: &[Case]) -> (Vec<f64>, Vec<f64>) {
    cases
        .iter()
        .map(|&(chosen, rejected, margin)| (chosen as f64 - rejected as f64, margin))
        .unzip()
}

fn objection(cases: &[Case], correlation: impl Fn(&[Case]) -> f64) -> Option<String> {
    let (leads, margins) = columns(cases);
    let spreads = co_spread(&leads, &leads).sqrt() * co_spread(&margins, &margins).sqrt();
    let exact = co_spread(&leads, &margins) / spreads;
    let n = cases.len() as f64;
    let bound = 3.0 * (n + 4.0) * U * (cancellation(&leads) + cancellation(&margins));
    let found = correlation(cases);
    let near = (found - exact).abs() <= bound;
    (!near).then(|| format!("{found} is not {exact} ± {bound:e}"))
}

/// Lengths and margins of some spread, whatever their mean.
fn cases() -> impl Strategy<Value = Vec<Case>> {
    let case = (1_usize..2000, 1_usize..2000, -20.0..20.0_f64);
    (prop::collection::vec(case, 3..40), -50.0..50.0_f64).prop_map(|(mut cases, shift)| {
        for case in &mut cases {
            case.2 += shift;
        }
        // Never all alike.
        cases[0] = (2500, 1, 40.0 + shift);
        cases
    })
}

proptest! {
    #![proptest_config(crate::common::quiet::quiet())]

    #[test]
    fn correlation_is_pearsons(cases in cases()) {
        prop_assert_eq!(objection(&cases, |cases| sums_of(cases).correlation()), None);
        let (leads, _) = columns(&cases);
        prop_assert_eq!(sums_of(&cases).mean_lead(), mean(&leads));
    }

    #[test]
    fn merges_are_the_whole(
        cases in prop::collection::vec((1_usize..900, 1_usize..900, -80_i32..80), 1..40),
        cut in 0_usize..40,
    ) {
        let cases: Vec<Case> =
            cases.into_iter().map(|(c, r, m)| (c, r, f64::from(m) / 4.0)).collect();
        let cut = cut.min(cases.len());
        let mut merged = sums_of(&cases[..cut]);
        merged += sums_of(&cases[cut..]);
        prop_assert_eq!(merged, sums_of(&cases));
    }

    /// A longer answer does not change what the units are, nor does the sign's convention.
    #[test]
    fn swapping_all_pairs_changes_nothing(cases in cases()) {
        let swapped: Vec<Case> = cases.iter().map(|&(c, r, m)| (r, c, -m)).collect();
        prop_assert_eq!(sums_of(&swapped).correlation(), sums_of(&cases).correlation());
    }
}

#[test]
fn planted_faults_are_caught() {
    let cases = [(30, 10, 2.5), (12, 15, -0.5), (40, 38, 1.0), (5, 25, -1.5), (9, 9, 0.25)];
    assert_eq!(objection(&cases, |cases| sums_of(cases).correlation()), None);
    let sign = |cases: &[Case]| -sums_of(cases).correlation();
    assert!(objection(&cases, sign).is_some(), "sign");
    let uncentred = |cases: &[Case]| {
        let s = sums_of(cases);
        s.product_sum / (s.lead_square_sum * s.margin_square_sum).sqrt()
    };
    assert!(objection(&cases, uncentred).is_some(), "cosine instead of correlation");
    let chosen_only = |cases: &[Case]| {
        let chosen: Vec<Case> = cases.iter().map(|&(c, _, m)| (c, 0, m)).collect();
        sums_of(&chosen).correlation()
    };
    assert!(objection(&cases, chosen_only).is_some(), "the chosen answer's length alone");
    let total = |cases: &[Case]| {
        let (leads, margins) = columns(cases);
        co_spread(&leads, &margins) / co_spread(&leads, &leads)
    };
    assert!(objection(&cases, total).is_some(), "slope instead of correlation");
}

#[test]
fn undefined_is_not_a_number() {
    let of = |cases: &[Case]| sums_of(cases).correlation();
    assert!(of(&[]).is_nan() && LengthSums::default().mean_lead().is_nan());
    assert!(of(&[(7, 3, 0.5)]).is_nan(), "one pair");
    assert!(of(&[(7, 3, 0.0), (9, 1, 0.0), (4, 4, 0.0)]).is_nan(), "step 0");
    // Equal numbers whose sums round, some to a spread above 0.
    let mut above = 0;
    for margin in [0.1, 0.7, 1.3, 1e3 / 3.0] {
        for n in 2..60 {
            let equal: Vec<Case> = (0..n).map(|i| (i, 3, margin)).collect();
            let sums = sums_of(&equal);
            above += usize::from(n as f64 * sums.margin_square_sum > sums.margin_sum.powi(2));
            assert!(sums.correlation().is_nan(), "{n} margins of {margin}");
        }
    }
    assert!(above > 20, "the control: {above} times rounding looks like a spread");
    assert!(of(&[(5, 2, 0.5), (9, 6, 1.5), (4, 1, -1.0)]).is_nan(), "equal leads");
    assert!(of(&[(7, 3, f64::INFINITY), (5, 4, 1.0)]).is_nan(), "infinite margins");
}

/// Points on a line, whose quotient rounding takes beyond 1 at times.
#[test]
fn correlation_is_never_beyond_one() {
    let mut beyond = 0;
    for slope in [0.1, -0.3, 1.7] {
        for n in 2..60_usize {
            let line: Vec<Case> = (0..n).map(|i| (3 * i, i, slope * i as f64)).collect();
            let s = sums_of(&line);
            let spread = |sum: f64, square: f64| n as f64 * square - sum * sum;
            let (leads, margins) =
                (spread(s.lead_sum, s.lead_square_sum), spread(s.margin_sum, s.margin_square_sum));
            let raw = n as f64 * s.product_sum - s.lead_sum * s.margin_sum;
            beyond += usize::from(raw.abs() / (leads.sqrt() * margins.sqrt()) > 1.0);
            let found = s.correlation();
            assert!(
                found.abs() <= 1.0 && found * slope.signum() > 1.0 - 1e-12,
                "{slope} {n} {found}"
            );
        }
    }
    assert!(beyond > 10, "the control: {beyond} quotients beyond 1");
}

fn loss(margin: f64) -> PairLoss {
    PairLoss { margin, ..PairLoss::default() }
}

#[test]
fn batches_are_read_by_their_pairs() {
    let sequence = |count| SequenceLogProb { sum: -1.0, count };
    let sequences = [5, 9, 2, 14].map(sequence);
    let pairs = [Pair::new(1, 0), Pair::new(2, 3), Pair::new(3, 1)];
    let losses = [loss(1.5), loss(f64::NAN), loss(-0.25)];
    let mut sums = LengthSums::default();
    sums.add_batch(&pairs, None, &sequences, &losses).unwrap();
    assert_eq!(sums, sums_of(&[(9, 5, 1.5), (14, 9, -0.25)]), "the broken pair is left out");

    // A pair of weight 0 may name anything and have any margin; other weights count alike.
    let mut weighted = LengthSums::default();
    let with_absent = [pairs[0], Pair::new(7, 7), pairs[2]];
    let losses_of = [loss(1.5), loss(3.0), loss(-0.25)];
    weighted.add_batch(&with_absent, Some(&[0.5, 0.0, 2.0]), &sequences, &losses_of).unwrap();
    assert_eq!(weighted, sums);
    let short = weighted.add_batch(&pairs, Some(&[1.0]), &sequences, &losses_of).unwrap_err();
    assert_eq!(short, Error::Length { buffer: Buffer::PairWeights, expected: 3, found: 1 });
    assert_eq!(weighted, sums);

    let refused = |pairs: &[Pair], losses: &[PairLoss]| {
        let mut after = sums;
        let error = after.add_batch(pairs, None, &sequences, losses).unwrap_err();
        assert_eq!(after, sums, "{error}");
        error
    };
    let expected = Error::Length { buffer: Buffer::PairLosses, expected: 3, found: 1 };
    assert_eq!(refused(&pairs, &losses[..1]), expected);
    let expected = Error::SequenceOutOfRange { pair: 1, sequence: 4, sequences: 4 };
    assert_eq!(refused(&[pairs[0], Pair::new(0, 4)], &losses[..2]), expected);
    let expected = Error::PairOfOneSequence { pair: 0, sequence: 3 };
    assert_eq!(refused(&[Pair::new(3, 3)], &losses[..1]), expected);
}
