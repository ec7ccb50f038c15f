//! The odds-ratio term of ORPO.

use super::options::{FromOptions, Given};
use super::score::mean_log_probs;
use super::{Inputs, PreferenceLoss};
use crate::Error;
use crate::error::Parameter;
use crate::math::{log1mexp, softplus};
use crate::pair::{PairLogProbs, PairLoss};

/// The odds-ratio term of ORPO (Hong et al. 2024, arXiv 2403.07691, eq. 7), reference-free, on
/// means.
///
/// ```text
/// p = log π(y_w)/n_w,   q = log π(y_l)/n_l,   P = e^p,   Q = e^q
/// LO = log(P/(1−P)) − log(Q/(1−Q)) = (p − q) − (log1mexp(p) − log1mexp(q))
/// L  = λ·(softplus(−LO) + ε·LO)        = −λ·((1−ε)·log σ(LO) + ε·log σ(−LO))
/// ∂L/∂p = −λ·(U − ε/(1−P))      ∂L/∂q = λ·(U·(1−P)/(1−Q) − ε/(1−Q))
/// U = σ(−LO)/(1−P) = Q/D,   D = P·(1−Q) + Q·(1−P)
/// ```
///
/// TRL, LLaMA-Factory, Liger, mlx-lm-lora, axolotl: λ = 0.1, called `beta` in TRL, without ε.
/// google-tunix has the label smoothing ε, 0 by default, but feeds it sums: the odds of the whole
/// answer. The whole loss of ORPO is NLL + this: add an [`Nll`](super::Nll) of weight 1 (TRL
/// averages it over prompt and completion). Implementations with `log1p(-exp(p))` or
/// `log(1 - exp(p))` are −∞ and then NaN for confident answers.
///
/// Rewards are λ times the mean log-probs, as TRL's. An answer whose log-prob is exactly 0 has no
/// odds: as the chosen one it costs nothing without ε, and otherwise the pair is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orpo {
    lambda: f64,
    label_smoothing: f64,
}

impl Orpo {
    /// The term with weight λ, without label smoothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless λ is finite and > 0.
    ///
    /// # Panics
    /// Never.
    pub fn new(lambda: f64) -> Result<Self, Error> {
        Ok(Self { lambda: Parameter::OddsWeight.positive(lambda)?, label_smoothing: 0.0 })
    }

    /// The same with label smoothing ε.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless 0 ≤ ε ≤ ½.
    ///
    /// # Panics
    /// Never.
    pub fn with_label_smoothing(self, label_smoothing: f64) -> Result<Self, Error> {
        let is_valid = (0.0..=0.5).contains(&label_smoothing);
        let label_smoothing = Parameter::LabelSmoothing.check(label_smoothing, is_valid)?;
        Ok(Self { label_smoothing, ..self })
    }

    /// λ.
    #[must_use]
    pub const fn lambda(&self) -> f64 {
        self.lambda
    }
}

/// 2⁻⁹⁰⁰. Smaller shares of other answers are scaled by its inverse, which leaves them exact.
const CERTAIN: f64 = f64::from_bits((1023 - 900) << 52);

/// Not a curve over scores: as P → 1 the slope of the score has a pole, the curve a zero, and only
/// their product, U, is finite. The pole of ∂L/∂q as Q → 1 is real, and so are both of ε's.
impl PreferenceLoss for Orpo {
    fn inputs(&self) -> Inputs {
        Inputs { reference: false, tokens: true, offsets: false }
    }

    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        if pair.has_offset() {
            return PairLoss::NAN;
        }
        let Self { lambda, label_smoothing: epsilon } = *self;
        let (chosen, rejected) = mean_log_probs(pair);
        let (p, q) = (chosen.reward, rejected.reward);
        let odds = (p - q) - (log1mexp(p) - log1mexp(q));
        // 1 − P and 1 − Q; U by the quotient of P and Q that is ≤ 1. Where both answers are certain
        // to 270 digits, U alone would overflow, although λ·U/n need not.
        let (miss_p, miss_q) = (-libm::expm1(p), -libm::expm1(q));
        let scale = if miss_p.max(miss_q) < CERTAIN { 1.0 / CERTAIN } else { 1.0 };
        let (miss_p, miss_q) = (scale * miss_p, scale * miss_q);
        let quotient = libm::exp(-(p - q).abs());
        let u = if p < q {
            1.0 / (miss_p + quotient * miss_q)
        } else {
            quotient / (quotient * miss_p + miss_q)
        };
        let (mut loss, mut of_p, mut of_q) = (softplus(-odds), u, miss_p * u);
        // Without smoothing odds of ∞ cost nothing, rather than 0·∞.
        if epsilon > 0.0 {
            loss += epsilon * odds;
            of_p -= epsilon / miss_p;
            of_q -= epsilon;
        }
        PairLoss {
            loss: lambda * loss,
            reward_chosen: lambda * p,
            reward_rejected: lambda * q,
            margin: lambda * (p - q),
            d_chosen: -(lambda * of_p / chosen.tokens * scale),
            d_rejected: lambda * of_q / (rejected.tokens * miss_q) * scale,
        }
        .of(pair)
    }
}

impl FromOptions for Orpo {
    fn from_options(given: &mut Given) -> Result<Self, Error> {
        let loss = Self::new(given.odds_weight().unwrap_or(0.1))?;
        loss.with_label_smoothing(given.label_smoothing().unwrap_or(0.0))
    }
}
