//! `DiscoPOP`: the loss that a language model discovered.

use super::Tangent;
use super::divergence::{AnyDivergence, ReverseKl};
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, logit_loss};
use super::score::LogRatio;
use super::tangent::Curve;
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};

/// `DiscoPOP`, the log-ratio modulated loss (Lu et al. 2024, arXiv 2406.08414, eq. 5): a blend of
/// the logistic and the exponential loss.
///
/// ```text
/// z = β·(a − b) − offset,   m = σ(z/τ)
/// L = (1 − m)·softplus(−z) + m·e^−z
/// ∂L/∂z = −(1 − m)·σ(−z) − m·e^−z + m·(1 − m)/τ·(e^−z − softplus(−z))
/// ∂L/∂log π(y_w) = β·∂L/∂z                      = −∂L/∂log π(y_l)
/// ```
///
/// TRL, Liger, ms-swift: `discopop`, τ = 0.05, β = 0.05 in the paper and 0.1 in TRL. Its slope at 0
/// is −¾ + (1 − ln 2)/(4τ), *positive* at τ = 0.05: the first step lowers the chosen answer's
/// log-prob. That is what the published formula says. For τ > 1 it grows exponentially to the left.
#[doc(alias = "discopop_tau")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiscoPop<D = ReverseKl>(LogitLoss<Blend, LogRatio<D>>);

/// The curve of [`DiscoPop`].
///
/// e^−z overflows where m underflows, so the products are taken as exponentials of sums:
/// m·e^−z = exp(−z − softplus(−z/τ)) and m·(1−m)·e^−z = exp(−z − softplus(−z/τ) − softplus(z/τ)).
/// The naive form is 0·∞ = NaN for z < −88.7 in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Blend {
    tau: f64,
}

impl Curve for Blend {
    fn tangent(&self, z: f64) -> Tangent {
        if z == f64::INFINITY {
            return Tangent { value: 0.0, slope: 0.0 };
        }
        let x = z / self.tau;
        let logistic = softplus(-z);
        let rest = sigmoid(-x);
        let exponent = -z - softplus(-x);
        let exponential = libm::exp(exponent);
        let change = libm::exp(exponent - softplus(x)) - sigmoid(x) * rest * logistic;
        Tangent {
            value: rest * logistic + exponential,
            slope: change / self.tau - rest * sigmoid(-z) - exponential,
        }
    }
}

impl DiscoPop {
    /// `DiscoPOP` with the blend's temperature τ.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β and τ are finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, tau: f64) -> Result<Self, Error> {
        let tau = Parameter::BlendTemperature.positive(tau)?;
        LogitLoss::scaled(beta, Blend { tau }, LogRatio::default()).map(Self)
    }
}

logit_loss!(DiscoPop<D>);

impl FromOptions for DiscoPop<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let tau = given.blend_temperature().unwrap_or(0.05);
        let loss = DiscoPop::new(given.beta().unwrap_or(0.05), tau)?;
        Ok(loss.with_divergence(given.divergence()))
    }
}
