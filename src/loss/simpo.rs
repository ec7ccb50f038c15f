//! `SimPO`.

use super::curves::Logistic;
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, label_smoothing, logit_loss};
use super::score::MeanLogProb;
use crate::Error;
use crate::error::Parameter;

/// `SimPO` (Meng et al. 2024, arXiv 2405.14734, eq. 6): mean log-probs, without a reference, that
/// must differ by a target reward margin γ.
///
/// ```text
/// z = β·(log π(y_w)/n_w − log π(y_l)/n_l) − γ − offset      L = softplus(−z) + ε·z
/// ∂L/∂log π(y_w) = −β·(σ(−z) − ε)/n_w      ∂L/∂log π(y_l) = β·(σ(−z) − ε)/n_l
/// ```
///
/// The margin that is reported is β times the difference of the means, without γ.
///
/// TRL's CPO trainer (`simpo`), Liger and LLaMA-Factory have γ itself, 0.5 with β = 0.1 or 2; the
/// paper's code, HALOs and open-instruct have the ratio γ/β (0.25 at β = 2; 0.3 at β = 10), for
/// which there is [`SimPo::with_ratio`]. The two are not the same number: γ = 0.5 at β = 0.1 asks
/// for 5 nats a token. Liger's module adds an NLL term by default, which makes it CPO-SimPO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimPo(LogitLoss<Logistic, MeanLogProb>);

impl SimPo {
    /// `SimPO` with the target reward margin γ, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and γ is finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "simpo_gamma")]
    pub fn new(beta: f64, target_margin: f64) -> Result<Self, Error> {
        let loss = LogitLoss::scaled(beta, Logistic::default(), MeanLogProb)?;
        loss.with_target_margin(target_margin).map(Self)
    }

    /// `SimPO` with the ratio γ/β: how many nats a token the chosen answer must win by.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, γ/β is finite and ≥ 0, and γ is finite.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "gamma_beta_ratio")]
    pub fn with_ratio(beta: f64, ratio: f64) -> Result<Self, Error> {
        let ratio = Parameter::TargetMarginRatio.not_negative(ratio)?;
        Self::new(beta, Parameter::Beta.positive(beta)? * ratio)
    }
}

logit_loss!(SimPo);
label_smoothing!(SimPo);

impl FromOptions for SimPo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let beta = given.beta().unwrap_or(2.0);
        let loss = match given.target_margin_ratio() {
            // With both, γ is left over and refused.
            Some(ratio) => Self::with_ratio(beta, ratio)?,
            None => Self::new(beta, given.target_margin().unwrap_or(0.5))?,
        };
        loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))
    }
}
