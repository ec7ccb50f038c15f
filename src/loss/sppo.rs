//! Self-play preference optimization.

use super::options::{FromOptions, Given};
use super::unpaired::loss_of_both_answers;
use super::{Tangent, UnpairedLoss};
use crate::Error;
use crate::error::Parameter;

/// Self-play preference optimization with hard labels (Wu et al. 2024, arXiv 2405.00675).
///
/// ```text
/// L = (a − 1/(2β))² + (b + 1/(2β))²
/// ∂L/∂log π(y_w) = 2·(a − 1/(2β))      ∂L/∂log π(y_l) = 2·(b + 1/(2β))
/// ```
///
/// TRL, Liger, ms-swift: `sppo_hard`. β is the paper's 1/η, 1e-3: the targets are ±500 nats and
/// losses start at 5e5, beyond f16.
#[doc(alias = "sppo_hard")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SppoHard {
    beta: f64,
    /// 1/(2β)
    target: f64,
}

impl SppoHard {
    /// SPPO with hard labels.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0, and 1/(2β) finite.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Ok(Self { beta, target: Parameter::Beta.half_inverse(beta)? })
    }
}

impl UnpairedLoss for SppoHard {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        Tangent::of_square(log_ratio, self.target)
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        Tangent::of_square(log_ratio, -self.target)
    }
}

loss_of_both_answers!(SppoHard);

impl FromOptions for SppoHard {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(1e-3))
    }
}
