//! DPO, and DPO on mean log-ratios.

use super::curves::Logistic;
use super::divergence::{AnyDivergence, ReverseKl};
use super::options::{FromOptions, Given};
use super::preference_logit::{LogitLoss, label_smoothing, logit_loss};
use super::score::{LogRatio, MeanLogRatio};
use crate::Error;

/// DPO (Rafailov et al. 2023, arXiv 2305.18290, eq. 7), conservative with label smoothing
/// (Mitchell 2023, "A note on DPO with noisy preferences").
///
/// ```text
/// a = log π(y_w) − log π_ref(y_w)      b = log π(y_l) − log π_ref(y_l)
/// z = β·(a − b) − offset
/// L = softplus(−z) + ε·z                        = −(1−ε)·log σ(z) − ε·log σ(−z)
/// ∂L/∂log π(y_w) = −β·(σ(−z) − ε)               = −∂L/∂log π(y_l)
/// ```
///
/// Under another divergence D ([`Dpo::with_divergence`]) its scores g(a) and g(b) stand in the
/// place of a and b.
///
/// β says how far the policy may drift from the reference: small is aggressive, large conservative;
/// 0.1 is the usual default. ε is the share of preferences that may be mislabelled: at ε > 0 the
/// loss has its minimum at σ(z) = 1 − ε instead of pushing z to infinity.
///
/// Trainers differ in what `label_smoothing` does to their `sigmoid` loss: TRL up to 0.28,
/// torchtune and `OpenRLHF` compute this one; TRL from 0.29 on and Liger ignore it. Their `robust`
/// is another loss, [`Robust`](super::Robust).
///
/// # Example
/// ```
/// use dpo_kernel::Dpo;
/// use dpo_kernel::loss::{PairLogProbs, PreferenceLoss};
/// let step_zero = PairLogProbs::new(-20.5, -25.25, -20.5, -25.25);
/// let loss = Dpo::new(0.1)?.evaluate(&step_zero);
/// assert_eq!(loss.loss, core::f64::consts::LN_2);
/// assert_eq!((loss.d_chosen, loss.d_rejected), (-0.05, 0.05));
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[doc(alias = "sigmoid")]
#[doc(alias = "cDPO")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpo<D = ReverseKl>(LogitLoss<Logistic, LogRatio<D>>);

/// Length-normalised DPO: DPO of mean log-ratios (Tülu 3, Lambert et al. 2024, arXiv 2411.15124,
/// eq. 6; also arXiv 2407.15229).
///
/// ```text
/// z = β·(a/n_w − b/n_l) − offset      L = softplus(−z) + ε·z
/// ∂L/∂log π(y_w) = −β·(σ(−z) − ε)/n_w      ∂L/∂log π(y_l) = β·(σ(−z) − ε)/n_l
/// ```
///
/// TRL: `sigmoid_norm`; open-instruct: `dpo_norm`; NeMo-RL: `preference_average_log_probs`. Its
/// log-ratios are per token, so β must be 10 to 50 times that of DPO: Tülu 3 has 5, and TRL's
/// default of 0.1 is hardly a loss at all.
#[doc(alias = "sigmoid_norm")]
#[doc(alias = "dpo_norm")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SigmoidNorm<D = ReverseKl>(LogitLoss<Logistic, MeanLogRatio<D>>);

impl Dpo {
    /// DPO without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0: at β = 0 the loss would be ln 2 for good.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        LogitLoss::scaled(beta, Logistic::default(), LogRatio::default()).map(Self)
    }

    /// ℓ and ℓ′ at a preference logit z, which a loss of the batch makes of several pairs.
    pub(super) fn at(&self, z: f64) -> super::Tangent {
        super::tangent::Curve::tangent(&self.0.curve, z)
    }
}

impl SigmoidNorm {
    /// DPO of mean log-ratios, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        LogitLoss::scaled(beta, Logistic::default(), MeanLogRatio::default()).map(Self)
    }
}

logit_loss!(Dpo<D>);
logit_loss!(SigmoidNorm<D>);
label_smoothing!(Dpo<D>, SigmoidNorm<D>);

impl FromOptions for Dpo<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let loss = Dpo::new(given.beta().unwrap_or(0.1))?;
        let loss = loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))?;
        Ok(loss.with_divergence(given.divergence()))
    }
}

impl FromOptions for SigmoidNorm<AnyDivergence> {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let loss = SigmoidNorm::new(given.beta().unwrap_or(5.0))?;
        let loss = loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))?;
        Ok(loss.with_divergence(given.divergence()))
    }
}
