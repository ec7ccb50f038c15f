//! Every loss of pairs twice: the crate's, by its name and options, and the plain reference.
//! Nothing here knows a loss: what there is says [`LossName::ALL`], which options a loss has says
//! the loss.

use dpo_kernel::loss::{
    AlphaDivergence, AnyDivergence, Loss, LossName, LossOptions, Objective, PairLogProbs,
};
use dpo_kernel::verify::{self, Divergence};
use dpo_kernel::{Error, PairLoss};

pub use dpo_kernel::verify::LossParameters as Parameters;

/// Those of the golden figures.
pub const GOLDEN: Parameters = Parameters {
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

/// Every option there is, but for the one that may not stand beside γ.
fn all_options(p: &Parameters) -> LossOptions {
    LossOptions {
        beta: Some(p.beta),
        label_smoothing: Some(p.epsilon),
        target_margin: Some(p.gamma),
        target_margin_ratio: None,
        reward_exponent: Some(p.alpha),
        blend_temperature: Some(p.tau),
        reward_shift: Some(p.gap),
        slic_margin: Some(p.delta),
        drop_penalty: Some(p.lambda),
        odds_weight: Some(p.beta),
        reference_kl: Some(p.kl),
        desirable_weight: Some(p.weights.0),
        undesirable_weight: Some(p.weights.1),
        reward_gap: Some(p.gap),
        centering: Some(p.centering),
        advantage: Some(p.gap),
        divergence: Some(divergence(p.divergence)),
    }
}

/// Takes away what the loss refuses, and makes it.
pub fn build(name: LossName, p: &Parameters) -> (LossOptions, Objective) {
    let mut options = all_options(p);
    loop {
        match name.build(&options) {
            Ok(objective) => return (options, objective),
            Err(Error::ParameterUnused { parameter }) => match options.option_mut(parameter) {
                Some(option) => *option = None,
                None => options.divergence = None,
            },
            Err(error) => panic!("{name:?}: {error}"),
        }
    }
}

/// The names of losses of pairs.
pub fn names() -> impl Iterator<Item = LossName> {
    let of_pairs = |name: &LossName| matches!(build(*name, &GOLDEN).1, Objective::Pairs(_));
    LossName::ALL.into_iter().filter(of_pairs)
}

/// Whether a loss is one of a difference of log-ratios, for which divergences are defined.
pub fn takes_divergence(name: LossName) -> bool {
    build(name, &GOLDEN).0.divergence.is_some()
}

/// The crate's loss.
pub fn loss(name: LossName, p: &Parameters) -> Loss {
    match build(name, p).1 {
        Objective::Pairs(loss) => loss,
        other => panic!("{name:?} is {other:?}"),
    }
}

/// The reference.
pub fn reference(name: LossName, p: &Parameters) -> verify::Loss {
    verify::Loss::named(name.name(), p).unwrap_or_else(|| panic!("{name:?} has no reference"))
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
