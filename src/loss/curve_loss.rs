//! A loss of one's own.

use super::divergence::ReverseKl;
use super::preference_logit::LogitLoss;
use super::score::LogRatio;
use super::{Divergence, Inputs, PreferenceLoss, Tangent};
use crate::Error;
use crate::pair::{PairLogProbs, PairLoss};

/// Any function ℓ of DPO's preference logit, as in generalized preference optimization (Tang et al.
/// 2024, arXiv 2402.05749), which asks of ℓ that it be convex with ℓ′(0) < 0.
///
/// ```text
/// z = β·(a − b) − offset      L = ℓ(z)
/// ∂L/∂log π(y_w) = β·ℓ′(z)                      = −∂L/∂log π(y_l)
/// ```
///
/// Under a divergence whose scores overflow z may be ±∞: a function whose limit is finite says it,
/// with slope 0.
///
/// # Example
/// ```
/// use dpo_kernel::loss::{CurveLoss, PairLogProbs, PreferenceLoss, Tangent};
/// let exponential = |z: f64| Tangent { value: (-z).exp(), slope: -(-z).exp() };
/// let loss = CurveLoss::new(0.1, exponential)?;
/// let found = loss.evaluate(&PairLogProbs::new(-20.5, -25.25, -21.0, -24.5));
/// assert!((found.loss - (-0.125_f64).exp()).abs() < 1e-15);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[doc(alias = "GPO")]
#[derive(Clone, Copy, PartialEq)]
pub struct CurveLoss<F, D = ReverseKl>(LogitLoss<F, LogRatio<D>>);

impl<F> CurveLoss<F>
where
    F: Fn(f64) -> Tangent,
{
    /// The loss of a function that says ℓ(z) and ℓ′(z).
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, curve: F) -> Result<Self, Error> {
        LogitLoss::scaled(beta, curve, LogRatio::default()).map(Self)
    }

    /// The same loss with another f-divergence in the place of the reverse KL.
    #[must_use]
    pub fn with_divergence<D: Divergence>(self, divergence: D) -> CurveLoss<F, D> {
        CurveLoss(self.0.with_divergence(divergence))
    }
}

impl<F, D> CurveLoss<F, D> {
    /// β.
    #[must_use]
    pub const fn beta(&self) -> f64 {
        self.0.beta()
    }
}

/// A function has no form to print.
impl<F, D> core::fmt::Debug for CurveLoss<F, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CurveLoss").field("beta", &self.beta()).finish_non_exhaustive()
    }
}

impl<F: Fn(f64) -> Tangent, D: Divergence> PreferenceLoss for CurveLoss<F, D> {
    fn inputs(&self) -> Inputs {
        self.0.inputs()
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        self.0.evaluate(pair)
    }
}
