//! Binary classifier optimization.

use super::options::{FromOptions, Given};
use super::unpaired::loss_of_both_answers;
use super::{Tangent, UnpairedLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};

/// Binary classifier optimization (Jung et al. 2024, arXiv 2404.04656).
///
/// ```text
/// L = softplus(−(βa − δ)) + softplus(βb − δ)
/// ∂L/∂log π(y_w) = −β·σ(δ − βa)      ∂L/∂log π(y_l) = β·σ(βb − δ)
/// ```
///
/// `bco_pair` in TRL and Liger, β = 0.1, δ = 0; TRL to 0.28, ms-swift and TRL's unpaired
/// `BCOTrainer` have the running mean of the rewards, updated with the batch before it is used, and
/// not differentiated. δ is an argument here: [`Bco::with_shift`].
#[doc(alias = "bco_pair")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bco {
    beta: f64,
    shift: f64,
}

impl Bco {
    /// BCO with δ = 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64) -> Result<Self, Error> {
        Ok(Self { beta: Parameter::Beta.positive(beta)?, shift: 0.0 })
    }

    /// With the shift δ of the rewards.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless δ is finite.
    ///
    /// # Panics
    /// Never.
    pub fn with_shift(self, shift: f64) -> Result<Self, Error> {
        Ok(Self { shift: Parameter::RewardShift.finite(shift)?, ..self })
    }
}

impl UnpairedLoss for Bco {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        let x = self.shift - self.beta * log_ratio;
        Tangent { value: softplus(x), slope: -(self.beta * sigmoid(x)) }
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        let x = self.beta * log_ratio - self.shift;
        Tangent { value: softplus(x), slope: self.beta * sigmoid(x) }
    }
}

loss_of_both_answers!(Bco);

impl FromOptions for Bco {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1))?.with_shift(given.reward_shift().unwrap_or(0.0))
    }
}
