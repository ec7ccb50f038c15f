//! Losses of the margin with an anchor on the log-ratios themselves: DPOP and Cal-DPO.
//!
//! ```text
//! DPOP, inside    L = softplus(−z),   z = β·(a − b − λ·max(0, −a)) − offset
//! DPOP, outside   L = softplus(−z) + λ·max(0, −a),   z = β·(a − b) − offset
//! Cal-DPO         L = softplus(−(a − b)) + ½·((a − 1/(2β))² + (b + 1/(2β))²)
//! ```
//!
//! At a = 0, where every run begins, the slope of max(0, −a) is taken as 0.

use super::{Inputs, PreferenceLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};
use crate::pair::{PairLogProbs, PairLoss};

/// DPO-positive of the paper (Smaug, Pal et al. 2024, arXiv 2402.13228): the penalty for a chosen answer
/// that falls below the reference stands inside the sigmoid, scaled by β.
///
/// While a ≥ 0 it is DPO. λ of some tens is usual, 50 in mlx-lm-lora.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpopInside {
    beta: f64,
    lambda: f64,
}

/// DPO-positive as some implementations have it: the penalty is added to the loss, not scaled by β.
///
/// mlx-lm-lora: `dpop`, λ = 50. The same λ is another loss here than inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpopOutside {
    beta: f64,
    lambda: f64,
}

/// Calibrated DPO (Xiao et al. 2024, arXiv 2412.14516), as its authors' code has it.
///
/// The logistic term has no β, and there is a ½ before the squares that the paper does not have; β of 0.001
/// to 0.002.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalDpo {
    beta: f64,
    /// 1/(2β)
    target: f64,
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

impl CalDpo {
    /// Cal-DPO.
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

impl PreferenceLoss for CalDpo {
    fn inputs(&self) -> Inputs {
        Inputs { reference: true, tokens: false, offsets: false }
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        if pair.has_offset() {
            return PairLoss::NAN;
        }
        let (a, b) = pair.log_ratios();
        let (chosen, rejected) = (a - self.target, b + self.target);
        let share = sigmoid(b - a);
        let loss = softplus(b - a) + 0.5 * (chosen * chosen + rejected * rejected);
        let d = (chosen - share, rejected + share);
        PairLoss::of_log_ratios(self.beta, (a, b), loss, d).of(pair)
    }
}
