//! The loss of DPO, with label smoothing (conservative DPO).
//!
//! ```text
//! a = log π(y_w) − log π_ref(y_w)      b = log π(y_l) − log π_ref(y_l)
//! z = β·(a − b) − offset
//! L = weight · (softplus(−z) + ε·z)             = −(1−ε)·log σ(z) − ε·log σ(−z)
//! ∂L/∂log π(y_w) = −weight · β·(σ(−z) − ε)      = −∂L/∂log π(y_l)
//! ```
//!
//! Log-ratios are formed first: where policy and reference agree they are exactly 0, and the loss is
//! exactly ln 2. It is never log(sigmoid): that loses the tail of every well-learnt pair.

use super::pair::{PairLogProbs, PairLoss, PreferenceLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math;

/// DPO (Rafailov et al. 2023, arXiv 2305.18290, eq. 7), conservative with label smoothing
/// (Mitchell 2023, "A note on DPO with noisy preferences").
///
/// β says how far the policy may drift from the reference: small is aggressive, large conservative;
/// 0.1 is the usual default. ε is the share of preferences that may be mislabelled: at ε > 0 the loss
/// has its minimum at σ(z) = 1 − ε instead of pushing z to infinity.
///
/// Trainers differ in what `label_smoothing` does to their `sigmoid` loss: TRL up to 0.28 and torchtune
/// compute this one, TRL from 0.29 on ignores it; its `robust` is another loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpo {
    beta: f64,
    label_smoothing: f64,
}

impl Dpo {
    /// DPO without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0: at β = 0 the loss would be ln 2 for good.
    pub fn new(beta: f64) -> Result<Self, Error> {
        if beta.is_finite() && beta > 0.0 {
            Ok(Self { beta, label_smoothing: 0.0 })
        } else {
            Err(Error::Parameter { parameter: Parameter::Beta, value: beta })
        }
    }

    /// The same with label smoothing ε.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 ≤ ε ≤ ½.
    pub fn with_label_smoothing(self, label_smoothing: f64) -> Result<Self, Error> {
        if (0.0..=0.5).contains(&label_smoothing) {
            Ok(Self { label_smoothing, ..self })
        } else {
            let parameter = Parameter::LabelSmoothing;
            Err(Error::Parameter { parameter, value: label_smoothing })
        }
    }

    /// β.
    #[must_use]
    pub const fn beta(&self) -> f64 {
        self.beta
    }

    /// ε.
    #[must_use]
    pub const fn label_smoothing(&self) -> f64 {
        self.label_smoothing
    }
}

impl PreferenceLoss for Dpo {
    /// # Numerics
    /// Given z, the loss is within a few 1e-16 relative and both its tails are kept; the gradient
    /// likewise, but for the difference σ(−z) − ε, which is as accurate as ε. NaN in every field
    /// where an input is not finite or β·(a − b) overflows.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::{Dpo, PairLogProbs, PreferenceLoss};
    /// let step_zero = PairLogProbs::new(-20.5, -25.25, -20.5, -25.25);
    /// let loss = Dpo::new(0.1)?.evaluate(&step_zero);
    /// assert_eq!(loss.loss, core::f64::consts::LN_2);
    /// assert_eq!((loss.d_chosen, loss.d_rejected), (-0.05, 0.05));
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        let Self { beta, label_smoothing } = *self;
        let a = pair.policy_chosen - pair.reference_chosen;
        let b = pair.policy_rejected - pair.reference_rejected;
        let z = beta * (a - b) - pair.offset;
        let slope = math::sigmoid(-z) - label_smoothing;
        let d_chosen = -pair.weight * (beta * slope);
        let found = PairLoss {
            loss: pair.weight * (math::softplus(-z) + label_smoothing * z),
            reward_chosen: beta * a,
            reward_rejected: beta * b,
            margin: beta * (a - b),
            d_chosen,
            d_rejected: -d_chosen,
        };
        if found.is_finite() { found } else { PairLoss::NAN }
    }
}
