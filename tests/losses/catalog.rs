//! Every loss of pairs twice: the crate's, by its name and options, and the plain reference.

use dpo_kernel::PairLoss;
use dpo_kernel::loss::{
    AlphaDivergence, AnyDivergence, Loss, LossName, LossOptions, Objective, PairLogProbs,
};
use dpo_kernel::verify::{self, Curve, Divergence};

/// Values for every parameter that a loss may have.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    pub beta: f64,
    /// In (0, ½).
    pub epsilon: f64,
    pub gamma: f64,
    pub alpha: f64,
    pub tau: f64,
    pub delta: f64,
    pub lambda: f64,
    pub kl: f64,
    pub weights: (f64, f64),
    pub gap: f64,
    pub divergence: Divergence,
}

impl Parameters {
    /// Those of the golden figures.
    pub const GOLDEN: Self = Self {
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
        divergence: Divergence::ReverseKl,
    };
}

/// The names of losses of pairs.
pub fn names() -> impl Iterator<Item = LossName> {
    let others = [LossName::Aot, LossName::AotUnpaired, LossName::Sft];
    LossName::ALL.into_iter().filter(move |name| !others.contains(name))
}

/// Whether a loss is one of a difference of log-ratios, for which divergences are defined.
pub fn takes_divergence(name: LossName) -> bool {
    use LossName as N;
    let relative = [
        N::Sigmoid,
        N::Robust,
        N::Hinge,
        N::Ipo,
        N::IpoSum,
        N::Exo,
        N::DiscoPop,
        N::SigmoidNorm,
        N::RpoForward,
        N::RpoBackward,
        N::RpoSquare,
    ];
    relative.contains(&name)
}

pub fn divergence(of: Divergence) -> AnyDivergence {
    match of {
        Divergence::ReverseKl => AnyDivergence::ReverseKl,
        Divergence::ForwardKl => AnyDivergence::ForwardKl,
        Divergence::JensenShannon => AnyDivergence::JensenShannon,
        Divergence::Alpha(alpha) => {
            AnyDivergence::Alpha(AlphaDivergence::with_paper_alpha(alpha).unwrap())
        }
    }
}

/// The crate's loss.
pub fn loss(name: LossName, p: &Parameters) -> Loss {
    use LossName as N;
    let none = LossOptions::default();
    let beta = LossOptions { beta: Some(p.beta), ..none };
    let smoothed = LossOptions { label_smoothing: Some(p.epsilon), ..beta };
    let margin = LossOptions { target_margin: Some(p.gamma), ..smoothed };
    let mut options = match name {
        N::Sigmoid | N::SigmoidNorm | N::Cpo | N::Robust | N::Exo => smoothed,
        N::SimPo => margin,
        N::AlphaPo => LossOptions { reward_exponent: Some(p.alpha), ..margin },
        N::DiscoPop => LossOptions { blend_temperature: Some(p.tau), ..beta },
        N::RpoForward | N::RpoBackward | N::RpoSquare => {
            LossOptions { reward_gap: Some(p.gap), ..beta }
        }
        N::Slic => LossOptions { slic_margin: Some(p.delta), ..none },
        N::Orpo => LossOptions { odds_weight: Some(p.beta), ..none },
        N::Bco => LossOptions { reward_shift: Some(p.gap), ..beta },
        N::Kto => LossOptions {
            reference_kl: Some(p.kl),
            desirable_weight: Some(p.weights.0),
            undesirable_weight: Some(p.weights.1),
            ..beta
        },
        N::DpopInside | N::DpopOutside => LossOptions { drop_penalty: Some(p.lambda), ..beta },
        _ => beta,
    };
    if takes_divergence(name) {
        options.divergence = Some(divergence(p.divergence));
    }
    match name.build(&options).unwrap() {
        Objective::Pairs(loss) => loss,
        other => panic!("{name:?} is {other:?}"),
    }
}

/// The reference.
pub fn reference(name: LossName, p: &Parameters) -> verify::Loss {
    use LossName as N;
    use verify::Loss as L;
    let Parameters { beta, epsilon, gamma, alpha, tau, delta, lambda, kl, weights, gap, .. } = *p;
    let divergence = p.divergence;
    let scaled = |curve, mean| L::Relative { curve, divergence, mean, scale: beta, beta };
    let sum = |curve| scaled(curve, false);
    let free = |curve, mean, alpha, gamma| L::Free { curve, mean, alpha, gamma, scale: beta, beta };
    let ipo = Curve::Square(1.0 / (2.0 * beta));
    match name {
        N::Sigmoid => sum(Curve::Logistic(epsilon)),
        N::Robust => sum(Curve::Robust(epsilon)),
        N::Hinge => sum(Curve::Hinge(1.0)),
        N::Ipo => L::Relative { curve: ipo, divergence, mean: true, scale: 1.0, beta },
        N::IpoSum => L::Relative { curve: ipo, divergence, mean: false, scale: 1.0, beta },
        N::Exo => sum(Curve::ForwardGap(libm::log((1.0 - epsilon) / epsilon))),
        N::DiscoPop => sum(Curve::Blend(tau)),
        N::SigmoidNorm => scaled(Curve::Logistic(epsilon), true),
        N::RpoForward => sum(Curve::ForwardGap(gap)),
        N::RpoBackward => sum(Curve::BackwardGap(gap)),
        N::RpoSquare => sum(Curve::Square(gap)),
        N::SimPo => free(Curve::Logistic(epsilon), true, 0.0, gamma),
        N::Cpo => free(Curve::Logistic(epsilon), false, 0.0, 0.0),
        N::CpoHinge => free(Curve::Hinge(1.0), false, 0.0, 0.0),
        N::CpoIpo => L::Free { curve: ipo, mean: true, alpha: 0.0, gamma: 0.0, scale: 1.0, beta },
        N::Slic => L::Free {
            curve: Curve::Hinge(delta),
            mean: false,
            alpha: 0.0,
            gamma: 0.0,
            scale: 1.0,
            beta: 1.0,
        },
        N::AlphaPo => free(Curve::Logistic(epsilon), true, alpha, gamma),
        N::Orpo => L::Orpo { lambda: beta },
        N::Nca => L::Nca { beta },
        N::Bco => L::Bco { beta, delta: gap },
        N::SppoHard => L::SppoHard { beta },
        N::ApoZero => L::Kto { beta, kl: 0.0, weights: (1.0, 1.0) },
        N::Kto => L::Kto { beta, kl, weights },
        N::ApoDown => L::ApoDown { beta },
        N::CalDpo => L::CalDpo { beta },
        N::DpopInside => L::DpopInside { beta, lambda },
        N::DpopOutside => L::DpopOutside { beta, lambda },
        other => panic!("{other:?} is no loss of pairs"),
    }
}

/// What the reference says of a pair, in the crate's form.
pub fn expected(loss: &verify::Loss, pair: &PairLogProbs) -> PairLoss {
    if pair.weight == 0.0 {
        return PairLoss::default();
    }
    let log_probs = verify::PairLogProbs {
        policy_chosen: pair.policy_chosen,
        policy_rejected: pair.policy_rejected,
        reference_chosen: pair.reference_chosen,
        reference_rejected: pair.reference_rejected,
    };
    let tokens = (pair.chosen_tokens as f64, pair.rejected_tokens as f64);
    let found = verify::pair_loss(loss, &log_probs, tokens, pair.offset);
    PairLoss {
        loss: pair.weight * found.loss,
        reward_chosen: found.reward_chosen,
        reward_rejected: found.reward_rejected,
        margin: found.margin,
        d_chosen: pair.weight * found.d_chosen,
        d_rejected: pair.weight * found.d_rejected,
    }
}
