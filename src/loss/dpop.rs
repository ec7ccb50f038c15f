//! DPO-positive, as its paper has it and as some trainers have it.

use super::options::{FromOptions, Given};
use super::{Inputs, PreferenceLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};
use crate::pair::{PairLogProbs, PairLoss};

/// DPO-positive of the paper (Smaug, Pal et al. 2024, arXiv 2402.13228): the penalty for a chosen
/// answer that falls below the reference stands inside the sigmoid, scaled by β.
///
/// ```text
/// z = β·(a − b − λ·max(0, −a)) − offset      L = softplus(−z)
/// ∂L/∂log π(y_w) = −β·σ(−z)·(1 + λ·[a < 0])      ∂L/∂log π(y_l) = β·σ(−z)
/// ```
///
/// While a ≥ 0 it is DPO; at a = 0, where every run begins, the slope of max(0, −a) is taken as 0.
/// λ of some tens is usual, 50 by default, with β = 0.1.
#[doc(alias = "DPOP")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpopInside {
    beta: f64,
    lambda: f64,
}

/// DPO-positive as some implementations have it: the penalty is added to the loss, not scaled by β.
///
/// ```text
/// z = β·(a − b) − offset      L = softplus(−z) + λ·max(0, −a)
/// ∂L/∂log π(y_w) = −β·σ(−z) − λ·[a < 0]      ∂L/∂log π(y_l) = β·σ(−z)
/// ```
///
/// mlx-lm-lora: `dpop`, λ = 50, β = 0.1. The same λ is another loss here than inside. At a = 0 the
/// slope of max(0, −a) is taken as 0.
#[doc(alias = "DPOP")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpopOutside {
    beta: f64,
    lambda: f64,
}

impl DpopInside {
    /// DPOP with the penalty λ inside.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and λ is finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, lambda: f64) -> Result<Self, Error> {
        let beta = Parameter::Beta.positive(beta)?;
        Ok(Self { beta, lambda: Parameter::DropPenalty.not_negative(lambda)? })
    }
}

impl DpopOutside {
    /// DPOP with the penalty λ outside.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and λ is finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, lambda: f64) -> Result<Self, Error> {
        let beta = Parameter::Beta.positive(beta)?;
        Ok(Self { beta, lambda: Parameter::DropPenalty.not_negative(lambda)? })
    }
}

/// λ·max(0, −a) and minus its slope.
fn drop_penalty(lambda: f64, a: f64) -> (f64, f64) {
    if a < 0.0 { (lambda * -a, lambda) } else { (0.0, 0.0) }
}

impl PreferenceLoss for DpopInside {
    fn inputs(&self) -> Inputs {
        Inputs { reference: true, tokens: false, offsets: true }
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        let (a, b) = pair.log_ratios();
        let (penalty, steepness) = drop_penalty(self.lambda, a);
        let z = self.beta * ((a - b) - penalty) - pair.offset;
        let d_rejected = self.beta * sigmoid(-z);
        let d = (-(d_rejected * (1.0 + steepness)), d_rejected);
        PairLoss::of_log_ratios(self.beta, (a, b), softplus(-z), d).of(pair)
    }
}

impl PreferenceLoss for DpopOutside {
    fn inputs(&self) -> Inputs {
        Inputs { reference: true, tokens: false, offsets: true }
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        let (a, b) = pair.log_ratios();
        let (penalty, steepness) = drop_penalty(self.lambda, a);
        let z = self.beta * (a - b) - pair.offset;
        let d_rejected = self.beta * sigmoid(-z);
        let d = (-d_rejected - steepness, d_rejected);
        PairLoss::of_log_ratios(self.beta, (a, b), softplus(-z) + penalty, d).of(pair)
    }
}

impl FromOptions for DpopInside {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1), given.drop_penalty().unwrap_or(50.0))
    }
}

impl FromOptions for DpopOutside {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1), given.drop_penalty().unwrap_or(50.0))
    }
}
