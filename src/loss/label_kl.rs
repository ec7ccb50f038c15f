//! Curves that are a KL divergence between two preferences: σ(z), which the policy states, and
//! σ(Δ), which is given.
//!
//! ```text
//! KL(σ(p) ‖ σ(q)) = σ(p)·(log σ(p) − log σ(q)) + σ(−p)·(log σ(−p) − log σ(−q))
//! ToLabel      ℓ(z) = KL(σ(z) ‖ σ(Δ))      ℓ′(z) = σ(z)·σ(−z)·(z − Δ)
//! FromLabel    ℓ(z) = KL(σ(Δ) ‖ σ(z))      ℓ′(z) = σ(z) − σ(Δ)
//! ```

use super::Tangent;
use super::tangent::Curve;
use crate::math::{log_sigmoid, sigmoid, sigmoid_difference};

/// KL(σ(z) ‖ σ(Δ)): of EXO and of RPO, forward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ToLabel {
    /// Δ
    pub(super) gap: f64,
}

/// KL(σ(Δ) ‖ σ(z)): of RPO, backward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FromLabel {
    /// Δ
    pub(super) gap: f64,
}

impl Curve for ToLabel {
    fn tangent(&self, z: f64) -> Tangent {
        let spread = sigmoid(z) * sigmoid(-z);
        let slope = if spread > 0.0 { spread * (z - self.gap) } else { 0.0 * sigmoid(z) };
        Tangent { value: divergence(z, self.gap), slope }
    }
}

impl Curve for FromLabel {
    fn tangent(&self, z: f64) -> Tangent {
        let slope = sigmoid_difference(z, self.gap, z - self.gap);
        Tangent { value: divergence(self.gap, z), slope }
    }
}

/// KL(σ(p) ‖ σ(q)).
///
/// Near p = q the two terms of the textbook cancel to the square of the distance; there the
/// divergence is σ(p)·d + log1p(σ(p)·expm1(−d)), d = p − q, taken on the side where σ(p) ≤ ½.
fn divergence(p: f64, q: f64) -> f64 {
    let distance = p - q;
    if distance.abs() <= 1.0 {
        let d = if p > 0.0 { -distance } else { distance };
        let share = sigmoid(-p.abs());
        // Rounding may leave a tiny negative number of what is ≥ 0.
        (share * d + libm::log1p(share * libm::expm1(-d))).max(0.0)
    } else {
        term(p, q) + term(-p, -q)
    }
}

/// σ(p)·(log σ(p) − log σ(q)); a side that never comes up costs nothing.
fn term(p: f64, q: f64) -> f64 {
    let share = sigmoid(p);
    if share.abs() <= 0.0 { 0.0 } else { share * (log_sigmoid(p) - log_sigmoid(q)) }
}
