//! Losses of a pair with parameters from anywhere in their domains.

use crate::verify::{Divergence, Loss, LossParameters};

/// Kinds that [`loss`] makes, 0 to this.
#[allow(clippy::cast_possible_truncation, reason = "there are some dozens")]
pub(super) const KINDS: u8 = (Loss::NAMES.len() - 1) as u8;

/// Numbers in [0, 1] that parameters are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// β, from 1e-3 to 10.
    pub(super) beta: f64,
    /// ε, τ, δ, λ, K, Δ, a weight.
    pub(super) first: f64,
    /// γ, c, the other weight.
    pub(super) second: f64,
    /// α of an α-divergence; reverse KL for 0.
    pub(super) alpha: f64,
}

/// The loss of a kind. Any numbers make one that is within the domains of its parameters.
pub(super) fn loss(kind: u8, parts: Parts) -> Loss {
    let Parts { first, second, alpha, .. } = parts;
    let divergence = match alpha {
        alpha if alpha <= 0.0 => Divergence::ReverseKl,
        alpha if alpha < 0.2 => Divergence::ForwardKl,
        alpha if alpha < 0.4 => Divergence::JensenShannon,
        alpha => Divergence::Alpha(alpha),
    };
    let parameters = LossParameters {
        beta: libm::pow(10.0, 4.0 * parts.beta - 3.0),
        epsilon: 0.01 + 0.48 * first,
        gamma: second,
        alpha: alpha - 0.5,
        tau: 0.05 + 0.95 * first,
        delta: 0.1 + first,
        lambda: 50.0 * first,
        kl: 2.0 * first,
        weights: (1.0, 2.0 * second),
        gap: 4.0 * first - 2.0,
        centering: second,
        divergence,
    };
    let name = Loss::NAMES.get(usize::from(kind)).copied().unwrap_or("sigmoid");
    Loss::named(name, &parameters).unwrap_or(Loss::ApoDown { beta: parameters.beta })
}
