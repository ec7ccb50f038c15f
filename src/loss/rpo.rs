//! NVIDIA's reward-aware preference optimization, with its three distances.

use super::curves::Square;
use super::divergence::{AnyDivergence, ReverseKl};
use super::label_kl::{FromLabel, ToLabel};
use super::options::{FromOptions, Given, required};
use super::preference_logit::{LogitLoss, logit_loss};
use super::score::LogRatio;
use crate::Error;
use crate::error::Parameter;

/// NVIDIA's reward-aware preference optimization (RPO) with the forward divergence.
///
/// ```text
/// z = β·(a − b) − offset      L = KL(σ(z) ‖ σ(Δ))
/// ∂L/∂log π(y_w) = β·σ(z)·σ(−z)·(z − Δ)         = −∂L/∂log π(y_l)
/// ```
///
/// Δ is the gap of external rewards, scaled, `η·(r_w − r_l)`; for another Δ in each pair give each
/// its own loss ([`PerPair`](super::PerPair)). NeMo-Aligner: `rpo_fwd_kl`; β = 0.1, Δ has no
/// default. With Δ = log((1−ε)/ε) it is [`Exo`](super::Exo). Source: Nemotron-4 340B (2024), arXiv
/// 2406.11704; arXiv 2502.00203.
#[doc(alias = "rpo_fwd_kl")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RpoForward<D = ReverseKl>(LogitLoss<ToLabel, LogRatio<D>>);

/// NVIDIA's RPO with the backward divergence, as [`RpoForward`] otherwise.
///
/// ```text
/// z = β·(a − b) − offset      L = KL(σ(Δ) ‖ σ(z))
/// ∂L/∂log π(y_w) = β·(σ(z) − σ(Δ))              = −∂L/∂log π(y_l)
/// ```
///
/// NeMo-Aligner: `rpo_bwd_kl`. With σ(Δ) = 1 − ε it is conservative [`Dpo`](super::Dpo) but for a
/// constant.
#[doc(alias = "rpo_bwd_kl")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RpoBackward<D = ReverseKl>(LogitLoss<FromLabel, LogRatio<D>>);

/// NVIDIA's RPO with the squared distance, as [`RpoForward`] otherwise.
///
/// ```text
/// z = β·(a − b) − offset      L = (z − Δ)²
/// ∂L/∂log π(y_w) = 2β·(z − Δ)                   = −∂L/∂log π(y_l)
/// ```
///
/// NeMo-Aligner: `rpo_sq`. With Δ = ½ it is β² times [`IpoSum`](super::IpoSum).
#[doc(alias = "rpo_sq")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RpoSquare<D = ReverseKl>(LogitLoss<Square, LogRatio<D>>);

impl RpoForward {
    /// RPO, forward, with the reward gap Δ.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and Δ is finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, gap: f64) -> Result<Self, Error> {
        let gap = Parameter::RewardGap.finite(gap)?;
        LogitLoss::scaled(beta, ToLabel { gap }, LogRatio::default()).map(Self)
    }
}

impl RpoBackward {
    /// RPO, backward, with the reward gap Δ.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and Δ is finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, gap: f64) -> Result<Self, Error> {
        let gap = Parameter::RewardGap.finite(gap)?;
        LogitLoss::scaled(beta, FromLabel { gap }, LogRatio::default()).map(Self)
    }
}

impl RpoSquare {
    /// RPO, squared, with the reward gap Δ.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and Δ is finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, gap: f64) -> Result<Self, Error> {
        let target = Parameter::RewardGap.finite(gap)?;
        LogitLoss::scaled(beta, Square { target }, LogRatio::default()).map(Self)
    }
}

logit_loss!(RpoForward<D>);
logit_loss!(RpoBackward<D>);
logit_loss!(RpoSquare<D>);

/// β and Δ.
fn parameters(given: &mut Given) -> Result<(f64, f64), Error> {
    let beta = given.beta().unwrap_or(0.1);
    Ok((beta, required(given.reward_gap(), Parameter::RewardGap)?))
}

impl FromOptions for RpoForward<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let (beta, gap) = parameters(given)?;
        Ok(RpoForward::new(beta, gap)?.with_divergence(given.divergence()))
    }
}

impl FromOptions for RpoBackward<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let (beta, gap) = parameters(given)?;
        Ok(RpoBackward::new(beta, gap)?.with_divergence(given.divergence()))
    }
}

impl FromOptions for RpoSquare<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let (beta, gap) = parameters(given)?;
        Ok(RpoSquare::new(beta, gap)?.with_divergence(given.divergence()))
    }
}
