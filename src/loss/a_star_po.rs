//! A*PO: regression of the log-ratio onto an advantage.

use super::options::{FromOptions, Given, required};
use super::{Tangent, UnpairedLoss};
use crate::Error;
use crate::error::Parameter;

/// A*PO (Brantley et al. 2025, arXiv 2505.20686): the log-ratio of a sampled answer is regressed
/// onto its advantage over the optimal value of the prompt.
///
/// ```text
/// u = log π(y) − log π_ref(y)
/// L = (β₂·u − (r − V*))²      ∂L/∂log π(y) = 2β₂·(β₂·u − (r − V*))
/// V* = β₁·log mean e^(r/β₁) over answers of the reference
/// ```
///
/// For answers without a partner: [`unpaired_loss`](crate::unpaired::unpaired_loss). One loss holds
/// one advantage, so each answer has a loss of its own; whether the answer is called desirable
/// makes no difference but to the sums of the summary. V* is
/// [`optimal_value`](crate::training::optimal_value) of the rewards of some samples a prompt, made
/// once before training. TRL: `a2po`, β₁ = 0.5, β₂ = 1e-3, 8 samples.
///
/// # Example
/// ```
/// use dpo_kernel::loss::{AStarPo, UnpairedLoss};
/// use dpo_kernel::training::optimal_value;
/// // Three of four samples solve the prompt; this answer does.
/// let value = optimal_value(0.5, &[1.0, 0.0, 1.0, 1.0])?;
/// let loss = AStarPo::new(1e-3, 1.0 - value)?;
/// let found = loss.chosen(2.0);
/// assert!((found.value - (2e-3 - (1.0 - value)).powi(2)).abs() < 1e-15);
/// // It is to become likelier.
/// assert!(value < 1.0 && found.slope < 0.0);
/// # Ok::<(), dpo_kernel::Error>(())
/// ```
#[doc(alias = "a2po")]
#[doc(alias = "A*PO")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AStarPo {
    beta: f64,
    advantage: f64,
}

impl AStarPo {
    /// A*PO with β₂ and the advantage r − V* of one answer.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β₂ is finite and > 0 and the advantage finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, advantage: f64) -> Result<Self, Error> {
        let beta = Parameter::Beta.positive(beta)?;
        Ok(Self { beta, advantage: Parameter::Advantage.finite(advantage)? })
    }
}

impl UnpairedLoss for AStarPo {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        let Tangent { value, slope } = Tangent::of_square(self.beta * log_ratio, self.advantage);
        Tangent { value, slope: self.beta * slope }
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        self.chosen(log_ratio)
    }
}

impl FromOptions for AStarPo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let advantage = required(given.advantage(), Parameter::Advantage)?;
        Self::new(given.beta().unwrap_or(1e-3), advantage)
    }
}
