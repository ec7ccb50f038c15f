//! The whole range: log-ratios to ±10⁶, β from 10⁻⁴ to 10³, against 60-digit figures
//! (`docs/extremes.py`) and against the plain reference.
//!
//! What f64 can hold is finite and keeps its digits, tails included; what it cannot is NaN in all
//! fields.

use dpo_kernel::PairLoss;
use dpo_kernel::loss::{LossName, PairLogProbs, PreferenceLoss};
use dpo_kernel::verify::{self, Curve, Divergence};
use proptest::prelude::*;
use serde_json::Value;

use crate::catalog::{GOLDEN, Parameters, expected, loss, names, reference};

/// Relative, of every figure by itself. An argument z of an exponential is off by 2⁻⁵³ of itself,
/// so the exponential by 745·2⁻⁵³ = 8e-14 at most before it underflows.
const TOLERANCE: f64 = 2e-13;

/// Below it digits are lost to underflow.
const TINY: f64 = 1e-300;

const NONE: (f64, f64) = (0.0, 0.0);

/// What the rounding of z does to a loss with a minimum at a finite z, of at most 1, when z lies
/// next to it: 2⁻⁵² in the distance and as much in the slope, which is twice the distance, times
/// what z is a multiple of. The first is of the loss over its gradient, the second of the gradient.
fn slack(reference: &verify::Loss) -> (f64, f64) {
    const DISTANCE: f64 = 2.0 * f64::EPSILON;
    let (verify::Loss::Relative { curve, scale, .. } | verify::Loss::Free { curve, scale, .. }) =
        *reference
    else {
        return NONE;
    };
    match curve {
        Curve::Square(_) => (DISTANCE / scale, DISTANCE * scale),
        Curve::ForwardGap(gap) | Curve::BackwardGap(gap) if gap.abs() <= 1.0 => {
            (DISTANCE / scale, DISTANCE * scale)
        }
        _ => NONE,
    }
}

fn is_near(found: f64, exact: f64, slack: f64) -> bool {
    (found - exact).abs() <= (TOLERANCE * exact.abs()).max(TINY) + slack
}

fn figures(found: &PairLoss) -> [f64; 3] {
    [found.loss, found.d_chosen, found.d_rejected]
}

/// What differs from the exact figures; None stands for a figure beyond f64.
fn objection(found: &PairLoss, exact: [Option<f64>; 3], slack: (f64, f64)) -> Option<String> {
    let found = figures(found);
    match exact {
        [Some(loss), Some(d_chosen), Some(d_rejected)] => {
            let exact = [loss, d_chosen, d_rejected];
            let slack = [slack.0 * d_chosen.abs().max(d_rejected.abs()), slack.1, slack.1];
            let mut figures = found.into_iter().zip(exact).zip(slack);
            let near = figures.all(|((found, exact), slack)| is_near(found, exact, slack));
            (!near).then(|| format!("{found:?} is not {exact:?}"))
        }
        _ => found.iter().any(|x| !x.is_nan()).then(|| format!("{found:?} should be NaN")),
    }
}

struct Extreme {
    name: LossName,
    parameters: Parameters,
    pair: PairLogProbs,
    exact: [Option<f64>; 3],
}

fn extremes() -> Vec<Extreme> {
    let file: Value = serde_json::from_str(include_str!("../data/extremes.json")).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let pair = |value: &Value| {
        let x: Vec<f64> = list(value).iter().map(|x| x.as_f64().unwrap()).collect();
        PairLogProbs::new(x[0], x[1], x[2], x[3]).with_tokens(x[4] as usize, x[5] as usize)
    };
    let pairs: Vec<PairLogProbs> = list(&file["pairs"]).iter().map(pair).collect();
    let mut found = Vec::new();
    for case in list(&file["cases"]) {
        let mut words = case["loss"].as_str().unwrap().split(", ");
        let name: LossName = words.next().unwrap().parse().unwrap();
        let (epsilon, divergence) = match words.next() {
            None => (GOLDEN.epsilon, Divergence::ReverseKl),
            Some("unsmoothed") => (0.0, Divergence::ReverseKl),
            Some("forward KL") => (GOLDEN.epsilon, Divergence::ForwardKl),
            Some("JS") => (GOLDEN.epsilon, Divergence::JensenShannon),
            Some(other) => panic!("{other}"),
        };
        let beta = case["beta"].as_f64().unwrap();
        let parameters = Parameters { beta, epsilon, divergence, ..GOLDEN };
        for (pair, figures) in pairs.iter().zip(list(&case["figures"])) {
            let figure = |i: usize| figures[i].as_f64();
            let exact = [figure(0), figure(1), figure(2)];
            found.push(Extreme { name, parameters, pair: *pair, exact });
        }
    }
    found
}

#[test]
fn to_sixty_digits() {
    let extremes = extremes();
    assert!(extremes.len() >= 35 * 4 * 14, "figures in the file");
    let figures_of = |name| extremes.iter().filter(|e| e.name == name).count();
    for name in names() {
        // A new loss may have its golden figures beside its constructors alone.
        let others = || crate::constructors::with_golden_figures().contains(&name);
        assert!(figures_of(name) >= 4 * 14 || others(), "{name:?} has no figures");
    }
    let wrong: Vec<String> = extremes
        .iter()
        .filter_map(|Extreme { name, parameters, pair, exact }| {
            let found = loss(*name, parameters).evaluate(pair);
            let why = objection(&found, *exact, slack(&reference(*name, parameters)))?;
            Some(format!("{name:?}, β = {}, {pair:?}: {why}", parameters.beta))
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// f32's idea of each loss fails where f64 must not, and the check sees a lost tail.
#[test]
fn planted_faults_are_caught() {
    let tail = extremes().into_iter().find(|e| {
        e.name == LossName::ApoZero && e.exact[1].is_some_and(|d| d != 0.0 && d.abs() < 1e-20)
    });
    let Extreme { name, parameters, pair, exact } = tail.expect("a tail among the figures");
    let found = loss(name, &parameters).evaluate(&pair);
    assert_eq!(objection(&found, exact, NONE), None);
    assert!(
        objection(&PairLoss { d_chosen: 0.0, ..found }, exact, NONE).is_some(),
        "a lost tail passed"
    );
    let off = PairLoss { loss: found.loss * (1.0 + 1e-12), ..found };
    assert!(objection(&off, exact, NONE).is_some(), "a wrong twelfth digit passed");
    assert!(objection(&found, [None; 3], NONE).is_some(), "a number for what is none passed");
    let nan = PairLoss { loss: f64::NAN, d_chosen: f64::NAN, d_rejected: f64::NAN, ..found };
    assert!(objection(&nan, exact, NONE).is_some(), "NaN for a number passed");
}

/// Scores that overflow, of answers that a loss has long decided on: e^800 below a finite loss.
#[test]
fn of_scores_that_overflow() {
    let p = Parameters { epsilon: 0.0, ..GOLDEN };
    let divergences = [Divergence::ForwardKl, Divergence::Alpha(1.5), Divergence::Alpha(0.9)];
    for divergence in divergences {
        let p = Parameters { divergence, ..p };
        for name in [LossName::Sigmoid, LossName::SigmoidNorm, LossName::Hinge, LossName::Robust] {
            let found = loss(name, &p);
            // The rejected answer is far below the reference: z = +∞.
            let won = PairLogProbs::new(-5.0, -5000.0, -5.0, -5.0).with_tokens(4, 5);
            assert_eq!(figures(&found.evaluate(&won)), [0.0; 3], "{name:?}, {divergence:?}");
            let both = PairLogProbs::new(-4000.0, -5000.0, -5.0, -5.0).with_tokens(4, 5);
            assert_eq!(figures(&found.evaluate(&both)), [0.0; 3], "{name:?}, {divergence:?}");
            // The chosen one is: the loss is beyond any number.
            let lost = PairLogProbs::new(-5000.0, -5.0, -5.0, -5.0).with_tokens(4, 5);
            assert!(found.evaluate(&lost).loss.is_nan(), "{name:?}, {divergence:?}");
        }
        // EXO is finite at both ends.
        let exo = loss(LossName::Exo, &Parameters { epsilon: 1e-3, ..p });
        let ends = [(-5.0, -5000.0, -(-1e-3_f64).ln_1p()), (-5000.0, -5.0, -(1e-3_f64).ln())];
        for (chosen, rejected, limit) in ends {
            let found = exo.evaluate(&PairLogProbs::new(chosen, rejected, -5.0, -5.0));
            assert!((found.loss / limit - 1.0).abs() < 1e-14, "{} is not {limit}", found.loss);
            assert_eq!((found.d_chosen, found.d_rejected), (0.0, 0.0));
        }
    }
    let exponent = Parameters { alpha: 2.0, ..p };
    let alpha = loss(LossName::AlphaPo, &exponent);
    let won = PairLogProbs::reference_free(-5.0, -5000.0).with_tokens(5, 5);
    assert_eq!(figures(&alpha.evaluate(&won)), [0.0; 3]);
}

fn log_ratios() -> impl Strategy<Value = f64> {
    let size = (-9.0..6.0_f64).prop_map(|x| 10.0_f64.powf(x));
    prop_oneof![4 => (size, any::<bool>()).prop_map(|(x, s)| if s { x } else { -x }), 1 => Just(0.0)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() })]

    /// Never half a number; and where the plain reference is finite, that number, to the size of
    /// the terms that the reference adds up.
    #[test]
    fn of_any_pair(
        (a, b) in (log_ratios(), log_ratios()),
        (rc, rr) in (-1e6..-1e-3_f64, -1e6..-1e-3_f64),
        beta in (-4.0..3.0_f64).prop_map(|x| 10.0_f64.powf(x)),
        (m, n) in (1..2000_usize, 1..2000_usize),
        name in prop::sample::select(names().collect::<Vec<_>>()),
    ) {
        let parameters = Parameters { beta, ..GOLDEN };
        // Policy log-probs are ≤ 0, and the log-ratios what the subtraction says.
        let pair = PairLogProbs::new((rc + a).min(0.0), (rr + b).min(0.0), rc, rr).with_tokens(m, n);
        let found = loss(name, &parameters).evaluate(&pair);
        let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = found;
        let all = [loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected];
        let finite = all.iter().filter(|x| x.is_finite()).count();
        prop_assert!(finite == 6 || all.iter().all(|x| x.is_nan()), "{:?}: {:?}", name, found);
        let exact = expected(&reference(name, &parameters), &pair);
        let plain = [exact.loss, exact.reward_chosen, exact.reward_rejected, exact.margin, exact.d_chosen, exact.d_rejected];
        if plain.iter().all(|x| x.is_finite()) {
            let size = 1e-12 * (1.0 + exact.loss.abs() + beta * (a.abs() + b.abs()));
            prop_assert!((loss - exact.loss).abs() <= size, "{:?}: {} is not {}", name, loss, exact.loss);
            for (d, exact) in [(d_chosen, exact.d_chosen), (d_rejected, exact.d_rejected)] {
                // Near a minimum slopes are differences of numbers of the size of β, or of the
                // target.
                let terms = beta + 1.0 / beta + a.abs() + b.abs();
                let near = (d - exact).abs() <= 1e-12 * terms.max(exact.abs());
                prop_assert!(near, "{:?}: {} is not {}", name, d, exact);
            }
        } else {
            // What the plain forms make of ∞: the reference is no judge of these.
            prop_assert!(finite == 6 || finite == 0);
        }
    }
}
