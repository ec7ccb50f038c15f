//! The one core of every loss of a preference logit: ℓ(z), with z made of the scores of two
//! answers.
//!
//! ```text
//! s(y) = what the score makes of log π(y), log π_ref(y) and the tokens of y
//! z = β·(s(y_w) − s(y_l)) − γ − offset          the preference logit
//! L = weight · ℓ(z)
//! ∂L/∂log π(y_w) = weight · β·ℓ′(z)·s′(y_w)      ∂L/∂log π(y_l) = −weight · β·ℓ′(z)·s′(y_l)
//! ```
//!
//! A curve says ℓ and ℓ′, a score says s and s′. Each public loss wraps one combination of the two,
//! so that losses with different names are different types.

use super::score::{Comparison, LogRatio, MeanLogRatio, Score, Scored};
use super::tangent::Curve;
use super::{Divergence, Inputs, PreferenceLoss, Tangent};
use crate::Error;
use crate::error::Parameter;
use crate::pair::{PairLogProbs, PairLoss};

/// A curve over the difference of two scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LogitLoss<C, S = LogRatio> {
    /// Of the rewards.
    beta: f64,
    /// Of z: β, or 1 for curves that carry β themselves.
    scale: f64,
    target_margin: f64,
    pub(super) curve: C,
    score: S,
}

impl<C: Curve, S: Score> LogitLoss<C, S> {
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

    /// The same with the target reward margin γ.
    pub(super) fn with_target_margin(self, target_margin: f64) -> Result<Self, Error> {
        Ok(Self { target_margin: Parameter::TargetMargin.not_negative(target_margin)?, ..self })
    }
}

impl<C, S> LogitLoss<C, S> {
    /// β.
    pub(super) const fn beta(&self) -> f64 {
        self.beta
    }
}

impl<C> LogitLoss<C, LogRatio> {
    pub(super) fn with_divergence<D: Divergence>(self, divergence: D) -> LogitLoss<C, LogRatio<D>> {
        let Self { beta, scale, target_margin, curve, .. } = self;
        LogitLoss { beta, scale, target_margin, curve, score: LogRatio(divergence) }
    }
}

impl<C> LogitLoss<C, MeanLogRatio> {
    pub(super) fn with_divergence<D: Divergence>(
        self,
        divergence: D,
    ) -> LogitLoss<C, MeanLogRatio<D>> {
        let Self { beta, scale, target_margin, curve, .. } = self;
        LogitLoss { beta, scale, target_margin, curve, score: MeanLogRatio(divergence) }
    }
}

impl<C: Curve, S: Score> PreferenceLoss for LogitLoss<C, S> {
    fn inputs(&self) -> Inputs {
        Inputs { reference: S::REFERENCE, tokens: S::TOKENS, offsets: true }
    }

    /// NaN in every field where an input is not finite or β·(a − b) overflows. A score may overflow
    /// (those of the forward KL and α-divergences do) where the loss does not.
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
fn gradient(slope: f64, answer: &Scored) -> f64 {
    let slope = if slope.abs() <= 0.0 { slope } else { slope * answer.slope };
    slope / answer.tokens
}

/// Makes a loss of pairs of a struct whose one field is a [`LogitLoss`], and gives it `beta`; with
/// `<D>`, of log-ratios, it takes a divergence too.
macro_rules! logit_loss {
    ($type:ident) => {
        logit_loss!(without_beta $type);

        impl $type {
            /// β.
            #[must_use]
            pub const fn beta(&self) -> f64 {
                self.0.beta()
            }
        }
    };
    (without_beta $type:ident) => {
        impl $crate::loss::PreferenceLoss for $type {
            fn inputs(&self) -> $crate::loss::Inputs {
                self.0.inputs()
            }

            fn evaluate(&self, pair: &$crate::loss::PairLogProbs) -> $crate::PairLoss {
                self.0.evaluate(pair)
            }
        }
    };
    ($type:ident<D>) => {
        impl<D> $type<D> {
            /// β.
            #[must_use]
            pub const fn beta(&self) -> f64 {
                self.0.beta()
            }
        }

        impl $type {
            /// The same loss with another f-divergence in the place of the reverse KL.
            #[must_use]
            pub fn with_divergence<D: $crate::loss::Divergence>(self, divergence: D) -> $type<D> {
                $type(self.0.with_divergence(divergence))
            }
        }

        impl<D: $crate::loss::Divergence> $crate::loss::PreferenceLoss for $type<D> {
            fn inputs(&self) -> $crate::loss::Inputs {
                self.0.inputs()
            }

            fn evaluate(&self, pair: &$crate::loss::PairLogProbs) -> $crate::PairLoss {
                self.0.evaluate(pair)
            }
        }
    };
}
pub(super) use logit_loss;

/// Label smoothing, for losses whose curve is [`Logistic`](super::curves::Logistic).
macro_rules! label_smoothing {
    ($($type:ident $(<$d:ident>)?),*) => {$(
        impl $(<$d: $crate::loss::Divergence>)? $type $(<$d>)? {
            /// The same with label smoothing ε: L = softplus(−z) + ε·z.
            ///
            /// # Errors
            /// [`Error::Parameter`](crate::Error::Parameter) unless 0 ≤ ε ≤ ½.
            ///
            /// # Panics
            /// Never.
            #[doc(alias = "label_smoothing")]
            pub fn with_label_smoothing(self, label_smoothing: f64) -> Result<Self, $crate::Error> {
                let curve = $crate::loss::curves::Logistic::smoothed(label_smoothing)?;
                Ok(Self(self.0.with_curve(curve)))
            }

            /// ε.
            #[must_use]
            pub const fn label_smoothing(&self) -> f64 {
                self.0.curve.label_smoothing
            }
        }
    )*};
}
pub(super) use label_smoothing;
