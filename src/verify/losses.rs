//! Every loss of a pair once more, as printed: value and both derivatives, in plain f64.
//!
//! ```text
//! a = πc − rc,  b = πr − rr,  u = score of chosen − score of rejected,  z = β u − γ − offset
//! difference losses   L = ℓ(z),       ∂L/∂πc = β ℓ′(z) s′(c),   ∂L/∂πr = −β ℓ′(z) s′(r)
//! unpaired losses     L = ℓ₁(a) + ℓ₂(b)
//! ```
//!
//! [`pair_loss`] has the derivatives as formulas, and rearranges what overflows in f64;
//! [`textbook_loss`] has neither: it is computed on numbers that carry a derivative. ℓ is one of
//! [`Curve`].

use super::curves::{Curve, Divergence, c, log_sigmoid, positive_part, sigmoid_of, square};
use super::dual::Dual;
use super::preference::{PairLogProbs, PairResult, sigmoid, softplus};

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
    /// −λ·((1 − ε) log σ(log odds ratio) + ε log σ(−log odds ratio))
    Orpo {
        /// λ
        lambda: f64,
        /// ε
        epsilon: f64,
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
    /// softplus(−(πc − πr − offset)) + c (πc + πr)²
    RewardModel {
        /// c
        centering: f64,
    },
}

/// Values for every parameter that a loss may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossParameters {
    /// β, and λ of ORPO
    pub beta: f64,
    /// ε, in (0, ½)
    pub epsilon: f64,
    /// γ
    pub gamma: f64,
    /// α of `AlphaPO`
    pub alpha: f64,
    /// τ of `DiscoPOP`
    pub tau: f64,
    /// δ of `SLiC`
    pub delta: f64,
    /// λ of DPOP
    pub lambda: f64,
    /// K of KTO
    pub kl: f64,
    /// `(w_D, w_U)` of KTO
    pub weights: (f64, f64),
    /// Δ of RPO, and δ of BCO
    pub gap: f64,
    /// c of the reward model
    pub centering: f64,
    /// g of log-ratios
    pub divergence: Divergence,
}

impl Loss {
    /// The names that [`named`](Self::named) knows.
    pub const NAMES: [&'static str; 32] = [
        "sigmoid",
        "robust",
        "hinge",
        "ipo",
        "ipo_sum",
        "exo_pair",
        "discopop",
        "sigmoid_norm",
        "rpo_fwd_kl",
        "rpo_bwd_kl",
        "rpo_sq",
        "simpo",
        "tpo_l",
        "alphapo",
        "cpo",
        "tpo",
        "cpo_hinge",
        "tpo_hinge",
        "cpo_ipo",
        "tpo_ipo",
        "slic",
        "orpo",
        "nca_pair",
        "bco_pair",
        "sppo_hard",
        "apo_zero",
        "kto",
        "apo_down",
        "cal_dpo",
        "dpop_inside",
        "dpop_outside",
        "reward_model",
    ];

    /// The loss of pairs that the crate gives this name; None for names of other losses.
    #[must_use]
    pub fn named(name: &str, parameters: &LossParameters) -> Option<Self> {
        let LossParameters { beta, epsilon, gamma, alpha, tau, delta, lambda, .. } = *parameters;
        let LossParameters { kl, weights, gap, centering, divergence, .. } = *parameters;
        let relative = |curve, mean, scale| Self::Relative { curve, divergence, mean, scale, beta };
        let of_sums = |curve| relative(curve, false, beta);
        let free =
            |curve, mean| Self::Free { curve, mean, alpha: 0.0, gamma: 0.0, scale: beta, beta };
        let with_margin = |alpha| {
            let curve = Curve::Logistic(epsilon);
            Self::Free { curve, mean: true, alpha, gamma, scale: beta, beta }
        };
        let ipo = Curve::Square(1.0 / (2.0 * beta));
        let of_free = |curve, mean, beta| Self::Free {
            curve,
            mean,
            alpha: 0.0,
            gamma: 0.0,
            scale: 1.0,
            beta,
        };
        Some(match name {
            "sigmoid" => of_sums(Curve::Logistic(epsilon)),
            "robust" => of_sums(Curve::Robust(epsilon)),
            "hinge" => of_sums(Curve::Hinge(1.0)),
            "ipo" => relative(ipo, true, 1.0),
            "ipo_sum" => relative(ipo, false, 1.0),
            "exo_pair" => of_sums(Curve::ForwardGap(libm::log((1.0 - epsilon) / epsilon))),
            "discopop" => of_sums(Curve::Blend(tau)),
            "sigmoid_norm" => relative(Curve::Logistic(epsilon), true, beta),
            "rpo_fwd_kl" => of_sums(Curve::ForwardGap(gap)),
            "rpo_bwd_kl" => of_sums(Curve::BackwardGap(gap)),
            "rpo_sq" => of_sums(Curve::Square(gap)),
            "simpo" | "tpo_l" => with_margin(0.0),
            "alphapo" => with_margin(alpha),
            "cpo" | "tpo" => free(Curve::Logistic(epsilon), false),
            "cpo_hinge" | "tpo_hinge" => free(Curve::Hinge(1.0), false),
            "cpo_ipo" | "tpo_ipo" => of_free(ipo, true, beta),
            "slic" => of_free(Curve::Hinge(delta), false, 1.0),
            "orpo" => Self::Orpo { lambda: beta, epsilon },
            "nca_pair" => Self::Nca { beta },
            "bco_pair" => Self::Bco { beta, delta: gap },
            "sppo_hard" => Self::SppoHard { beta },
            "apo_zero" => Self::Kto { beta, kl: 0.0, weights: (1.0, 1.0) },
            "kto" => Self::Kto { beta, kl, weights },
            "apo_down" => Self::ApoDown { beta },
            "cal_dpo" => Self::CalDpo { beta },
            "dpop_inside" => Self::DpopInside { beta, lambda },
            "dpop_outside" => Self::DpopOutside { beta, lambda },
            "reward_model" => Self::RewardModel { centering },
            _ => return None,
        })
    }
}

/// The figures of a pair under a loss, with the answers' token counts and an offset that z has to
/// exceed.
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
        Loss::Orpo { lambda, epsilon } => {
            let (p, q) = (policy_chosen / tokens.0, policy_rejected / tokens.1);
            let log_miss = |x: f64| libm::log(-libm::expm1(x));
            let odds = p - log_miss(p) - (q - log_miss(q));
            // Q/D and Q(1−P)/((1−Q)D), both over Q.
            let d = libm::exp(p - q) * -libm::expm1(q) - libm::expm1(p);
            let d_p = epsilon / -libm::expm1(p) - 1.0 / d;
            let d_q = libm::expm1(p) / libm::expm1(q) / d - epsilon / -libm::expm1(q);
            let rewards = (lambda * p, lambda * q, lambda * (p - q));
            let mut value = (1.0 - epsilon) * softplus(-odds);
            if epsilon > 0.0 {
                value += epsilon * softplus(odds);
            }
            let d = (lambda * d_p / tokens.0, lambda * d_q / tokens.1);
            result(rewards, lambda * value, d)
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
        Loss::RewardModel { centering } => {
            let (z, sum) =
                (policy_chosen - policy_rejected - offset, policy_chosen + policy_rejected);
            let (p, pull) = (sigmoid(-z), 2.0 * centering * sum);
            let rewards = (policy_chosen, policy_rejected, policy_chosen - policy_rejected);
            result(rewards, softplus(-z) + centering * sum * sum, (pull - p, pull + p))
        }
    }
}

fn result(rewards: (f64, f64, f64), loss: f64, d: (f64, f64)) -> PairResult {
    let (reward_chosen, reward_rejected, margin) = rewards;
    PairResult { loss, reward_chosen, reward_rejected, margin, d_chosen: d.0, d_rejected: d.1 }
}

/// The loss of a pair as printed, on numbers that carry a derivative: no gradient formula, no
/// stable form. It holds for moderate log-probs.
///
/// Log-probs of the chosen and the rejected answer under policy and reference, their tokens, and
/// the offset.
#[must_use]
pub fn textbook_loss(
    loss: &Loss,
    policy: [Dual; 2],
    reference: [f64; 2],
    tokens: [f64; 2],
    offset: f64,
) -> Dual {
    let ([chosen, rejected], [m, n]) = (policy, tokens.map(c));
    let [a, b] = [chosen - c(reference[0]), rejected - c(reference[1])];
    let half = |beta: f64| c(0.5 / beta);
    let softplus = |x: Dual| -log_sigmoid(-x);
    let sigmoid = sigmoid_of;
    match *loss {
        Loss::Relative { curve, divergence, mean, scale, beta } => {
            let [m, n] = if mean { [m, n] } else { [c(1.0); 2] };
            let u = divergence.textbook(a) / m - divergence.textbook(b) / n;
            curve.textbook(c(scale) * u - c(offset * scale / beta))
        }
        Loss::Free { curve, mean, alpha, gamma, scale, beta } => {
            let [m, n] = if mean { [m, n] } else { [c(1.0); 2] };
            let reward = |x: Dual| Divergence::Alpha(alpha).textbook(x);
            let reward = |x: Dual| if alpha == 0.0 { x } else { reward(x) };
            let u = reward(chosen / m) - reward(rejected / n);
            curve.textbook(c(scale) * u - c(gamma) - c(offset * scale / beta))
        }
        Loss::Orpo { lambda, epsilon } => {
            let odds = |x: Dual| x.exp() / (c(1.0) - x.exp());
            let ratio = (odds(chosen / m) / odds(rejected / n)).ln();
            c(lambda) * Curve::Logistic(epsilon).textbook(ratio)
        }
        Loss::Nca { beta } => {
            let (x, y) = (c(beta) * a, c(beta) * b);
            -log_sigmoid(x) - c(0.5) * log_sigmoid(-x) - c(0.5) * log_sigmoid(-y)
        }
        Loss::Bco { beta, delta } => {
            -log_sigmoid(c(beta) * a - c(delta)) - log_sigmoid(c(delta) - c(beta) * b)
        }
        Loss::SppoHard { beta } => square(a - half(beta)) + square(b + half(beta)),
        Loss::Kto { beta, kl, weights } => {
            let desirable = c(1.0) - sigmoid(c(beta) * (a - c(kl)));
            let undesirable = c(1.0) - sigmoid(c(beta) * (c(kl) - b));
            c(weights.0) * desirable + c(weights.1) * undesirable
        }
        Loss::ApoDown { beta } => sigmoid(c(beta) * a) + c(1.0) - sigmoid(c(beta) * (a - b)),
        Loss::CalDpo { beta } => {
            let squares = square(a - half(beta)) + square(b + half(beta));
            -log_sigmoid(a - b) + c(0.5) * squares
        }
        Loss::DpopInside { beta, lambda } => {
            let h = a - b - c(lambda) * positive_part(-a);
            softplus(c(offset) - c(beta) * h)
        }
        Loss::DpopOutside { beta, lambda } => {
            softplus(c(offset) - c(beta) * (a - b)) + c(lambda) * positive_part(-a)
        }
        Loss::RewardModel { centering } => {
            softplus(c(offset) - (chosen - rejected)) + c(centering) * square(chosen + rejected)
        }
    }
}
