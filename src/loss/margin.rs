//! The one core of every loss of a margin: ℓ(z), with z the difference of two scores.
//!
//! ```text
//! s(y) = what the score makes of log π(y), log π_ref(y) and the tokens of y
//! z = β·(s(y_w) − s(y_l)) − γ − offset
//! L = weight · ℓ(z)
//! ∂L/∂log π(y_w) = weight · β·ℓ′(z)·s′(y_w)      ∂L/∂log π(y_l) = −weight · β·ℓ′(z)·s′(y_l)
//! ```
//!
//! A curve says ℓ and ℓ′, a score says s and s′; every combination that exists is a pair of two types.

use super::score::{Comparison, LogRatio, MeanLogRatio, Score, Side};
use super::{Divergence, Inputs, PreferenceLoss};
use crate::Error;
use crate::error::Parameter;
use crate::pair::{PairLogProbs, PairLoss};

/// A loss at a point, and its slope there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tangent {
    /// ℓ
    pub value: f64,
    /// ℓ′
    pub slope: f64,
}

/// ℓ(z) and ℓ′(z) of a margin z.
///
/// Every function of that form is one, so that a loss of one's own needs no more than a line; see
/// [`MarginLoss::of_curve`].
///
/// z may be ±∞, where a score overflows: a curve whose limit is finite says it, with slope 0.
pub trait Curve {
    /// ℓ and ℓ′ at z.
    #[must_use]
    fn tangent(&self, z: f64) -> Tangent;
}

impl<F: Fn(f64) -> Tangent> Curve for F {
    fn tangent(&self, z: f64) -> Tangent {
        self(z)
    }
}

/// A loss of the margin of two scores: a [`Curve`] over a score, [`LogRatio`] for most.
///
/// The losses in use have names, [`Dpo`](crate::Dpo) first of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarginLoss<C, S = LogRatio> {
    /// Of the rewards.
    beta: f64,
    /// Of z: β, or 1 for curves that carry β themselves.
    scale: f64,
    target_margin: f64,
    pub(super) curve: C,
    pub(super) score: S,
}

impl<C: Curve, S: Score> MarginLoss<C, S> {
    /// z = β·(difference of scores).
    pub(super) fn scaled(beta: f64, curve: C, score: S) -> Result<Self, Error> {
        let beta = Parameter::Beta.positive(beta)?;
        Ok(Self { beta, scale: beta, target_margin: 0.0, curve, score })
    }

    /// z = difference of scores; β is for the rewards alone, and offsets are still in rewards.
    pub(super) fn unscaled(beta: f64, curve: C, score: S) -> Result<Self, Error> {
        let beta = Parameter::Beta.positive(beta)?;
        Ok(Self { beta, scale: 1.0, target_margin: 0.0, curve, score })
    }

    /// The same with another curve of its kind.
    pub(super) fn with_curve(self, curve: C) -> Self {
        Self { curve, ..self }
    }

    /// The same with γ, whose domain the caller has checked.
    pub(super) fn with_target_margin(self, target_margin: f64) -> Self {
        Self { target_margin, ..self }
    }
}

impl<C, S> MarginLoss<C, S> {
    /// β.
    #[must_use]
    pub const fn beta(&self) -> f64 {
        self.beta
    }
}

impl<C: Curve> MarginLoss<C, LogRatio> {
    /// A curve of one's own over the log-ratios, as in generalized preference optimization (Tang et al.
    /// 2024, arXiv 2402.05749), which asks of ℓ that it be convex with ℓ′(0) < 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0.
    ///
    /// # Panics
    /// Never.
    ///
    /// # Example
    /// ```
    /// use dpo_kernel::loss::{MarginLoss, PairLogProbs, PreferenceLoss, Tangent};
    /// let exponential = |z: f64| Tangent { value: (-z).exp(), slope: -(-z).exp() };
    /// let loss = MarginLoss::of_curve(0.1, exponential)?;
    /// let found = loss.evaluate(&PairLogProbs::new(-20.5, -25.25, -21.0, -24.5));
    /// assert!((found.loss - (-0.125_f64).exp()).abs() < 1e-15);
    /// # Ok::<(), dpo_kernel::Error>(())
    /// ```
    pub fn of_curve(beta: f64, curve: C) -> Result<Self, Error> {
        Self::scaled(beta, curve, LogRatio::default())
    }

    /// The same loss with another f-divergence in the place of the reverse KL.
    #[must_use]
    pub fn with_divergence<D: Divergence>(self, divergence: D) -> MarginLoss<C, LogRatio<D>> {
        let Self { beta, scale, target_margin, curve, .. } = self;
        MarginLoss { beta, scale, target_margin, curve, score: LogRatio(divergence) }
    }
}

impl<C: Curve> MarginLoss<C, MeanLogRatio> {
    /// The same loss with another f-divergence in the place of the reverse KL: the score of a sequence
    /// is that of its summed log-ratio, over its tokens.
    #[must_use]
    pub fn with_divergence<D: Divergence>(self, divergence: D) -> MarginLoss<C, MeanLogRatio<D>> {
        let Self { beta, scale, target_margin, curve, .. } = self;
        MarginLoss { beta, scale, target_margin, curve, score: MeanLogRatio(divergence) }
    }
}

impl<C: Curve, S: Score> PreferenceLoss for MarginLoss<C, S> {
    fn inputs(&self) -> Inputs {
        Inputs { reference: S::REFERENCE, tokens: S::TOKENS, offsets: true }
    }

    /// # Numerics
    /// NaN in every field where an input is not finite or β·(a − b) overflows. A score may overflow (those
    /// of the forward KL and α-divergences do) where the loss does not.
    fn evaluate(&self, pair: &PairLogProbs) -> PairLoss {
        let Self { beta, scale, target_margin, .. } = *self;
        let Comparison { difference, chosen, rejected, reward_difference } =
            self.score.compare(pair);
        // Offsets are in rewards: in units of z they are what β is to its scale.
        let z = scale * difference - target_margin - pair.offset * (scale / beta);
        let Tangent { value, slope } = self.curve.tangent(z);
        let slope = scale * slope;
        PairLoss {
            loss: value,
            reward_chosen: beta * chosen.reward,
            reward_rejected: beta * rejected.reward,
            margin: beta * reward_difference,
            d_chosen: gradient(slope, &chosen),
            d_rejected: -gradient(slope, &rejected),
        }
        .of(pair)
    }
}

/// `slope · s′ / tokens`. A curve that is flat has no gradient, however steep the score.
fn gradient(slope: f64, side: &Side) -> f64 {
    let slope = if slope.abs() <= 0.0 { slope } else { slope * side.slope };
    slope / side.tokens
}
