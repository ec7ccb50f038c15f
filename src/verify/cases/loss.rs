//! Losses of a pair with parameters from anywhere in their domains.

use crate::verify::{Curve, Divergence, Loss};

/// Kinds that [`loss`] makes, 0 to this.
pub(super) const KINDS: u8 = 20;

/// Numbers in [0, 1] that parameters are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// β, from 1e-3 to 10.
    pub(super) beta: f64,
    /// ε, γ, τ, δ, λ, K, Δ, a weight: whatever comes first.
    pub(super) first: f64,
    /// What comes second.
    pub(super) second: f64,
    /// α of an α-divergence; reverse KL for 0.
    pub(super) alpha: f64,
}

/// The loss of a kind. Any numbers make one that is within the domains of its parameters.
pub(super) fn loss(kind: u8, parts: Parts) -> Loss {
    let Parts { first, second, alpha, .. } = parts;
    let beta = libm::pow(10.0, 4.0 * parts.beta - 3.0);
    let divergence = match alpha {
        alpha if alpha <= 0.0 => Divergence::ReverseKl,
        alpha if alpha < 0.2 => Divergence::ForwardKl,
        alpha if alpha < 0.4 => Divergence::JensenShannon,
        alpha => Divergence::Alpha(alpha),
    };
    let relative = |curve, mean| Loss::Relative { curve, divergence, mean, scale: beta, beta };
    let free =
        |curve, mean, alpha, gamma| Loss::Free { curve, mean, alpha, gamma, scale: beta, beta };
    let square = Curve::Square(0.5 / beta);
    match kind {
        0 => relative(Curve::Logistic(0.5 * first), false),
        1 => relative(Curve::Logistic(0.5 * first), true),
        2 => relative(Curve::Robust(0.45 * first), false),
        3 => relative(Curve::Hinge(1.0), false),
        4 => Loss::Relative { curve: square, divergence, mean: first > 0.5, scale: 1.0, beta },
        5 => relative(Curve::ForwardGap(4.0 * first - 2.0), false),
        6 => relative(Curve::BackwardGap(4.0 * first - 2.0), false),
        7 => relative(Curve::Square(4.0 * first - 2.0), false),
        8 => relative(Curve::Blend(0.05 + 0.95 * first), false),
        9 => free(Curve::Logistic(0.5 * first), true, 0.0, second),
        10 => free(Curve::Logistic(0.5 * first), true, alpha - 0.5, second),
        11 => free(Curve::Logistic(0.5 * first), false, 0.0, 0.0),
        12 => free(Curve::Hinge(0.1 + first), false, 0.0, 0.0),
        13 => Loss::Orpo { lambda: beta, epsilon: 0.5 * first },
        14 => Loss::Nca { beta },
        15 => Loss::Bco { beta, delta: 4.0 * first - 2.0 },
        16 => Loss::SppoHard { beta },
        17 => Loss::Kto { beta, kl: 2.0 * first, weights: (1.0, 2.0 * second) },
        18 => {
            if first < 0.5 {
                Loss::ApoDown { beta }
            } else {
                Loss::CalDpo { beta }
            }
        }
        19 => Loss::RewardModel { centering: first },
        _ if second < 0.5 => Loss::DpopInside { beta, lambda: 50.0 * first },
        _ => Loss::DpopOutside { beta, lambda: 50.0 * first },
    }
}
