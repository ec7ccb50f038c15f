//! The three losses of TRL's CPO trainer that stand on log-probs alone.

use super::curves::{Hinge, Logistic, Square};
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, label_smoothing, logit_loss};
use super::score::{LogProb, MeanLogProb};
use crate::Error;

/// The preference term of CPO (Xu et al. 2024, arXiv 2401.08417): DPO with a uniform reference, on
/// sums.
///
/// ```text
/// z = β·(log π(y_w) − log π(y_l)) − offset      L = softplus(−z) + ε·z
/// ∂L/∂log π(y_w) = −β·(σ(−z) − ε)               = −∂L/∂log π(y_l)
/// ```
///
/// TRL's CPO trainer (`sigmoid` there), Liger and mlx-lm-lora: β = 0.1; the whole loss adds an
/// [`Nll`](super::Nll) term of weight 1 over the completion's tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpo(LogitLoss<Logistic, LogProb>);

/// The hinge loss without a reference: `hinge` in TRL's CPO trainer, β = 0.1.
///
/// ```text
/// z = β·(log π(y_w) − log π(y_l)) − offset      L = max(0, 1 − z)
/// ∂L/∂log π(y_w) = −β where z < 1, else 0        = −∂L/∂log π(y_l)
/// ```
///
/// It is β times [`Slic`](super::Slic) with δ = 1/β. The NLL term of CPO is an [`Nll`](super::Nll).
#[doc(alias = "hinge")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpoHinge(LogitLoss<Hinge, LogProb>);

/// IPO on mean log-probs without a reference: `ipo` in TRL's CPO trainer, β = 0.1.
///
/// ```text
/// u = log π(y_w)/n_w − log π(y_l)/n_l      L = (u − 1/(2β))²      (an offset o in rewards: u − o/β)
/// ∂L/∂log π(y_w) = 2·(u − 1/(2β))/n_w      ∂L/∂log π(y_l) = −2·(u − 1/(2β))/n_l
/// ```
#[doc(alias = "ipo")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpoIpo(LogitLoss<Square, MeanLogProb>);

impl Cpo {
    /// The preference term of CPO, without label smoothing.
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

impl CpoHinge {
    /// The hinge loss of rewards β·log π.
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

impl CpoIpo {
    /// IPO on means without a reference.
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

logit_loss!(Cpo);
logit_loss!(CpoHinge);
logit_loss!(CpoIpo);
label_smoothing!(Cpo);

impl FromOptions for Cpo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let loss = Self::new(given.beta().unwrap_or(0.1))?;
        loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))
    }
}

impl FromOptions for CpoHinge {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1))
    }
}

impl FromOptions for CpoIpo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1))
    }
}
