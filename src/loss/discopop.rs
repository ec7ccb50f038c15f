//! `DiscoPOP`: the loss that a language model discovered, a blend of the logistic and the exponential.
//!
//! ```text
//! m = σ(z/τ)
//! ℓ(z)  = (1 − m)·softplus(−z) + m·e^−z
//! ℓ′(z) = −(1 − m)·σ(−z) − m·e^−z + m·(1 − m)/τ·(e^−z − softplus(−z))
//! ```
//!
//! e^−z overflows where m underflows, so the products are taken as exponentials of sums:
//! m·e^−z = exp(−z − softplus(−z/τ)) and m·(1−m)·e^−z = exp(−z − softplus(−z/τ) − softplus(z/τ)).
//! The naive form is 0·∞ = NaN for z < −88.7 in f32.

use super::score::LogRatio;
use super::{Curve, MarginLoss, Tangent};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};

/// The blend of two losses; see [`DiscoPop`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlendCurve {
    tau: f64,
}

impl Curve for BlendCurve {
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

/// `DiscoPOP`, the log-ratio modulated loss (Lu et al. 2024, arXiv 2406.08414, eq. 5), of z = β·(a − b) −
/// offset.
///
/// TRL, Liger, ms-swift: `discopop`, τ = 0.05, β = 0.05 in the paper and 0.1 in TRL. Its slope at 0 is
/// −¾ + (1 − ln 2)/(4τ), *positive* at τ = 0.05: the first step lowers the chosen answer's log-prob.
/// That is what the published formula says. For τ > 1 it grows exponentially to the left.
pub type DiscoPop = MarginLoss<BlendCurve, LogRatio>;

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
        Self::scaled(beta, BlendCurve { tau }, LogRatio::default())
    }
}
