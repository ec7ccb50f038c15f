//! Step 0: the policy is the reference, and every loss says what its formula says of 0, to the last
//! bit.

use core::f64::consts::LN_2;

use dpo_kernel::loss::{LossName, PairLogProbs, PreferenceLoss};
use dpo_kernel::verify::Divergence;

use crate::catalog::{GOLDEN, Parameters, loss, names, takes_divergence};

/// (L, gc, gr) at a = b = 0, with m and n tokens; in the forms of the table.
fn fingerprint(name: LossName, p: &Parameters, (m, n): (f64, f64)) -> Option<(f64, f64, f64)> {
    use LossName as N;
    let (beta, e) = (p.beta, p.epsilon);
    let apart = |l: f64, g: f64| Some((l, g, -g));
    match name {
        N::Sigmoid => apart(LN_2, beta * (e - 0.5)),
        N::Robust => apart(LN_2, -(beta * (0.5 + e / (1.0 - 2.0 * e)))),
        N::SigmoidNorm => Some((LN_2, beta * (e - 0.5) / m, -(beta * (e - 0.5) / n))),
        N::Ipo => {
            let t = 1.0 / (2.0 * beta);
            Some((t * t, -(2.0 * t) / m, 2.0 * t / n))
        }
        N::IpoSum => {
            let t = 1.0 / (2.0 * beta);
            apart(t * t, -(2.0 * t))
        }
        N::Hinge => apart(1.0, -beta),
        N::Nca => apart(2.0 * LN_2, -beta / 4.0),
        N::Bco if p.gap == 0.0 => apart(2.0 * LN_2, -beta / 2.0),
        N::SppoHard => {
            let t = 1.0 / (2.0 * beta);
            apart(2.0 * (t * t), -(2.0 * t))
        }
        N::ApoZero => apart(1.0, -beta / 4.0),
        N::ApoDown => Some((1.0, 0.0, beta / 4.0)),
        N::CalDpo => {
            let t = 1.0 / (2.0 * beta);
            apart(LN_2 + t * t, -0.5 - t)
        }
        N::Kto if p.kl == 0.0 => {
            let (w_d, w_u) = p.weights;
            Some((w_d / 2.0 + w_u / 2.0, -(w_d * (beta / 4.0)), w_u * (beta / 4.0)))
        }
        N::DpopInside | N::DpopOutside => apart(LN_2, -beta / 2.0),
        N::RpoSquare => apart(p.gap * p.gap, -(beta * (2.0 * p.gap))),
        _ => None,
    }
}

/// Log-probs whose differences are 0, at any size and with any lengths.
fn step_zero() -> impl Iterator<Item = PairLogProbs> {
    let log_probs = [(-20.5, -25.25), (-0.1, -1234.567), (-1e-30, -1e6), (-3.0, -3.0)];
    let tokens = [(10, 12), (1, 1), (7, 300)];
    log_probs.into_iter().flat_map(move |(c, r)| {
        tokens.into_iter().map(move |(m, n)| PairLogProbs::new(c, r, c, r).with_tokens(m, n))
    })
}

#[test]
fn to_the_last_bit() {
    let mut seen = 0;
    for beta in [0.1, 0.25, 1e-3, 0.05, 0.7, 5.0] {
        for epsilon in [0.0, 0.1, 0.3] {
            // EXO and the robust loss are made in any case; they have their ε.
            let exo = epsilon > 0.0;
            let p = Parameters { beta, epsilon, kl: 0.0, gap: 0.0, weights: (1.5, 0.75), ..GOLDEN };
            for name in names().filter(|&name| exo || name != LossName::Exo) {
                for pair in step_zero() {
                    let tokens = (pair.chosen_tokens as f64, pair.rejected_tokens as f64);
                    let Some(expected) = fingerprint(name, &p, tokens) else { continue };
                    let found = loss(name, &p).evaluate(&pair);
                    let figures = (found.loss, found.d_chosen, found.d_rejected);
                    assert_eq!(figures, expected, "{name:?}, β = {beta}, ε = {epsilon}");
                    assert_eq!((found.margin, found.reward_chosen), (0.0, 0.0), "{name:?}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 3000, "fingerprints compared: {seen}");
}

/// Those whose form is not one rounding: within an ulp or two of the exact figure.
#[test]
fn of_exo_and_discopop() {
    for (beta, epsilon) in [(0.1, 1e-3), (0.25, 0.2), (1.0, 0.7)] {
        let pair = PairLogProbs::new(-20.5, -25.25, -20.5, -25.25);
        let p = Parameters { beta, epsilon, ..GOLDEN };
        let found = loss(LossName::Exo, &p).evaluate(&pair);
        let expected = -LN_2 - 0.5 * (epsilon * (1.0 - epsilon)).ln();
        assert!((found.loss - expected).abs() < 1e-15, "{} is not {expected}", found.loss);
        let slope = -(beta / 4.0) * ((1.0 - epsilon) / epsilon).ln();
        assert!((found.d_chosen / slope - 1.0).abs() < 4e-16, "{} is not {slope}", found.d_chosen);
        assert_eq!(found.d_chosen, -found.d_rejected);

        let found = loss(LossName::DiscoPop, &p).evaluate(&pair);
        assert!((found.loss - 0.846_573_590_279_973).abs() < 1e-15, "{}", found.loss);
        let slope = beta * (-0.75 + (1.0 - LN_2) / (4.0 * p.tau));
        assert!(slope > 0.0, "the first step lowers the chosen answer");
        assert!((found.d_chosen / slope - 1.0).abs() < 1e-15, "{} is not {slope}", found.d_chosen);
    }
    let p = Parameters { epsilon: 1e-3, ..GOLDEN };
    let start = PairLogProbs::new(-1.0, -2.0, -1.0, -2.0);
    let found = loss(LossName::Exo, &p).evaluate(&start).loss;
    assert!((found - 2.7612).abs() < 1e-4, "{found}");
}

/// g(0) = 0 and, for all but Jensen–Shannon, g′(0) = 1: at step 0 a divergence changes nothing, and
/// JS halves the gradient, also in losses of means.
#[test]
fn under_every_divergence() {
    let p = GOLDEN;
    let others = [Divergence::ForwardKl, Divergence::JensenShannon, Divergence::Alpha(0.3)];
    for name in names().filter(|&name| takes_divergence(name)) {
        for pair in step_zero() {
            let plain = loss(name, &p).evaluate(&pair);
            for divergence in others {
                let found = loss(name, &Parameters { divergence, ..p }).evaluate(&pair);
                let factor = if divergence == Divergence::JensenShannon { 0.5 } else { 1.0 };
                assert_eq!(found.loss, plain.loss, "{name:?}, {divergence:?}");
                assert_eq!(found.d_chosen, factor * plain.d_chosen, "{name:?}, {divergence:?}");
                assert_eq!(found.d_rejected, factor * plain.d_rejected, "{name:?}, {divergence:?}");
            }
        }
    }
}
