//! `AlphaPO`.

use super::curves::Logistic;
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, label_smoothing, logit_loss};
use super::score::PowerLogProb;
use crate::Error;
use crate::error::Parameter;

/// `AlphaPO` (Gupta et al. 2025, arXiv 2501.03884): [`SimPo`](super::SimPo) with another shape of
/// reward, its limit for α → 0.
///
/// ```text
/// p = log π(y_w)/n_w,   q = log π(y_l)/n_l,   r(x) = (1 − e^(−α·x))/α
/// z = β·(r(p) − r(q)) − γ − offset      L = softplus(−z) + ε·z
/// ∂L/∂log π(y_w) = −β·(σ(−z) − ε)·e^(−α·p)/n_w      ∂L/∂log π(y_l) = β·(σ(−z) − ε)·e^(−α·q)/n_l
/// ```
///
/// TRL's CPO trainer (`alphapo`), which has α = 0 by default: `SimPO`. TRL takes `exp(p)^(−α)`,
/// which is infinite once `exp(p)` underflows; here the difference of two rewards keeps its digits
/// for every p. The rewards reported are β times the mean log-prob, as TRL's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlphaPo(LogitLoss<Logistic, PowerLogProb>);

impl AlphaPo {
    /// `AlphaPO` with the exponent α and the target reward margin γ, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, γ is finite and ≥ 0, and α is finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, target_margin: f64, alpha: f64) -> Result<Self, Error> {
        let alpha = Parameter::RewardExponent.finite(alpha)?;
        let loss = LogitLoss::scaled(beta, Logistic::default(), PowerLogProb { alpha })?;
        loss.with_target_margin(target_margin).map(Self)
    }
}

logit_loss!(AlphaPo);
label_smoothing!(AlphaPo);

impl FromOptions for AlphaPo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let (beta, gamma) = (given.beta().unwrap_or(2.0), given.target_margin().unwrap_or(0.5));
        let loss = Self::new(beta, gamma, given.reward_exponent().unwrap_or(0.0))?;
        loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))
    }
}
