//! Pairs under a mistake.

use alloc::vec::Vec;

use super::super::call::PairsGiven;
use super::super::input::ANY;
use super::super::{Format, Mistake, Precision};
use crate::verify::{Dpo, PairLogProbs, sigmoid, softplus};

/// Loss, rewards, margin and derivatives of all pairs.
pub(in super::super) fn pairs(
    input: &PairsGiven,
    precision: &Precision,
    mistake: Mistake,
) -> Vec<[f64; 6]> {
    let first = input.weights.first().copied().unwrap_or(1.0);
    let lists = input.log_probs.iter().zip(&input.weights).zip(&input.offsets);
    #[allow(clippy::cast_precision_loss, reason = "few pairs")]
    let count = input.log_probs.len() as f64;
    lists
        .map(|((pair, &weight), &offset)| {
            let weight = if mistake == Mistake::FirstWeight { first } else { weight };
            let figures = one(&input.dpo, pair, weight, offset, mistake, precision.pair);
            match mistake {
                Mistake::MeanOverPairs => {
                    let [loss, chosen, rejected, margin, d_chosen, d_rejected] = figures;
                    [loss / count, chosen, rejected, margin, d_chosen / count, d_rejected / count]
                }
                _ => figures,
            }
        })
        .collect()
}

fn one(
    dpo: &Dpo,
    pair: &PairLogProbs,
    weight: f64,
    offset: f64,
    mistake: Mistake,
    format: Format,
) -> [f64; 6] {
    let Dpo { beta, label_smoothing } = *dpo;
    let (of_weight, of_d_weight) = match mistake {
        Mistake::NoWeight => (1.0, 1.0),
        Mistake::NoWeightInGradient => (weight, 1.0),
        Mistake::WeightTwice => (weight * weight, weight * weight),
        _ => (weight, weight),
    };
    if of_weight == 0.0 && of_d_weight == 0.0 {
        return [0.0, ANY, ANY, ANY, 0.0, 0.0];
    }
    let reference = match mistake {
        Mistake::NoReference => 0.0,
        Mistake::AddsReference => -1.0,
        _ => 1.0,
    };
    let mut a = pair.policy_chosen - reference * pair.reference_chosen;
    let mut b = pair.policy_rejected - reference * pair.reference_rejected;
    if mistake == Mistake::SwapsPairs {
        core::mem::swap(&mut a, &mut b);
    }
    let of_loss = if mistake == Mistake::NoBeta { 1.0 } else { beta };
    let moved = match mistake {
        Mistake::AddsOffset => -offset,
        Mistake::NoOffset => 0.0,
        _ => offset,
    };
    let z = of_loss * (a - b) - moved;
    let (epsilon, of_d_epsilon) = match mistake {
        Mistake::NoLabelSmoothing => (0.0, 0.0),
        Mistake::NoLabelSmoothingInGradient => (label_smoothing, 0.0),
        Mistake::SmoothingReversed => (1.0 - label_smoothing, 1.0 - label_smoothing),
        _ => (label_smoothing, label_smoothing),
    };
    let plus = softplus_under(z, mistake, format);
    let mut loss = of_weight * (plus + epsilon * z);
    if mistake == Mistake::SignOfLoss {
        loss = -loss;
    }
    let sigma = sigmoid(-z);
    let d_beta = match mistake {
        Mistake::NoBetaInGradient | Mistake::NoBeta => 1.0,
        Mistake::BetaTwice => beta * beta,
        _ => beta,
    };
    let mut d_chosen = of_d_weight * d_beta * (of_d_epsilon - sigma);
    let mut d_rejected = -d_chosen;
    match mistake {
        Mistake::SwapsPairs => core::mem::swap(&mut d_chosen, &mut d_rejected),
        Mistake::SameSign => d_rejected = d_chosen,
        Mistake::SignOfLoss => (d_chosen, d_rejected) = (d_rejected, d_chosen),
        _ => {}
    }
    let of_reward =
        if matches!(mistake, Mistake::NoBetaInRewards | Mistake::NoBeta) { 1.0 } else { beta };
    let (mut chosen, mut rejected) = (of_reward * a, of_reward * b);
    let mut margin = chosen - rejected;
    match mistake {
        Mistake::OffsetInMargin => margin -= offset,
        // Whether rewards are swapped too is another matter.
        Mistake::SwapsPairs
        | Mistake::NoBetaInRewards
        | Mistake::NoBeta
        | Mistake::NoReference
        | Mistake::AddsReference => {
            (chosen, rejected, margin) = (ANY, ANY, ANY);
        }
        _ => {}
    }
    if mistake == Mistake::NoBetaInRewards {
        (chosen, rejected) = (a, b);
        margin = ANY;
    }
    if mistake == Mistake::NoBeta {
        d_chosen = ANY;
        d_rejected = ANY;
    }
    if of_weight == 0.0 {
        return [0.0, ANY, ANY, ANY, d_chosen, d_rejected];
    }
    [loss, chosen, rejected, margin, d_chosen, d_rejected]
}

/// softplus(−z) as it is written by mistake.
fn softplus_under(z: f64, mistake: Mistake, format: Format) -> f64 {
    match mistake {
        Mistake::LogOfSigmoid => {
            let p = format.round(sigmoid(z));
            if p < format.least_normal() * format.unit() {
                f64::INFINITY
            } else if p < format.least_normal() {
                ANY
            } else {
                -libm::log(p)
            }
        }
        Mistake::NoLog1p => {
            let e = format.round(1.0 + libm::exp(-z.abs()));
            (-z).max(0.0) + libm::log(e)
        }
        Mistake::SoftplusOverflows => {
            let e = format.round(1.0 + libm::exp(-z));
            if e.is_infinite() { e } else { libm::log(e) }
        }
        _ => softplus(-z),
    }
}
