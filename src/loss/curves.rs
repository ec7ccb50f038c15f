//! The curves ℓ(z) of a preference logit z that several losses share.
//!
//! ```text
//! Logistic     ℓ(z) = softplus(−z) + ε·z       ℓ′(z) = ε − σ(−z)
//! Hinge        ℓ(z) = max(0, δ − z)            ℓ′(z) = −1 for z < δ, else 0
//! Square       ℓ(z) = (z − t)²                 ℓ′(z) = 2·(z − t)
//! ```
//!
//! The first is (1 − ε)·softplus(−z) + ε·softplus(z) with softplus(z) = z + softplus(−z) put in: no
//! difference of large numbers is left. It is never log(sigmoid), which loses the tail of every
//! well-learnt pair. At the kink z = δ the hinge has the slope 0, as `relu` in the trainers.

use super::Tangent;
use super::tangent::Curve;
use crate::error::Parameter;
use crate::{Error, math};

/// −log σ(z), with label smoothing ε.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Logistic {
    pub(super) label_smoothing: f64,
}

/// max(0, δ − z)
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hinge {
    pub(super) delta: f64,
}

/// (z − t)²
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Square {
    pub(super) target: f64,
}

impl Logistic {
    /// With ε in [0, ½].
    pub(super) fn smoothed(label_smoothing: f64) -> Result<Self, Error> {
        let is_valid = (0.0..=0.5).contains(&label_smoothing);
        let label_smoothing = Parameter::LabelSmoothing.check(label_smoothing, is_valid)?;
        Ok(Self { label_smoothing })
    }
}

impl Square {
    /// t = 1/(2β), the target of IPO.
    pub(super) fn of_beta(beta: f64) -> Result<Self, Error> {
        Ok(Self { target: Parameter::Beta.half_inverse(beta)? })
    }
}

impl Curve for Logistic {
    fn tangent(&self, z: f64) -> Tangent {
        let epsilon = self.label_smoothing;
        let slope = -(math::sigmoid(-z) - epsilon);
        // Without smoothing z = ∞ costs nothing, rather than 0·∞.
        let smoothing = if epsilon.abs().to_bits() == 0 { 0.0 } else { epsilon * z };
        Tangent { value: math::softplus(-z) + smoothing, slope }
    }
}

impl Curve for Hinge {
    fn tangent(&self, z: f64) -> Tangent {
        let short = self.delta - z;
        match short > 0.0 {
            true => Tangent { value: short, slope: -1.0 },
            // NaN stays NaN.
            false if short.is_nan() => Tangent { value: short, slope: short },
            false => Tangent { value: 0.0, slope: 0.0 },
        }
    }
}

impl Curve for Square {
    fn tangent(&self, z: f64) -> Tangent {
        Tangent::of_square(z, self.target)
    }
}
