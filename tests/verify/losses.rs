//! Every loss of pairs of the reference against figures and formulas that it had no part in:
//! 60 digits at the ends of the range, TRL's own code, the textbook on dual numbers.

use dpo_kernel::verify::{
    Curve, Divergence, Dual, Loss, LossParameters, PairLogProbs, PairResult, pair_loss,
    textbook_loss,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::common::golden::{TrlAnswer, TrlCase, trl_losses};

/// Those of the golden figures (`docs/extremes.py`).
const GOLDEN: LossParameters = LossParameters {
    beta: 0.1,
    epsilon: 0.1,
    gamma: 0.5,
    alpha: 0.25,
    tau: 0.05,
    delta: 1.0,
    lambda: 5.0,
    kl: 0.2,
    weights: (1.0, 1.0),
    gap: 0.3,
    centering: 0.01,
    divergence: Divergence::ReverseKl,
};

fn named(name: &str, parameters: &LossParameters) -> Loss {
    Loss::named(name, parameters).unwrap_or_else(|| panic!("{name} is a loss"))
}

/// An extreme of the file: its pair, its tokens, and the three figures, None where f64 holds none.
type Extreme = (String, LossParameters, PairLogProbs, (f64, f64), [Option<f64>; 3]);

fn extremes() -> Vec<Extreme> {
    let file: Value = serde_json::from_str(include_str!("../data/extremes.json")).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let numbers =
        |value: &Value| list(value).iter().map(Value::as_f64).collect::<Vec<Option<f64>>>();
    let mut found = Vec::new();
    for case in list(&file["cases"]) {
        let (name, variant) = {
            let mut words = case["loss"].as_str().unwrap().split(", ");
            (words.next().unwrap().to_owned(), words.next().map(str::to_owned))
        };
        let beta = case["beta"].as_f64().unwrap();
        let mut parameters = LossParameters { beta, ..GOLDEN };
        match variant.as_deref() {
            None => {}
            Some("unsmoothed") => parameters.epsilon = 0.0,
            Some("forward KL") => parameters.divergence = Divergence::ForwardKl,
            Some("JS") => parameters.divergence = Divergence::JensenShannon,
            Some(other) => panic!("{other}"),
        }
        for (pair, figures) in list(&file["pairs"]).iter().zip(list(&case["figures"])) {
            let x: Vec<f64> = numbers(pair).into_iter().map(Option::unwrap).collect();
            let log_probs = PairLogProbs {
                policy_chosen: x[0],
                policy_rejected: x[1],
                reference_chosen: x[2],
                reference_rejected: x[3],
            };
            let figures = numbers(&figures);
            let exact = [figures[0], figures[1], figures[2]];
            found.push((name.clone(), parameters, log_probs, (x[4], x[5]), exact));
        }
    }
    found
}

/// What rounding leaves where terms cancel: next to a minimum, of KL curves near 0, and of the two
/// slopes of APO-down.
fn slack(loss: &Loss, exact: [f64; 3]) -> [f64; 3] {
    const ROUNDING: f64 = 2.0 * f64::EPSILON;
    let (curve, scale) = match *loss {
        Loss::Relative { curve, scale, .. } | Loss::Free { curve, scale, .. } => (curve, scale),
        Loss::ApoDown { beta } => return [0.0, ROUNDING * beta, 0.0],
        _ => return [0.0; 3],
    };
    let slope = exact[1].abs().max(exact[2].abs());
    match curve {
        Curve::Square(_) => [slope * ROUNDING / scale, ROUNDING * scale, ROUNDING * scale],
        Curve::ForwardGap(_) | Curve::BackwardGap(_) => {
            [ROUNDING, ROUNDING * scale, ROUNDING * scale]
        }
        _ => [0.0; 3],
    }
}

/// How far off a figure may be: an exponential of an argument of some hundreds has lost that many
/// roundings, and the textbook's forms of the KL curves and of ORPO cancel.
fn objection(loss: &Loss, found: &PairResult, exact: [Option<f64>; 3]) -> Option<String> {
    let [Some(value), Some(chosen), Some(rejected)] = exact else { return None };
    let exact = [value, chosen, rejected];
    let found = [found.loss, found.d_chosen, found.d_rejected];
    let slack = slack(loss, exact);
    let near = |i: usize| {
        let error = (found[i] - exact[i]).abs();
        error <= (RELATIVE * exact[i].abs()).max(1e-300) + slack[i]
    };
    (!(0..3).all(near)).then(|| format!("{found:?} is not {exact:?}"))
}

const RELATIVE: f64 = 1e-12;

#[test]
fn to_sixty_digits_at_the_ends_of_the_range() {
    let extremes = extremes();
    for name in Loss::NAMES {
        let figures = extremes.iter().filter(|(of, ..)| of == name).count();
        assert!(figures >= 4 * 14, "{name} has {figures} figures");
    }
    let mut wrong = Vec::new();
    for (name, parameters, pair, tokens, exact) in &extremes {
        let loss = named(name, parameters);
        let found = pair_loss(&loss, pair, *tokens, 0.0);
        if let Some(why) = objection(&loss, &found, *exact) {
            wrong.push(format!("{name}, β = {}, {pair:?}: {why}", parameters.beta));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), extremes.len(), wrong.join("\n"));
}

/// Rewards are what the papers reward: β times the log-ratio, the mean log-prob, the log-prob.
#[test]
fn rewards_are_those_of_their_kind() {
    let pair = PairLogProbs {
        policy_chosen: -20.5,
        policy_rejected: -25.25,
        reference_chosen: -21.0,
        reference_rejected: -24.5,
    };
    for name in Loss::NAMES {
        let found = pair_loss(&named(name, &GOLDEN), &pair, (10.0, 12.0), 0.25);
        let [chosen, rejected] = match name {
            // β times the mean over the tokens, and over 1.
            "simpo" | "tpo_l" | "alphapo" | "cpo_ipo" | "tpo_ipo" | "orpo" => {
                [-0.205, -25.25 / 120.0]
            }
            "cpo" | "cpo_hinge" | "tpo" | "tpo_hinge" => [-2.05, -2.525],
            "slic" | "reward_model" => [-20.5, -25.25],
            _ => [0.05, -0.075],
        };
        for (what, found, expected) in [
            ("chosen", found.reward_chosen, chosen),
            ("rejected", found.reward_rejected, rejected),
            ("margin", found.margin, chosen - rejected),
        ] {
            assert!((found - expected).abs() < 1e-13, "{name}, {what}: {found} is not {expected}");
        }
    }
}

/// TRL's cases of one loss on sums: all but those of a whole batch, of tokens, and those around.
fn of_pairs(case: &TrlCase) -> bool {
    let [name] = case.loss_types.as_slice() else { return false };
    let others = ["aot", "aot_unpaired", "sft", "bco_pair"];
    !others.contains(&name.as_str()) && case.ld_alpha.is_none() && !case.wpo
}

#[test]
fn every_loss_of_trl() {
    let cases: Vec<TrlCase> = trl_losses().into_iter().filter(of_pairs).collect();
    assert_eq!(cases.len(), 46, "cases of one loss of pairs");
    for (i, case) in cases.iter().enumerate() {
        let divergence = match &case.divergence {
            None => Divergence::ReverseKl,
            Some((name, _)) if name == "forward_kl" => Divergence::ForwardKl,
            Some((name, _)) if name == "js_divergence" => Divergence::JensenShannon,
            // The paper's α is 1 less TRL's.
            Some((_, alpha)) => Divergence::Alpha(1.0 - alpha),
        };
        let name = case.loss_types[0].as_str();
        // TRL smooths no plain sigmoid, and its EXO by 1e-3 unless told.
        let epsilon = case.label_smoothing.unwrap_or(0.0);
        let parameters = LossParameters { beta: case.beta, epsilon, divergence, ..GOLDEN };
        let loss = named(name, &parameters);
        let (n, mut mean) = (case.pairs.len() as f64, 0.0);
        let tolerance = if case.single { 1e-5 } else { 1e-12 };
        for pair in &case.pairs {
            let sum = |tokens: &[f64]| tokens.iter().sum::<f64>();
            let log_probs = PairLogProbs {
                policy_chosen: sum(&pair.chosen.policy),
                policy_rejected: sum(&pair.rejected.policy),
                reference_chosen: sum(&pair.chosen.reference),
                reference_rejected: sum(&pair.rejected.reference),
            };
            let count = |answer: &TrlAnswer| answer.policy.len() as f64;
            let tokens = (count(&pair.chosen), count(&pair.rejected));
            let found = pair_loss(&loss, &log_probs, tokens, 0.0);
            mean += found.loss / n;
            for (answer, d) in [(&pair.chosen, found.d_chosen), (&pair.rejected, found.d_rejected)]
            {
                for &grad in &answer.grad {
                    let error = (d / n - grad).abs();
                    let size = grad.abs().max(0.01);
                    assert!(error < tolerance * size, "case {i}, {name}: {} is not {grad}", d / n);
                }
            }
        }
        let error = (mean - case.loss).abs() / case.loss.abs().max(1.0);
        assert!(error < tolerance, "case {i}, {name}: {mean} is not {}", case.loss);
    }
}

#[derive(Clone, Debug)]
struct Case {
    name: &'static str,
    parameters: LossParameters,
    pair: PairLogProbs,
    tokens: (f64, f64),
    offset: f64,
}

fn cases() -> impl Strategy<Value = Case> {
    let divergence = prop_oneof![
        2 => Just(Divergence::ReverseKl),
        1 => Just(Divergence::ForwardKl),
        1 => Just(Divergence::JensenShannon),
        1 => prop_oneof![0.1..1.5_f64, -1.5..-0.1_f64].prop_map(Divergence::Alpha),
    ];
    let some = (0.05..1.0_f64, 0.01..0.45_f64, 0.0..1.0_f64, 0.05..0.9_f64, 0.05..0.35_f64);
    let more = (0.5..2.0_f64, 0.0..8.0_f64, 0.0..1.0_f64, (0.0..2.0_f64, 0.0..2.0_f64));
    let log_probs = ([-12.0..-2.0_f64, -12.0..-2.0_f64], [-2.0..2.0_f64, -2.0..2.0_f64]);
    let around = ((1..6_u32, 1..6_u32), -0.5..0.5_f64, -1.0..1.0_f64);
    let name = prop::sample::select(Loss::NAMES.to_vec());
    (name, (some, more, divergence), log_probs, around).prop_map(
        |(name, (some, more, divergence), ([c, r], [a, b]), ((m, n), offset, gap))| {
            let (beta, epsilon, gamma, tau, alpha) = some;
            let (delta, lambda, kl, weights) = more;
            let centering = 0.1 * weights.1;
            let parameters = LossParameters {
                beta,
                epsilon,
                gamma,
                alpha,
                tau,
                delta,
                lambda,
                kl,
                weights,
                gap,
                centering,
                divergence,
            };
            let pair = PairLogProbs {
                policy_chosen: c,
                policy_rejected: r,
                reference_chosen: c - a,
                reference_rejected: r - b,
            };
            Case { name, parameters, pair, tokens: (m.into(), n.into()), offset }
        },
    )
}

/// The closed forms against the textbook on dual numbers, and the textbook's derivatives against
/// differences of its value.
fn agree(case: &Case) -> Result<(), String> {
    let Case { name, parameters, pair, tokens, offset } = case;
    let loss = named(name, parameters);
    let found = pair_loss(&loss, pair, *tokens, *offset);
    let at = |policy: [Dual; 2]| {
        let reference = [pair.reference_chosen, pair.reference_rejected];
        textbook_loss(&loss, policy, reference, [tokens.0, tokens.1], *offset)
    };
    let policy = [pair.policy_chosen, pair.policy_rejected];
    let size = 1.0 + found.loss.abs() + found.d_chosen.abs().max(found.d_rejected.abs());
    for (i, d) in [found.d_chosen, found.d_rejected].into_iter().enumerate() {
        let moved = |by: f64, seed: f64| {
            let mut policy = policy.map(Dual::constant);
            policy[i] = Dual { value: policy[i].value + by, derivative: seed };
            at(policy)
        };
        let dual = moved(0.0, 1.0);
        if (found.loss - dual.value).is_nan() || (found.loss - dual.value).abs() > 1e-12 * size {
            return Err(format!("loss {} is not {}", found.loss, dual.value));
        }
        if (d - dual.derivative).is_nan() || (d - dual.derivative).abs() > 1e-12 * size {
            return Err(format!("derivative {i}: {d} is not {}", dual.derivative));
        }
        // Differences of second order at two steps: where they part a kink lies between.
        let slope = |h: f64| (moved(h, 0.0).value - moved(-h, 0.0).value) / (2.0 * h);
        let (wide, narrow) = (slope(1e-4), slope(5e-5));
        if (wide - narrow).abs() < 1e-6 * size && (dual.derivative - narrow).abs() > 1e-5 * size {
            return Err(format!(
                "the textbook's derivative {i}: {} is not {narrow}",
                dual.derivative
            ));
        }
    }
    Ok(())
}

#[test]
fn closed_forms_are_the_derivatives_of_the_textbook() {
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() };
    let result =
        TestRunner::new(config).run(&cases(), |case| agree(&case).map_err(TestCaseError::fail));
    if let Err(why) = result {
        panic!("{why}");
    }
}

/// Wrong figures that the checks must reject.
#[test]
fn planted_faults_are_caught() {
    let (name, parameters, pair, tokens, exact) =
        extremes().into_iter().find(|extreme| extreme.0 == "sigmoid").unwrap();
    let loss = named(&name, &parameters);
    let found = pair_loss(&loss, &pair, tokens, 0.0);
    assert_eq!(objection(&loss, &found, exact), None);
    for off in [
        PairResult { loss: found.loss * (1.0 + 1e-11), ..found },
        PairResult { d_chosen: found.d_rejected, ..found },
        PairResult { d_rejected: f64::NAN, ..found },
    ] {
        assert!(objection(&loss, &off, exact).is_some(), "{off:?} passed");
    }
    assert_eq!(Loss::named("Sigmoid", &GOLDEN), None, "no such name");
}
