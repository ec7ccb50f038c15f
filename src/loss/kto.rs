//! Kahneman–Tversky optimization.

use super::options::{FromOptions, Given, required};
use super::unpaired::loss_of_both_answers;
use super::{Tangent, UnpairedLoss};
use crate::Error;
use crate::error::Parameter;

/// Kahneman–Tversky optimization (Ethayarajh et al. 2024, arXiv 2402.01306), for answers that are
/// desirable or undesirable on their own.
///
/// ```text
/// L = w_D·(1 − σ(β(a − K)))  or  w_U·(1 − σ(β(K − b)))
/// ∂L/∂log π(y_w) = −w_D·β·σ(x)·σ(−x),  x = β(a − K)
/// ∂L/∂log π(y_l) =  w_U·β·σ(y)·σ(−y),  y = β(b − K)
/// ```
///
/// Both tails are flat: a hopeless answer pulls as little as a learnt one, which makes the loss
/// robust to wrong labels.
///
/// TRL's KTO trainer, Liger, HALOs, LLaMA-Factory: β = 0.1, both weights 1. K ≥ 0 is the policy's
/// mean KL from the reference, estimated on mismatched answers, `max(0, mean(log π − log π_ref))`,
/// and not differentiated; it is an argument, because how it is gathered is the host's. On a pair
/// the two losses add up.
#[doc(alias = "Kahneman-Tversky")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kto {
    beta: f64,
    reference_kl: f64,
    desirable: f64,
    undesirable: f64,
}

impl Kto {
    /// KTO with the reference point K and weights of 1.
    ///
    /// K is of *mismatched* prompts and answers, which are
    /// scored as sequences of their own:
    /// [`LogRatioSums::kto_k`](crate::training::LogRatioSums::kto_k). Over the batch's own answers
    /// it would be another number, and no error.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and K is finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, reference_kl: f64) -> Result<Self, Error> {
        let beta = Parameter::Beta.positive(beta)?;
        let reference_kl = Parameter::ReferenceKl.not_negative(reference_kl)?;
        Ok(Self { beta, reference_kl, desirable: 1.0, undesirable: 1.0 })
    }

    /// With a weight for each class, to even out how many answers each has. Unpaired answers of a
    /// class of weight 0 are left out, as if they were not there.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless both are finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    #[doc(alias = "desirable_weight")]
    #[doc(alias = "undesirable_weight")]
    pub fn with_weights(self, desirable: f64, undesirable: f64) -> Result<Self, Error> {
        let desirable = Parameter::DesirableWeight.not_negative(desirable)?;
        let undesirable = Parameter::UndesirableWeight.not_negative(undesirable)?;
        Ok(Self { desirable, undesirable, ..self })
    }
}

impl UnpairedLoss for Kto {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        let loss = Tangent::of_sigmoid(self.beta, self.reference_kl - log_ratio).mirrored();
        loss.times(self.desirable)
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        Tangent::of_sigmoid(self.beta, log_ratio - self.reference_kl).times(self.undesirable)
    }

    fn leaves_out(&self) -> (bool, bool) {
        (self.desirable == 0.0, self.undesirable == 0.0)
    }
}

loss_of_both_answers!(Kto);

impl FromOptions for Kto {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let kl = required(given.reference_kl(), Parameter::ReferenceKl)?;
        let desirable = given.desirable_weight().unwrap_or(1.0);
        let undesirable = given.undesirable_weight().unwrap_or(1.0);
        Self::new(given.beta().unwrap_or(0.1), kl)?.with_weights(desirable, undesirable)
    }
}
