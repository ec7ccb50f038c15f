//! Parameters outside their domains, and names.

use dpo_kernel::error::Parameter as P;
use dpo_kernel::loss::{
    AStarPo, AlphaDivergence, AlphaPo, Aot, ApoDown, ApoZero, Bco, CalDpo, Cpo, CpoHinge, CpoIpo,
    CurveLoss, DiscoPop, DpopInside, DpopOutside, Exo, Hinge, Ipo, IpoSum, Kto, LossName,
    LossOptions, Mixture, MixtureTerm, Nca, Nll, NllPer, Objective, Orpo, RewardModel, Robust,
    RpoBackward, RpoForward, RpoSquare, SigmoidNorm, SimPo, Slic, SoftmaxDpo, SppoHard, Tangent,
    Tpo, TpoHinge, TpoIpo, TpoL, Xpo,
};
use dpo_kernel::training::{length_offset, odpo_offset, optimal_value};
use dpo_kernel::{Dpo, Error};

/// A parameter of a loss: where it stands, values that it may have, values that it may not.
type Domain = (P, fn(f64) -> Result<(), Error>, &'static [f64], &'static [f64]);

const NO_NUMBERS: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

macro_rules! of {
    (|$x:ident| $new:expr) => {
        |$x| $new.map(|_| ())
    };
}

fn domains() -> Vec<Domain> {
    const POSITIVE: &[f64] = &[5e-324, 1e-4, 0.1, 1e3, f64::MAX];
    const NOT_POSITIVE: &[f64] = &[0.0, -0.0, -0.1];
    // Losses with the target 1/(2β).
    const INVERTIBLE: &[f64] = &[2.8e-309, 1e-4, 0.1, 1e3, f64::MAX];
    const NOT_INVERTIBLE: &[f64] = &[0.0, -0.0, -0.1, 5e-324, 2.7e-309];
    const NOT_NEGATIVE: &[f64] = &[0.0, 1e-4, 1e3];
    const NEGATIVE: &[f64] = &[-5e-324, -1.0];
    const ANY: &[f64] = &[-1e3, -0.5, 0.0, 0.5, 1e3];
    vec![
        (P::Beta, of!(|x| Dpo::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Robust::new(x, 0.1)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| SigmoidNorm::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Hinge::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| CpoHinge::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Ipo::new(x)), INVERTIBLE, NOT_INVERTIBLE),
        (P::Beta, of!(|x| IpoSum::new(x)), INVERTIBLE, NOT_INVERTIBLE),
        (P::Beta, of!(|x| CpoIpo::new(x)), INVERTIBLE, NOT_INVERTIBLE),
        (P::Beta, of!(|x| Exo::new(x, 0.1)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| RpoForward::new(x, 0.1)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| RpoBackward::new(x, 0.1)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| RpoSquare::new(x, 0.1)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| DiscoPop::new(x, 0.1)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Cpo::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| SimPo::new(x, 0.5)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| SimPo::with_ratio(x, 0.25)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| AlphaPo::new(x, 0.5, 0.1)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Tpo::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| TpoHinge::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| TpoIpo::new(x)), INVERTIBLE, NOT_INVERTIBLE),
        (P::Beta, of!(|x| TpoL::new(x, 0.5)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| AStarPo::new(x, 0.5)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| SoftmaxDpo::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| optimal_value(x, &[0.5, 1.0])), POSITIVE, NOT_POSITIVE),
        (P::Advantage, of!(|x| AStarPo::new(0.1, x)), ANY, &[]),
        (P::Centering, of!(|x| RewardModel::new().with_centering(x)), NOT_NEGATIVE, NEGATIVE),
        (P::TargetMargin, of!(|x| TpoL::new(2.0, x)), NOT_NEGATIVE, NEGATIVE),
        (
            P::LabelSmoothing,
            of!(|x| Orpo::new(0.1)?.with_label_smoothing(x)),
            &[0.0, 0.1, 0.5],
            &[-0.1, 0.500_000_1, 1.0],
        ),
        (P::Beta, of!(|x| Nca::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Bco::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| SppoHard::new(x)), INVERTIBLE, NOT_INVERTIBLE),
        (P::Beta, of!(|x| ApoZero::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| ApoDown::new(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Kto::new(x, 0.0)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| CalDpo::new(x)), INVERTIBLE, NOT_INVERTIBLE),
        (P::Beta, of!(|x| DpopInside::new(x, 1.0)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| DpopOutside::new(x, 1.0)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Aot::paired(x)), POSITIVE, NOT_POSITIVE),
        (P::Beta, of!(|x| Aot::unpaired(x)), POSITIVE, NOT_POSITIVE),
        (
            P::Beta,
            of!(|x| CurveLoss::new(x, |z: f64| Tangent { value: z, slope: 1.0 })),
            POSITIVE,
            NOT_POSITIVE,
        ),
        (
            P::LabelSmoothing,
            of!(|x| SimPo::new(2.0, 0.5)?.with_label_smoothing(x)),
            &[0.0, 0.1, 0.5],
            &[-0.1, 0.500_000_1, 1.0],
        ),
        (
            P::LabelSmoothing,
            of!(|x| Aot::paired(0.1)?.with_label_smoothing(x)),
            &[0.0, 0.1, 0.5],
            &[-0.1, 0.500_000_1, 1.0],
        ),
        (
            P::RobustSmoothing,
            of!(|x| Robust::new(0.1, x)),
            &[0.0, 0.1, 0.499],
            &[-0.1, 0.5, 0.6, 1.0],
        ),
        (P::ExoSmoothing, of!(|x| Exo::new(0.1, x)), &[1e-12, 1e-3, 0.9], &[0.0, -0.1, 1.0, 2.0]),
        (P::TargetMargin, of!(|x| SimPo::new(2.0, x)), NOT_NEGATIVE, NEGATIVE),
        (P::TargetMargin, of!(|x| AlphaPo::new(2.0, x, 0.1)), NOT_NEGATIVE, NEGATIVE),
        (P::TargetMarginRatio, of!(|x| SimPo::with_ratio(2.0, x)), NOT_NEGATIVE, NEGATIVE),
        (P::RewardExponent, of!(|x| AlphaPo::new(2.0, 0.5, x)), ANY, &[]),
        (P::BlendTemperature, of!(|x| DiscoPop::new(0.1, x)), POSITIVE, NOT_POSITIVE),
        (P::DivergenceAlpha, of!(|x| AlphaDivergence::with_trl_alpha(x)), ANY, &[]),
        (P::DivergenceAlpha, of!(|x| AlphaDivergence::with_paper_alpha(x)), ANY, &[]),
        (P::RewardShift, of!(|x| Bco::new(0.1)?.with_shift(x)), ANY, &[]),
        (P::SlicMargin, of!(|x| Slic::new(x)), POSITIVE, NOT_POSITIVE),
        (P::DropPenalty, of!(|x| DpopInside::new(0.1, x)), NOT_NEGATIVE, NEGATIVE),
        (P::DropPenalty, of!(|x| DpopOutside::new(0.1, x)), NOT_NEGATIVE, NEGATIVE),
        (P::OddsWeight, of!(|x| Orpo::new(x)), POSITIVE, NOT_POSITIVE),
        (P::ReferenceKl, of!(|x| Kto::new(0.1, x)), NOT_NEGATIVE, NEGATIVE),
        (
            P::DesirableWeight,
            of!(|x| Kto::new(0.1, 0.0)?.with_weights(x, 1.0)),
            NOT_NEGATIVE,
            NEGATIVE,
        ),
        (
            P::UndesirableWeight,
            of!(|x| Kto::new(0.1, 0.0)?.with_weights(1.0, x)),
            NOT_NEGATIVE,
            NEGATIVE,
        ),
        (P::RewardGap, of!(|x| RpoForward::new(0.1, x)), ANY, &[]),
        (P::RewardGap, of!(|x| RpoBackward::new(0.1, x)), ANY, &[]),
        (P::RewardGap, of!(|x| RpoSquare::new(0.1, x)), ANY, &[]),
        (P::ExplorationWeight, of!(|x| Xpo::new(x, 1.0)), NOT_NEGATIVE, NEGATIVE),
        (P::Divisor, of!(|x| Xpo::new(1.0, x)), POSITIVE, NOT_POSITIVE),
        (P::NllWeight, of!(|x| Nll::new(x, NllPer::Token, 1.0)), NOT_NEGATIVE, NEGATIVE),
        (P::Divisor, of!(|x| Nll::new(1.0, NllPer::Sequence, x)), POSITIVE, NOT_POSITIVE),
        (P::OffsetScale, of!(|x| odpo_offset(x, 1.0)), NOT_NEGATIVE, NEGATIVE),
        (P::ScoreGap, of!(|x| odpo_offset(1.0, x)), POSITIVE, NOT_POSITIVE),
        (P::LengthPenalty, of!(|x| length_offset(x, 1, 2)), ANY, &[]),
        (
            P::TermWeight,
            |x| {
                let dpo = Dpo::new(0.1)?;
                let term = |weight| MixtureTerm::new(weight, &dpo);
                Mixture::new(&[term(x), term(1.0)]).map(|_| ())
            },
            NOT_NEGATIVE,
            NEGATIVE,
        ),
    ]
}

#[test]
fn parameters_have_domains() {
    for (parameter, new, valid, invalid) in domains() {
        for &value in valid {
            assert_eq!(new(value), Ok(()), "{parameter:?} = {value}");
        }
        for &value in invalid.iter().chain(&NO_NUMBERS) {
            match new(value) {
                Err(Error::Parameter { parameter: found, value: at }) => {
                    assert_eq!(found, parameter, "{value}");
                    assert_eq!(at.to_bits(), value.to_bits(), "{parameter:?}");
                }
                other => panic!("{parameter:?} = {value}: {other:?}"),
            }
        }
    }
    // γ = β·ratio must be a number too.
    let parameter = P::TargetMargin;
    let overflow = Err(Error::Parameter { parameter, value: f64::INFINITY });
    assert_eq!(SimPo::with_ratio(1e300, 1e300), overflow);
    let buffer = dpo_kernel::error::Buffer::MixtureTerms;
    let none = Err(Error::Length { buffer, expected: 1, found: 0 });
    assert_eq!(Mixture::new(&[]).map(|_| ()), none);
    // A mixture of terms that are not there is one of no terms.
    let dpo = Dpo::new(0.1).unwrap();
    let term = |weight| MixtureTerm::new(weight, &dpo);
    assert_eq!(Mixture::new(&[term(0.0), term(-0.0)]).map(|_| ()), none);
    assert!(Mixture::new(&[term(0.0), term(5e-324)]).is_ok());
}

#[test]
fn names_are_read() {
    for name in LossName::ALL {
        assert_eq!(name.name().parse(), Ok(name), "{name:?}");
        let built = name.build(&LossOptions::default());
        let parameter = match name {
            LossName::Kto => P::ReferenceKl,
            LossName::RpoForward | LossName::RpoBackward | LossName::RpoSquare => P::RewardGap,
            LossName::AStarPo => P::Advantage,
            _ => {
                assert!(built.is_ok(), "{name:?} has no defaults");
                continue;
            }
        };
        assert_eq!(built, Err(Error::ParameterMissing { parameter }), "{name:?}");
    }
    for (synonym, name) in [
        ("dpo", LossName::Sigmoid),
        ("dpo_norm", LossName::SigmoidNorm),
        ("bco", LossName::Bco),
        ("apo_zero_unpaired", LossName::ApoZero),
        ("aot_pair", LossName::AotUnpaired),
        ("bradley_terry", LossName::RewardModel),
        ("softmax_dpo", LossName::SoftmaxDpo),
    ] {
        assert_eq!(synonym.parse(), Ok(name));
    }
    for unknown in ["", "dpop", "Sigmoid", "sigmoid ", "kto_pair", "ppo"] {
        assert_eq!(unknown.parse::<LossName>(), Err(Error::UnknownLoss), "{unknown}");
    }
    assert_eq!(LossName::Sft.build(&LossOptions::default()), Ok(Objective::Nll));
    let mut names: Vec<&str> = LossName::ALL.iter().map(|name| name.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), LossName::ALL.len(), "two losses of one name");
    let mut numbers = LossName::ALL.map(|name| name as i32);
    numbers.sort_unstable();
    assert!(numbers.iter().zip(0..).all(|(&n, i)| n == i), "numbers with gaps");
    let mut parameters = P::ALL.map(|parameter| parameter as i32);
    parameters.sort_unstable();
    assert!(parameters.iter().zip(1..).all(|(&n, i)| n == i), "{parameters:?}");
}

/// What an error says of the new kinds.
#[test]
fn errors_speak() {
    let parameter = P::ReferenceKl;
    for (error, text) in [
        (Error::ParameterUnused { parameter }, "K of KTO is given, but the loss has none"),
        (Error::ParameterMissing { parameter }, "K of KTO must be given for this loss"),
        (Error::ReferenceMissing, "the loss needs reference log-probs"),
        (Error::UnknownLoss, "no loss has this name"),
        (
            Error::Parameter { parameter: P::RobustSmoothing, value: 0.5 },
            "label smoothing of the robust loss is 0.5 but must lie in [0, 0.5)",
        ),
    ] {
        assert_eq!(error.to_string(), text);
    }
}
