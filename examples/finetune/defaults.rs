//! Parameters of each loss for a model this small: answers of some eighty bytes, and a log-ratio
//! gap between two answers of 10 to 20 nats, 0.2 a byte, when training ends.
//!
//! Where a loss aims at a gap (IPO, SPPO, Cal-DPO, RPO) its parameter puts the aim there: what is
//! usual for models with long answers asks for hundreds of nats. Losses of means have a β that is
//! as many times larger as an answer has bytes, about. Everything else is as published.

use dpo_kernel::loss::{LossName, LossOptions};

/// What a loss starts from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    pub options: LossOptions,
    /// The weight of an NLL term on the tokens of the chosen answers, and what it is divided by.
    pub nll: Option<(f64, Over)>,
}

/// A batch's divisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Pairs,
    /// Tokens of the chosen answers.
    Tokens,
}

pub fn defaults(name: LossName) -> Defaults {
    let options = LossOptions::default();
    let of = |options| Defaults { options, nll: None };
    let beta = |beta| of(LossOptions { beta: Some(beta), ..options });
    let with_nll = |defaults, weight, per| Defaults { nll: Some((weight, per)), ..defaults };
    match name {
        // The target is 1/(2β), of means, and then of sums.
        LossName::Ipo => beta(2.0),
        LossName::CpoIpo | LossName::TpoIpo => with_nll(beta(2.0), 1.0, Over::Tokens),
        LossName::IpoSum | LossName::SppoHard | LossName::CalDpo => beta(0.05),
        // At the published τ = 0.05 the slope at z = 0 is uphill, and margins as small as these
        // never get past it.
        LossName::DiscoPop => {
            of(LossOptions { beta: Some(0.1), blend_temperature: Some(1.0), ..options })
        }
        LossName::SigmoidNorm => beta(10.0),
        // A pair has no third, gold answer: TPO's likelihood term is that of the chosen one.
        LossName::TpoL => {
            let loss = of(LossOptions { beta: Some(10.0), target_margin: Some(1.0), ..options });
            with_nll(loss, 1.0, Over::Tokens)
        }
        LossName::SimPo => {
            of(LossOptions { beta: Some(10.0), target_margin: Some(1.0), ..options })
        }
        LossName::AlphaPo => of(LossOptions {
            beta: Some(10.0),
            target_margin: Some(1.0),
            reward_exponent: Some(0.25),
            ..options
        }),
        // The data have no scores: every pair is said to be worth two rewards.
        LossName::RpoForward | LossName::RpoBackward | LossName::RpoSquare => {
            of(LossOptions { beta: Some(0.1), reward_gap: Some(2.0), ..options })
        }
        // The NLL terms are part of these losses in their papers.
        LossName::Cpo | LossName::CpoHinge | LossName::Tpo | LossName::TpoHinge => {
            with_nll(beta(0.1), 1.0, Over::Tokens)
        }
        // Log-probs stand in for a reward model's scores: the loss is CPO's with β = 1.
        LossName::RewardModel => Defaults::default(),
        // A chosen answer is worth one more than the prompt, a rejected one as much less.
        LossName::AStarPo => of(LossOptions { beta: Some(0.1), advantage: Some(1.0), ..options }),
        LossName::Orpo => {
            with_nll(of(LossOptions { odds_weight: Some(0.1), ..options }), 1.0, Over::Tokens)
        }
        LossName::Slic => {
            with_nll(of(LossOptions { slic_margin: Some(1.0), ..options }), 0.1, Over::Pairs)
        }
        LossName::Sft => with_nll(Defaults::default(), 1.0, Over::Tokens),
        _ => beta(0.1),
    }
}
