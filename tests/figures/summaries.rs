//! The sums over a batch: each field against a sum or count that is written down again.

use dpo_kernel::loss::{Kto, Nll, NllBatch, NllPer, NllSummary, nll_loss};
use dpo_kernel::unpaired::{
    AnswerLoss, Label, UnpairedAnswer, UnpairedBatch, UnpairedOut, UnpairedSummary, unpaired_loss,
};
use dpo_kernel::{
    Dpo, Pair, PairBatch, PairLoss, PairOut, Reference, SequenceLogProb, Summary, preference_loss,
};

use crate::{assert_fields, fields};

const BETA: f64 = 0.5;
const REFERENCE: f64 = -30.0;

/// Log-ratios of chosen and rejected answer, and the pair's weight: three are far ahead, two far
/// behind, one is a tie, four are left out, five have a chosen answer below the reference.
const PAIRS: [(f64, f64, f32); 15] = [
    (4.0, -20.0, 1.0),
    (0.0, 0.5, 0.0),
    (-1.0, -31.0, 0.75),
    (3.0, -17.0, 1.5),
    (-12.0, 10.0, 0.5),
    (-15.0, 9.0, 0.25),
    (9.0, -40.0, 0.0),
    (2.5, 2.5, 2.0),
    (1.0, -2.0, 1.0),
    (2.0, 0.5, 0.125),
    (-3.0, -6.0, 3.0),
    (-8.0, 20.0, 0.0),
    (0.5, 0.25, 1.25),
    (-2.0, 1.0, 0.375),
    (6.0, 6.0, 0.0),
];

/// ln(1 + e^−z), by the exponential that does not overflow.
fn logistic(z: f64) -> f64 {
    if z > 0.0 { (-z).exp().ln_1p() } else { z.exp().ln_1p() - z }
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn of_pairs() -> Summary {
    let sequences: Vec<SequenceLogProb> = PAIRS
        .iter()
        .flat_map(|&(a, b, _)| [a, b])
        .map(|u| SequenceLogProb { sum: REFERENCE + u, count: 5 })
        .collect();
    let reference = vec![REFERENCE; sequences.len()];
    let pairs: Vec<Pair> = (0..PAIRS.len()).map(|i| Pair::new(2 * i, 2 * i + 1)).collect();
    let weights = PAIRS.map(|pair| pair.2);
    let batch =
        PairBatch::new(&pairs, &sequences, Reference::Sums(&reference), 3.0).with_weights(&weights);
    let mut losses = vec![PairLoss::default(); pairs.len()];
    let mut d = vec![f64::NAN; sequences.len()];
    preference_loss(&Dpo::new(BETA).unwrap(), &batch, PairOut::new(&mut losses, &mut d)).unwrap()
}

/// Σ over the pairs that have a weight.
fn over(figure: fn(f64, f64, f64) -> f64) -> f64 {
    let there = PAIRS.iter().filter(|pair| pair.2 != 0.0);
    there.map(|&(a, b, weight)| figure(a, b, f64::from(weight))).sum()
}

fn loss_sum() -> f64 {
    over(|a, b, weight| weight * logistic(BETA * (a - b)))
}

#[test]
fn of_pairs_are_their_pairs() {
    let expected = [
        ("pairs", 11.0),
        ("correct", 7.0),
        ("ties", 1.0),
        ("displaced", 5.0),
        ("saturated", 3.0),
        ("saturated_wrong", 2.0),
        ("left_out", 4.0),
        ("loss_sum", loss_sum()),
        ("reward_chosen_sum", over(|a, _, _| BETA * a)),
        ("reward_rejected_sum", over(|_, b, _| BETA * b)),
        ("margin_sum", over(|a, b, _| BETA * (a - b))),
    ];
    let found = of_pairs();
    assert_fields(&found, &expected);
    // Micro-batches add up, field by field.
    let mut total = found;
    total += found;
    total += Summary::default();
    assert_fields(&total, &expected.map(|(name, value)| (name, 2.0 * value)));
}

#[test]
fn means_and_shares_of_pairs() {
    let found = of_pairs();
    let figures = [
        (found.mean_loss(), loss_sum() / 11.0),
        (found.mean_reward_chosen(), over(|a, _, _| BETA * a) / 11.0),
        (found.mean_reward_rejected(), over(|_, b, _| BETA * b) / 11.0),
        (found.mean_margin(), over(|a, b, _| BETA * (a - b)) / 11.0),
        (found.accuracy(), 7.0 / 11.0),
        (found.displaced_share(), 5.0 / 11.0),
        (found.saturated_share(), (3.0 + 2.0) / 11.0),
    ];
    for (i, (found, expected)) in figures.into_iter().enumerate() {
        assert!((found - expected).abs() <= 1e-15 * expected.abs(), "{i}: {found} {expected}");
    }
    let empty = Summary::default();
    let none = [
        empty.mean_loss(),
        empty.mean_reward_chosen(),
        empty.mean_reward_rejected(),
        empty.mean_margin(),
        empty.accuracy(),
        empty.displaced_share(),
        empty.saturated_share(),
    ];
    assert!(none.iter().all(|mean| mean.is_nan()), "{none:?}");
}

/// Log-ratio, label and weight.
const ANSWERS: [(f64, Label, f32); 10] = [
    (0.5, Label::Desirable, 1.0),
    (-1.25, Label::Undesirable, 0.5),
    (3.0, Label::Desirable, 2.0),
    (7.0, Label::Undesirable, 0.0),
    (-2.0, Label::Desirable, 0.25),
    (0.75, Label::Undesirable, 1.5),
    (-9.0, Label::Desirable, 0.0),
    (1.0, Label::Desirable, 0.0),
    (2.0, Label::Undesirable, 0.0),
    (5.0, Label::Undesirable, 0.0),
];

#[test]
fn of_answers_are_their_answers() {
    let (beta, k) = (0.5, 0.25);
    let sequences: Vec<SequenceLogProb> =
        ANSWERS.iter().map(|a| SequenceLogProb { sum: REFERENCE + a.0, count: 5 }).collect();
    let reference = vec![REFERENCE; sequences.len()];
    let answers: Vec<UnpairedAnswer> =
        ANSWERS.iter().enumerate().map(|(i, a)| UnpairedAnswer::new(i, a.1)).collect();
    let weights = ANSWERS.map(|answer| answer.2);
    let batch = UnpairedBatch::new(&answers, &sequences, Reference::Sums(&reference), 2.0)
        .with_weights(&weights);
    let mut losses = vec![AnswerLoss::default(); answers.len()];
    let mut d = vec![f64::NAN; sequences.len()];
    let out = UnpairedOut::new(&mut losses, &mut d);
    let found = unpaired_loss(&Kto::new(beta, k).unwrap(), &batch, out).unwrap();

    let sum = |label: Label, figure: &dyn Fn(f64, f64) -> f64| -> f64 {
        let there = ANSWERS.iter().filter(|a| a.1 == label && a.2 != 0.0);
        there.map(|a| figure(a.0, f64::from(a.2))).sum()
    };
    let desirable = |u: f64, weight: f64| weight * sigmoid(-beta * (u - k));
    let undesirable = |u: f64, weight: f64| weight * sigmoid(beta * (u - k));
    let expected = [
        ("desirable", 3.0),
        ("undesirable", 2.0),
        ("left_out", 5.0),
        ("desirable_loss_sum", sum(Label::Desirable, &desirable)),
        ("undesirable_loss_sum", sum(Label::Undesirable, &undesirable)),
        ("desirable_reward_sum", sum(Label::Desirable, &|u, _| beta * u)),
        ("undesirable_reward_sum", sum(Label::Undesirable, &|u, _| beta * u)),
    ];
    assert_fields(&found, &expected);
    let mean = (expected[3].1 + expected[4].1) / 5.0;
    assert!((found.mean_loss() - mean).abs() < 1e-15, "{}", found.mean_loss());
    let mut total = found;
    total += found;
    total += UnpairedSummary::default();
    assert_fields(&total, &expected.map(|(name, value)| (name, 2.0 * value)));

    // A class of weight 0 is left out, as answers of weight 0 are.
    let without = |desirable: f64, undesirable: f64| {
        let kto = Kto::new(beta, k).unwrap().with_weights(desirable, undesirable).unwrap();
        let (mut losses, mut d) = ([AnswerLoss::default(); 10], [f64::NAN; 10]);
        let found = unpaired_loss(&kto, &batch, UnpairedOut::new(&mut losses, &mut d)).unwrap();
        (found.desirable, found.undesirable, found.left_out, found.mean_loss())
    };
    let of_one = without(1.0, 0.0);
    assert_eq!((of_one.0, of_one.1, of_one.2), (3, 0, 7));
    assert!((of_one.3 - expected[3].1 / 3.0).abs() < 1e-15);
    let of_other = without(0.0, 1.0);
    assert_eq!((of_other.0, of_other.1, of_other.2), (0, 2, 8));
    assert!((of_other.3 - expected[4].1 / 2.0).abs() < 1e-15);

    // Each answer's own figures, and its sequence's gradient: over the divisor.
    for (i, (&(u, label, weight), found)) in ANSWERS.iter().zip(&losses).enumerate() {
        let AnswerLoss { loss, reward, d_log_prob } = *found;
        if weight == 0.0 {
            assert_eq!((loss, reward, d_log_prob, d[i]), (0.0, 0.0, 0.0, 0.0));
            continue;
        }
        let weight = f64::from(weight);
        let z = beta * (u - k);
        let (value, sign) = match label {
            Label::Desirable => (sigmoid(-z), -1.0),
            Label::Undesirable => (sigmoid(z), 1.0),
        };
        let slope = sign * weight * beta * sigmoid(z) * sigmoid(-z);
        let expected = [("loss", weight * value), ("reward", beta * u), ("d_log_prob", slope)];
        assert_fields(found, &expected);
        assert_eq!(d[i], d_log_prob / 2.0);
    }
}

#[test]
fn of_a_likelihood_term_are_its_answers() {
    let sums = [-20.5, -25.25, -3.0, -7.5, -1.25];
    let counts = [10, 7, 3, 5, 2];
    let sequences: Vec<SequenceLogProb> =
        sums.iter().zip(counts).map(|(&sum, count)| SequenceLogProb { sum, count }).collect();
    let answers = [0, 3, 1, 4, 2, 0];
    let weights = [1.0_f32, 0.5, 2.0, 0.0, 0.0, 0.25];
    for (per, is_mean) in [(NllPer::Token, false), (NllPer::Sequence, true)] {
        let batch = NllBatch::of_sequences(&answers, &sequences).with_weights(&weights);
        let mut d = vec![f64::NAN; sequences.len()];
        let nll = Nll::new(1.5, per, 4.0).unwrap();
        let found = nll_loss(&nll, &batch, &mut d).unwrap();
        let (mut loss, mut grads) = (0.0, [0.0; 5]);
        for (&i, &weight) in answers.iter().zip(&weights) {
            let over = if is_mean { counts[i] as f64 } else { 1.0 };
            loss += f64::from(weight) * 1.5 * -sums[i] / over;
            grads[i] -= f64::from(weight) * 1.5 / over / 4.0;
        }
        let expected = [
            ("sequences", 4.0),
            ("tokens", 10.0 + 5.0 + 7.0 + 10.0),
            ("left_out", 2.0),
            ("loss_sum", loss),
        ];
        assert_fields(&found, &expected);
        let mut total = found;
        total += found;
        total += NllSummary::default();
        assert_fields(&total, &expected.map(|(name, value)| (name, 2.0 * value)));
        for (found, expected) in d.iter().zip(grads) {
            assert!((found - expected).abs() <= 1e-15, "{d:?} {grads:?}");
        }
    }
}

/// Counts stay at their end; nothing wraps around.
#[test]
fn counts_saturate() {
    let mut of_pairs = of_pairs();
    let mut of_answers = UnpairedSummary::default();
    let mut of_terms = NllSummary::default();
    let end = u64::MAX - 1;
    for count in [
        &mut of_pairs.pairs,
        &mut of_pairs.correct,
        &mut of_pairs.ties,
        &mut of_pairs.displaced,
        &mut of_pairs.saturated,
        &mut of_pairs.saturated_wrong,
        &mut of_pairs.left_out,
        &mut of_answers.desirable,
        &mut of_answers.undesirable,
        &mut of_answers.left_out,
        &mut of_terms.sequences,
        &mut of_terms.tokens,
        &mut of_terms.left_out,
    ] {
        *count = end;
    }
    of_pairs += of_pairs;
    of_answers += of_answers;
    of_terms += of_terms;
    let largest = u64::MAX as f64;
    let counted = |of: Vec<(String, f64)>| of.iter().filter(|field| field.1 == largest).count();
    assert_eq!(counted(fields(&of_pairs)), 7);
    assert_eq!(counted(fields(&of_answers)), 3);
    assert_eq!(counted(fields(&of_terms)), 3);
}

/// What the counts of a pair turn on, to the last bit: 0 of either sign is a tie, and the smallest
/// number is none; ten is saturated, and the number below it is not.
#[test]
fn counts_turn_where_they_say() {
    let of = |margin: f64, reward_chosen: f64| {
        let mut summary = Summary::default();
        summary += &PairLoss { margin, reward_chosen, ..PairLoss::default() };
        let Summary { correct, ties, displaced, saturated, saturated_wrong, .. } = summary;
        [correct, ties, displaced, saturated, saturated_wrong]
    };
    assert_eq!((of(0.0, 0.0), of(-0.0, -0.0)), ([0, 1, 0, 0, 0], [0, 1, 0, 0, 0]));
    assert_eq!((of(5e-324, 5e-324), of(-5e-324, -5e-324)), ([1, 0, 0, 0, 0], [0, 0, 1, 0, 0]));
    assert_eq!((of(10.0, 1.0), of(10.0_f64.next_down(), 1.0)), ([1, 0, 0, 1, 0], [1, 0, 0, 0, 0]));
    assert_eq!((of(-10.0, 1.0), of((-10.0_f64).next_up(), 1.0)), ([0, 0, 0, 0, 1], [0; 5]));
}
