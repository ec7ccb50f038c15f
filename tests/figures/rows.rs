//! The figures of a row, of a sweep over rows, and of a step, against a softmax in f64.

use dpo_kernel::loss::{Nll, NllPer};
use dpo_kernel::row::{RowDetails, RowNorm};
use dpo_kernel::step::{StepScratch, StepSummary};
use dpo_kernel::{
    Dispatch, Dpo, Layout, Logits, LogitsMut, Pair, PairLoss, Reference, SequenceLogProb, Span,
    StepBatch, Summary, TokenOut, TokenSummary, preference_step, token_log_probs,
};

use crate::{assert_fields, assert_near, fields};

const VOCAB: usize = 4;
const LOWEST: f32 = f32::MIN;
/// Five rows, of which the third is not scored; the last two have their target on a masked column.
const LOGITS: [[f32; VOCAB]; 6] = [
    [1.0, -0.5, 0.25, 3.0],
    [0.5, 2.0, -1.5, 0.75],
    [9.0, 8.0, 7.0, 6.0],
    [-2.0, 0.25, 1.5, -0.75],
    [LOWEST, 0.5, 0.25, 1.0],
    [0.5, 1.0, LOWEST, -1.0],
];
const TARGETS: [u32; 6] = [1, 0, dpo_kernel::IGNORE_INDEX, 2, 0, 2];

fn softmax(row: &[f32; VOCAB]) -> (Vec<f64>, f64) {
    let exponentials = row.map(|x| f64::from(x).exp());
    let z: f64 = exponentials.iter().sum();
    (exponentials.iter().map(|e| e / z).collect(), z)
}

#[test]
fn of_a_row() {
    let spans = [Span::new(0, 2), Span::new(2, 4), Span::new(4, 6)];
    let layout = Layout::new(&TARGETS, &spans, VOCAB).unwrap();
    let data = LOGITS.concat();
    let logits = Logits::new(&data, 6, VOCAB).unwrap();
    let (mut log_probs, mut norms) = ([7.5_f32; 6], [RowNorm::default(); 6]);
    let mut details = [RowDetails::default(); 6];
    let out = TokenOut::new(&mut log_probs).with_norms(&mut norms).with_details(&mut details);
    let found: TokenSummary = token_log_probs(Dispatch::detect(), logits, &layout, out).unwrap();
    assert_fields(&found, &[("tokens", 5.0), ("masked_tokens", 2.0)]);
    let mut total = found;
    total += found;
    assert_fields(&total, &[("tokens", 10.0), ("masked_tokens", 4.0)]);
    for i in [0, 1, 3] {
        let (p, z) = softmax(&LOGITS[i]);
        let target = TARGETS[i] as usize;
        let entropy: f64 = -p.iter().map(|p| p * p.ln()).sum::<f64>();
        let mean = LOGITS[i].iter().map(|&x| f64::from(x)).sum::<f64>() / VOCAB as f64;
        let squares: f64 = p.iter().map(|p| p * p).sum();
        let largest = [3, 1, 0, 2][i];
        let RowDetails { entropy: _, mean_logit: _, log_sum_sq_probs: _, argmax } = details[i];
        assert_eq!(argmax, largest, "row {i}");
        let expected = [
            ("entropy", entropy),
            ("mean_logit", mean),
            ("log_sum_sq_probs", squares.ln()),
            ("argmax", f64::from(largest)),
        ];
        assert_near(&details[i], &expected, 1e-6);
        assert!((f64::from(log_probs[i]) - p[target].ln()).abs() < 1e-6, "row {i}");
        // Z = 2^exponent / inverse, without a shift where logits are small.
        let norm: Vec<(String, f64)> = fields(&norms[i]);
        let names: Vec<&str> = norm.iter().map(|field| field.0.as_str()).collect();
        assert_eq!(names, ["shift", "exponent", "inverse", "complement"]);
        let (shift, exponent, inverse) = (norm[0].1, norm[1].1, norm[2].1);
        let found = exponent.exp2() / inverse * shift.exp();
        assert!((found / z - 1.0).abs() < 1e-6, "row {i}: {found} {z}");
        assert!((norm[3].1 - (1.0 - p[target])).abs() < 1e-6, "row {i}: the complement");
    }
    assert_eq!((log_probs[2], details[2]), (7.5, RowDetails::default()), "not scored");
}

#[test]
fn of_a_step() {
    let spans = [Span::new(0, 2), Span::new(2, 4)];
    let targets = &TARGETS[..4];
    let layout = Layout::new(targets, &spans, VOCAB).unwrap();
    let mut data = LOGITS[..4].concat();
    let pairs = [Pair::new(0, 1)];
    let reference = [-6.0, -1.5];
    let (beta, weights, divisor) = (0.5, [0.25], 2.0);
    let nll = Nll::new(0.75, NllPer::Token, divisor).unwrap();
    let batch = StepBatch::new(&layout, &pairs, Reference::Sums(&reference), divisor)
        .with_weights(&weights)
        .with_nll(nll);
    let (mut log_probs, mut norms) = ([0.0_f32; 4], [RowNorm::default(); 4]);
    let (mut sequences, mut losses) = ([SequenceLogProb::default(); 2], [PairLoss::default()]);
    let (mut d, mut d_nll, mut coefficients) = ([0.0; 2], [0.0; 2], [0.0; 4]);
    let scratch = StepScratch::new(
        &mut log_probs,
        &mut norms,
        &mut sequences,
        &mut losses,
        &mut d,
        &mut coefficients,
    )
    .with_nll(&mut d_nll);
    let view = LogitsMut::new(&mut data, 4, VOCAB).unwrap();
    let dpo = Dpo::new(beta).unwrap();
    let found: StepSummary<Summary> =
        preference_step(Dispatch::detect(), &dpo, view, &batch, scratch).unwrap();

    let log_prob = |i: usize| softmax(&LOGITS[i]).0[TARGETS[i] as usize].ln();
    let sums = [log_prob(0) + log_prob(1), log_prob(3)];
    let (a, b) = (sums[0] - reference[0], sums[1] - reference[1]);
    let z = beta * (a - b);
    let weight = f64::from(weights[0]);
    let expected = [
        ("loss", f64::NAN),
        ("pairs", 1.0),
        ("correct", f64::from(u8::from(z > 0.0))),
        ("ties", 0.0),
        ("displaced", f64::from(u8::from(a < 0.0))),
        ("saturated", 0.0),
        ("saturated_wrong", 0.0),
        ("left_out", 0.0),
        ("loss_sum", weight * (-z).exp().ln_1p()),
        ("reward_chosen_sum", beta * a),
        ("reward_rejected_sum", beta * b),
        ("margin_sum", z),
        ("tokens", f64::NAN),
        ("tokens", 3.0),
        ("masked_tokens", 0.0),
        ("nll", f64::NAN),
        ("sequences", 1.0),
        ("tokens", 2.0),
        ("left_out", 0.0),
        ("loss_sum", -0.75 * sums[0] * weight),
    ];
    let wrong = crate::objections(&found, &expected, 1e-6);
    assert!(wrong.is_empty(), "{found:?}: {wrong:?}");
    assert_eq!(found.loss.loss_sum, found.loss_sum, "a step's summary is that of its loss");
    let near = |found: f64, expected: f64| {
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found} {expected}");
    };
    for i in [0, 1] {
        let SequenceLogProb { sum, count } = sequences[i];
        near(sum, sums[i]);
        assert_eq!(count, 2 - i);
    }
    let slope = -weight * beta / (1.0 + z.exp()) / divisor;
    near(d[0], slope);
    near(d[1], -slope);
    near(d_nll[0], -0.75 * weight / divisor);
    assert_eq!(d_nll[1], 0.0);
    near(coefficients[0], slope - 0.75 * weight / divisor);
    near(coefficients[3], -slope);
}
