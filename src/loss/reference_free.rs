//! Losses of a margin that have no reference: CPO, `SimPO`, `AlphaPO`.
//!
//! ```text
//! CPO       z = β·(log π(y_w) − log π(y_l)) − offset
//! SimPO     z = β·(log π(y_w)/n_w − log π(y_l)/n_l) − γ − offset
//! AlphaPO   z = β·(r(y_w) − r(y_l)) − γ − offset,   r(y) = (1 − e^(−α·log π(y)/n))/α
//! L = softplus(−z) + ε·z
//! ```

use super::MarginLoss;
use super::logistic::LogisticCurve;
use super::score::{LogProb, MeanLogProb, PowerLogProb};
use crate::Error;
use crate::error::Parameter;

/// The preference term of CPO (Xu et al. 2024, arXiv 2401.08417): DPO with a uniform reference, on sums.
///
/// TRL's CPO trainer, Liger and mlx-lm-lora: β = 0.1; the whole loss adds an [`Nll`](crate::loss::Nll) term of
/// weight 1 over the completion's tokens.
pub type Cpo = MarginLoss<LogisticCurve, LogProb>;

/// `SimPO` (Meng et al. 2024, arXiv 2405.14734, eq. 6): mean log-probs that must differ by a target margin γ.
///
/// TRL's CPO trainer (`simpo`), Liger and LLaMA-Factory have γ itself, 0.5 with β = 0.1 or 2; the paper's
/// code, HALOs and open-instruct have the ratio γ/β (0.25 at β = 2; 0.3 at β = 10), for which there is
/// [`SimPo::with_ratio`]. The two are not the same number: γ = 0.5 at β = 0.1 asks for 5 nats a token.
/// Liger's module adds an NLL term by default, which makes it CPO-SimPO.
pub type SimPo = MarginLoss<LogisticCurve, MeanLogProb>;

/// `AlphaPO` (Gupta et al. 2025, arXiv 2501.03884): `SimPO` with another shape of reward, its limit for
/// α → 0.
///
/// TRL's CPO trainer (`alphapo`), which has α = 0 by default: `SimPO`. TRL takes `exp(p)^(−α)`, which is
/// infinite once `exp(p)` underflows; here the difference of two rewards keeps its digits for every p. The
/// rewards reported are β times the mean log-prob, as TRL's.
pub type AlphaPo = MarginLoss<LogisticCurve, PowerLogProb>;

impl Cpo {
    /// The preference term of CPO, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Self::scaled(beta, LogisticCurve::default(), LogProb)
    }
}

impl SimPo {
    /// `SimPO` with the target margin γ, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and γ is finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, target_margin: f64) -> Result<Self, Error> {
        let gamma = Parameter::TargetMargin.not_negative(target_margin)?;
        Ok(Self::scaled(beta, LogisticCurve::default(), MeanLogProb)?.with_target_margin(gamma))
    }

    /// `SimPO` with the ratio γ/β: how many nats a token the chosen answer must win by.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, γ/β is finite and ≥ 0, and γ is finite.
    ///
    /// # Panics
    /// Never.
    pub fn with_ratio(beta: f64, ratio: f64) -> Result<Self, Error> {
        let ratio = Parameter::TargetMarginRatio.not_negative(ratio)?;
        Self::new(beta, Parameter::Beta.positive(beta)? * ratio)
    }
}

impl AlphaPo {
    /// `AlphaPO` with the exponent α and the target margin γ, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, γ is finite and ≥ 0, and α is finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, target_margin: f64, alpha: f64) -> Result<Self, Error> {
        let gamma = Parameter::TargetMargin.not_negative(target_margin)?;
        let alpha = Parameter::RewardExponent.finite(alpha)?;
        let score = PowerLogProb { alpha };
        Ok(Self::scaled(beta, LogisticCurve::default(), score)?.with_target_margin(gamma))
    }
}
