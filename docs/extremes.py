#!/usr/bin/env python3
"""Figures of every loss at the ends of its range, with 60 digits: tests/data/extremes.json.

    python3 docs/extremes.py > tests/data/extremes.json      (needs mpmath)

Log-probs, counts and parameters are f64 values, taken exactly. The formulas are those of the papers, value
and derivative; exponents are as large as they come, so nothing overflows. A figure that f64 cannot hold is
null: the crate says NaN of the whole pair then.
"""

import json
import sys

from mpmath import exp, expm1, log, log1p, mp, mpf

mp.dps = 60

BETAS = [1e-4, 0.1, 1.0, 1e3]
EPSILON, GAMMA, ALPHA, TAU, DELTA, LAMBDA, KL, GAP, CENTERING = (
    mpf(x) for x in (0.1, 0.5, 0.25, 0.05, 1.0, 5.0, 0.2, 0.3, 0.01))
# (policy of chosen and rejected, reference of both, tokens of both)
PAIRS = [
    ((-20.5, -25.25), (-21.0, -24.5), (10, 12)),
    ((-1e6, -1e6), (-2e6, -2e6), (1000, 999)),
    ((-1.0, -1e6), (-1000001.0, -2.0), (1, 1000)),
    ((-1e6, -1.0), (-2.0, -1000001.0), (1000, 1)),
    ((-1e6, -2e6), (-2.0, -1e6), (7, 9)),
    ((-0.0009765625, -2.0), (-40.5, -1.5), (1, 1)),
    ((-900.0, -100.0), (-100.0, -900.0), (30, 30)),
    ((-100.0, -900.0), (-900.0, -100.0), (30, 30)),
    ((-100.0, -900.0), (-100.0, -100.0), (5, 30)),
    ((-900.0, -100.0), (-100.0, -100.0), (5, 30)),
    ((-12.0, -12.0), (-12.0, -12.000000000931322574615478515625), (3, 4)),
    ((-3.0, -700.0), (-743.0, -3.0), (64, 64)),
    ((-2.0, -1e-12), (-1.0, -2.0), (4, 1)),
    ((-1e-12, -2.0), (-2.0, -1.0), (1, 4)),
]


def softplus(x):
    return max(x, mpf(0)) + log1p(exp(-abs(x)))


def sigmoid(x):
    return 1 / (1 + exp(-x))


def logistic(e):
    return lambda z: ((1 - e) * softplus(-z) + e * softplus(z), e * sigmoid(z) - (1 - e) * sigmoid(-z))


def robust(e):
    def curve(z):
        value = ((1 - e) * softplus(-z) - e * softplus(z)) / (1 - 2 * e)
        return value, -((1 - e) * sigmoid(-z) + e * sigmoid(z)) / (1 - 2 * e)
    return curve


def hinge(d):
    return lambda z: (d - z, mpf(-1)) if z < d else (mpf(0), mpf(0))


def square(t):
    return lambda z: ((z - t) ** 2, 2 * (z - t))


def kl(p, q):
    # Near p = q the terms cancel: more digits than their distance has.
    with mp.workdps(120):
        return +(sigmoid(p) * (softplus(-q) - softplus(-p)) + sigmoid(-p) * (softplus(q) - softplus(p)))


def forward(gap):
    return lambda z: (kl(z, gap), sigmoid(z) * sigmoid(-z) * (z - gap))


def difference(z, gap):
    return sigmoid(z) * sigmoid(-gap) * -expm1(gap - z)


def backward(gap):
    return lambda z: (kl(gap, z), difference(z, gap))


def blend(z):
    m, n = sigmoid(z / TAU), sigmoid(-z / TAU)
    slope = -n * sigmoid(-z) - m * exp(-z) + m * n / TAU * (exp(-z) - softplus(-z))
    return n * softplus(-z) + m * exp(-z), slope


def relative(curve, scale, mean):
    def loss(policy, reference, tokens):
        a, b = (p - r for p, r in zip(policy, reference))
        m, n = tokens if mean else (1, 1)
        value, slope = curve(scale * (a / m - b / n))
        return value, scale * slope / m, -scale * slope / n
    return loss


def forward_kl(beta):
    def loss(policy, reference, tokens):
        a, b = (p - r for p, r in zip(policy, reference))
        value, slope = logistic(EPSILON)(beta * (exp(-b) - exp(-a)))
        return value, beta * slope * exp(-a), -beta * slope * exp(-b)
    return loss


def js(beta):
    def loss(policy, reference, tokens):
        a, b = (p - r for p, r in zip(policy, reference))
        value, slope = logistic(EPSILON)(beta * (softplus(-b) - softplus(-a)))
        return value, beta * slope * sigmoid(-a), -beta * slope * sigmoid(-b)
    return loss


def free(curve, scale, mean, alpha=mpf(0), gamma=mpf(0)):
    def loss(policy, reference, tokens):
        m, n = tokens if mean else (1, 1)
        p, q = policy[0] / m, policy[1] / n
        def reward(x):
            return -expm1(-alpha * x) / alpha if alpha else x
        value, slope = curve(scale * (reward(p) - reward(q)) - gamma)
        return value, scale * slope * exp(-alpha * p) / m, -scale * slope * exp(-alpha * q) / n
    return loss


def orpo(lam, epsilon):
    def loss(policy, reference, tokens):
        p, q = policy[0] / tokens[0], policy[1] / tokens[1]
        odds = p - q - log(-expm1(p)) + log(-expm1(q))
        value, slope = logistic(epsilon)(odds)
        return lam * value, -lam * slope / expm1(p) / tokens[0], lam * slope / expm1(q) / tokens[1]
    return loss


def reward_model(policy, reference, tokens):
    z, total = policy[0] - policy[1], policy[0] + policy[1]
    share, pull = sigmoid(-z), 2 * CENTERING * total
    return softplus(-z) + CENTERING * total ** 2, pull - share, pull + share


def sides(chosen, rejected):
    def loss(policy, reference, tokens):
        a, b = (p - r for p, r in zip(policy, reference))
        (x, dx), (y, dy) = chosen(a), rejected(b)
        return x + y, dx, dy
    return loss


def falling(beta, shift):
    """sigma(-beta (x - shift))"""
    def side(x):
        z = beta * (x - shift)
        return sigmoid(-z), -beta * sigmoid(z) * sigmoid(-z)
    return side


def rising(beta, shift):
    def side(x):
        z = beta * (x - shift)
        return sigmoid(z), beta * sigmoid(z) * sigmoid(-z)
    return side


def apo_down(beta):
    def loss(policy, reference, tokens):
        a, b = (p - r for p, r in zip(policy, reference))
        x, z = beta * a, beta * (a - b)
        slope = beta * sigmoid(z) * sigmoid(-z)
        return sigmoid(x) + sigmoid(-z), beta * sigmoid(x) * sigmoid(-x) - slope, slope
    return loss


def cal_dpo(beta):
    def loss(policy, reference, tokens):
        a, b = (p - r for p, r in zip(policy, reference))
        t, share = 1 / (2 * beta), sigmoid(b - a)
        return softplus(b - a) + ((a - t) ** 2 + (b + t) ** 2) / 2, a - t - share, b + t + share
    return loss


def dpop(beta, inside):
    def loss(policy, reference, tokens):
        a, b = (p - r for p, r in zip(policy, reference))
        below = 1 if a < 0 else 0
        z = beta * (a - b + (LAMBDA * below * a if inside else 0))
        share = beta * sigmoid(-z)
        if inside:
            return softplus(-z), -share * (1 + LAMBDA * below), share
        return softplus(-z) - LAMBDA * below * a, -share - LAMBDA * below, share
    return loss


def losses(beta):
    ipo = square(1 / (2 * beta))
    exo = forward(log((1 - EPSILON) / EPSILON))
    smooth = logistic(EPSILON)
    t = 1 / (2 * beta)
    return {
        "sigmoid": relative(smooth, beta, False),
        "robust": relative(robust(EPSILON), beta, False),
        "hinge": relative(hinge(mpf(1)), beta, False),
        "ipo": relative(ipo, mpf(1), True),
        "ipo_sum": relative(ipo, mpf(1), False),
        "exo_pair": relative(exo, beta, False),
        "discopop": relative(blend, beta, False),
        "sigmoid_norm": relative(smooth, beta, True),
        "rpo_fwd_kl": relative(forward(GAP), beta, False),
        "rpo_bwd_kl": relative(backward(GAP), beta, False),
        "rpo_sq": relative(square(GAP), beta, False),
        "sigmoid, forward KL": forward_kl(beta),
        "sigmoid, JS": js(beta),
        "simpo": free(smooth, beta, True, gamma=GAMMA),
        "cpo": free(smooth, beta, False),
        "cpo_hinge": free(hinge(mpf(1)), beta, False),
        "cpo_ipo": free(ipo, mpf(1), True),
        "slic": free(hinge(DELTA), mpf(1), False),
        "alphapo": free(smooth, beta, True, ALPHA, GAMMA),
        "orpo": orpo(beta, EPSILON),
        "orpo, unsmoothed": orpo(beta, mpf(0)),
        "tpo": free(smooth, beta, False),
        "tpo_hinge": free(hinge(mpf(1)), beta, False),
        "tpo_ipo": free(ipo, mpf(1), True),
        "tpo_l": free(smooth, beta, True, gamma=GAMMA),
        "reward_model": reward_model,
        "nca_pair": sides(
            lambda a: (softplus(-beta * a) + softplus(beta * a) / 2, beta * (sigmoid(beta * a) / 2 - sigmoid(-beta * a))),
            lambda b: (softplus(beta * b) / 2, beta * sigmoid(beta * b) / 2)),
        "bco_pair": sides(
            lambda a: (softplus(GAP - beta * a), -beta * sigmoid(GAP - beta * a)),
            lambda b: (softplus(beta * b - GAP), beta * sigmoid(beta * b - GAP))),
        "sppo_hard": sides(lambda a: ((a - t) ** 2, 2 * (a - t)), lambda b: ((b + t) ** 2, 2 * (b + t))),
        "apo_zero": sides(falling(beta, 0), rising(beta, 0)),
        "kto": sides(falling(beta, KL), rising(beta, KL)),
        "apo_down": apo_down(beta),
        "cal_dpo": cal_dpo(beta),
        "dpop_inside": dpop(beta, True),
        "dpop_outside": dpop(beta, False),
    }


def figure(x):
    """The f64 nearest to x; None beyond its range."""
    return None if abs(x) > mpf(sys.float_info.max) else float(x)


def main():
    cases = []
    for beta in BETAS:
        for name, loss in losses(mpf(beta)).items():
            rows = []
            for policy, reference, tokens in PAIRS:
                exact = [tuple(mpf(x) for x in xs) for xs in (policy, reference, tokens)]
                rows.append([figure(x) for x in loss(*exact)])
            cases.append({"loss": name, "beta": beta, "figures": rows})
    pairs = [[*policy, *reference, *tokens] for policy, reference, tokens in PAIRS]
    print('{"pairs":' + json.dumps(pairs, separators=(",", ":")) + ',"cases":[')
    print(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases))
    print("]}")


if __name__ == "__main__":
    main()
