//! One pair: the loss of its four sequence log-probs, and their gradients.
//!
//! ```text
//! a_c = πc − rc,   a_r = πr − rr                  log-ratios of chosen and rejected
//! z   = β (a_c − a_r) − offset
//! L   = w · (softplus(−z) + ε z)                  = w · (−(1 − ε) log σ(z) − ε log σ(−z))
//! ∂L/∂πc = w β (ε − σ(−z)) = −∂L/∂πr
//! rewards β a_c and β a_r,   margin β a_c − β a_r
//! ```
//!
//! Sources: Rafailov et al. 2023, <https://arxiv.org/abs/2305.18290>, equation 7; conservative DPO
//! (ε > 0): Mitchell 2023, <https://ericmitchell.ai/cdpo.pdf>.

/// The parameters of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpo {
    /// β, > 0: how dear it is to leave the reference.
    pub beta: f64,
    /// ε, in [0, ½]: the part of the labels that is taken to be wrong.
    pub label_smoothing: f64,
}

/// The log-probs of both answers of a pair under policy and reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairLogProbs {
    /// πc
    pub policy_chosen: f64,
    /// πr
    pub policy_rejected: f64,
    /// rc
    pub reference_chosen: f64,
    /// rr
    pub reference_rejected: f64,
}

/// All figures of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairResult {
    /// L
    pub loss: f64,
    /// `β a_c`
    pub reward_chosen: f64,
    /// `β a_r`
    pub reward_rejected: f64,
    /// `β (a_c − a_r)`, without the offset.
    pub margin: f64,
    /// ∂L/∂πc
    pub d_chosen: f64,
    /// ∂L/∂πr
    pub d_rejected: f64,
}

/// The loss of one pair, times its weight, with a margin that z has to exceed. Non-finite log-probs
/// make all figures NaN. A pair of weight 0 is not there: all figures are 0.
#[must_use]
pub fn preference_loss(dpo: &Dpo, pair: &PairLogProbs, weight: f64, offset: f64) -> PairResult {
    if weight == 0.0 {
        return PairResult::default();
    }
    let Dpo { beta, label_smoothing } = *dpo;
    let log_ratio_chosen = pair.policy_chosen - pair.reference_chosen;
    let log_ratio_rejected = pair.policy_rejected - pair.reference_rejected;
    // 0 · ∞ and 0 · NaN are NaN: one bad log-prob spoils all figures, as it should.
    let poison = 0.0 * (log_ratio_chosen + log_ratio_rejected);

    let margin = beta * (log_ratio_chosen - log_ratio_rejected) + poison;
    let z = margin - offset;
    let d_chosen = weight * beta * (label_smoothing - sigmoid(-z));
    PairResult {
        loss: weight * (softplus(-z) + label_smoothing * z),
        reward_chosen: beta * log_ratio_chosen + poison,
        reward_rejected: beta * log_ratio_rejected + poison,
        margin,
        d_chosen,
        d_rejected: -d_chosen,
    }
}

/// `log(1 + exp(x))`, right in both tails.
#[must_use]
pub fn softplus(x: f64) -> f64 {
    let linear = if x > 0.0 { x } else { 0.0 };
    linear + libm::log1p(libm::exp(-x.abs()))
}

/// `1/(1 + exp(−x))`, right in both tails.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    let small = libm::exp(-x.abs());
    if x >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}
