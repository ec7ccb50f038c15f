"""MLX on the CPU: `mlx.nn` and `mx.grad`, in the format of the logits.

Its documentation says nothing of the precision of logsumexp in 16 bits; softmax has an argument `precise`, which
promises f32 there. Held to: sums in f32, one rounding to the format. A transform is made in f32. Rows that are not
scored are left out by indexing: there is no ignored target.
"""

from importlib.metadata import version

import mlx.core as mx
import mlx.nn as nn
import numpy as np

import kit


def array(x):
    """An array of numpy as one of MLX."""
    return mx.array(x).view(mx.bfloat16) if x.dtype == np.uint16 else mx.array(x)


def back(x):
    """An array of MLX as one of numpy; bf16 as its bits."""
    return np.array(x.view(mx.uint16) if x.dtype == mx.bfloat16 else x)


def transformed(x, transform):
    """y of x; what is masked stays so."""
    if transform.plain:
        return x
    y = x.astype(mx.float32) * transform.scale
    if transform.softcap is not None:
        y = transform.softcap * mx.tanh(y / transform.softcap)
        y = mx.where(x == -mx.inf, -mx.inf, y)
    return y / transform.temperature


class Mlx:
    """losses.cross_entropy, of which log-probs are the negative, logsumexp, log_sigmoid, matmul."""

    name = f"mlx {version('mlx')}"
    formats = ("f32", "bf16", "f16")
    unscored = "zero"
    offers = [
        "log_prob", "log_z", "argmax", "mean_logit", "logit_grads", "pair_loss", "head_log_prob", "head_log_z",
        "hidden_grads",
    ]  # fmt: skip

    def precision(self, form):
        """f32, and one rounding to the format."""
        return kit.single(form)

    def asked(self, case, logits, x):
        """log p, log Z and the gradient of Σ c log p by x, of scored rows."""
        rows = mx.array(np.flatnonzero(case.scored))
        targets, c = mx.array(case.targets[case.scored]), mx.array(case.coefficients[case.scored])

        def loss(x):
            losses = nn.losses.cross_entropy(transformed(logits(x[rows]), case.transform), targets)
            return -(c.astype(losses.dtype) * losses).sum()

        y = transformed(logits(x[rows]), case.transform)
        log_probs = -nn.losses.cross_entropy(y, targets, reduction="none")
        found = {"log_probs": log_probs, "log_z": mx.logsumexp(y, axis=-1)}
        return {key: case.spread(back(value.astype(x.dtype))) for key, value in found.items()}, back(mx.grad(loss)(x))

    def rows(self, case):
        """Rows of logits."""
        x = array(case.logits)
        y = transformed(x, case.transform)
        found, grads = self.asked(case, lambda x: x, x)
        found["mean_logit"] = case.spread(back(y.mean(axis=-1).astype(x.dtype))[case.scored])
        return found | {"argmax": back(mx.argmax(y, axis=-1)), "grads": grads}

    def pairs(self, case):
        """DPO by log_sigmoid, in f32; derivatives by `mx.grad`."""
        columns = mx.array(case.columns.astype(np.float32))
        beta, epsilon = case.beta, case.label_smoothing

        def losses(chosen, rejected):
            margin = beta * ((chosen - columns[2]) - (rejected - columns[3]))
            z = margin - columns[5]
            return columns[4] * (-nn.log_sigmoid(z) * (1 - epsilon) - nn.log_sigmoid(-z) * epsilon), margin

        grads = mx.grad(lambda *x: losses(*x)[0].sum(), argnums=(0, 1))(columns[0], columns[1])
        loss, margin = losses(columns[0], columns[1])
        return loss, beta * (columns[0] - columns[2]), beta * (columns[1] - columns[3]), margin, *grads

    def head(self, case):
        """A product of matrices, then as rows."""
        weight, bias = array(case.weight), None if case.bias is None else array(case.bias)

        def logits(hidden):
            return hidden @ weight.T if bias is None else mx.addmm(bias, hidden, weight.T)

        found, d_hidden = self.asked(case, logits, array(case.hidden))
        return found | {"d_hidden": d_hidden}


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    kit.main(Mlx)
