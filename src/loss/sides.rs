//! Losses of each side: ℓ₁ of the chosen answer's log-ratio plus ℓ₂ of the rejected one's.
//!
//! ```text
//! a = log π(y_w) − log π_ref(y_w)      b = log π(y_l) − log π_ref(y_l)
//! L = ℓ₁(a) + ℓ₂(b)      ∂L/∂log π(y_w) = ℓ₁′(a)      ∂L/∂log π(y_l) = ℓ₂′(b)
//! ```
//!
//! The two sides do not meet, so each of these losses also takes answers that come without a partner, as
//! good or as bad ones: [`unpaired_loss`](crate::unpaired::unpaired_loss). None has a margin that an offset could be
//! subtracted from, and f-divergences are not defined for them.

use super::{Inputs, PreferenceLoss, Tangent};
use crate::Error;
use crate::error::Parameter;
use crate::math::{sigmoid, softplus};
use crate::pair::{PairLogProbs, PairLoss};

/// A loss of one answer's log-ratio, for a good and for a bad answer.
pub trait UnpairedLoss {
    /// β, which turns log-ratios into rewards.
    #[must_use]
    fn beta(&self) -> f64;

    /// ℓ₁ and ℓ₁′ of a chosen or desirable answer.
    #[must_use]
    fn chosen(&self, log_ratio: f64) -> Tangent;

    /// ℓ₂ and ℓ₂′ of a rejected or undesirable answer.
    #[must_use]
    fn rejected(&self, log_ratio: f64) -> Tangent;
}

impl<L: UnpairedLoss> PreferenceLoss for L {
    fn inputs(&self) -> Inputs {
        Inputs { reference: true, tokens: false, offsets: false }
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        if pair.has_offset() {
            return PairLoss::NAN;
        }
        let (a, b) = pair.log_ratios();
        let (chosen, rejected) = (self.chosen(a), self.rejected(b));
        let (loss, d) = (chosen.value + rejected.value, (chosen.slope, rejected.slope));
        PairLoss::of_log_ratios(self.beta(), (a, b), loss, d).of(pair)
    }
}

/// Noise-contrastive alignment on pairs (Chen et al. 2024, arXiv 2402.05369).
///
/// ```text
/// ℓ₁(a) = softplus(−βa) + ½·softplus(βa)      ℓ₂(b) = ½·softplus(βb)
/// ```
///
/// TRL, Liger, ms-swift: `nca_pair`; β = 0.1 there, 0.01 in the paper. It holds the chosen log-prob itself,
/// not only the difference: its gradient changes sign at σ(βa) = ⅔. (The paper's `InfoNCA` with two
/// answers and hard labels is DPO.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nca {
    beta: f64,
}

/// Binary classifier optimization (Jung et al. 2024, arXiv 2404.04656).
///
/// ```text
/// ℓ₁(a) = softplus(−(βa − δ))      ℓ₂(b) = softplus(βb − δ)
/// ```
///
/// `bco_pair` in TRL and Liger, with δ = 0; TRL to 0.28, ms-swift and TRL's unpaired `BCOTrainer` have the
/// running mean of the rewards, updated with the batch before it is used, and not differentiated. δ is an
/// argument here: [`Bco::with_shift`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bco {
    beta: f64,
    shift: f64,
}

/// Self-play preference optimization with hard labels (Wu et al. 2024, arXiv 2405.00675).
///
/// ```text
/// ℓ₁(a) = (a − 1/(2β))²      ℓ₂(b) = (b + 1/(2β))²
/// ```
///
/// TRL, Liger, ms-swift: `sppo_hard`. β is the paper's 1/η, 1e-3: the targets are ±500 nats and losses start
/// at 5e5, beyond f16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SppoHard {
    beta: f64,
    /// 1/(2β)
    target: f64,
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

impl UnpairedLoss for SppoHard {
    fn beta(&self) -> f64 {
        self.beta
    }

    fn chosen(&self, log_ratio: f64) -> Tangent {
        let distance = log_ratio - self.target;
        Tangent { value: distance * distance, slope: 2.0 * distance }
    }

    fn rejected(&self, log_ratio: f64) -> Tangent {
        let distance = log_ratio + self.target;
        Tangent { value: distance * distance, slope: 2.0 * distance }
    }
}
