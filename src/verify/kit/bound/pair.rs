//! A pair: loss, rewards, derivatives.

use super::super::{Format, Precision};
use super::rounding;
use crate::verify::{Dpo, PairLogProbs, PairResult, preference_loss, sigmoid, softplus};

/// What loss, rewards, margin and derivatives of a pair may be off. Log-ratios may be formed of
/// policy and reference, or of chosen and rejected first, and β may come before their difference.
pub(in super::super) fn allowed_of_pair(
    precision: &Precision,
    dpo: &Dpo,
    pair: &PairLogProbs,
    weight: f64,
    offset: f64,
) -> [f64; 6] {
    let u = precision.pair.unit();
    let exact = preference_loss(dpo, pair, weight, offset);
    let PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen, .. } = exact;
    let Dpo { beta, label_smoothing } = *dpo;
    let inputs =
        [pair.policy_chosen, pair.policy_rejected, pair.reference_chosen, pair.reference_rejected];
    // Inputs are numbers of f32.
    let narrow = precision.pair < Format::F32;
    let of_inputs: f64 = if narrow { inputs.iter().map(|x| u * x.abs()).sum() } else { 0.0 };
    let ratios = [
        pair.policy_chosen - pair.reference_chosen,
        pair.policy_rejected - pair.reference_rejected,
        pair.policy_chosen - pair.policy_rejected,
        pair.reference_chosen - pair.reference_rejected,
        margin / beta,
    ];
    // Of a difference a − b: u |a| and u |b|, and the same again where β comes before it, as a
    // difference of rewards; a and b may cancel, and be those of answers or of models.
    let [of_chosen, of_rejected, of_policy, of_reference, difference] = ratios.map(f64::abs);
    let terms = (of_chosen + of_rejected).max(of_policy + of_reference);
    let of_ratios = of_inputs + u * (2.0 * terms + difference);
    let z = margin - offset;
    let narrow_offset = if narrow { u * offset.abs() } else { 0.0 };
    let of_z = beta * of_ratios + 2.0 * u * margin.abs() + u * z.abs() + narrow_offset;

    let (plus, sigma) = (softplus(-z), sigmoid(-z));
    // A sum on the way that leaves the range stays infinite, whatever weight follows.
    let largest = ratios.iter().flat_map(|x| [x.abs(), beta * x.abs()]).fold(z.abs(), f64::max);
    let on_the_way = largest.max(plus + label_smoothing * z.abs());
    if on_the_way + of_z >= precision.pair.overflow() {
        return [f64::INFINITY; 6];
    }
    let tail = libm::exp(-z.abs());
    let of_exp = 2.0 * u * precision.exp.at(z) + 2.0 * u;
    let of_log = 2.0 * u * precision.log.at(1.0) + 2.0 * u;
    let flushed = 4.0 * precision.pair.least_normal();
    // The curve is steepest at the near end of what z may be.
    let steep = sigmoid(-(z - of_z));
    let of_plus = steep * of_z
        + libm::log1p(tail) * (of_exp + of_log)
        + u * plus
        + precision.log_absolute
        + flushed;
    let of_loss = weight * (of_plus + label_smoothing * (of_z + 2.0 * u * z.abs()))
        + 4.0 * u * weight * (plus + label_smoothing * z.abs());
    let bend = (steep * (1.0 - sigmoid(-(z + of_z)))).min(0.25);
    let of_slope = of_exp + precision.divided_in(precision.pair, 1.0);
    let of_sigma = bend * of_z + sigma * of_slope + flushed;
    // σ(−z) − ε, or (1 − ε) σ(−z) − ε σ(z), whose second sigmoid is at most 1 and has its own error.
    let of_d = weight
        * beta
        * (of_sigma + label_smoothing * of_slope + 4.0 * u * (sigma + label_smoothing));
    // What is below the least normal number may be 0, whatever it was made of.
    let below = if weight > 0.0 { precision.pair.least_normal() } else { 0.0 };
    let of_reward = |reward: f64, inputs: [f64; 2]| {
        let narrow: f64 = if narrow { inputs.iter().map(|x| u * x.abs()).sum() } else { 0.0 };
        3.0 * u * reward.abs() + beta * narrow + rounding(precision.pair, reward)
    };
    [
        of_loss + below + rounding(precision.pair, loss),
        of_reward(reward_chosen, [pair.policy_chosen, pair.reference_chosen]),
        of_reward(reward_rejected, [pair.policy_rejected, pair.reference_rejected]),
        beta * of_ratios + 2.0 * u * margin.abs() + rounding(precision.pair, margin),
        of_d + below + rounding(precision.pair, d_chosen),
        of_d + below + rounding(precision.pair, d_chosen),
    ]
}
