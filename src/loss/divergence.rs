//! f-divergences: what a log-ratio is worth when the policy is held to the reference by another
//! divergence than the reverse KL.
//!
//! ```text
//! reverse KL         g(u) = u                      g′(u) = 1
//! forward KL         g(u) = 1 − e^−u               g′(u) = e^−u
//! Jensen–Shannon     g(u) = log σ(u) + ln 2        g′(u) = σ(−u)
//! α (paper's α)      g(u) = (1 − e^(−α·u))/α       g′(u) = e^(−α·u)
//! ```
//!
//! g is f′ up to a constant, taken so that g(0) = 0: a policy that is the reference scores 0
//! whatever the number of tokens that its score is divided by. In sums the constant cancels.
//!
//! Source: f-DPO, Wang et al. 2023, arXiv 2309.16240.

use crate::Error;
use crate::error::Parameter;
use crate::math;

/// The score g(u) of a log-ratio u under a divergence, and its slope.
///
/// A trait of its own, so that other divergences can be tried; losses of a difference of log-ratios
/// take any, and no other loss takes one.
pub trait Divergence: Copy {
    /// g(u), with g(0) = 0.
    #[must_use]
    fn score(&self, u: f64) -> f64;

    /// g′(u)
    #[must_use]
    fn slope(&self, u: f64) -> f64;

    /// g(a) − g(b)
    #[must_use]
    fn difference(&self, a: f64, b: f64) -> f64 {
        self.score(a) - self.score(b)
    }

    /// g(a)/m − g(b)/n, of answers of m and n tokens.
    #[must_use]
    fn mean_difference(&self, (a, m): (f64, f64), (b, n): (f64, f64)) -> f64 {
        self.score(a) / m - self.score(b) / n
    }
}

/// KL(π ‖ `π_ref`), the divergence of DPO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReverseKl;

/// KL(`π_ref` ‖ π). Steep where the policy falls below the reference: an answer 710 nats below it
/// overflows, and the pair is NaN unless the loss is flat there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardKl;

/// The Jensen–Shannon divergence. Flat where the policy is above the reference: a chosen answer
/// that is already there is not pushed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JensenShannon;

/// An α-divergence. The two conventions are each other's complement, `α_TRL = 1 − α_paper`: the
/// same number means another loss, but for ½. Hence two constructors and no other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlphaDivergence {
    /// The paper's α.
    alpha: f64,
}

impl AlphaDivergence {
    /// With the paper's α, as TRL to 0.28 and ms-swift have it: 0 is the reverse KL, 1 the forward
    /// KL.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless α is finite.
    ///
    /// # Panics
    /// Never.
    pub fn with_paper_alpha(alpha: f64) -> Result<Self, Error> {
        Ok(Self { alpha: Parameter::DivergenceAlpha.finite(alpha)? })
    }

    /// With TRL's `f_alpha_divergence_coef` from 0.29 on (default ½): 1 is the reverse KL, 0 the
    /// forward KL. TRL also clamps the exponent at 80, where its gradient ends; nothing is clamped
    /// here.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless α is finite.
    ///
    /// # Panics
    /// Never.
    pub fn with_trl_alpha(alpha: f64) -> Result<Self, Error> {
        Ok(Self { alpha: 1.0 - Parameter::DivergenceAlpha.finite(alpha)? })
    }
}

/// Any of the divergences, chosen at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum AnyDivergence {
    /// [`ReverseKl`], the default.
    #[default]
    ReverseKl,
    /// [`ForwardKl`]
    ForwardKl,
    /// [`JensenShannon`]
    JensenShannon,
    /// [`AlphaDivergence`]
    Alpha(AlphaDivergence),
}

impl Divergence for ReverseKl {
    fn score(&self, u: f64) -> f64 {
        u
    }

    fn slope(&self, _: f64) -> f64 {
        1.0
    }
}

impl Divergence for ForwardKl {
    fn score(&self, u: f64) -> f64 {
        power::score(1.0, u)
    }

    fn slope(&self, u: f64) -> f64 {
        power::slope(1.0, u)
    }

    fn difference(&self, a: f64, b: f64) -> f64 {
        power::difference(1.0, a, b)
    }

    fn mean_difference(&self, chosen: (f64, f64), rejected: (f64, f64)) -> f64 {
        power::mean_difference(1.0, chosen, rejected)
    }
}

impl Divergence for JensenShannon {
    /// −log((1 + e^−u)/2), by the exponential that is ≤ 1.
    fn score(&self, u: f64) -> f64 {
        let half = 0.5 * libm::expm1(-u.abs());
        u.min(0.0) - libm::log1p(half)
    }

    fn slope(&self, u: f64) -> f64 {
        math::sigmoid(-u)
    }
}

impl Divergence for AlphaDivergence {
    fn score(&self, u: f64) -> f64 {
        power::score(self.alpha, u)
    }

    fn slope(&self, u: f64) -> f64 {
        power::slope(self.alpha, u)
    }

    fn difference(&self, a: f64, b: f64) -> f64 {
        power::difference(self.alpha, a, b)
    }

    fn mean_difference(&self, chosen: (f64, f64), rejected: (f64, f64)) -> f64 {
        power::mean_difference(self.alpha, chosen, rejected)
    }
}

impl Divergence for AnyDivergence {
    fn score(&self, u: f64) -> f64 {
        match self {
            Self::ReverseKl => ReverseKl.score(u),
            Self::ForwardKl => ForwardKl.score(u),
            Self::JensenShannon => JensenShannon.score(u),
            Self::Alpha(alpha) => alpha.score(u),
        }
    }

    fn slope(&self, u: f64) -> f64 {
        match self {
            Self::ReverseKl => ReverseKl.slope(u),
            Self::ForwardKl => ForwardKl.slope(u),
            Self::JensenShannon => JensenShannon.slope(u),
            Self::Alpha(alpha) => alpha.slope(u),
        }
    }

    fn difference(&self, a: f64, b: f64) -> f64 {
        match self {
            Self::ReverseKl => ReverseKl.difference(a, b),
            Self::ForwardKl => ForwardKl.difference(a, b),
            Self::JensenShannon => JensenShannon.difference(a, b),
            Self::Alpha(alpha) => alpha.difference(a, b),
        }
    }

    fn mean_difference(&self, chosen: (f64, f64), rejected: (f64, f64)) -> f64 {
        match self {
            Self::ReverseKl => ReverseKl.mean_difference(chosen, rejected),
            Self::ForwardKl => ForwardKl.mean_difference(chosen, rejected),
            Self::JensenShannon => JensenShannon.mean_difference(chosen, rejected),
            Self::Alpha(alpha) => alpha.mean_difference(chosen, rejected),
        }
    }
}

/// (1 − e^(−αu))/α, the score of α-divergences and of `AlphaPO`; u itself in the limit α = 0.
pub(super) mod power {
    pub(in super::super) fn score(alpha: f64, u: f64) -> f64 {
        if alpha.abs() <= 0.0 { u } else { -libm::expm1(-alpha * u) / alpha }
    }

    pub(in super::super) fn slope(alpha: f64, u: f64) -> f64 {
        libm::exp(-alpha * u)
    }

    /// score(a) − score(b), as the larger of the two exponentials times 1 − e^−|distance|: to the
    /// last digits also where the two are close, and infinite only where the difference is.
    pub(in super::super) fn difference(alpha: f64, a: f64, b: f64) -> f64 {
        let distance = -alpha * (a - b);
        if distance.abs() <= 0.0 {
            // α = 0, a = b, or a product that underflows.
            return a - b;
        }
        let larger = (-alpha * a).max(-alpha * b);
        let factor = libm::expm1(-distance.abs()) / alpha;
        libm::exp(larger) * if distance > 0.0 { factor } else { -factor }
    }

    /// score(a)/m − score(b)/n. Where both overflow their logarithms decide which infinity it is,
    /// and it is 0 where they agree.
    pub(in super::super) fn mean_difference(
        alpha: f64,
        (a, m): (f64, f64),
        (b, n): (f64, f64),
    ) -> f64 {
        let (x, y) = (score(alpha, a) / m, score(alpha, b) / n);
        if !(x.is_infinite() && y.is_infinite()) {
            return x - y;
        }
        // ln |x| − ln |y|: a difference of small numbers where the answers are close.
        let lead = -alpha * (a - b) - (libm::log(m) - libm::log(n));
        if lead < 0.0 {
            -y
        } else if lead > 0.0 {
            x
        } else {
            0.0
        }
    }
}
