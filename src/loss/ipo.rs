//! IPO, on means and on sums.

use super::curves::Square;
use super::divergence::{AnyDivergence, ReverseKl};
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, logit_loss};
use super::score::{LogRatio, MeanLogRatio};
use crate::Error;

/// IPO (Azar et al. 2023, arXiv 2310.12036, eq. 17) on mean log-ratios, as its authors meant it.
///
/// ```text
/// u = a/n_w − b/n_l      L = (u − 1/(2β))²      (an offset o in rewards: u − o/β)
/// ∂L/∂log π(y_w) = 2·(u − 1/(2β))/n_w      ∂L/∂log π(y_l) = −2·(u − 1/(2β))/n_l
/// ```
///
/// β is the paper's τ, 0.1 by default. `ipo` in TRL's DPO, LLaMA-Factory, HALOs, mlx-lm-lora,
/// ms-swift. The target 1/(2β) is 5 nats *per token* at 0.1; that on sums, where the loss grows
/// with the square of the length, is [`IpoSum`]. Both have been called `ipo`, and most bugs with it
/// are about that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ipo<D = ReverseKl>(LogitLoss<Square, MeanLogRatio<D>>);

/// IPO on summed log-ratios.
///
/// ```text
/// u = a − b      L = (u − 1/(2β))²      (an offset o in rewards: u − o/β)
/// ∂L/∂log π(y_w) = 2·(u − 1/(2β))               = −∂L/∂log π(y_l)
/// ```
///
/// What the original DPO code, `OpenRLHF`, and TRL's online trainers compute under the name `ipo`.
#[doc(alias = "ipo")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IpoSum<D = ReverseKl>(LogitLoss<Square, LogRatio<D>>);

impl Ipo {
    /// IPO on means.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, and 1/(2β) finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        LogitLoss::unscaled(beta, Square::of_beta(beta)?, MeanLogRatio::default()).map(Self)
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
        LogitLoss::unscaled(beta, Square::of_beta(beta)?, LogRatio::default()).map(Self)
    }
}

logit_loss!(Ipo<D>);
logit_loss!(IpoSum<D>);

impl FromOptions for Ipo<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let loss = Ipo::new(given.beta().unwrap_or(0.1))?;
        Ok(loss.with_divergence(given.divergence()))
    }
}

impl FromOptions for IpoSum<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let loss = IpoSum::new(given.beta().unwrap_or(0.1))?;
        Ok(loss.with_divergence(given.divergence()))
    }
}
