//! Calibrated DPO.

use super::options::{FromOptions, Given};
use super::{Inputs, PreferenceLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};
use crate::pair::{PairLogProbs, PairLoss};

/// Calibrated DPO (Xiao et al. 2024, arXiv 2412.14516), as its authors' code has it.
///
/// ```text
/// L = softplus(−(a − b)) + ½·((a − 1/(2β))² + (b + 1/(2β))²)
/// ∂L/∂log π(y_w) = a − 1/(2β) − σ(b − a)      ∂L/∂log π(y_l) = b + 1/(2β) + σ(b − a)
/// ```
///
/// The logistic term has no β, and there is a ½ before the squares that the paper does not have; β
/// of 0.001 to 0.002, 1e-3 by default. The squares hold the log-ratios themselves, where DPO sees
/// their difference alone, so there is no offset and no divergence.
#[doc(alias = "Cal-DPO")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalDpo {
    beta: f64,
    /// 1/(2β)
    target: f64,
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

impl FromOptions for CalDpo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(1e-3))
    }
}
