//! The figures of one call beside the reference's, each with its bound.

use alloc::vec::Vec;

use super::bound::{RowBound, allowed_of_pair, gamma, times};
use super::call::{Answer, PairsGiven};
use super::input::{HeadInput, Input, RowFigures, RowsInput, pair_figures};
use super::{Format, Output, Precision};
use crate::verify::{PairResult, preference_loss};

/// One figure of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) output: Output,
    /// Row or pair.
    pub(super) row: usize,
    /// Column of a gradient, place of a pair's figure, or 0.
    pub(super) column: usize,
    pub(super) expected: f64,
    pub(super) found: f64,
    pub(super) allowed: f64,
    /// The format that the figure is stored in.
    pub(super) format: Format,
    pub(super) ok: bool,
}

impl Judged {
    fn new(at: (Output, usize, usize), figures: (f64, f64, f64), format: Format) -> Self {
        let (output, row, column) = at;
        let (expected, found, allowed) = figures;
        // What is not finite is held to itself.
        let allowed = if expected.is_finite() { allowed } else { 0.0 };
        debug_assert!(!allowed.is_nan(), "{output} of row {row}, column {column}: no bound");
        let ok = agrees(expected, found, allowed, format);
        Self { output, row, column, expected, found, allowed, format, ok }
    }
}

/// NaN agrees with NaN alone, an infinity with itself or with what rounds to it.
pub(super) fn agrees(expected: f64, found: f64, allowed: f64, format: Format) -> bool {
    if expected.is_nan() {
        found.is_nan()
    } else if expected.is_finite() && allowed == f64::INFINITY {
        // Nothing is promised, not even a number: what overflows on the way may become NaN.
        true
    } else if expected.is_infinite() {
        found.is_infinite() && (found > 0.0) == (expected > 0.0)
    } else if found.is_infinite() {
        expected.abs() + allowed >= format.overflow() && (found > 0.0) == (expected > 0.0)
    } else {
        (found - expected).abs() <= allowed
    }
}

/// A figure of an output; NaN where the answer is too short.
fn found(answer: &Answer, output: Output, at: usize) -> f64 {
    answer.list(output).get(at).copied().unwrap_or(f64::NAN)
}

/// All figures of a call.
pub(super) fn judge(
    input: &Input,
    answer: &Answer,
    precision: &Precision,
    offers: &[Output],
) -> Vec<Judged> {
    match input {
        Input::Rows(rows) => judge_rows(rows, answer, precision, offers),
        Input::Pairs(pairs) => judge_pairs(pairs, answer, precision),
        Input::Head(head) => judge_head(head, answer, precision, offers),
    }
}

fn judge_rows(
    input: &RowsInput,
    answer: &Answer,
    precision: &Precision,
    offers: &[Output],
) -> Vec<Judged> {
    let mut judged = Vec::new();
    let offered = |output: Output| offers.contains(&output);
    for row in (0..input.rows()).filter(|&row| input.is_scored(row)) {
        let start = row.saturating_mul(input.stride);
        let x = input.x.get(start..).and_then(|x| x.get(..input.vocab)).unwrap_or_default();
        let target = input.targets.get(row).map_or(0, |&target| target as usize);
        let c = input.coefficients.get(row).copied().unwrap_or(f64::NAN);
        let (exact, y) = RowFigures::of(x, &input.transform, target, c, offered);
        let bound = RowBound::new(*precision, input.transform, x, &|_| 0.0, &y, exact.log_z);
        judge_forward(&mut judged, &exact, &bound, (answer, row, target, x), precision, offers);
        if offered(Output::LogitGrads) {
            for (column, &expected) in exact.grads.iter().enumerate() {
                let at = (Output::LogitGrads, row, column);
                let allowed = if c == 0.0 {
                    0.0
                } else {
                    bound.grad(column, target, c) + super::bound::rounding(input.storage, expected)
                };
                let found = found(answer, Output::LogitGrads, row * input.vocab + column);
                judged.push(Judged::new(at, (expected, found, allowed), input.storage));
            }
        }
    }
    judged
}

/// Log-prob, log Z and details of a row that are offered.
fn judge_forward(
    judged: &mut Vec<Judged>,
    exact: &RowFigures,
    bound: &RowBound<'_>,
    (answer, row, target, x): (&Answer, usize, usize, &[f64]),
    precision: &Precision,
    offers: &[Output],
) {
    let forward = [
        Output::LogProb,
        Output::LogZ,
        Output::Entropy,
        Output::Argmax,
        Output::MeanLogit,
        Output::LogSumSqProbs,
    ];
    for output in forward.into_iter().filter(|output| offers.contains(output)) {
        let expected = exact.get(output, 0);
        let allowed = match output {
            Output::LogProb => bound.log_prob(target, expected),
            Output::LogZ => bound.log_z(),
            Output::Entropy => bound.entropy(expected),
            Output::MeanLogit => bound.mean_logit(expected),
            Output::LogSumSqProbs => bound.log_sum_sq_probs(expected),
            _ => 0.0,
        };
        let found = found(answer, output, row);
        let mut one = Judged::new((output, row, 0), (expected, found, allowed), precision.output);
        if output == Output::Argmax {
            one.ok = may_be_argmax(bound, expected, found);
        } else if expected.is_nan() && output != Output::LogProb {
            one.ok |= found == limit(x, output);
        } else if output == Output::MeanLogit && !found.is_finite() {
            one.ok |= bound.mean_overflows();
        }
        judged.push(one);
    }
}

/// What log Z and the mean tend to in a row without probabilities: as right as NaN.
fn limit(x: &[f64], output: Output) -> f64 {
    let any = |wanted: f64| x.contains(&wanted);
    let (up, down) = (any(f64::INFINITY), any(f64::NEG_INFINITY));
    let broken = x.iter().any(|x| x.is_nan());
    match output {
        Output::LogZ | Output::MeanLogit if up && !broken && (output == Output::LogZ || !down) => {
            f64::INFINITY
        }
        Output::LogZ | Output::MeanLogit if down && !up && !broken => f64::NEG_INFINITY,
        _ => f64::NAN,
    }
}

/// Rows without probabilities have none: whatever is said of it is right.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn may_be_argmax(bound: &RowBound<'_>, expected: f64, found: f64) -> bool {
    if expected.is_nan() {
        return true;
    }
    let is_column = (0.0..4_294_967_296.0).contains(&found);
    is_column && bound.may_be_largest(found as usize, expected as usize)
}

fn judge_pairs(input: &PairsGiven, answer: &Answer, precision: &Precision) -> Vec<Judged> {
    let mut judged = Vec::new();
    let none = PairResult {
        loss: f64::NAN,
        reward_chosen: f64::NAN,
        reward_rejected: f64::NAN,
        margin: f64::NAN,
        d_chosen: f64::NAN,
        d_rejected: f64::NAN,
    };
    let pairs = input.log_probs.iter().zip(&input.weights).zip(&input.offsets);
    for (row, ((pair, &weight), &offset)) in pairs.enumerate() {
        // A pair of weight 0 is not there: its loss and derivatives are 0. Rewards and margin may be
        // those of a pair, or 0 as well.
        let there = if weight == 0.0 { 1.0 } else { weight };
        let exact = pair_figures(&preference_loss(&input.dpo, pair, there, offset));
        let allowed = allowed_of_pair(precision, &input.dpo, pair, there, offset);
        let result = answer.pairs.as_ref().and_then(|pairs| pairs.get(row)).unwrap_or(&none);
        let figures = exact.into_iter().zip(pair_figures(result)).zip(allowed);
        for (column, ((expected, found), allowed)) in figures.enumerate() {
            let weighted = !(1..=3).contains(&column);
            let absent = weight == 0.0 && (weighted || found == 0.0);
            let (expected, allowed) = if absent { (0.0, 0.0) } else { (expected, allowed) };
            let at = (Output::PairLoss, row, column);
            judged.push(Judged::new(at, (expected, found, allowed), precision.pair));
        }
    }
    judged
}

fn judge_head(
    input: &HeadInput,
    answer: &Answer,
    precision: &Precision,
    offers: &[Output],
) -> Vec<Judged> {
    let mut judged = Vec::new();
    let u = precision.product.unit();
    let terms = input.hidden_size + usize::from(input.bias.is_some());
    let of_terms = |n: usize| gamma(precision.product_additions.roundings(n) + 1, n, u);
    let (of_product, of_sum) = (of_terms(terms), of_terms(input.vocab));
    let offered = |output: Output| offers.contains(&output);
    for row in (0..input.targets.len()).filter(|&row| input.is_scored(row)) {
        let (x, sizes) = input.logits(row);
        let target = input.targets.get(row).map_or(0, |&target| target as usize);
        let c = input.coefficients.get(row).copied().unwrap_or(f64::NAN);
        let (exact, y) = RowFigures::of(&x, &input.transform, target, c, offered);
        let narrow = |format: Format, x: f64| {
            if format < precision.product { super::bound::rounding(format, x) } else { 0.0 }
        };
        let at = |list: &[f64], j: usize| list.get(j).copied().unwrap_or(f64::NAN);
        // A product that leaves the range, of its sum or of the logits, may become NaN.
        let range = precision.product.overflow().min(precision.head_logits.overflow());
        let dx = |j: usize| {
            let size = at(&sizes, j);
            let error = times(size, of_product) + narrow(precision.head_logits, at(&x, j));
            if size + error >= range { f64::INFINITY } else { error }
        };
        let bound = RowBound::new(*precision, input.transform, &x, &dx, &y, exact.log_z);
        for output in [Output::HeadLogProb, Output::HeadLogZ].into_iter().filter(|&o| offered(o)) {
            let expected = exact.get(output, 0);
            let allowed = match output {
                Output::HeadLogProb => bound.log_prob(target, expected),
                _ => bound.log_z(),
            };
            let found = found(answer, output, row);
            judged.push(Judged::new(
                (output, row, 0),
                (expected, found, allowed),
                precision.output,
            ));
        }
        if !offered(Output::HiddenGrads) {
            continue;
        }
        let of_grads: Vec<f64> = (0..input.vocab)
            .map(|j| bound.grad(j, target, c) + narrow(precision.head_grads, at(&exact.grads, j)))
            .collect();
        for k in 0..input.hidden_size {
            let (mut expected, mut allowed, mut size) = (0.0, 0.0, 0.0);
            for (j, (&g, &dg)) in exact.grads.iter().zip(&of_grads).enumerate() {
                let w = at(input.weight_row(j), k);
                expected += g * w;
                size += (g * w).abs();
                allowed += times(w.abs(), dg);
            }
            let allowed = allowed
                + times(size + allowed, of_sum)
                + super::bound::rounding(precision.hidden_grads, expected);
            let found = found(answer, Output::HiddenGrads, row * input.hidden_size + k);
            let at = (Output::HiddenGrads, row, k);
            judged.push(Judged::new(at, (expected, found, allowed), precision.hidden_grads));
        }
    }
    judged
}
