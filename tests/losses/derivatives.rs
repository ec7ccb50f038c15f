//! The gradient is the derivative of the value: by dual numbers, and by differences of the value
//! itself.

use dpo_kernel::PairLoss;
use dpo_kernel::loss::{Loss, LossName, PairLogProbs, PreferenceLoss};
use dpo_kernel::verify::{Curve, Divergence, Dual, Loss as L, textbook_loss};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::catalog::{GOLDEN, Parameters, loss, names, reference};

/// A loss, a pair, and what the loss has no derivative at.
#[derive(Clone, Debug)]
struct Case {
    name: LossName,
    parameters: Parameters,
    pair: PairLogProbs,
}

impl Case {
    fn loss(&self) -> Loss {
        loss(self.name, &self.parameters)
    }

    /// Kinks: of the hinge at z = 1 or δ, of DPOP at a = 0. Differences may not step over them.
    fn is_near_a_kink(&self, h: f64) -> bool {
        let a = self.pair.policy_chosen - self.pair.reference_chosen;
        let below = |pair: PairLogProbs| self.loss().evaluate(&pair).loss > 0.0;
        match reference(self.name, &self.parameters) {
            L::Relative { curve: Curve::Hinge(_), .. } | L::Free { curve: Curve::Hinge(_), .. } => {
                let moved = |d: f64| {
                    let PairLogProbs { policy_chosen, policy_rejected, .. } = self.pair;
                    let mut pair = self.pair;
                    pair.policy_chosen = policy_chosen + d;
                    pair.policy_rejected = policy_rejected - d;
                    below(pair)
                };
                moved(4.0 * h) != moved(-4.0 * h)
            }
            L::DpopInside { .. } | L::DpopOutside { .. } => a.abs() < 4.0 * h,
            _ => false,
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let names: Vec<LossName> = names().collect();
    let divergence = prop_oneof![
        2 => Just(Divergence::ReverseKl),
        1 => Just(Divergence::ForwardKl),
        1 => Just(Divergence::JensenShannon),
        1 => (0.1..1.5_f64).prop_map(Divergence::Alpha),
        1 => (-1.5..-0.1_f64).prop_map(Divergence::Alpha),
    ];
    let parameters = (
        (0.05..1.0_f64, 0.01..0.45_f64, 0.0..1.0_f64, 0.05..0.5_f64, 0.05..0.9_f64),
        (0.5..2.0_f64, 0.0..8.0_f64, 0.0..1.0_f64, (0.0..2.0_f64, 0.0..2.0_f64), -1.0..1.0_f64),
        divergence,
    );
    let log_probs = ([-12.0..-2.0_f64, -12.0..-2.0_f64], [-2.0..2.0_f64, -2.0..2.0_f64]);
    let around = ((1..6_usize, 1..6_usize), 0.0..2.0_f64, -0.5..0.5_f64);
    (prop::sample::select(names), parameters, log_probs, around).prop_map(
        |(name, parameters, ([c, r], [a, b]), ((m, n), weight, offset))| {
            let ((beta, epsilon, gamma, alpha, tau), (delta, lambda, kl, weights, gap), divergence) =
                parameters;
            let parameters = Parameters {
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
                centering: 0.1 * weights.1,
                divergence,
            };
            let inputs = loss(name, &parameters).inputs();
            let offset = if inputs.offsets { offset } else { 0.0 };
            let pair = if inputs.reference {
                PairLogProbs::new(c, r, c - a, r - b)
            } else {
                PairLogProbs::reference_free(c, r)
            };
            let pair = pair.with_tokens(m, n).with_weight(weight).with_offset(offset);
            Case { name, parameters, pair }
        },
    )
}

/// What rounding may do to a gradient: a few ulp of its terms, which cancel in anchored losses.
fn scale(case: &Case, found: &PairLoss) -> f64 {
    let largest = found.d_chosen.abs().max(found.d_rejected.abs());
    largest + case.pair.weight * (1.0 + found.loss.abs())
}

fn equals_dual_numbers(case: &Case, found: &PairLoss) -> Result<(), String> {
    // The textbook subtracts what the crate does not: 1 − σ, differences of logarithms, 1 − e^x.
    const TOLERANCE: f64 = 1e-12;
    let pair = &case.pair;
    let plain = reference(case.name, &case.parameters);
    let references = [pair.reference_chosen, pair.reference_rejected];
    let tokens = [pair.chosen_tokens as f64, pair.rejected_tokens as f64];
    let log_probs = [pair.policy_chosen, pair.policy_rejected];
    for (i, d) in [found.d_chosen, found.d_rejected].into_iter().enumerate() {
        let mut policy = log_probs.map(Dual::constant);
        policy[i] = Dual::variable(log_probs[i]);
        let dual = textbook_loss(&plain, policy, references, tokens, pair.offset);
        let (value, slope) = (pair.weight * dual.value, pair.weight * dual.derivative);
        let near = |x: f64, y: f64| (x - y).abs() <= TOLERANCE * scale(case, found);
        if !near(found.loss, value) {
            return Err(format!("{:?}: loss {:e} is not {value:e}", case.name, found.loss));
        }
        if !near(d, slope) {
            return Err(format!("{:?}: gradient {i}, {d:e}, is not {slope:e}", case.name));
        }
    }
    Ok(())
}

/// Differences of fourth order of the crate's own value, with h = 2⁻⁹ and 2⁻⁸. Their distance is
/// some 15 times the error that the smaller step leaves, however steep the loss; rounding adds
/// 10⁻¹⁴/h of its size.
fn equals_differences(case: &Case, found: &PairLoss) -> Result<(), String> {
    let h = 1.0 / 512.0;
    if case.is_near_a_kink(2.0 * h) {
        return Ok(());
    }
    let loss = case.loss();
    for (i, d) in [found.d_chosen, found.d_rejected].into_iter().enumerate() {
        let at = |h: f64| {
            let mut pair = case.pair;
            let moved = [&mut pair.policy_chosen, &mut pair.policy_rejected];
            *moved.into_iter().nth(i).unwrap() += h;
            loss.evaluate(&pair).loss
        };
        let difference = |h: f64| (at(h) - at(-h)) / (2.0 * h);
        let slope_of = |h: f64| (4.0 * difference(h) - difference(2.0 * h)) / 3.0;
        let (slope, wide) = (slope_of(h), slope_of(2.0 * h));
        let bound = scale(case, found) * 1e-14 / h + (slope - wide).abs();
        if (d - slope).is_nan() || (d - slope).abs() > bound {
            return Err(format!(
                "{:?}: gradient {i}, {d:e}, is not {slope:e} to {bound:e}",
                case.name
            ));
        }
    }
    Ok(())
}

fn for_cases(wanted: u32, check: impl Fn(&Case, &PairLoss) -> Result<(), String>) {
    let config =
        ProptestConfig { cases: wanted, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&cases(), |case| {
        let found = case.loss().evaluate(&case.pair);
        check(&case, &found).map_err(TestCaseError::fail)
    });
    if let Err(why) = result {
        panic!("{why}");
    }
}

#[test]
fn equal_dual_numbers() {
    for_cases(20_000, equals_dual_numbers);
}

#[test]
fn equal_differences_of_the_value() {
    for_cases(20_000, equals_differences);
}

/// In every loss, wrong gradients that both checkers must reject.
#[test]
fn planted_faults_are_caught() {
    for name in names() {
        // β of the squares' target small enough that the squares do not hide the rest.
        let parameters = Parameters { beta: 0.5, tau: 0.5, delta: 8.0, ..GOLDEN };
        let pair = PairLogProbs::new(-6.5, -7.25, -6.0, -6.5).with_tokens(3, 4);
        let case = Case { name, parameters, pair };
        let right = case.loss().evaluate(&pair);
        equals_dual_numbers(&case, &right).unwrap();
        equals_differences(&case, &right).unwrap();
        let faults = [
            ("sign", PairLoss { d_chosen: -right.d_chosen, ..right }),
            ("sign", PairLoss { d_rejected: -right.d_rejected, ..right }),
            ("β", PairLoss { d_chosen: right.d_chosen * 1.01, ..right }),
            ("swap", PairLoss { d_chosen: right.d_rejected, d_rejected: right.d_chosen, ..right }),
            ("zero", PairLoss { d_rejected: 0.0, ..right }),
        ];
        for (what, wrong) in faults {
            let where_ = format!("{name:?}, {what}");
            assert!(equals_dual_numbers(&case, &wrong).is_err(), "duals passed {where_}");
            assert!(equals_differences(&case, &wrong).is_err(), "differences passed {where_}");
        }
        let off = PairLoss { loss: right.loss * (1.0 + 1e-9) + 1e-9, ..right };
        assert!(
            equals_dual_numbers(&case, &off).is_err(),
            "duals passed a wrong value of {name:?}"
        );
    }
}
