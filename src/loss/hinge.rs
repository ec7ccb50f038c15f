//! The hinge family: `SLiC` and RSO.
//!
//! ```text
//! ℓ(z) = max(0, δ − z)      ℓ′(z) = −1 for z < δ, else 0
//! ```
//!
//! At the kink z = δ the slope is 0, as that of `relu` in the trainers.

use super::score::{LogProb, LogRatio};
use super::{Curve, MarginLoss, Tangent};
use crate::Error;
use crate::error::Parameter;

/// max(0, δ − z); see [`Hinge`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HingeCurve {
    delta: f64,
}

impl Curve for HingeCurve {
    fn tangent(&self, z: f64) -> Tangent {
        let short = self.delta - z;
        match short > 0.0 {
            true => Tangent { value: short, slope: -1.0 },
            // NaN stays NaN.
            false if short.is_nan() => Tangent { value: short, slope: short },
            false => Tangent { value: 0.0, slope: 0.0 },
        }
    }
}

/// The hinge loss on rewards, `max(0, 1 − z)` with z = β·(a − b) − offset: `SLiC` as RSO normalises it
/// (Liu et al. 2023, arXiv 2309.06657).
///
/// `hinge` in TRL, Liger, LLaMA-Factory, mlx-lm-lora and ms-swift; `RSOLoss` in torchtune; β = 0.1. A
/// pair that wins by 1/β nats has no gradient left. Not the original `SLiC`, [`Slic`], which has no
/// reference.
pub type Hinge = MarginLoss<HingeCurve, LogRatio>;

/// The original calibration loss of `SLiC`-HF (Zhao et al. 2023, arXiv 2305.10425), without a
/// reference: `max(0, δ − log π(y_w) + log π(y_l))`.
///
/// HALOs: `slic`, δ = 1. Its regulariser −λ·log π of the chosen answer, λ = 0.1 there, is an [`Nll`](crate::loss::Nll) term.
/// There is no β: rewards are log-probs.
pub type Slic = MarginLoss<HingeCurve, LogProb>;

/// The hinge loss without a reference, `max(0, 1 − β·(log π(y_w) − log π(y_l)))`: `hinge` in TRL's CPO
/// trainer, whose NLL term is an [`Nll`](crate::loss::Nll). The type is that of [`Slic`]: δ = 1 in rewards
/// is δ = 1/β in log-probs.
pub type CpoHinge = Slic;

impl Hinge {
    /// The hinge loss.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Self::scaled(beta, HingeCurve { delta: 1.0 }, LogRatio::default())
    }
}

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
        Self::scaled(1.0, HingeCurve { delta }, LogProb)
    }
}

impl CpoHinge {
    /// The hinge loss of rewards β·log π: δ = 1, times β.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn of_rewards(beta: f64) -> Result<Self, Error> {
        Self::scaled(beta, HingeCurve { delta: 1.0 }, LogProb)
    }
}
