//! The hinge on log-ratios, as RSO has it.

use super::curves;
use super::divergence::{AnyDivergence, ReverseKl};
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, logit_loss};
use super::score::LogRatio;
use crate::Error;

/// The hinge loss on rewards: `SLiC` as RSO normalises it (Liu et al. 2023, arXiv 2309.06657).
///
/// ```text
/// z = β·(a − b) − offset      L = max(0, 1 − z)
/// ∂L/∂log π(y_w) = −β where z < 1, else 0        = −∂L/∂log π(y_l)
/// ```
///
/// `hinge` in TRL, Liger, LLaMA-Factory, mlx-lm-lora and ms-swift; `RSOLoss` in torchtune; β = 0.1.
/// A pair that wins by 1/β nats has no gradient left. Not the original `SLiC`,
/// [`Slic`](super::Slic), which has no reference.
#[doc(alias = "RSO")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hinge<D = ReverseKl>(LogitLoss<curves::Hinge, LogRatio<D>>);

impl Hinge {
    /// The hinge loss.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        LogitLoss::scaled(beta, curves::Hinge { delta: 1.0 }, LogRatio::default()).map(Self)
    }
}

logit_loss!(Hinge<D>);

impl FromOptions for Hinge<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let loss = Hinge::new(given.beta().unwrap_or(0.1))?;
        Ok(loss.with_divergence(given.divergence()))
    }
}
