"""Figures of tests/data/grpo.json: three steps of GRPO on logits, by JAX's autograd in f64.

    L = 1/T sum_t [ -min(r_t A_t, clip(r_t, 1 - 0.2, 1 + 0.2) A_t) + 0.04 (e^(q_t - p_t) - (q_t - p_t) - 1) ]
    r_t = exp(p_t - old_t), p_t = log-prob of the target, q_t the reference's

(Shao et al. 2024, arXiv 2402.03300; the estimator of the KL is its k3.) Needs jax: python3 docs/grpo.py
"""
import json

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)

R, V, STEPS, RATE = 6, 7, 3, 8.0
TARGETS = [2, 6, 0, 3, 3, 5]
LOGITS = [[((r * 5 + c * 3 + r * c) % 11) * 0.5 - 2.0 for c in range(V)] for r in range(R)]
ADVANTAGES = [1.25, 1.25, 1.25, -0.75, -0.75, 0.5]
OLD = [-1.5, -2.0, -0.5, -3.0, -1.0, -2.5]
REFERENCE = [-1.75, -2.25, -0.75, -2.5, -1.25, -2.0]


def loss(logits):
    p = jax.nn.log_softmax(logits)[jnp.arange(R), jnp.array(TARGETS)]
    ratio, a, q = jnp.exp(p - jnp.array(OLD)), jnp.array(ADVANTAGES), jnp.array(REFERENCE)
    policy = jnp.minimum(ratio * a, jnp.clip(ratio, 0.8, 1.2) * a)
    kl = jnp.exp(q - p) - (q - p) - 1.0
    return jnp.mean(-policy + 0.04 * kl)


def main():
    x, losses, steps = jnp.array(LOGITS), [], []
    for _ in range(STEPS):
        value, grad = jax.value_and_grad(loss)(x)
        x = x - RATE * grad
        losses.append(float(value))
        steps.append({"grad": grad.reshape(-1).tolist(), "logits": x.reshape(-1).tolist()})
    print(json.dumps({
        "rows": R, "vocab": V, "rate": RATE, "targets": TARGETS, "logits": sum(LOGITS, []),
        "advantages": ADVANTAGES, "old": OLD, "reference": REFERENCE, "losses": losses, "steps": steps,
    }, indent=1))


main()
