//! Every loss of a pair once more, as printed: value and both derivatives, in plain f64.
//!
//! ```text
//! a = πc − rc,  b = πr − rr,  u = score of chosen − score of rejected,  z = β u − γ − offset
//! difference losses   L = ℓ(z),       ∂L/∂πc = β ℓ′(z) s′(c),   ∂L/∂πr = −β ℓ′(z) s′(r)
//! unpaired losses     L = ℓ₁(a) + ℓ₂(b)
//! ```
//!
//! The forms are those of the papers (both logarithms of a smoothed loss, the quotient of the robust one,
//! both terms of a divergence), where the crate has them reduced; only what overflows in f64 is rearranged.

use super::preference::{PairLogProbs, PairResult, sigmoid, softplus};

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
}

/// ℓ of a margin.
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
}

/// A loss of a pair, with its parameters as they are: nothing is validated here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// ℓ of a difference of log-ratios: sums, or means over the tokens.
    Relative {
        /// ℓ
        curve: Curve,
        /// g
        divergence: Divergence,
        /// Over the tokens?
        mean: bool,
        /// What z is a multiple of: β, or 1 for IPO.
        scale: f64,
        /// β of the rewards.
        beta: f64,
    },
    /// ℓ of a difference of log-probs, without a reference.
    Free {
        /// ℓ
        curve: Curve,
        /// Over the tokens?
        mean: bool,
        /// α of `AlphaPO`; 0 for plain log-probs.
        alpha: f64,
        /// γ
        gamma: f64,
        /// As above.
        scale: f64,
        /// β of the rewards.
        beta: f64,
    },
    /// λ·softplus(−log odds ratio)
    Orpo {
        /// λ
        lambda: f64,
    },
    /// softplus(−βa) + ½ softplus(βa) + ½ softplus(βb)
    Nca {
        /// β
        beta: f64,
    },
    /// softplus(δ − βa) + softplus(βb − δ)
    Bco {
        /// β
        beta: f64,
        /// δ
        delta: f64,
    },
    /// (a − 1/(2β))² + (b + 1/(2β))²
    SppoHard {
        /// β
        beta: f64,
    },
    /// `w_D (1 − σ(β(a − K))) + w_U (1 − σ(β(K − b)))`
    Kto {
        /// β
        beta: f64,
        /// K
        kl: f64,
        /// `(w_D, w_U)`
        weights: (f64, f64),
    },
    /// σ(βa) + σ(−β(a − b))
    ApoDown {
        /// β
        beta: f64,
    },
    /// softplus(−(a − b)) + ½ (a − 1/(2β))² + ½ (b + 1/(2β))²
    CalDpo {
        /// β
        beta: f64,
    },
    /// softplus(−β(a − b − λ max(0, −a)) + offset)
    DpopInside {
        /// β
        beta: f64,
        /// λ
        lambda: f64,
    },
    /// softplus(−β(a − b) + offset) + λ max(0, −a)
    DpopOutside {
        /// β
        beta: f64,
        /// λ
        lambda: f64,
    },
}

/// The figures of a pair under a loss, with the answers' token counts and an offset that z has to exceed.
#[must_use]
pub fn pair_loss(loss: &Loss, pair: &PairLogProbs, tokens: (f64, f64), offset: f64) -> PairResult {
    let PairLogProbs { policy_chosen, policy_rejected, .. } = *pair;
    let (a, b) =
        (pair.policy_chosen - pair.reference_chosen, policy_rejected - pair.reference_rejected);
    let relative = |beta, (loss, d_chosen, d_rejected)| {
        result((beta * a, beta * b, beta * (a - b)), loss, (d_chosen, d_rejected))
    };
    match *loss {
        Loss::Relative { curve, divergence: g, mean, scale, beta } => {
            let (m, n) = if mean { tokens } else { (1.0, 1.0) };
            let u = if g == Divergence::ReverseKl && !mean {
                a - b
            } else {
                g.score(a) / m - g.score(b) / n
            };
            let (value, slope) = curve.at(scale * u - offset * scale / beta);
            let d = |log_ratio, n| scale * slope * g.slope(log_ratio) / n;
            relative(beta, (value, d(a, m), -d(b, n)))
        }
        Loss::Free { curve, mean, alpha, gamma, scale, beta } => {
            let (m, n) = if mean { tokens } else { (1.0, 1.0) };
            let (p, q) = (policy_chosen / m, policy_rejected / n);
            let reward = |x: f64| if alpha == 0.0 { x } else { -libm::expm1(-alpha * x) / alpha };
            let z = scale * (reward(p) - reward(q)) - gamma - offset * scale / beta;
            let (value, slope) = curve.at(z);
            let d = |x: f64, n| scale * slope * libm::exp(-alpha * x) / n;
            result((beta * p, beta * q, beta * (p - q)), value, (d(p, m), -d(q, n)))
        }
        Loss::Orpo { lambda } => {
            let (p, q) = (policy_chosen / tokens.0, policy_rejected / tokens.1);
            let log_miss = |x: f64| libm::log(-libm::expm1(x));
            let odds = p - log_miss(p) - (q - log_miss(q));
            // Q/D and Q(1−P)/((1−Q)D), both over Q.
            let d = libm::exp(p - q) * -libm::expm1(q) - libm::expm1(p);
            let d_q = lambda / d * libm::expm1(p) / libm::expm1(q);
            let rewards = (lambda * p, lambda * q, lambda * (p - q));
            result(rewards, lambda * softplus(-odds), (-lambda / d / tokens.0, d_q / tokens.1))
        }
        Loss::Nca { beta } => {
            let (x, y) = (beta * a, beta * b);
            let value = softplus(-x) + 0.5 * softplus(x) + 0.5 * softplus(y);
            let d_chosen = beta * (0.5 * sigmoid(x) - sigmoid(-x));
            relative(beta, (value, d_chosen, 0.5 * beta * sigmoid(y)))
        }
        Loss::Bco { beta, delta } => {
            let (x, y) = (beta * a - delta, beta * b - delta);
            relative(beta, (softplus(-x) + softplus(y), -beta * sigmoid(-x), beta * sigmoid(y)))
        }
        Loss::SppoHard { beta } => {
            let (x, y) = (a - 1.0 / (2.0 * beta), b + 1.0 / (2.0 * beta));
            relative(beta, (x * x + y * y, 2.0 * x, 2.0 * y))
        }
        Loss::Kto { beta, kl, weights: (desirable, undesirable) } => {
            let (x, y) = (beta * (a - kl), beta * (kl - b));
            let value = desirable * sigmoid(-x) + undesirable * sigmoid(-y);
            let slope = |x| beta * sigmoid(x) * sigmoid(-x);
            relative(beta, (value, -desirable * slope(x), undesirable * slope(y)))
        }
        Loss::ApoDown { beta } => {
            let slope = |x| beta * sigmoid(x) * sigmoid(-x);
            let (x, z) = (beta * a, beta * (a - b));
            relative(beta, (sigmoid(x) + sigmoid(-z), slope(x) - slope(z), slope(z)))
        }
        Loss::CalDpo { beta } => {
            let (x, y) = (a - 1.0 / (2.0 * beta), b + 1.0 / (2.0 * beta));
            let p = sigmoid(-(a - b));
            relative(beta, (softplus(-(a - b)) + 0.5 * x * x + 0.5 * y * y, -p + x, p + y))
        }
        Loss::DpopInside { beta, lambda } => {
            let below = if a < 0.0 { 1.0 } else { 0.0 };
            let z = beta * (a - b + lambda * below * a) - offset;
            let p = beta * sigmoid(-z);
            relative(beta, (softplus(-z), -p * (1.0 + lambda * below), p))
        }
        Loss::DpopOutside { beta, lambda } => {
            let below = if a < 0.0 { 1.0 } else { 0.0 };
            let z = beta * (a - b) - offset;
            let p = beta * sigmoid(-z);
            relative(beta, (softplus(-z) - lambda * below * a, -p - lambda * below, p))
        }
    }
}

fn result(rewards: (f64, f64, f64), loss: f64, d: (f64, f64)) -> PairResult {
    let (reward_chosen, reward_rejected, margin) = rewards;
    PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen: d.0, d_rejected: d.1 }
}
