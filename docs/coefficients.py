#!/usr/bin/env python3
"""Makes the polynomial coefficients of src/simd/exp.rs and src/simd/tanh.rs (needs mpmath).

    e^f    = 1 + f + f^2 q(f)      |f| <= 0.3475, q of degree 4
    tanh u = u + u^3 p(u^2)        0 < |u| <= 0.56, p of degree 4 in u^2

Remez exchange on the relative error, then rounding to f32; for q the best of the neighbouring
roundings of all five coefficients. Prints their bits and the largest relative error left.
"""
import itertools
import struct
from mpmath import cos, exp, fabs, lu_solve, matrix, mp, mpf, pi, tanh

mp.dps = 40


def f32(x):
    return struct.unpack("f", struct.pack("f", float(x)))[0]


def bits(x):
    return struct.unpack("I", struct.pack("f", x))[0]


def neighbours(x):
    return [struct.unpack("f", struct.pack("I", bits(x) + d))[0] for d in (-1, 0, 1)]


def remez(target, head, power, low, high, count):
    """Coefficients c_j of head(x) + sum c_j x^power(j), minimax in relative error on [low, high]."""
    points = [(low + high) / 2 + (high - low) / 2 * cos(pi * i / count) for i in range(count + 1)]
    grid = [low + (high - low) * i / 2000 for i in range(2001)]
    coefficients = []
    for _ in range(40):
        a, b = matrix(count + 1, count + 1), matrix(count + 1, 1)
        for i, x in enumerate(points):
            for j in range(count):
                a[i, j] = x ** power(j) / target(x)
            a[i, count] = (-1) ** i
            b[i] = 1 - head(x) / target(x)
        solution = lu_solve(a, b)
        coefficients = [solution[j] for j in range(count)]
        peaks = []
        for x in grid:
            error = (head(x) + sum(c * x ** power(j) for j, c in enumerate(coefficients))) / target(x) - 1
            if peaks and (peaks[-1][1] > 0) == (error > 0):
                if fabs(error) > fabs(peaks[-1][1]):
                    peaks[-1] = (x, error)
            else:
                peaks.append((x, error))
        while len(peaks) > count + 1:
            peaks.pop(0 if fabs(peaks[0][1]) < fabs(peaks[-1][1]) else -1)
        if len(peaks) < count + 1:
            break
        new = [x for x, _ in reversed(peaks)]
        done = max(fabs(x - y) for x, y in zip(new, points)) < mpf("1e-9")
        points = new
        if done:
            break
    return coefficients


def worst(target, head, power, low, high, coefficients):
    grid = [low + (high - low) * i / 2000 for i in range(2001)]
    value = lambda x: head(x) + sum(mpf(c) * x ** power(j) for j, c in enumerate(coefficients))
    return max(fabs(value(x) / target(x) - 1) for x in grid)


def show(name, coefficients, error):
    print(name, [f"{bits(c):#010x}" for c in coefficients], f"relative error {float(error):.3g}")


h = mpf("0.3475")
q = (exp, lambda x: 1 + x, lambda j: 2 + j, -h, h)
rounded = [f32(c) for c in remez(*q, 5)]
best = min(itertools.product(*map(neighbours, rounded)), key=lambda c: worst(*q[:3], -h, h, c)
           if worst(*q[:3], h, h + mpf("1e-9"), c) < mpf("6e-9") else mpf(1))
show("q", best, worst(*q, best))

p = (tanh, lambda x: x, lambda j: 3 + 2 * j, mpf("1e-3"), mpf("0.56"))
rounded = [f32(c) for c in remez(*p, 5)]
show("p", rounded, worst(*p, rounded))
