//! Squared distances of the margin to a target: IPO.

use super::score::{LogRatio, MeanLogProb, MeanLogRatio};
use super::{Curve, MarginLoss, Tangent};
use crate::Error;
use crate::error::Parameter;

/// (z − target)².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquareCurve {
    pub(super) target: f64,
}

impl Curve for SquareCurve {
    fn tangent(&self, z: f64) -> Tangent {
        let distance = z - self.target;
        Tangent { value: distance * distance, slope: 2.0 * distance }
    }
}

/// IPO (Azar et al. 2023, arXiv 2310.12036, eq. 17) on mean log-ratios, as its authors meant it.
///
/// ```text
/// u = a/n_w − b/n_l      L = (u − 1/(2β))²      (an offset o in rewards: u − o/β)
/// ∂L/∂log π(y_w) = 2·(u − 1/(2β))/n_w      ∂L/∂log π(y_l) = −2·(u − 1/(2β))/n_l
/// ```
///
/// β is the paper's τ, 0.1 by default. `ipo` in TRL's DPO, LLaMA-Factory, HALOs, mlx-lm-lora, ms-swift.
/// The target 1/(2β) is 5 nats *per token* at 0.1; that on sums, where the loss grows with the square of
/// the length, is [`IpoSum`]. Both have been called `ipo`, and most bugs with it are about that.
pub type Ipo = MarginLoss<SquareCurve, MeanLogRatio>;

/// IPO on summed log-ratios: `(a − b − 1/(2β))²`.
///
/// What the original DPO code, `OpenRLHF`, and TRL's online trainers compute under the name `ipo`.
pub type IpoSum = MarginLoss<SquareCurve, LogRatio>;

/// IPO on mean log-probs without a reference: `ipo` in TRL's CPO trainer.
pub type CpoIpo = MarginLoss<SquareCurve, MeanLogProb>;

impl SquareCurve {
    /// At 1/(2β).
    fn of_beta(beta: f64) -> Result<Self, Error> {
        Ok(Self { target: Parameter::Beta.half_inverse(beta)? })
    }
}

impl Ipo {
    /// IPO on means.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, and 1/(2β) finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Self::unscaled(beta, SquareCurve::of_beta(beta)?, MeanLogRatio::default())
    }
}

impl IpoSum {
    /// IPO on sums.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, and 1/(2β) finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Self::unscaled(beta, SquareCurve::of_beta(beta)?, LogRatio::default())
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
        Self::unscaled(beta, SquareCurve::of_beta(beta)?, MeanLogProb)
    }
}
