//! Bounded losses of each side: KTO and anchored preference optimization.
//!
//! ```text
//! KTO        ℓ₁(a) = w_D·σ(−β(a − K))      ℓ₂(b) = w_U·σ(−β(K − b))
//! APO-zero   ℓ₁(a) = σ(−βa)                ℓ₂(b) = σ(βb)
//! APO-down   L = σ(βa) + σ(−β(a − b))
//! ```
//!
//! Each is a sigmoid whose slope is β·σ(x)·σ(−x), never s·(1 − s), which is 0 in f32 from x = 16.7 on. Both
//! tails are flat: a hopeless pair pulls as little as a learnt one, which makes these losses robust to
//! wrong labels.

use super::{Inputs, PreferenceLoss, Tangent, UnpairedLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, sigmoid_difference};
use crate::pair::{PairLogProbs, PairLoss};

/// σ(βx) and its slope.
fn bounded(beta: f64, x: f64) -> Tangent {
    let z = beta * x;
    Tangent { value: sigmoid(z), slope: beta * (sigmoid(z) * sigmoid(-z)) }
}

impl Tangent {
    /// Of the function of −x whose tangent this is.
    const fn mirrored(self) -> Self {
        Self { value: self.value, slope: -self.slope }
    }

    fn times(self, factor: f64) -> Self {
        Self { value: factor * self.value, slope: factor * self.slope }
    }
}

/// Kahneman–Tversky optimization (Ethayarajh et al. 2024, arXiv 2402.01306), for answers that are
/// desirable or undesirable on their own.
///
/// ```text
/// L = w_D·(1 − σ(β(a − K)))  or  w_U·(1 − σ(β(K − b)))
/// ```
///
/// TRL's KTO trainer, Liger, HALOs, LLaMA-Factory: β = 0.1, both weights 1. K ≥ 0 is the policy's mean KL
/// from the reference, estimated on mismatched answers, `max(0, mean(log π − log π_ref))`, and not
/// differentiated; it is an argument, because how it is gathered is the host's. On a pair the two sides add up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kto {
    beta: f64,
    reference_kl: f64,
    desirable: f64,
    undesirable: f64,
}

/// APO-zero (D'Oosterlinck et al. 2024, arXiv 2408.06266, eq. 7): raises the chosen and lowers the rejected
/// answer, for a policy that is worse than the data.
///
/// TRL, Liger, ms-swift: `apo_zero`, β = 0.1; unpaired in TRL's KTO trainer as `apo_zero_unpaired`. It is
/// [`Kto`] with K = 0 and weights of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApoZero {
    beta: f64,
}

/// APO-down (D'Oosterlinck et al. 2024, arXiv 2408.06266, eq. 8): lowers both, the rejected one more, for a
/// policy that is better than the data.
///
/// ```text
/// L = σ(βa) + σ(−z),   z = β·(a − b)
/// ∂L/∂log π(y_w) = β·σ(βa)·σ(−βa) − β·σ(z)·σ(−z)      ∂L/∂log π(y_l) = β·σ(z)·σ(−z)
/// ```
///
/// TRL, Liger, ms-swift: `apo_down`, β = 0.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApoDown {
    beta: f64,
}

impl Kto {
    /// KTO with the reference point K and weights of 1.
    ///
    /// K is of *mismatched* prompts and answers, scored apart: [`LogRatioSums::kto_k`](crate::training::LogRatioSums::kto_k).
    /// Over the batch's own answers it would be another number, and no error.
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

    /// With a weight for each class, to even out how many answers each has.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless both are finite and ≥ 0.
    ///
    /// # Panics
    /// Never.
    pub fn with_weights(self, desirable: f64, undesirable: f64) -> Result<Self, Error> {
        let desirable = Parameter::DesirableWeight.not_negative(desirable)?;
        let undesirable = Parameter::UndesirableWeight.not_negative(undesirable)?;
        Ok(Self { desirable, undesirable, ..self })
    }
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

impl UnpairedLoss for Kto {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        bounded(self.beta, self.reference_kl - log_ratio).mirrored().times(self.desirable)
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        bounded(self.beta, log_ratio - self.reference_kl).times(self.undesirable)
    }
}

impl UnpairedLoss for ApoZero {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        bounded(self.beta, -log_ratio).mirrored()
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        bounded(self.beta, log_ratio)
    }
}

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
        let (chosen, margin) = (bounded(beta, a), bounded(beta, b - a));
        // s(x) − s(z), s = σ·(1 − σ), is (σ(x) − σ(z))·(σ(−z) − σ(x)): near 0 both slopes are ¼.
        let (x, z) = (beta * a, beta * (a - b));
        let first = sigmoid_difference(x, z, beta * b);
        let second = sigmoid_difference(-z, x, beta * (b - 2.0 * a));
        let d = (beta * (first * second), margin.slope);
        PairLoss::of_log_ratios(beta, (a, b), chosen.value + margin.value, d).of(pair)
    }
}
