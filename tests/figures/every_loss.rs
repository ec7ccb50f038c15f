//! The figures of one pair, of every loss: rewards and margin are those that the loss's page says.

use dpo_kernel::PairLoss;
use dpo_kernel::loss::{
    Aot, BatchLoss, CurveLoss, Inputs, LossName, LossOptions, Objective, PairLogProbs,
    PreferenceLoss, SoftmaxDpo, Tangent,
};

const BETA: f64 = 0.5;
const PAIR: PairLogProbs = PairLogProbs::new(-20.5, -25.25, -21.0, -24.5).with_tokens(10, 16);

/// The loss with β = ½, and λ of ORPO; what else it needs is ¼.
fn built(name: LossName) -> Objective {
    let mut options = LossOptions::default();
    for (option, value) in [
        (&mut options.beta, BETA),
        (&mut options.odds_weight, BETA),
        (&mut options.reference_kl, 0.25),
        (&mut options.reward_gap, 0.25),
        (&mut options.advantage, 0.25),
    ] {
        *option = Some(value);
    }
    loop {
        match name.build(&options) {
            Err(dpo_kernel::Error::ParameterUnused { parameter }) => {
                *options.option_mut(parameter).unwrap() = None;
            }
            found => return found.unwrap(),
        }
    }
}

/// The rewards of chosen and rejected answer, by hand.
fn rewards(name: LossName) -> Option<(f64, f64)> {
    use LossName as N;
    Some(match name {
        // β·(log π − log π_ref), also of losses of means.
        N::Sigmoid
        | N::Robust
        | N::Hinge
        | N::Ipo
        | N::IpoSum
        | N::Exo
        | N::DiscoPop
        | N::SigmoidNorm
        | N::RpoForward
        | N::RpoBackward
        | N::RpoSquare
        | N::ApoDown
        | N::CalDpo
        | N::DpopInside
        | N::DpopOutside
        | N::Nca
        | N::Bco
        | N::SppoHard
        | N::ApoZero
        | N::Kto => (BETA * 0.5, BETA * -0.75),
        // β·log π
        N::Cpo | N::CpoHinge | N::Tpo | N::TpoHinge => (BETA * -20.5, BETA * -25.25),
        // β·log π over the tokens; λ for ORPO
        N::SimPo | N::CpoIpo | N::AlphaPo | N::Orpo | N::TpoIpo | N::TpoL => {
            (BETA * (-20.5 / 10.0), BETA * (-25.25 / 16.0))
        }
        // Scores, without a β.
        N::Slic | N::RewardModel => (-20.5, -25.25),
        N::Aot | N::AotUnpaired | N::Sft | N::AStarPo | N::SoftmaxDpo => return None,
        other => panic!("{other:?} has no rewards here"),
    })
}

#[test]
fn has_its_rewards_and_its_margin() {
    for name in LossName::ALL {
        let (Objective::Pairs(loss), Some((chosen, rejected))) = (built(name), rewards(name))
        else {
            assert_eq!(rewards(name), None, "{name:?} is no loss of pairs");
            continue;
        };
        // A pair's weight scales loss and gradients, and nothing else.
        let plain = loss.evaluate(&PAIR);
        let found = loss.evaluate(&PAIR.with_weight(0.375));
        let near = |what: &str, found: f64, expected: f64| {
            let off = (found - expected).abs();
            assert!(off <= 4e-16 * expected.abs(), "{name:?}, {what}: {found} is not {expected}");
        };
        let PairLoss { loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected } = found;
        near("reward of the chosen", reward_chosen, chosen);
        near("reward of the rejected", reward_rejected, rejected);
        near("margin", margin, chosen - rejected);
        near("loss", loss, 0.375 * plain.loss);
        near("gradient of the chosen", d_chosen, 0.375 * plain.d_chosen);
        near("gradient of the rejected", d_rejected, 0.375 * plain.d_rejected);
        assert!(reward_chosen != reward_rejected && reward_chosen != margin, "{name:?}");
    }
}

/// What a loss reads beside the log-probs of the policy: reference, tokens, offsets.
fn inputs(name: LossName) -> Option<(bool, bool, bool)> {
    use LossName as N;
    Some(match name {
        N::Sigmoid
        | N::Robust
        | N::Hinge
        | N::IpoSum
        | N::Exo
        | N::DiscoPop
        | N::RpoForward
        | N::RpoBackward
        | N::RpoSquare
        | N::DpopInside
        | N::DpopOutside => (true, false, true),
        N::Ipo | N::SigmoidNorm => (true, true, true),
        N::Cpo | N::CpoHinge | N::Tpo | N::TpoHinge | N::Slic | N::RewardModel => {
            (false, false, true)
        }
        N::SimPo | N::CpoIpo | N::AlphaPo | N::TpoIpo | N::TpoL => (false, true, true),
        N::Orpo => (false, true, false),
        N::Nca | N::Bco | N::SppoHard | N::ApoZero | N::Kto | N::ApoDown | N::CalDpo => {
            (true, false, false)
        }
        N::Aot | N::AotUnpaired | N::Sft | N::AStarPo | N::SoftmaxDpo => return None,
        other => panic!("{other:?} reads what nobody knows"),
    })
}

#[test]
fn reads_what_its_formula_has() {
    let given = |of: Inputs| (of.reference, of.tokens, of.offsets);
    for name in LossName::ALL {
        let found = match built(name) {
            Objective::Pairs(loss) => Some(given(loss.inputs())),
            _ => None,
        };
        assert_eq!(found, inputs(name), "{name:?}");
    }
    let curve = |z: f64| Tangent { value: -z, slope: -1.0 };
    let own = CurveLoss::new(BETA, curve).unwrap();
    assert_eq!(given(own.inputs()), (true, false, true));
    let of_batch = |of: &dyn Fn() -> Inputs| given(of());
    let mut order = [0; 2];
    let aot = Aot::paired(BETA).unwrap();
    assert_eq!(of_batch(&|| SoftmaxDpo::new(BETA).unwrap().inputs(None)), (true, false, true));
    assert_eq!(given(aot.over(&mut order).inputs(None)), (true, false, false));
}

/// β of an answer's reward.
#[test]
fn of_single_answers_has_its_beta() {
    let mut count = 0;
    for name in LossName::ALL {
        let objective = built(name);
        if let Some(loss) = objective.as_unpaired() {
            assert_eq!(loss.beta(), BETA, "{name:?}");
            assert_eq!(loss.leaves_out(), (false, false), "{name:?}");
            count += 1;
        }
    }
    assert_eq!(count, 6, "NCA, BCO, SPPO, APO-zero, KTO, A*PO");
}
