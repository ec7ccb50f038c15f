//! Every loss over all decades of its arguments, both signs, and on both sides of every number at
//! which a formula changes: against figures of 160 digits and more (`docs/decades.py`).
//!
//! A figure may be off by a few roundings of itself and by what a few roundings of the log-probs
//! make of it: it is the figure of inputs that are as good as those that were given. Nothing is
//! allowed for cancellation.

use dpo_kernel::PairLoss;
use dpo_kernel::loss::{LossName, PairLogProbs, PreferenceLoss};
use dpo_kernel::verify::Divergence;
use serde_json::Value;

use crate::catalog::{GOLDEN, Parameters, loss};

/// Roundings of 2⁻⁵³, of a figure and of the log-probs.
const ROUNDINGS: f64 = 8.0;

/// Below it a product of two small numbers loses digits to underflow.
const TINY: f64 = f64::MIN_POSITIVE;

struct Row {
    what: String,
    name: LossName,
    parameters: Parameters,
    pair: PairLogProbs,
    /// L and both gradients; None if f64 cannot hold one of them.
    exact: Option<[f64; 3]>,
    /// What a rounding moves of them, beside one of themselves, as a multiple of it.
    moved: [f64; 3],
}

fn parameters(words: &str, beta: f64) -> (LossName, Parameters) {
    let (name, variant) = words.split_once(", ").unwrap_or((words, ""));
    let mut parameters = Parameters { beta, ..GOLDEN };
    match variant {
        "" => {}
        "unsmoothed" => parameters.epsilon = 0.0,
        "forward KL" => parameters.divergence = Divergence::ForwardKl,
        "JS" => parameters.divergence = Divergence::JensenShannon,
        other => {
            let alpha = other.strip_prefix("alpha ").unwrap().parse().unwrap();
            parameters.divergence = Divergence::Alpha(alpha);
        }
    }
    (name.parse().unwrap(), parameters)
}

/// What the roundings within a formula move beside those of the log-probs: of each figure, as a
/// multiple of one rounding.
fn within(name: LossName, parameters: &Parameters, [a, b]: [f64; 2], exact: [f64; 3]) -> [f64; 3] {
    let [value, c, r] = exact.map(f64::abs);
    let z = parameters.beta * (a - b);
    match name {
        // A share of at most ½ times z − Δ: a rounding is one of 1 where z is less.
        LossName::Exo | LossName::RpoForward | LossName::RpoBackward => {
            [c / parameters.beta, 0.0, 0.0]
        }
        // The slope is a difference of terms of this size.
        LossName::DiscoPop => {
            let x = (z / parameters.tau).abs();
            let terms = 0.25 * (-x).exp() * (1.0 + z.abs()) * (-z).max(0.0).exp() / parameters.tau;
            [0.0, parameters.beta * terms, parameters.beta * terms]
        }
        // An exponential of the odds, which are a difference of logarithms.
        LossName::Orpo => [value * ((-a).ln().abs() + (-b).ln().abs()), 0.0 * r, 0.0],
        _ => [0.0; 3],
    }
}

fn rows() -> Vec<Row> {
    let file: Value = serde_json::from_str(include_str!("../data/decades.json")).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let beta = file["beta"].as_f64().unwrap();
    let tokens: Vec<usize> =
        list(&file["tokens"]).iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let mut found = Vec::new();
    for case in list(&file["cases"]) {
        let words = case["loss"].as_str().unwrap();
        let (name, parameters) = parameters(words, beta);
        let pairs = list(&file[case["of"].as_str().unwrap()]);
        let figures = list(&case["figures"]);
        assert_eq!(pairs.len(), figures.len(), "{words}");
        for (pair, figures) in pairs.iter().zip(figures) {
            let [a, b] = [0, 1].map(|i| pair[i].as_f64().unwrap());
            let [l, c, r, moved_c, moved_r] = [0, 1, 2, 3, 4].map(|i| figures[i].as_f64());
            let exact = l.zip(c).zip(r).map(|((l, c), r)| [l, c, r]);
            let [value, c, r] = exact.unwrap_or_default();
            let moved = [(a * c).abs() + (b * r).abs(), moved_c.unwrap(), moved_r.unwrap()];
            let within = within(name, &parameters, [a, b], [value, c, r]);
            found.push(Row {
                what: format!("{words}, {a:e}, {b:e}"),
                name,
                parameters,
                pair: PairLogProbs::new(a, b, 0.0, 0.0).with_tokens(tokens[0], tokens[1]),
                exact,
                moved: [0, 1, 2].map(|i| moved[i] + within[i]),
            });
        }
    }
    found
}

/// How many roundings off each figure is.
fn roundings(row: &Row, found: &PairLoss, exact: [f64; 3]) -> [f64; 3] {
    const UNIT: f64 = f64::EPSILON / 2.0;
    let found = [found.loss, found.d_chosen, found.d_rejected];
    [0, 1, 2].map(|i| {
        let off = ((found[i] - exact[i]).abs() - TINY).max(0.0);
        let unit = UNIT * (exact[i].abs() + row.moved[i]);
        if off == 0.0 { 0.0 } else { off / unit }
    })
}

/// What is wrong with a loss's figures of a row.
fn objection(row: &Row, found: &PairLoss) -> Option<String> {
    match row.exact {
        None => {
            let figures = [found.loss, found.d_chosen, found.d_rejected];
            let is_nan = figures.iter().all(|x| x.is_nan());
            (!is_nan).then(|| format!("{}: {figures:?} should be NaN", row.what))
        }
        Some(exact) => {
            let off = roundings(row, found, exact);
            let near = off.iter().all(|off| *off <= ROUNDINGS);
            (!near).then(|| {
                let found = [found.loss, found.d_chosen, found.d_rejected];
                format!("{}: {found:?} is not {exact:?}, {off:?} roundings", row.what)
            })
        }
    }
}

#[test]
fn over_all_decades() {
    let rows = rows();
    for name in crate::catalog::names() {
        assert!(rows.iter().any(|row| row.name == name), "{name:?} has no figures");
    }
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| objection(row, &loss(row.name, &row.parameters).evaluate(&row.pair)))
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// The checker sees what a formula loses in the middle of its range.
#[test]
fn planted_faults_are_caught() {
    let rows = rows();
    let row = |name: LossName, a: f64| {
        rows.iter().find(|row| row.name == name && row.pair.policy_chosen == a).unwrap()
    };
    let found = |row: &Row| loss(row.name, &row.parameters).evaluate(&row.pair);
    // The textbook's divergence at a distance of 2⁻⁷ from its minimum: ten digits are left of it.
    let near = row(LossName::RpoForward, 2.0 * (0.3 + 0.007_812_5));
    let (p, q) = (0.3 + 0.007_812_5, 0.3);
    let share = |x: f64| 1.0 / (1.0 + (-x).exp());
    let textbook = share(p) * (share(p) / share(q)).ln() + share(-p) * (share(-p) / share(-q)).ln();
    let right = found(near);
    assert!((textbook / right.loss - 1.0).abs() < 1e-9, "the same divergence");
    assert_eq!(objection(near, &right), None);
    assert!(objection(near, &PairLoss { loss: textbook, ..right }).is_some(), "lost digits passed");
    // A tail that is cut off, one that is not told from 1, and a number for what is none.
    let tail = row(LossName::ApoZero, 150.0);
    let right = found(tail);
    assert_eq!(objection(tail, &right), None);
    assert!(objection(tail, &PairLoss { d_chosen: 0.0, ..right }).is_some(), "a lost tail passed");
    let squares = row(LossName::IpoSum, 1e200);
    assert_eq!(objection(squares, &found(squares)), None);
    assert!(objection(squares, &right).is_some(), "a number for what is none passed");
    let ulp = PairLoss { d_chosen: right.d_chosen * (1.0 + 1e-13), ..right };
    assert!(objection(tail, &ulp).is_some(), "a wrong thirteenth digit passed");
}
