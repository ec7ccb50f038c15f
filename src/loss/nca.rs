//! Noise-contrastive alignment.

use super::options::{FromOptions, Given};
use super::unpaired::loss_of_both_answers;
use super::{Tangent, UnpairedLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};

/// Noise-contrastive alignment on pairs (Chen et al. 2024, arXiv 2402.05369).
///
/// ```text
/// L = softplus(−βa) + ½·softplus(βa) + ½·softplus(βb)
/// ∂L/∂log π(y_w) = β·(½·σ(βa) − σ(−βa))      ∂L/∂log π(y_l) = ½β·σ(βb)
/// ```
///
/// TRL, Liger, ms-swift: `nca_pair`; β = 0.1 there, 0.01 in the paper. It holds the chosen log-prob
/// itself, not only the difference: its gradient changes sign at σ(βa) = ⅔. (The paper's `InfoNCA`
/// with two answers and hard labels is DPO.)
#[doc(alias = "nca_pair")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nca {
    beta: f64,
}

impl Nca {
    /// NCA.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Ok(Self { beta: Parameter::Beta.positive(beta)? })
    }
}

impl UnpairedLoss for Nca {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        let x = self.beta * log_ratio;
        Tangent {
            value: softplus(-x) + 0.5 * softplus(x),
            slope: self.beta * (0.5 * sigmoid(x) - sigmoid(-x)),
        }
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        let x = self.beta * log_ratio;
        Tangent { value: 0.5 * softplus(x), slope: 0.5 * self.beta * sigmoid(x) }
    }
}

loss_of_both_answers!(Nca);

impl FromOptions for Nca {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1))
    }
}
