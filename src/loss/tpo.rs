//! The contrast of TPO between the chosen and the rejected answer, in TRL's four forms.

use super::curves::{Hinge, Logistic, Square};
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, label_smoothing, logit_loss};
use super::score::{LogProb, MeanLogProb};
use crate::Error;

/// β of TPO, in the paper and in TRL.
const BETA: f64 = 0.01;

/// The contrast of triple preference optimization (Saeidi et al. 2024, arXiv 2405.16681), without a
/// reference model.
///
/// ```text
/// z = β·(log π(y_w) − log π(y_l)) − offset      L = softplus(−z) + ε·z
/// ∂L/∂log π(y_w) = −β·(σ(−z) − ε)               = −∂L/∂log π(y_l)
/// ```
///
/// The whole loss adds the likelihood of a third, gold answer, of weight α = 1: an
/// [`Nll`](super::Nll) term. TRL's TPO trainer: `sigmoid`, β = 0.01, ε = 0. [`Cpo`](super::Cpo) is
/// the same contrast, with the likelihood of the chosen answer beside it and another default of β.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tpo(LogitLoss<Logistic, LogProb>);

/// The hinge form of [`Tpo`]: `hinge` in TRL's TPO trainer, β = 0.01.
///
/// ```text
/// z = β·(log π(y_w) − log π(y_l)) − offset      L = max(0, 1 − z)
/// ∂L/∂log π(y_w) = −β where z < 1, else 0        = −∂L/∂log π(y_l)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TpoHinge(LogitLoss<Hinge, LogProb>);

/// The squared form of [`Tpo`], on mean log-probs: `ipo` in TRL's TPO trainer, β = 0.01.
///
/// ```text
/// u = log π(y_w)/n_w − log π(y_l)/n_l      L = (u − 1/(2β))²      (an offset o in rewards: u − o/β)
/// ∂L/∂log π(y_w) = 2·(u − 1/(2β))/n_w      ∂L/∂log π(y_l) = −2·(u − 1/(2β))/n_l
/// ```
///
/// At β = 0.01 the target is 50 nats *per token*, which no answer wins by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TpoIpo(LogitLoss<Square, MeanLogProb>);

/// TPO-L, the length-normalised form of [`Tpo`] with a target reward margin γ (arXiv 2405.16681).
///
/// ```text
/// z = β·(log π(y_w)/n_w − log π(y_l)/n_l) − γ − offset      L = softplus(−z) + ε·z
/// ∂L/∂log π(y_w) = −β·(σ(−z) − ε)/n_w      ∂L/∂log π(y_l) = β·(σ(−z) − ε)/n_l
/// ```
///
/// TRL's TPO trainer: `tpo-l`, β = 0.01, γ = 0.5 (`tpo_l_gamma`), ε = 0; the authors' runs have β
/// 0.01 to 2 and γ 0.5 to 5.4. The formula is that of [`SimPo`](super::SimPo); the whole loss adds
/// the likelihood of a gold answer.
#[doc(alias = "tpo-l")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TpoL(LogitLoss<Logistic, MeanLogProb>);

impl Tpo {
    /// The contrast of TPO, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        LogitLoss::scaled(beta, Logistic::default(), LogProb).map(Self)
    }
}

impl TpoHinge {
    /// The hinge form.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        LogitLoss::scaled(beta, Hinge { delta: 1.0 }, LogProb).map(Self)
    }
}

impl TpoIpo {
    /// The squared form.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, and 1/(2β) finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        LogitLoss::unscaled(beta, Square::of_beta(beta)?, MeanLogProb).map(Self)
    }
}

impl TpoL {
    /// TPO-L with the target reward margin γ, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and γ is finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "tpo_l_gamma")]
    pub fn new(beta: f64, target_margin: f64) -> Result<Self, Error> {
        let loss = LogitLoss::scaled(beta, Logistic::default(), MeanLogProb)?;
        loss.with_target_margin(target_margin).map(Self)
    }
}

logit_loss!(Tpo);
logit_loss!(TpoHinge);
logit_loss!(TpoIpo);
logit_loss!(TpoL);
label_smoothing!(Tpo, TpoL);

impl FromOptions for Tpo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let loss = Self::new(given.beta().unwrap_or(BETA))?;
        loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))
    }
}

impl FromOptions for TpoHinge {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(BETA))
    }
}

impl FromOptions for TpoIpo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(BETA))
    }
}

impl FromOptions for TpoL {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let gamma = given.target_margin().unwrap_or(0.5);
        let loss = Self::new(given.beta().unwrap_or(BETA), gamma)?;
        loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))
    }
}
