//! A value with its slope, and the functions of a preference logit that have one.

use crate::math::sigmoid;

/// A loss ℓ at a point, and its slope ℓ′ there.
///
/// What the function of a [`CurveLoss`](super::CurveLoss) and the methods of an
/// [`UnpairedLoss`](super::UnpairedLoss) return.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tangent {
    /// ℓ
    pub value: f64,
    /// ℓ′
    pub slope: f64,
}

impl Tangent {
    /// Of σ(βx).
    ///
    /// The slope is β·σ(βx)·σ(−βx), never s·(1 − s), which is 0 in f32 from βx = 16.7 on.
    pub(super) fn of_sigmoid(beta: f64, x: f64) -> Self {
        let z = beta * x;
        Self { value: sigmoid(z), slope: beta * (sigmoid(z) * sigmoid(-z)) }
    }

    /// Of (x − target)².
    pub(super) fn of_square(x: f64, target: f64) -> Self {
        let distance = x - target;
        Self { value: distance * distance, slope: 2.0 * distance }
    }

    /// Of the function of −x whose tangent this is.
    pub(super) const fn mirrored(self) -> Self {
        Self { value: self.value, slope: -self.slope }
    }

    /// Of a multiple of the function.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { value: factor * self.value, slope: factor * self.slope }
    }
}

/// ℓ(z) and ℓ′(z) of a preference logit z.
///
/// z may be ±∞, where a score overflows: a curve whose limit is finite says it, with slope 0.
pub(super) trait Curve {
    /// ℓ and ℓ′ at z.
    fn tangent(&self, z: f64) -> Tangent;
}

impl<F: Fn(f64) -> Tangent> Curve for F {
    fn tangent(&self, z: f64) -> Tangent {
        self(z)
    }
}
