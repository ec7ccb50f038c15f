//! EXO on pairs.

use super::divergence::{AnyDivergence, ReverseKl};
use super::label_kl::ToLabel;
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, logit_loss};
use super::score::LogRatio;
use crate::Error;
use crate::error::Parameter;

/// EXO on pairs (Ji et al. 2024, arXiv 2402.00856, eq. 16): the reverse KL between the stated
/// preference and the smoothed label.
///
/// ```text
/// z = β·(a − b) − offset
/// L = σ(z)·(log σ(z) − log(1−ε)) + σ(−z)·(log σ(−z) − log ε)
/// ∂L/∂log π(y_w) = β·σ(z)·σ(−z)·(z − log((1−ε)/ε))          = −∂L/∂log π(y_l)
/// ```
///
/// TRL, Liger, ms-swift: `exo_pair`, β = 0.1, ε = 1e-3. ε must be > 0: log ε is in the loss (TRL to
/// 0.28 and ms-swift silently put 1e-3 there, for all losses of a mixture). The gradient vanishes
/// in both tails: badly misordered pairs teach nothing. The minimum lies at z = log((1−ε)/ε), 6.9
/// by default. With Δ = log((1−ε)/ε) it is [`RpoForward`](super::RpoForward).
#[doc(alias = "exo_pair")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exo<D = ReverseKl>(LogitLoss<ToLabel, LogRatio<D>>);

impl Exo {
    /// EXO with label smoothing ε.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and 0 < ε < 1.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "label_smoothing")]
    pub fn new(beta: f64, label_smoothing: f64) -> Result<Self, Error> {
        let is_valid = label_smoothing > 0.0 && label_smoothing < 1.0;
        let epsilon = Parameter::ExoSmoothing.check(label_smoothing, is_valid)?;
        let gap = libm::log1p(-epsilon) - libm::log(epsilon);
        LogitLoss::scaled(beta, ToLabel { gap }, LogRatio::default()).map(Self)
    }
}

logit_loss!(Exo<D>);

impl FromOptions for Exo<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let smoothing = given.label_smoothing().unwrap_or(1e-3);
        let loss = Exo::new(given.beta().unwrap_or(0.1), smoothing)?;
        Ok(loss.with_divergence(given.divergence()))
    }
}
