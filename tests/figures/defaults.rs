//! Every default: of the options of each loss, of each constructor, of each type that has one.

use dpo_kernel::error::Parameter as P;
use dpo_kernel::gradient::Unscored;
use dpo_kernel::loss::{
    AlphaPo, AnyDivergence, Aot, Bco, Cpo, Inputs, Kto, LossName, LossOptions, Orpo, PairLogProbs,
    RewardModel, SigmoidNorm, SimPo, Tpo, TpoL, Xpo,
};
use dpo_kernel::training::{DynamicBeta, GapAverages, GapSums};
use dpo_kernel::{Dpo, Error, IGNORE_INDEX, Level, Transform};

use crate::assert_fields;

/// A value that must be given.
const REQUIRED: f64 = f64::NAN;

/// The options of each loss with their defaults, from the page of the loss.
const DEFAULTS: &[(LossName, &[(P, f64)])] = {
    use LossName as N;
    &[
        (N::Sigmoid, &[(P::Beta, 0.1), (P::LabelSmoothing, 0.0)]),
        (N::Robust, &[(P::Beta, 0.1), (P::LabelSmoothing, 0.1)]),
        (N::Hinge, &[(P::Beta, 0.1)]),
        (N::Ipo, &[(P::Beta, 0.1)]),
        (N::IpoSum, &[(P::Beta, 0.1)]),
        (N::Exo, &[(P::Beta, 0.1), (P::LabelSmoothing, 1e-3)]),
        (N::DiscoPop, &[(P::Beta, 0.05), (P::BlendTemperature, 0.05)]),
        (N::SigmoidNorm, &[(P::Beta, 5.0), (P::LabelSmoothing, 0.0)]),
        (N::RpoForward, &[(P::Beta, 0.1), (P::RewardGap, REQUIRED)]),
        (N::RpoBackward, &[(P::Beta, 0.1), (P::RewardGap, REQUIRED)]),
        (N::RpoSquare, &[(P::Beta, 0.1), (P::RewardGap, REQUIRED)]),
        (N::SimPo, &[(P::Beta, 2.0), (P::TargetMargin, 0.5), (P::LabelSmoothing, 0.0)]),
        (N::Cpo, &[(P::Beta, 0.1), (P::LabelSmoothing, 0.0)]),
        (N::CpoHinge, &[(P::Beta, 0.1)]),
        (N::CpoIpo, &[(P::Beta, 0.1)]),
        (N::Slic, &[(P::SlicMargin, 1.0)]),
        (
            N::AlphaPo,
            &[
                (P::Beta, 2.0),
                (P::TargetMargin, 0.5),
                (P::RewardExponent, 0.0),
                (P::LabelSmoothing, 0.0),
            ],
        ),
        (N::Orpo, &[(P::OddsWeight, 0.1), (P::LabelSmoothing, 0.0)]),
        (N::ApoDown, &[(P::Beta, 0.1)]),
        (N::CalDpo, &[(P::Beta, 1e-3)]),
        (N::DpopInside, &[(P::Beta, 0.1), (P::DropPenalty, 50.0)]),
        (N::DpopOutside, &[(P::Beta, 0.1), (P::DropPenalty, 50.0)]),
        (N::Tpo, &[(P::Beta, 0.01), (P::LabelSmoothing, 0.0)]),
        (N::TpoHinge, &[(P::Beta, 0.01)]),
        (N::TpoIpo, &[(P::Beta, 0.01)]),
        (N::TpoL, &[(P::Beta, 0.01), (P::TargetMargin, 0.5), (P::LabelSmoothing, 0.0)]),
        (N::RewardModel, &[(P::Centering, 0.0)]),
        (N::Nca, &[(P::Beta, 0.1)]),
        (N::Bco, &[(P::Beta, 0.1), (P::RewardShift, 0.0)]),
        (N::SppoHard, &[(P::Beta, 1e-3)]),
        (N::ApoZero, &[(P::Beta, 0.1)]),
        (
            N::Kto,
            &[
                (P::Beta, 0.1),
                (P::ReferenceKl, REQUIRED),
                (P::DesirableWeight, 1.0),
                (P::UndesirableWeight, 1.0),
            ],
        ),
        (N::AStarPo, &[(P::Beta, 1e-3), (P::Advantage, REQUIRED)]),
        (N::SoftmaxDpo, &[(P::Beta, 0.1)]),
        (N::Aot, &[(P::Beta, 0.01), (P::LabelSmoothing, 0.0)]),
        (N::AotUnpaired, &[(P::Beta, 0.01), (P::LabelSmoothing, 0.0)]),
        (N::Sft, &[]),
    ]
};

fn set(options: &mut LossOptions, parameter: P, value: f64) {
    *options.option_mut(parameter).unwrap() = Some(value);
}

#[test]
fn of_every_loss() {
    let mut listed: Vec<i32> = DEFAULTS.iter().map(|row| row.0 as i32).collect();
    listed.sort_unstable();
    let all: Vec<i32> = (0..).take(LossName::ALL.len()).collect();
    assert_eq!(listed, all, "each loss once");
    for &(name, defaults) in DEFAULTS {
        let mut needed = LossOptions::default();
        for &(parameter, value) in defaults {
            if value.is_nan() {
                set(&mut needed, parameter, 0.375);
            }
        }
        let by_default = name.build(&needed).unwrap();
        for &(parameter, value) in defaults {
            let mut options = needed;
            if value.is_nan() {
                *options.option_mut(parameter).unwrap() = None;
                assert_eq!(name.build(&options), Err(Error::ParameterMissing { parameter }));
                continue;
            }
            set(&mut options, parameter, value);
            assert_eq!(name.build(&options), Ok(by_default), "{name:?}: {parameter:?}");
            // A number near it is another loss, so the comparison sees the default.
            set(&mut options, parameter, value + 1e-9);
            assert_ne!(name.build(&options), Ok(by_default), "{name:?}: {parameter:?} is seen");
        }
        // A loss has no other option, but for γ/β in the place of γ.
        for parameter in P::ALL {
            let is_listed = defaults.iter().any(|(known, _)| *known == parameter);
            let is_ratio = parameter == P::TargetMarginRatio && name == LossName::SimPo;
            let mut options = needed;
            let Some(option) = options.option_mut(parameter) else { continue };
            if !is_listed && !is_ratio {
                *option = Some(0.25);
                assert_eq!(name.build(&options), Err(Error::ParameterUnused { parameter }));
            }
        }
    }
}

/// What a constructor does not take.
#[test]
fn of_every_constructor() {
    macro_rules! without_smoothing {
        ($($new:expr),*) => {$(
            let loss = $new.unwrap();
            assert_eq!(loss.with_label_smoothing(0.0), Ok(loss));
            assert_ne!(loss.with_label_smoothing(5e-324), Ok(loss), "the comparison sees it");
        )*};
    }
    without_smoothing!(
        Dpo::new(0.25),
        SigmoidNorm::new(0.25),
        SimPo::new(0.25, 0.5),
        AlphaPo::new(0.25, 0.5, 0.75),
        Cpo::new(0.25),
        Tpo::new(0.25),
        TpoL::new(0.25, 0.5),
        Orpo::new(0.25),
        Aot::paired(0.25),
        Aot::unpaired(0.25)
    );
    let kto = Kto::new(0.25, 0.5).unwrap();
    assert_eq!(kto.with_weights(1.0, 1.0), Ok(kto));
    assert_ne!(kto.with_weights(1.0_f64.next_up(), 1.0), Ok(kto));
    assert_ne!(kto.with_weights(1.0, 1.0_f64.next_up()), Ok(kto));
    let bco = Bco::new(0.25).unwrap();
    assert_eq!(bco.with_shift(0.0), Ok(bco));
    assert_ne!(bco.with_shift(5e-324), Ok(bco));
    assert_eq!(RewardModel::new(), RewardModel::default());
    assert_eq!(RewardModel::new().with_centering(0.0), Ok(RewardModel::new()));
    assert_ne!(RewardModel::new().with_centering(5e-324), Ok(RewardModel::new()));
    let reverse = Dpo::new(0.25).unwrap().with_divergence(AnyDivergence::default());
    assert_eq!(reverse, Dpo::new(0.25).unwrap().with_divergence(AnyDivergence::ReverseKl));
    assert_eq!(SimPo::new(2.0, 0.5), SimPo::with_ratio(2.0, 0.25));
    assert_eq!(SimPo::new(2.0, 0.5).unwrap().label_smoothing(), 0.0);
    assert_eq!(Xpo::ALPHA, 1e-5);
}

/// What a pair by itself has beside its log-probs.
#[test]
fn of_a_pair() {
    let names = |pair: &PairLogProbs, figures: [f64; 8]| {
        let names = [
            "policy_chosen",
            "policy_rejected",
            "reference_chosen",
            "reference_rejected",
            "chosen_tokens",
            "rejected_tokens",
            "weight",
            "offset",
        ];
        let expected: Vec<(&str, f64)> = names.into_iter().zip(figures).collect();
        let wrong = crate::objections(pair, &expected, 0.0);
        assert!(wrong.is_empty(), "{wrong:?}");
    };
    let pair = PairLogProbs::new(-2.0, -3.0, -5.0, -7.0);
    names(&pair, [-2.0, -3.0, -5.0, -7.0, 0.0, 0.0, 1.0, 0.0]);
    let pair = pair.with_tokens(11, 13).with_weight(0.5).with_offset(-0.25);
    names(&pair, [-2.0, -3.0, -5.0, -7.0, 11.0, 13.0, 0.5, -0.25]);
    let free = PairLogProbs::reference_free(-2.0, -3.0);
    names(&free, [-2.0, -3.0, f64::NAN, f64::NAN, 0.0, 0.0, 1.0, 0.0]);
}

#[test]
fn of_every_type() {
    assert_eq!(IGNORE_INDEX, u32::MAX - 99, "-100 in 32 bits");
    assert_eq!(Transform::default(), Transform::new(1.0, None, 1.0).unwrap());
    assert_eq!(Transform::NONE, Transform::default());
    assert_eq!(Unscored::default(), Unscored::Keep);
    assert_eq!(AnyDivergence::default(), AnyDivergence::ReverseKl);
    assert_eq!(Level::ALL, [Level::Baseline, Level::Avx2, Level::Avx512]);
    let LossOptions {
        beta,
        label_smoothing,
        target_margin,
        target_margin_ratio,
        reward_exponent,
        blend_temperature,
        reward_shift,
        slic_margin,
        drop_penalty,
        odds_weight,
        reference_kl,
        desirable_weight,
        undesirable_weight,
        reward_gap,
        centering,
        advantage,
        divergence,
    } = LossOptions::default();
    let numbers = [
        beta,
        label_smoothing,
        target_margin,
        target_margin_ratio,
        reward_exponent,
        blend_temperature,
        reward_shift,
        slic_margin,
        drop_penalty,
        odds_weight,
        reference_kl,
        desirable_weight,
        undesirable_weight,
        reward_gap,
        centering,
        advantage,
    ];
    assert_eq!((numbers, divergence), ([None; 16], None));
    let inputs = |of: Inputs| (of.reference, of.tokens, of.offsets);
    assert_eq!(inputs(Inputs::default()), (false, false, false));
    assert_eq!(inputs(Inputs::POLICY), (false, false, false));
    assert_eq!(inputs(Inputs::POLICY.with_reference()), (true, false, false));
    assert_eq!(inputs(Inputs::POLICY.with_tokens()), (false, true, false));
    assert_eq!(inputs(Inputs::POLICY.with_offsets()), (false, false, true));
    assert_eq!(crate::fields(&Inputs::POLICY).len(), 3, "a new input");
    // β-DPO: a tenth of each batch, and no β below a thousandth.
    let mut averages = GapAverages::default();
    let batch = GapSums { pairs: 4, sum: 8.0, square_sum: 64.0 };
    averages.update(&batch).unwrap();
    // std A = √((64 − 16)/3) = 4
    let found = [averages.mean, averages.deviation];
    for (found, expected) in found.into_iter().zip([0.1 * 2.0, 0.1 * 4.0]) {
        assert!((found - expected).abs() < 1e-15, "{found} {expected}");
    }
    let least = DynamicBeta::new(0.1, 1.0).unwrap().beta(&averages, -1e6);
    assert_eq!(least, 0.001);
    let options = P::ALL.iter().filter(|p| LossOptions::default().option_mut(**p).is_some());
    assert_eq!(options.count(), numbers.len());
}

/// Each option is found by its own parameter, and no other.
#[test]
fn options_are_those_of_their_parameters() {
    let mut options = LossOptions::default();
    let mut value = 1.0;
    for parameter in P::ALL {
        if let Some(option) = options.option_mut(parameter) {
            *option = Some(value);
            value += 1.0;
        }
    }
    let found = crate::fields(&options);
    let names: Vec<&str> = found.iter().map(|field| field.0.as_str()).collect();
    let text = format!("{options:?}");
    let by_hand = [
        (P::Beta, "beta", options.beta),
        (P::LabelSmoothing, "label_smoothing", options.label_smoothing),
        (P::TargetMargin, "target_margin", options.target_margin),
        (P::TargetMarginRatio, "target_margin_ratio", options.target_margin_ratio),
        (P::RewardExponent, "reward_exponent", options.reward_exponent),
        (P::BlendTemperature, "blend_temperature", options.blend_temperature),
        (P::RewardShift, "reward_shift", options.reward_shift),
        (P::SlicMargin, "slic_margin", options.slic_margin),
        (P::DropPenalty, "drop_penalty", options.drop_penalty),
        (P::OddsWeight, "odds_weight", options.odds_weight),
        (P::ReferenceKl, "reference_kl", options.reference_kl),
        (P::DesirableWeight, "desirable_weight", options.desirable_weight),
        (P::UndesirableWeight, "undesirable_weight", options.undesirable_weight),
        (P::RewardGap, "reward_gap", options.reward_gap),
        (P::Centering, "centering", options.centering),
        (P::Advantage, "advantage", options.advantage),
    ];
    for (i, (parameter, name, field)) in by_hand.into_iter().enumerate() {
        assert_eq!((field, names[i]), (Some(1.0 + i as f64), name), "{text}");
        assert_eq!(*options.option_mut(parameter).unwrap(), field, "{parameter:?}");
    }
    assert_eq!(names.len(), by_hand.len() + 1, "and the divergence");
    assert_eq!(options.option_mut(P::Divergence), None);
}
