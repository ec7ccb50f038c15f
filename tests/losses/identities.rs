//! What the losses are to each other.

use dpo_kernel::loss::{
    AlphaPo, ApoZero, Bco, Cpo, CpoHinge, CpoIpo, CurveLoss, DpopInside, DpopOutside, Exo, Hinge,
    IpoSum, Kto, LossName, Nca, Orpo, PairLogProbs, PreferenceLoss, RewardModel, Robust,
    RpoBackward, RpoForward, RpoSquare, SigmoidNorm, SimPo, Slic, Tangent, Tpo, TpoHinge, TpoIpo,
    TpoL,
};
use dpo_kernel::verify::{Divergence, Loss as L};
use dpo_kernel::{Dpo, PairLoss};
use proptest::prelude::*;

use crate::catalog::{GOLDEN, Parameters, loss, names, reference, takes_divergence};
use crate::is_close;

fn pairs() -> impl Strategy<Value = PairLogProbs> {
    let log_prob = || prop_oneof![-30.0..-0.01_f64, -4000.0..-100.0_f64, Just(-7.0)];
    ((log_prob(), log_prob(), log_prob(), log_prob()), (1..50_usize, 1..50_usize), 0.0..3.0_f64)
        .prop_map(|((c, r, rc, rr), (m, n), weight)| {
            PairLogProbs::new(c, r, rc, rr).with_tokens(m, n).with_weight(weight)
        })
}

fn same(what: &str, found: PairLoss, expected: PairLoss) -> Result<(), TestCaseError> {
    prop_assert_eq!(found, expected, "{}", what);
    Ok(())
}

fn near(what: &str, found: f64, expected: f64, tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert!(is_close(found, expected, tolerance), "{}: {} is not {}", what, found, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..Default::default() })]

    /// To the last bit: one loss is a special case of the other.
    #[test]
    fn that_are_exact(pair in pairs(), beta in 1e-3..10.0_f64, gamma in 0.0..2.0_f64) {
        let dpo = Dpo::new(beta).unwrap();
        let plain = dpo.evaluate(&pair);
        same("cDPO(0)", dpo.with_label_smoothing(0.0).unwrap().evaluate(&pair), plain)?;
        assert_eq!(Robust::new(beta, 0.125).unwrap().flipped_share(), 0.125);
        assert_eq!(dpo.with_label_smoothing(0.25).unwrap().label_smoothing(), 0.25);
        same("robust(0)", Robust::new(beta, 0.0).unwrap().evaluate(&pair), plain)?;
        let reverse = dpo_kernel::loss::AlphaDivergence::with_trl_alpha(1.0).unwrap();
        same("α_TRL = 1", dpo.with_divergence(reverse).evaluate(&pair), plain)?;
        same("DPOP, λ = 0, inside", DpopInside::new(beta, 0.0).unwrap().evaluate(&pair), plain)?;
        same("DPOP, λ = 0, outside", DpopOutside::new(beta, 0.0).unwrap().evaluate(&pair), plain)?;
        let kto = Kto::new(beta, 0.0).unwrap().evaluate(&pair);
        same("KTO, K = 0", ApoZero::new(beta).unwrap().evaluate(&pair), kto)?;
        let simpo = SimPo::new(beta, gamma).unwrap();
        same("AlphaPO, α = 0", AlphaPo::new(beta, gamma, 0.0).unwrap().evaluate(&pair), simpo.evaluate(&pair))?;
        same("SLiC and hinge", Slic::new(1.0).unwrap().evaluate(&pair), CpoHinge::new(1.0).unwrap().evaluate(&pair))?;
        // TPO's forms have the formulas of CPO's losses and of SimPO.
        same("TPO", Tpo::new(beta).unwrap().evaluate(&pair), Cpo::new(beta).unwrap().evaluate(&pair))?;
        same("TPO, hinge", TpoHinge::new(beta).unwrap().evaluate(&pair), CpoHinge::new(beta).unwrap().evaluate(&pair))?;
        same("TPO, IPO", TpoIpo::new(beta).unwrap().evaluate(&pair), CpoIpo::new(beta).unwrap().evaluate(&pair))?;
        same("TPO-L", TpoL::new(beta, gamma).unwrap().evaluate(&pair), simpo.evaluate(&pair))?;
        // Rewards that are log-probs.
        let rewards = RewardModel::new().with_centering(0.0).unwrap();
        same("a reward model", rewards.evaluate(&pair), Cpo::new(1.0).unwrap().evaluate(&pair))?;
        let orpo = Orpo::new(beta).unwrap();
        same("ORPO, ε = 0", orpo.with_label_smoothing(0.0).unwrap().evaluate(&pair), orpo.evaluate(&pair))?;
        // A user's curve is the crate's.
        let curve = |z: f64| Tangent {
            value: dpo_kernel::math::softplus(-z),
            slope: -dpo_kernel::math::sigmoid(-z),
        };
        same("a curve of one's own", CurveLoss::new(beta, curve).unwrap().evaluate(&pair), plain)?;
        // EXO is RPO, forward, with the gap of its smoothed label.
        for epsilon in [1e-3, 0.1, 0.4_f64] {
            let gap = libm::log1p(-epsilon) - libm::log(epsilon);
            let rpo = RpoForward::new(beta, gap).unwrap();
            same("EXO", Exo::new(beta, epsilon).unwrap().evaluate(&pair), rpo.evaluate(&pair))?;
        }
        // SimPO without a margin is the length-normalised loss with a reference of 0.
        let mut bare = pair;
        (bare.reference_chosen, bare.reference_rejected) = (0.0, 0.0);
        let (simpo, norm) = (SimPo::new(beta, 0.0).unwrap(), SigmoidNorm::new(beta).unwrap());
        let (found, expected) = (simpo.evaluate(&pair), norm.evaluate(&bare));
        prop_assert_eq!((found.loss, found.d_chosen, found.d_rejected), (expected.loss, expected.d_chosen, expected.d_rejected));
    }

    /// To rounding: other formulas of the same loss.
    #[test]
    fn that_hold_to_rounding(pair in pairs(), beta in 1e-3..2.0_f64, epsilon in 0.01..0.49_f64) {
        let pair = pair.with_weight(1.0);
        let dpo = Dpo::new(beta).unwrap();
        // Backward RPO and cDPO differ by the entropy of the label.
        let gap = ((1.0 - epsilon) / epsilon).ln();
        let smooth = dpo.with_label_smoothing(epsilon).unwrap().evaluate(&pair);
        let backward = RpoBackward::new(beta, gap).unwrap().evaluate(&pair);
        let entropy = -(epsilon * epsilon.ln() + (1.0 - epsilon) * (1.0 - epsilon).ln());
        near("cDPO", smooth.loss - backward.loss, entropy, 1e-13 * smooth.loss.max(1.0))?;
        near("cDPO's gradient", backward.d_chosen, smooth.d_chosen, 1e-14)?;
        // The square with Δ = ½ is β² times IPO on sums.
        let square = RpoSquare::new(beta, 0.5).unwrap().evaluate(&pair);
        let ipo = IpoSum::new(beta).unwrap().evaluate(&pair);
        near("IPO", square.loss, beta * beta * ipo.loss, 1e-13)?;
        near("IPO's gradient", square.d_chosen, beta * beta * ipo.d_chosen, 1e-13)?;
        // Limits of the exponents. α is 1e-9 of a log-prob of up to 4,000 nats, squared.
        let p = Parameters { beta, epsilon, ..GOLDEN };
        let limit = Parameters { divergence: Divergence::Alpha(1e-12), ..p };
        for name in names().filter(|&name| takes_divergence(name)) {
            let (found, kl) = (loss(name, &limit).evaluate(&pair), loss(name, &p).evaluate(&pair));
            near(&format!("{name:?}, α → 0"), found.loss, kl.loss, 1e-4)?;
        }
        let (alpha, simpo) = (AlphaPo::new(beta, 0.5, 1e-12).unwrap(), SimPo::new(beta, 0.5).unwrap());
        near("AlphaPO, α → 0", alpha.evaluate(&pair).loss, simpo.evaluate(&pair).loss, 1e-4)?;
        // α = ½ is the same in both conventions; α = 1 of the paper is the forward KL.
        let sum = Bco::new(beta).unwrap().evaluate(&pair).loss - Nca::new(beta).unwrap().evaluate(&pair).loss;
        let b = beta * (pair.policy_rejected - pair.reference_rejected);
        let a = beta * (pair.policy_chosen - pair.reference_chosen);
        let halves = 0.5 * (dpo_kernel::math::softplus(b) - dpo_kernel::math::softplus(a));
        near("BCO − NCA", sum, halves, 1e-13 * (a.abs() + b.abs()).max(1.0))?;
    }

    /// Swapping the answers negates the margin, and losses of a difference of sums pull both alike.
    #[test]
    fn of_symmetry(pair in pairs(), beta in 1e-3..2.0_f64) {
        let p = Parameters { beta, ..GOLDEN };
        let swapped = PairLogProbs::new(
            pair.policy_rejected, pair.policy_chosen, pair.reference_rejected, pair.reference_chosen,
        )
        .with_tokens(pair.rejected_tokens, pair.chosen_tokens)
        .with_weight(pair.weight);
        for name in names() {
            let (found, mirror) = (loss(name, &p).evaluate(&pair), loss(name, &p).evaluate(&swapped));
            // AlphaPO's reward may be beyond any number.
            if found.loss.is_nan() || mirror.loss.is_nan() {
                prop_assert_eq!(name, LossName::AlphaPo);
                continue;
            }
            prop_assert_eq!(found.margin, -mirror.margin, "{:?}", name);
            prop_assert_eq!(found.reward_chosen, mirror.reward_rejected, "{:?}", name);
            let is_difference = matches!(reference(name, &p), L::Relative { .. } | L::Free { .. });
            if is_difference && !loss(name, &p).inputs().tokens {
                prop_assert_eq!(found.d_chosen, -found.d_rejected, "{:?}", name);
            }
        }
        let hinge = Hinge::new(beta).unwrap();
        let (one, two) = (hinge.evaluate(&pair), hinge.evaluate(&swapped));
        prop_assert!(one.loss + two.loss >= 2.0 * pair.weight * (1.0 - 1e-15));
    }

    /// The margin moves by what the offset says, in rewards, whatever z is a multiple of.
    #[test]
    fn of_offsets(pair in pairs(), beta in 1e-3..2.0_f64, offset in -1.0..1.0_f64) {
        let p = Parameters { beta, ..GOLDEN };
        for name in names() {
            let loss = loss(name, &p);
            let found = loss.evaluate(&pair.with_offset(offset));
            if found.loss.is_nan() && name == LossName::AlphaPo {
                continue;
            }
            if loss.inputs().offsets {
                // β·(log-ratio of the rejected answer) moves z by as much, on sums without a kink.
                if let L::Relative { mean: false, beta: rewards, .. } | L::Free { mean: false, beta: rewards, .. } = reference(name, &p) {
                    let mut moved = pair;
                    moved.policy_rejected += offset / rewards;
                    let moved = loss.evaluate(&moved);
                    let size = 1e-10 * (1.0 + found.loss.abs() + pair.weight * (1.0 / beta).powi(2));
                    near(&format!("{name:?}"), found.loss, moved.loss, size)?;
                }
                same("the rewards", PairLoss { loss: 0.0, d_chosen: 0.0, d_rejected: 0.0, ..found },
                    PairLoss { loss: 0.0, d_chosen: 0.0, d_rejected: 0.0, ..loss.evaluate(&pair) })?;
            } else {
                prop_assert!(offset == 0.0 || found.loss.is_nan(), "{:?} ignored an offset", name);
            }
        }
    }
}

/// The identities' comparison is one of bits: a loss that is off by an ulp is another loss.
#[test]
fn planted_faults_are_caught() {
    let pair = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5);
    let found = Dpo::new(0.1).unwrap().evaluate(&pair);
    let off = PairLoss { d_chosen: found.d_chosen.next_up(), ..found };
    assert!(same("one ulp", off, found).is_err());
    assert!(near("1e-13", found.loss + 1e-12, found.loss, 1e-13).is_err());
    assert!(near("NaN", f64::NAN, found.loss, 1e-13).is_err());
}
