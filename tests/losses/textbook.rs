//! The losses from the textbook on numbers that carry a derivative: no gradient formula, no stable form.
//! It holds for moderate log-probs.

use core::ops::{Add, Mul, Neg, Sub};

use dpo_kernel::verify::{Curve, Divergence, Dual, Loss};

fn c(x: f64) -> Dual {
    Dual::constant(x)
}

fn sigmoid(x: Dual) -> Dual {
    c(1.0) / (c(1.0) + (-x).exp())
}

fn log_sigmoid(x: Dual) -> Dual {
    sigmoid(x).ln()
}

fn square(x: Dual) -> Dual {
    x * x
}

fn positive_part(x: Dual) -> Dual {
    if x.value > 0.0 { x } else { c(0.0) }
}

fn score(divergence: Divergence, u: Dual) -> Dual {
    match divergence {
        Divergence::ReverseKl => u,
        Divergence::ForwardKl => c(1.0) - (-u).exp(),
        Divergence::JensenShannon => log_sigmoid(u) - c(0.5).ln(),
        Divergence::Alpha(alpha) => (c(1.0) - (c(-alpha) * u).exp()) / c(alpha),
    }
}

fn curve(of: Curve, z: Dual) -> Dual {
    match of {
        Curve::Logistic(e) => c(e - 1.0) * log_sigmoid(z) - c(e) * log_sigmoid(-z),
        Curve::Robust(e) => {
            (c(e - 1.0) * log_sigmoid(z) + c(e) * log_sigmoid(-z)) / c(1.0 - 2.0 * e)
        }
        Curve::Hinge(delta) => positive_part(c(delta) - z),
        Curve::Square(target) => square(z - c(target)),
        Curve::ForwardGap(gap) => divergence(z, c(gap)),
        Curve::BackwardGap(gap) => divergence(c(gap), z),
        Curve::Blend(tau) => {
            let m = sigmoid(z / c(tau));
            (m - c(1.0)) * log_sigmoid(z) + m * (-z).exp()
        }
    }
}

fn divergence(p: Dual, q: Dual) -> Dual {
    let term = |p: Dual, q: Dual| sigmoid(p) * (log_sigmoid(p) - log_sigmoid(q));
    term(p, q) + term(-p, -q)
}

/// The loss of a pair: policy log-probs, reference log-probs, tokens, offset.
pub fn pair_loss(
    loss: &Loss,
    policy: [Dual; 2],
    reference: [f64; 2],
    tokens: [f64; 2],
    offset: f64,
) -> Dual {
    let [a, b] = [0, 1].map(|i| policy[i].sub(c(reference[i])));
    let half = |beta: f64| c(0.5 / beta);
    let softplus = |x: Dual| log_sigmoid(x.neg()).neg();
    match *loss {
        Loss::Relative { curve: of, divergence, mean, scale, beta } => {
            let [m, n] = if mean { tokens.map(c) } else { [c(1.0); 2] };
            let u = score(divergence, a) / m - score(divergence, b) / n;
            curve(of, c(scale) * u - c(offset * scale / beta))
        }
        Loss::Free { curve: of, mean, alpha, gamma, scale, beta } => {
            let [m, n] = if mean { tokens.map(c) } else { [c(1.0); 2] };
            let reward = |x: Dual| match alpha {
                0.0 => x,
                _ => (c(1.0) - (c(-alpha) * x).exp()) / c(alpha),
            };
            let u = reward(policy[0] / m) - reward(policy[1] / n);
            curve(of, c(scale) * u - c(gamma) - c(offset * scale / beta))
        }
        Loss::Orpo { lambda } => {
            let odds = |x: Dual| x.exp() / (c(1.0) - x.exp());
            let [p, q] = [0, 1].map(|i| odds(policy[i] / c(tokens[i])));
            c(-lambda).mul(log_sigmoid((p / q).ln()))
        }
        Loss::Nca { beta } => {
            let (x, y) = (c(beta) * a, c(beta) * b);
            -log_sigmoid(x) - c(0.5) * log_sigmoid(-x) - c(0.5) * log_sigmoid(-y)
        }
        Loss::Bco { beta, delta } => {
            -log_sigmoid(c(beta) * a - c(delta)) - log_sigmoid(c(delta) - c(beta) * b)
        }
        Loss::SppoHard { beta } => square(a - half(beta)).add(square(b + half(beta))),
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
    }
}
