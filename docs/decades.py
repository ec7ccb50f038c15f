#!/usr/bin/env python3
"""Figures of every loss over all decades of its arguments: tests/data/decades.json.

    python3 docs/decades.py > tests/data/decades.json      (needs mpmath; minutes)

The formulas are those of docs/extremes.py, with more digits than the smallest argument has zeros, so that no
difference cancels. Log-ratios run from 1e-300 to 1e300 with both signs, alone and close to each other, and past
both sides of every number at which a formula changes. References are 0, so that a log-ratio is a policy's log-prob.

Each row has L, dL/dlog pi of the chosen and of the rejected answer, and for the last two how much a relative
change of both log-probs changes them, to two digits: the sum of |x df/dx|. A figure that f64 cannot hold is null.
"""

import json
import sys

from mpmath import exp, expm1, log, log1p, mp, mpf

import extremes
from extremes import EPSILON, GAP, figure, forward_kl, logistic, relative, robust, sigmoid, softplus, square

mp.dps = 160

BETA = 0.5
TOKENS = (3, 5)
SIZES = ([10.0**e for e in (-300, -150, -50, -30, -20, -16, -13, -10, -8, -6, -4, -3, -2, -1)]
         + [0.25, 0.7, 1.5, 3.0, 6.0, 12.0, 24.0, 36.0, 48.0, 75.0, 150.0, 600.0, 708.0, 744.0, 1400.0, 1416.0, 1488.0]
         + [10.0**e for e in (4, 6, 9, 15, 20, 50, 100, 150, 200, 300)])
# Where a slope is 0 or a formula changes, in preference logits.
TURNS = [0.3, 1.0, float(log((1 - EPSILON) / EPSILON)), float(log(2)), 0.5]
STEPS = [1.0, 1.0 + 2.0**-10, 2.0**-7, 2.0**-20, 2.0**-40]


def points(alone):
    """Pairs of log-ratios; `alone` is the other one where one runs."""
    signed = [sign * size for size in SIZES for sign in (1, -1)]
    found = [(x, alone) for x in signed] + [(alone, x) for x in signed[::2] + signed[1::4]]
    some = [sign * size for size in (1e-3, 0.5, 3.0, 30.0, 300.0) for sign in (1, -1)]
    found += [(x, x * (1 + 2.0**-k)) for x in some for k in (2, 10, 30, 45)]
    found += [(x, x * 1e-12) for x in some]
    found += [(2 * (turn + sign * step), alone) for turn in TURNS for step in STEPS for sign in (1, -1)]
    return found


def mean_forward_kl(curve, scale):
    def loss(policy, reference, tokens):
        (a, b), (m, n) = policy, tokens
        value, slope = curve(scale * (-expm1(-a) / m + expm1(-b) / n))
        return value, scale * slope * exp(-a) / m, -scale * slope * exp(-b) / n
    return loss


def alpha_divergence(alpha, curve, scale):
    def loss(policy, reference, tokens):
        a, b = policy
        value, slope = curve(scale * (exp(-alpha * b) - exp(-alpha * a)) / alpha)
        return value, scale * slope * exp(-alpha * a), -scale * slope * exp(-alpha * b)
    return loss


def losses():
    beta = mpf(BETA)
    plain = logistic(mpf(0))
    return extremes.losses(beta) | {
        "sigmoid, unsmoothed": relative(plain, beta, False),
        "robust, unsmoothed": relative(robust(mpf(0)), beta, False),
        "sigmoid_norm, forward KL": mean_forward_kl(logistic(EPSILON), beta),
        "ipo, forward KL": mean_forward_kl(square(1 / (2 * beta)), mpf(1)),
        "ipo_sum, alpha 0.7": alpha_divergence(mpf(0.7), square(1 / (2 * beta)), mpf(1)),
        "sigmoid, alpha 0.7": alpha_divergence(mpf(0.7), logistic(EPSILON), beta),
        "sigmoid, alpha -0.7": alpha_divergence(mpf(-0.7), logistic(EPSILON), beta),
    }


def short(x):
    """Two digits, rounded up a little; no more than f64 holds."""
    return float(f"{float(min(x * mpf(1.01), mpf(10) ** 307)):.1e}")


def rows(loss, pairs):
    found = []
    tokens = tuple(mpf(n) for n in TOKENS)
    h = mpf(10) ** -60
    for pair in pairs:
        sizes = [abs(x) for x in pair if x] or [1]
        mp.dps = 700 if min(sizes) < 1e-25 or max(sizes) > 1e25 else 160
        at = tuple(mpf(x) for x in pair)
        of = lambda policy: loss(policy, (mpf(0), mpf(0)), tokens)
        value = of(at)
        moved = [0, 0]
        for changed in ((at[0] * (1 + h), at[1]), (at[0], at[1] * (1 + h))):
            after = of(changed)
            for i in (0, 1):
                moved[i] += abs(after[i + 1] - value[i + 1]) / h
        found.append([figure(x) for x in value] + [short(x) for x in moved])
    return found


def scalars():
    """x, sigmoid, softplus and log(1 - e^x), the last for x < 0."""
    xs = [sign * size for size in SIZES for sign in (1, -1)] + [0.0]
    xs += [sign * log_2 for log_2 in (float(log(2)),) for sign in (1, -1)]
    xs += [-float(log(2)) * (1 + sign * 2.0**-k) for k in (1, 4, 10, 30, 52) for sign in (1, -1)]
    mp.dps = 700
    return [[x, figure(sigmoid(mpf(x))), figure(softplus(mpf(x))),
             figure(log(-expm1(mpf(x)))) if x < 0 else None] for x in xs]


def main():
    compact = {"separators": (",", ":")}
    lists = {
        "pairs": points(0.0),
        "negative": [p for p in points(-1.0) if max(p) < 0],
        # For exponentials of exponentials.
        "moderate": [p for p in points(0.0) if max(abs(x) for x in p) <= 3000.0],
    }
    cases = []
    for name, loss in losses().items():
        is_exponential = any(word in name for word in ("forward KL", "alpha", "discopop"))
        of = "negative" if name.startswith("orpo") else "moderate" if is_exponential else "pairs"
        print(name, file=sys.stderr)
        cases.append({"loss": name, "of": of, "figures": rows(loss, lists[of])})
    print('{"beta":' + json.dumps(BETA) + ',"tokens":' + json.dumps(TOKENS, **compact))
    for key, pairs in lists.items():
        print(f',"{key}":' + json.dumps(pairs, **compact))
    print(',"scalars":' + json.dumps(scalars(), **compact) + ',"cases":[')
    print(",\n".join(json.dumps(case, **compact) for case in cases))
    print("]}")


if __name__ == "__main__":
    main()
