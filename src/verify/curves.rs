//! The f-divergences, and the functions ℓ of a preference logit that losses share: value and slope,
//! and the value once more as printed, on numbers that carry a derivative.
//!
//! The forms are those of the papers (both logarithms of a smoothed loss, the quotient of the
//! robust one, both terms of a divergence), where the crate has them reduced; only what overflows
//! in f64 is rearranged.

use super::dual::Dual;
use super::preference::{sigmoid, softplus};

/// An f-divergence, by its score g of a log-ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divergence {
    /// g(u) = u
    ReverseKl,
    /// g(u) = 1 − e^−u
    ForwardKl,
    /// g(u) = log σ(u) + ln 2
    JensenShannon,
    /// g(u) = (1 − e^(−αu))/α, α ≠ 0 of the paper.
    Alpha(f64),
}

impl Divergence {
    /// g(u)
    #[must_use]
    pub fn score(self, u: f64) -> f64 {
        match self {
            Self::ReverseKl => u,
            Self::ForwardKl => -libm::expm1(-u),
            Self::JensenShannon => core::f64::consts::LN_2 - softplus(-u),
            Self::Alpha(alpha) => -libm::expm1(-alpha * u) / alpha,
        }
    }

    /// g′(u)
    #[must_use]
    pub fn slope(self, u: f64) -> f64 {
        match self {
            Self::ReverseKl => 1.0,
            Self::ForwardKl => libm::exp(-u),
            Self::JensenShannon => sigmoid(-u),
            Self::Alpha(alpha) => libm::exp(-alpha * u),
        }
    }

    /// g, as printed.
    pub(super) fn textbook(self, u: Dual) -> Dual {
        match self {
            Self::ReverseKl => u,
            Self::ForwardKl => c(1.0) - (-u).exp(),
            Self::JensenShannon => log_sigmoid(u) - c(0.5).ln(),
            Self::Alpha(alpha) => (c(1.0) - (c(-alpha) * u).exp()) / c(alpha),
        }
    }
}

/// ℓ of a preference logit z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Curve {
    /// −(1 − ε) log σ(z) − ε log σ(−z)
    Logistic(f64),
    /// (−(1 − ε) log σ(z) + ε log σ(−z))/(1 − 2ε)
    Robust(f64),
    /// max(0, δ − z)
    Hinge(f64),
    /// (z − t)²
    Square(f64),
    /// KL(σ(z) ‖ σ(Δ))
    ForwardGap(f64),
    /// KL(σ(Δ) ‖ σ(z))
    BackwardGap(f64),
    /// (1 − m)·softplus(−z) + m·e^−z, m = σ(z/τ)
    Blend(f64),
}

impl Curve {
    /// (ℓ(z), ℓ′(z))
    #[must_use]
    pub fn at(self, z: f64) -> (f64, f64) {
        let (good, bad) = (softplus(-z), softplus(z));
        let (p, q) = (sigmoid(z), sigmoid(-z));
        match self {
            Self::Logistic(e) => ((1.0 - e) * good + e * bad, e * p - (1.0 - e) * q),
            Self::Robust(e) => {
                let scale = 1.0 - 2.0 * e;
                (((1.0 - e) * good - e * bad) / scale, -((1.0 - e) * q + e * p) / scale)
            }
            Self::Hinge(delta) if z < delta => (delta - z, -1.0),
            Self::Hinge(_) => (0.0, 0.0),
            Self::Square(target) => ((z - target) * (z - target), 2.0 * (z - target)),
            Self::ForwardGap(gap) => {
                let (log_p, log_q) = (softplus(-gap) - good, softplus(gap) - bad);
                (p * log_p + q * log_q, p * q * (z - gap))
            }
            Self::BackwardGap(gap) => {
                let (p_gap, q_gap) = (sigmoid(gap), sigmoid(-gap));
                let (log_p, log_q) = (good - softplus(-gap), bad - softplus(gap));
                (p_gap * log_p + q_gap * log_q, if z < gap { p - p_gap } else { q_gap - q })
            }
            Self::Blend(tau) => {
                let m = sigmoid(z / tau);
                // m e^−z, by exponentials that do not overflow for τ ≤ 1.
                let product = if z < 0.0 {
                    libm::exp(z / tau - z) / (1.0 + libm::exp(z / tau))
                } else {
                    m * libm::exp(-z)
                };
                let n = sigmoid(-z / tau);
                let change = n / tau * (product - m * good);
                (n * good + product, -n * q - product + change)
            }
        }
    }

    /// ℓ, as printed.
    pub(super) fn textbook(self, z: Dual) -> Dual {
        match self {
            Self::Logistic(e) => c(e - 1.0) * log_sigmoid(z) - c(e) * log_sigmoid(-z),
            Self::Robust(e) => {
                (c(e - 1.0) * log_sigmoid(z) + c(e) * log_sigmoid(-z)) / c(1.0 - 2.0 * e)
            }
            Self::Hinge(delta) => positive_part(c(delta) - z),
            Self::Square(target) => square(z - c(target)),
            Self::ForwardGap(gap) => divergence(z, c(gap)),
            Self::BackwardGap(gap) => divergence(c(gap), z),
            Self::Blend(tau) => {
                let m = sigmoid_of(z / c(tau));
                (m - c(1.0)) * log_sigmoid(z) + m * (-z).exp()
            }
        }
    }
}

/// A number that does not depend on the input.
pub(super) fn c(x: f64) -> Dual {
    Dual::constant(x)
}

/// σ on dual numbers.
pub(super) fn sigmoid_of(x: Dual) -> Dual {
    c(1.0) / (c(1.0) + (-x).exp())
}

pub(super) fn log_sigmoid(x: Dual) -> Dual {
    sigmoid_of(x).ln()
}

pub(super) fn square(x: Dual) -> Dual {
    x * x
}

pub(super) fn positive_part(x: Dual) -> Dual {
    if x.value > 0.0 { x } else { c(0.0) }
}

/// KL(σ(p) ‖ σ(q))
fn divergence(p: Dual, q: Dual) -> Dual {
    let term = |p: Dual, q: Dual| sigmoid_of(p) * (log_sigmoid(p) - log_sigmoid(q));
    term(p, q) + term(-p, -q)
}
