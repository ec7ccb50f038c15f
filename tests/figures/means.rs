//! The statistics of a run, field by field, against sums that are written down again.

use dpo_kernel::training::{
    GapAverages, GapSums, LengthSums, LogRatioSums, Selection, best_worst_pairs, length_offset,
    odpo_offset, optimal_value, pair_gaps,
};
use dpo_kernel::{Pair, PairLoss, Reference, SequenceLogProb};

use crate::{assert_fields, fields};

fn sequences(sums: &[f64], counts: &[usize]) -> Vec<SequenceLogProb> {
    sums.iter().zip(counts).map(|(&sum, &count)| SequenceLogProb { sum, count }).collect()
}

const POLICY: [f64; 4] = [-20.5, -25.25, -3.0, -8.0];
const REFERENCE: [f64; 4] = [-21.0, -24.5, -3.5, -11.0];
const PAIRS: [Pair; 3] = [Pair::new(0, 1), Pair::new(3, 2), Pair::new(1, 3)];

#[test]
fn of_gaps() {
    let policy = sequences(&POLICY, &[5; 4]);
    let mut gaps = [f64::NAN; 3];
    let found = pair_gaps(&PAIRS, None, &policy, Reference::Sums(&REFERENCE), &mut gaps).unwrap();
    // a − b of each pair.
    let by_hand = [0.5 + 0.75, 3.0 - 0.5, -0.75 - 3.0];
    assert_eq!(gaps, by_hand);
    let sum: f64 = by_hand.iter().sum();
    let square_sum: f64 = by_hand.iter().map(|gap| gap * gap).sum();
    // Sums that differ from each other need another batch: these gaps add up to 0.
    assert_eq!((found.pairs, found.sum, found.square_sum), (3, sum, square_sum));
    let mut total = GapSums::default();
    for gap in [1.25, 2.5] {
        total.add(gap);
    }
    let GapSums { pairs, sum, square_sum } = total;
    assert_eq!((pairs, sum, square_sum), (2, 3.75, 7.8125));
    assert_fields(&total, &[("pairs", 2.0), ("sum", 3.75), ("square_sum", 7.8125)]);
    total += total;
    assert_fields(&total, &[("pairs", 4.0), ("sum", 7.5), ("square_sum", 15.625)]);
    assert_eq!(total.mean(), 1.875);
    // √((15.625 − 7.5²/4)/3)
    assert!((total.deviation() - (1.562_5_f64 / 3.0).sqrt()).abs() < 1e-15);
    let two = GapSums { pairs: 2, sum: 3.75, square_sum: 7.8125 };
    assert!((two.deviation() - (1.25_f64 / 2.0_f64.sqrt())).abs() < 1e-15, "n − 1 = 1");
    let one = GapSums { pairs: 1, ..two };
    assert!(one.deviation().is_nan());

    let mut averages = GapAverages { mean: 4.0, deviation: 2.0 };
    averages.update(&total).unwrap();
    let GapAverages { mean, deviation } = averages;
    assert!((mean - (0.9 * 4.0 + 0.1 * 1.875)).abs() < 1e-15);
    assert!((deviation - (0.9 * 2.0 + 0.1 * (1.562_5_f64 / 3.0).sqrt())).abs() < 1e-15);
    let names: Vec<String> = fields(&averages).into_iter().map(|field| field.0).collect();
    assert_eq!(names, ["mean", "deviation"]);
}

#[test]
fn of_lengths() {
    let policy = sequences(&POLICY, &[7, 3, 11, 2]);
    // Margins of the pairs above, whose leads are 4, −9 and 1.
    let margins = [0.5, -3.0, 7.0];
    let losses = margins.map(|margin| PairLoss { margin, loss: 99.0, ..PairLoss::default() });
    let mut found = LengthSums::default();
    found.add_batch(&PAIRS, None, &policy, &losses).unwrap();
    let LengthSums { pairs, lead_sum, lead_square_sum, margin_sum, margin_square_sum, product_sum } =
        found;
    assert_eq!((pairs, lead_sum, lead_square_sum), (3, -4.0, 98.0));
    assert_eq!((margin_sum, margin_square_sum, product_sum), (4.5, 58.25, 36.0));
    let mut total = found;
    total += found;
    let expected = [
        ("pairs", 6.0),
        ("lead_sum", -8.0),
        ("lead_square_sum", 196.0),
        ("margin_sum", 9.0),
        ("margin_square_sum", 116.5),
        ("product_sum", 72.0),
    ];
    assert_fields(&total, &expected);
    assert_eq!(total.mean_lead(), -8.0 / 6.0);
    // Pearson: (3·36 + 4·4.5)/√((3·98 − 16)·(3·58.25 − 4.5²))
    let pearson = 126.0 / (278.0_f64 * 154.5).sqrt();
    assert!((found.correlation() - pearson).abs() < 1e-15, "{}", found.correlation());
    // A pair that is left out, or that has no margin, is in no sum.
    let mut partial = LengthSums::default();
    let mut losses = losses;
    losses[2].margin = f64::NAN;
    partial.add_batch(&PAIRS, Some(&[1.0, 0.0, 2.0]), &policy, &losses).unwrap();
    let expected = [4.0, 16.0, 0.5, 0.25, 2.0];
    let found: Vec<f64> = fields(&partial).into_iter().skip(1).map(|field| field.1).collect();
    assert_eq!((partial.pairs, &found[..]), (1, &expected[..]));
}

#[test]
fn of_log_ratios() {
    let policy = sequences(&POLICY, &[5, 5, 5, 5]);
    let mut found = LogRatioSums::default();
    found.add_batch(&policy, Reference::Sums(&REFERENCE)).unwrap();
    let LogRatioSums { count, log_ratio_sum } = found;
    // ½ − ¾ + ½ + 3
    assert_eq!((count, log_ratio_sum), (4, 3.25));
    let mut total = found;
    total += found;
    assert_fields(&total, &[("count", 8.0), ("log_ratio_sum", 6.5)]);
    assert_eq!((found.mean(), found.kto_k(), found.bco_shift(0.5)), (0.8125, 0.8125, 0.40625));
    let below = LogRatioSums { count: 2, log_ratio_sum: -3.0 };
    assert_eq!((below.mean(), below.kto_k(), below.bco_shift(0.5)), (-1.5, 0.0, -0.75));
    let none = LogRatioSums::default();
    assert_eq!((none.kto_k(), none.bco_shift(0.5)), (0.0, 0.0));
    assert!(none.mean().is_nan());
}

#[test]
fn of_a_selection() {
    // Groups: three pairs, two of equal scores, one of a single completion, four that share the
    // best.
    let groups: [&[f32]; 10] = [
        &[0.5, 0.25],
        &[1.0, 1.0],
        &[0.5, 0.5, 0.25],
        &[2.0],
        &[0.125, 3.0, 0.5],
        &[4.0, 4.0, 1.0],
        &[0.0, 0.0, 0.0],
        &[7.0, 7.0, 2.0, 3.0],
        &[-1.0, -2.0, -3.0],
        &[9.0, 8.0, 9.0],
    ];
    let scores: Vec<f32> = groups.concat();
    let mut offsets = vec![0_usize];
    for group in groups {
        offsets.push(offsets.last().unwrap() + group.len());
    }
    let mut out = [Pair::new(99, 99); 10];
    let found = best_worst_pairs(&scores, &offsets, &mut out).unwrap();
    let expected = [("pairs", 3.0), ("shared_best", 4.0), ("all_equal", 2.0), ("too_small", 1.0)];
    assert_fields(&found, &expected);
    let Selection { pairs, shared_best, all_equal, too_small } = found;
    assert_eq!(pairs + shared_best + all_equal + too_small, groups.len());
    assert_eq!(out[..4], [Pair::new(0, 1), Pair::new(9, 8), Pair::new(21, 23), Pair::new(99, 99)]);
}

/// One number each, where every argument counts.
#[test]
fn of_single_figures() {
    let near = |found: f64, expected: f64| {
        assert!((found - expected).abs() <= 1e-15 * expected.abs(), "{found} {expected}");
    };
    near(odpo_offset(0.75, 3.0).unwrap(), 0.75 * 3.0_f64.ln());
    near(length_offset(0.25, 7, 12).unwrap(), 0.25 * 5.0);
    // ½·ln((e² + e^−4 + 1)/3)
    let mean = (2.0_f64.exp() + (-4.0_f64).exp() + 1.0) / 3.0;
    near(optimal_value(0.5, &[1.0, -2.0, 0.0]).unwrap(), 0.5 * mean.ln());
    let sequence = SequenceLogProb { sum: -7.5, count: 3 };
    let SequenceLogProb { sum, count } = sequence;
    assert_eq!((sequence.mean(), sum, count), (-2.5, -7.5, 3));
    assert_fields(&sequence, &[("sum", -7.5), ("count", 3.0)]);
    assert_fields(&Pair::new(3, 5), &[("chosen", 3.0), ("rejected", 5.0)]);
}

/// What rounding may leave of equal numbers is none: 3(n + 1) and 3(n + 4) roundings of the squares.
/// Sums of two whose squares add up to 1, a few ulps around √2.
#[test]
fn of_numbers_that_are_nearly_equal() {
    let u = f64::EPSILON / 2.0;
    let sums = || (-60..=60).map(|ulps| 2.0_f64.sqrt() * (1.0 + f64::from(ulps) * u));
    let mut seen = [[0; 2]; 2];
    for sum in sums() {
        let gaps = GapSums { pairs: 2, sum, square_sum: 1.0 };
        let spread = 1.0 - sum * (sum / 2.0);
        let is_none = spread <= 9.0 * u;
        seen[0][usize::from(is_none)] += i32::from((4.0 * u..18.0 * u).contains(&spread));
        assert_eq!(gaps.deviation(), if is_none { 0.0 } else { spread.sqrt() }, "{sum}");
        let sums = LengthSums {
            pairs: 2,
            lead_sum: 0.0,
            lead_square_sum: 2.0,
            margin_sum: sum,
            margin_square_sum: 1.0,
            product_sum: 0.0,
        };
        let spread = 2.0 - sum * sum;
        let is_none = spread <= 36.0 * u;
        seen[1][usize::from(is_none)] += i32::from((18.0 * u..72.0 * u).contains(&spread));
        assert_eq!(sums.correlation().is_nan(), is_none, "{sum}");
    }
    assert!(seen.into_iter().flatten().all(|count| count > 1), "both sides: {seen:?}");
}
