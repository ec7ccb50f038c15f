//! Anchored preference optimization, both forms of one paper.

use super::options::{FromOptions, Given};
use super::unpaired::loss_of_both_answers;
use super::{Inputs, PreferenceLoss, Tangent, UnpairedLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::sigmoid_difference;
use crate::pair::{PairLogProbs, PairLoss};

/// APO-zero (D'Oosterlinck et al. 2024, arXiv 2408.06266, eq. 7): raises the chosen and lowers the
/// rejected answer, for a policy that is worse than the data.
///
/// ```text
/// L = σ(−βa) + σ(βb)
/// ∂L/∂log π(y_w) = −β·σ(βa)·σ(−βa)      ∂L/∂log π(y_l) = β·σ(βb)·σ(−βb)
/// ```
///
/// TRL, Liger, ms-swift: `apo_zero`, β = 0.1; unpaired in TRL's KTO trainer as `apo_zero_unpaired`.
/// It is [`Kto`](super::Kto) with K = 0 and weights of 1. Both tails are flat.
#[doc(alias = "apo_zero_unpaired")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApoZero {
    beta: f64,
}

/// APO-down (D'Oosterlinck et al. 2024, arXiv 2408.06266, eq. 8): lowers both, the rejected one
/// more, for a policy that is better than the data.
///
/// ```text
/// L = σ(βa) + σ(−z),   z = β·(a − b)
/// ∂L/∂log π(y_w) = β·σ(βa)·σ(−βa) − β·σ(z)·σ(−z)      ∂L/∂log π(y_l) = β·σ(z)·σ(−z)
/// ```
///
/// TRL, Liger, ms-swift: `apo_down`, β = 0.1. Both tails are flat. It takes no offset and no
/// divergence: a stands in it both alone and in the difference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApoDown {
    beta: f64,
}

impl ApoZero {
    /// APO-zero.
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

impl ApoDown {
    /// APO-down.
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

impl UnpairedLoss for ApoZero {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        Tangent::of_sigmoid(self.beta, -log_ratio).mirrored()
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        Tangent::of_sigmoid(self.beta, log_ratio)
    }
}

loss_of_both_answers!(ApoZero);

impl PreferenceLoss for ApoDown {
    fn inputs(&self) -> Inputs {
        Inputs { reference: true, tokens: false, offsets: false }
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        if pair.has_offset() {
            return PairLoss::NAN;
        }
        let (a, b) = pair.log_ratios();
        let beta = self.beta;
        let (chosen, margin) = (Tangent::of_sigmoid(beta, a), Tangent::of_sigmoid(beta, b - a));
        // s(x) − s(z), s = σ·(1 − σ), is (σ(x) − σ(z))·(σ(−z) − σ(x)): near 0 both slopes are ¼.
        let (x, z) = (beta * a, beta * (a - b));
        let first = sigmoid_difference(x, z, beta * b);
        let second = sigmoid_difference(-z, x, beta * (b - 2.0 * a));
        let d = (beta * (first * second), margin.slope);
        PairLoss::of_log_ratios(beta, (a, b), chosen.value + margin.value, d).of(pair)
    }
}

impl FromOptions for ApoZero {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1))
    }
}

impl FromOptions for ApoDown {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        Self::new(given.beta().unwrap_or(0.1))
    }
}
