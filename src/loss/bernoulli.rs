//! Divergences between two coins, the preference that the policy states and one that is given: EXO and
//! NVIDIA's RPO.
//!
//! ```text
//! KL(σ(p) ‖ σ(q)) = σ(p)·(log σ(p) − log σ(q)) + σ(−p)·(log σ(−p) − log σ(−q))
//! ForwardGapCurve    ℓ(z) = KL(σ(z) ‖ σ(Δ))      ℓ′(z) = σ(z)·σ(−z)·(z − Δ)
//! BackwardGapCurve   ℓ(z) = KL(σ(Δ) ‖ σ(z))      ℓ′(z) = σ(z) − σ(Δ)
//! SquareGapCurve     ℓ(z) = (z − Δ)²              ℓ′(z) = 2·(z − Δ)
//! ```

use super::score::LogRatio;
use super::square::SquareCurve;
use super::{Curve, MarginLoss, Tangent};
use crate::Error;
use crate::error::Parameter;
use crate::math::{log_sigmoid, sigmoid, sigmoid_difference};

/// KL(σ(z) ‖ σ(Δ)); see [`Exo`] and [`RpoForward`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForwardGapCurve {
    gap: f64,
}

/// KL(σ(Δ) ‖ σ(z)); see [`RpoBackward`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackwardGapCurve {
    gap: f64,
}

/// (z − Δ)²; see [`RpoSquare`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquareGapCurve(SquareCurve);

impl Curve for ForwardGapCurve {
    fn tangent(&self, z: f64) -> Tangent {
        let spread = sigmoid(z) * sigmoid(-z);
        let slope = if spread > 0.0 { spread * (z - self.gap) } else { 0.0 * sigmoid(z) };
        Tangent { value: divergence(z, self.gap), slope }
    }
}

impl Curve for BackwardGapCurve {
    fn tangent(&self, z: f64) -> Tangent {
        let slope = sigmoid_difference(z, self.gap, z - self.gap);
        Tangent { value: divergence(self.gap, z), slope }
    }
}

impl Curve for SquareGapCurve {
    fn tangent(&self, z: f64) -> Tangent {
        self.0.tangent(z)
    }
}

/// KL(σ(p) ‖ σ(q)).
///
/// Near p = q the two terms of the textbook cancel to the square of the distance; there the divergence is
/// σ(p)·d + log1p(σ(p)·expm1(−d)), d = p − q, taken on the side where σ(p) ≤ ½.
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

/// EXO on pairs (Ji et al. 2024, arXiv 2402.00856, eq. 16): the reverse KL between the stated preference
/// and the smoothed label.
///
/// ```text
/// z = β·(a − b) − offset
/// L = σ(z)·(log σ(z) − log(1−ε)) + σ(−z)·(log σ(−z) − log ε)
/// ∂L/∂log π(y_w) = β·σ(z)·σ(−z)·(z − log((1−ε)/ε))
/// ```
///
/// TRL, Liger, ms-swift: `exo_pair`, β = 0.1, ε = 1e-3. ε must be > 0: log ε is in the loss (TRL to 0.28
/// and ms-swift silently put 1e-3 there, for all losses of a mixture). The gradient vanishes in both tails:
/// badly misordered pairs teach nothing. The minimum lies at z = log((1−ε)/ε), 6.9 by default.
pub type Exo = MarginLoss<ForwardGapCurve, LogRatio>;

/// NVIDIA's reward-aware preference optimization with the forward divergence, KL(σ(z) ‖ σ(Δ)).
///
/// Δ is the gap of external rewards, scaled, `η·(r_w − r_l)`; for another Δ in each pair give each its own
/// loss ([`PerPair`](crate::loss::PerPair)). NeMo-Aligner: `rpo_fwd_kl`. With Δ = log((1−ε)/ε) it is [`Exo`].
/// Source: Nemotron-4 340B (2024), arXiv 2406.11704; arXiv 2502.00203.
pub type RpoForward = MarginLoss<ForwardGapCurve, LogRatio>;

/// NVIDIA's RPO with the backward divergence, KL(σ(Δ) ‖ σ(z)), as [`RpoForward`] otherwise.
///
/// NeMo-Aligner: `rpo_bwd_kl`. With σ(Δ) = 1 − ε it is conservative [`Dpo`](crate::Dpo) but for a
/// constant.
pub type RpoBackward = MarginLoss<BackwardGapCurve, LogRatio>;

/// NVIDIA's RPO with the squared distance, (z − Δ)², as [`RpoForward`] otherwise.
///
/// NeMo-Aligner: `rpo_sq`. With Δ = ½ it is β² times [`IpoSum`](crate::loss::IpoSum).
pub type RpoSquare = MarginLoss<SquareGapCurve, LogRatio>;

impl Exo {
    /// EXO with label smoothing ε.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and 0 < ε < 1.
    ///
    /// # Panics
    /// Never.
    pub fn new(beta: f64, label_smoothing: f64) -> Result<Self, Error> {
        let is_valid = label_smoothing > 0.0 && label_smoothing < 1.0;
        let epsilon = Parameter::ExoSmoothing.check(label_smoothing, is_valid)?;
        let gap = libm::log1p(-epsilon) - libm::log(epsilon);
        Self::scaled(beta, ForwardGapCurve { gap }, LogRatio::default())
    }
}

impl RpoForward {
    /// RPO, forward, with the reward gap Δ.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and Δ is finite.
    ///
    /// # Panics
    /// Never.
    pub fn of_gap(beta: f64, gap: f64) -> Result<Self, Error> {
        let gap = Parameter::RewardGap.finite(gap)?;
        Self::scaled(beta, ForwardGapCurve { gap }, LogRatio::default())
    }
}

impl RpoBackward {
    /// RPO, backward, with the reward gap Δ.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and Δ is finite.
    ///
    /// # Panics
    /// Never.
    pub fn of_gap(beta: f64, gap: f64) -> Result<Self, Error> {
        let gap = Parameter::RewardGap.finite(gap)?;
        Self::scaled(beta, BackwardGapCurve { gap }, LogRatio::default())
    }
}

impl RpoSquare {
    /// RPO, squared, with the reward gap Δ.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless β is finite and > 0 and Δ is finite.
    ///
    /// # Panics
    /// Never.
    pub fn of_gap(beta: f64, gap: f64) -> Result<Self, Error> {
        let gap = Parameter::RewardGap.finite(gap)?;
        Self::scaled(beta, SquareGapCurve(SquareCurve { target: gap }), LogRatio::default())
    }
}
