//! `SLiC`, the calibration loss.

use super::curves::Hinge;
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, logit_loss};
use super::score::LogProb;
use crate::Error;
use crate::error::Parameter;

/// The original calibration loss of `SLiC`-HF (Zhao et al. 2023, arXiv 2305.10425), without a
/// reference.
///
/// ```text
/// z = log π(y_w) − log π(y_l) − offset      L = max(0, δ − z)
/// ∂L/∂log π(y_w) = −1 where z < δ, else 0        = −∂L/∂log π(y_l)
/// ```
///
/// HALOs: `slic`, δ = 1. Its regulariser −λ·log π of the chosen answer, λ = 0.1 there, is an
/// [`Nll`](super::Nll) term. There is no β: rewards are log-probs. The hinge on rewards β·log π is
/// [`CpoHinge`](super::CpoHinge).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slic(LogitLoss<Hinge, LogProb>);

impl Slic {
    /// The calibration loss of `SLiC`: δ in nats, no β.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless δ is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(delta: f64) -> Result<Self, Error> {
        let delta = Parameter::SlicMargin.positive(delta)?;
        LogitLoss::scaled(1.0, Hinge { delta }, LogProb).map(Self)
    }

    /// δ.
    #[must_use]
    pub const fn delta(&self) -> f64 {
        self.0.curve.delta
    }
}

logit_loss!(without_beta Slic);

impl FromOptions for Slic {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.slic_margin().unwrap_or(1.0))
    }
}
