//! The logistic family: DPO, conservative and robust DPO, and DPO on means.
//!
//! ```text
//! LogisticCurve         ℓ(z) = softplus(−z) + ε·z               ℓ′(z) = ε − σ(−z)
//! RobustCurve   ℓ(z) = softplus(−z) − ε/(1 − 2ε)·z      ℓ′(z) = −σ(−z) − ε/(1 − 2ε)
//! ```
//!
//! Both are (1 − ε)·softplus(−z) ± ε·softplus(z), the second over 1 − 2ε, with softplus(z) =
//! z + softplus(−z) put in: no difference of large numbers is left. It is never log(sigmoid), which
//! loses the tail of every well-learnt pair.

use super::score::{LogRatio, MeanLogRatio, Score};
use super::{Curve, MarginLoss, Tangent};
use crate::error::Parameter;
use crate::{Error, math};

/// −log σ(z), with label smoothing; see [`Dpo`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogisticCurve {
    label_smoothing: f64,
}

impl Curve for LogisticCurve {
    fn tangent(&self, z: f64) -> Tangent {
        let epsilon = self.label_smoothing;
        let slope = -(math::sigmoid(-z) - epsilon);
        // Without smoothing z = ∞ costs nothing, rather than 0·∞.
        let smoothing = if epsilon > 0.0 { epsilon * z } else { 0.0 };
        Tangent { value: math::softplus(-z) + smoothing, slope }
    }
}

/// The curve of [`Robust`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RobustCurve {
    label_smoothing: f64,
    /// ε/(1 − 2ε)
    excess: f64,
}

impl Curve for RobustCurve {
    fn tangent(&self, z: f64) -> Tangent {
        let surplus = if self.excess > 0.0 { self.excess * z } else { 0.0 };
        Tangent { value: math::softplus(-z) - surplus, slope: -(math::sigmoid(-z) + self.excess) }
    }
}

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
/// β says how far the policy may drift from the reference: small is aggressive, large conservative;
/// 0.1 is the usual default. ε is the share of preferences that may be mislabelled: at ε > 0 the loss
/// has its minimum at σ(z) = 1 − ε instead of pushing z to infinity.
///
/// Trainers differ in what `label_smoothing` does to their `sigmoid` loss: TRL up to 0.28, torchtune and
/// `OpenRLHF` compute this one; TRL from 0.29 on and Liger ignore it. Their `robust` is another loss,
/// [`Robust`].
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
pub type Dpo = MarginLoss<LogisticCurve, LogRatio>;

/// Robust DPO (Ray Chowdhury et al. 2024, arXiv 2403.00409): unbiased if a share ε of the labels is
/// flipped.
///
/// ```text
/// L = ((1−ε)·softplus(−z) − ε·softplus(z))/(1 − 2ε) = softplus(−z) − ε/(1−2ε)·z
/// ```
///
/// TRL, Liger and ms-swift: `robust`; the paper recommends ε = 0.1. It is not bounded below: L → −∞ as
/// z grows and its gradient never vanishes, so a negative loss is no mistake. ε = ½ would divide by zero
/// (TRL only warns).
pub type Robust = MarginLoss<RobustCurve, LogRatio>;

/// Length-normalised DPO: DPO of mean log-ratios (Tülu 3, Lambert et al. 2024, arXiv 2411.15124, eq. 6;
/// also arXiv 2407.15229).
///
/// ```text
/// z = β·(a/n_w − b/n_l) − offset      L = softplus(−z) + ε·z
/// ```
///
/// TRL: `sigmoid_norm`; open-instruct: `dpo_norm`; NeMo-RL: `preference_average_log_probs`. Its
/// log-ratios are per token, so β must be 10 to 50 times that of DPO: Tülu 3 has 5, and TRL's default of
/// 0.1 is hardly a loss at all.
pub type SigmoidNorm = MarginLoss<LogisticCurve, MeanLogRatio>;

impl Dpo {
    /// DPO without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0: at β = 0 the loss would be ln 2 for good.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Self::scaled(beta, LogisticCurve::default(), LogRatio::default())
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
        Self::scaled(beta, LogisticCurve::default(), MeanLogRatio::default())
    }
}

impl<S: Score> MarginLoss<LogisticCurve, S> {
    /// The same with label smoothing ε.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 ≤ ε ≤ ½.
    ///
    /// # Panics
    /// Never.
    pub fn with_label_smoothing(self, label_smoothing: f64) -> Result<Self, Error> {
        let is_valid = (0.0..=0.5).contains(&label_smoothing);
        let label_smoothing = Parameter::LabelSmoothing.check(label_smoothing, is_valid)?;
        Ok(self.with_curve(LogisticCurve { label_smoothing }))
    }

    /// ε.
    #[must_use]
    pub const fn label_smoothing(&self) -> f64 {
        self.curve.label_smoothing
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
    pub fn new(beta: f64, label_smoothing: f64) -> Result<Self, Error> {
        let is_valid = (0.0..0.5).contains(&label_smoothing);
        let label_smoothing = Parameter::RobustSmoothing.check(label_smoothing, is_valid)?;
        let excess = label_smoothing / (1.0 - 2.0 * label_smoothing);
        Self::scaled(beta, RobustCurve { label_smoothing, excess }, LogRatio::default())
    }
}

impl<S: Score> MarginLoss<RobustCurve, S> {
    /// The share ε of flipped labels.
    #[must_use]
    pub const fn flipped_share(&self) -> f64 {
        self.curve.label_smoothing
    }
}
