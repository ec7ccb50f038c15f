//! Robust DPO.

use super::divergence::{AnyDivergence, ReverseKl};
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, logit_loss};
use super::score::LogRatio;
use super::tangent::Curve;
use super::{Divergence, Tangent};
use crate::error::Parameter;
use crate::{Error, math};

/// Robust DPO (Ray Chowdhury et al. 2024, arXiv 2403.00409): unbiased if a share ε of the labels is
/// flipped.
///
/// ```text
/// L = ((1−ε)·softplus(−z) − ε·softplus(z))/(1 − 2ε) = softplus(−z) − ε/(1−2ε)·z
/// z = β·(a − b) − offset
/// ∂L/∂log π(y_w) = −β·(σ(−z) + ε/(1−2ε))        = −∂L/∂log π(y_l)
/// ```
///
/// TRL, Liger and ms-swift: `robust`, β = 0.1; the paper recommends ε = 0.1, TRL has 0. It is not
/// bounded below: L → −∞ as z grows and its gradient never vanishes, so a negative loss is no
/// mistake. ε = ½ would divide by zero (TRL only warns).
#[doc(alias = "rDPO")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Robust<D = ReverseKl>(LogitLoss<Flipped, LogRatio<D>>);

/// The curve of [`Robust`], in the form without a quotient.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Flipped {
    label_smoothing: f64,
    /// ε/(1 − 2ε)
    excess: f64,
}

impl Curve for Flipped {
    fn tangent(&self, z: f64) -> Tangent {
        let surplus = if self.excess > 0.0 { self.excess * z } else { 0.0 };
        Tangent { value: math::softplus(-z) - surplus, slope: -(math::sigmoid(-z) + self.excess) }
    }
}

impl Robust {
    /// Robust DPO for a share ε of flipped labels; ε = 0 is DPO.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and 0 ≤ ε < ½.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "label_smoothing")]
    pub fn new(beta: f64, label_smoothing: f64) -> Result<Self, Error> {
        let is_valid = (0.0..0.5).contains(&label_smoothing);
        let label_smoothing = Parameter::RobustSmoothing.check(label_smoothing, is_valid)?;
        let excess = label_smoothing / (1.0 - 2.0 * label_smoothing);
        LogitLoss::scaled(beta, Flipped { label_smoothing, excess }, LogRatio::default()).map(Self)
    }
}

impl<D: Divergence> Robust<D> {
    /// The share ε of flipped labels.
    #[must_use]
    pub const fn flipped_share(&self) -> f64 {
        self.0.curve.label_smoothing
    }
}

logit_loss!(Robust<D>);

impl FromOptions for Robust<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let smoothing = given.label_smoothing().unwrap_or(0.1);
        let loss = Robust::new(given.beta().unwrap_or(0.1), smoothing)?;
        Ok(loss.with_divergence(given.divergence()))
    }
}
