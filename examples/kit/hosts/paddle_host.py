"""Paddle on the CPU: `paddle.nn.functional` and autograd, in the format of the logits.

Its documentation says nothing of the precision of log_softmax and cross_entropy in 16 bits. Held to: sums in f32, one
rounding to the format. A transform is made in f32, as each of its operations would round in 16 bits.
"""

import numpy as np
import paddle
import paddle.nn.functional as F

import kit


def tensor(x):
    """An array as a tensor of its format: uint16 is bf16 there too."""
    out = paddle.to_tensor(np.ascontiguousarray(x))
    return out.view(paddle.bfloat16) if out.dtype == paddle.uint16 else out


def array(x):
    """A tensor as an array."""
    return x.detach().numpy()


def transformed(x, transform):
    """y of x; what is masked stays so."""
    if transform.plain:
        return x
    y = x.astype("float32") * transform.scale
    if transform.softcap is not None:
        y = transform.softcap * paddle.tanh(y / transform.softcap)
        y = paddle.where(x == -float("inf"), paddle.full_like(y, -float("inf")), y)
    return y / transform.temperature


class Paddle:
    """log_softmax, logsumexp, cross_entropy, log_sigmoid, linear."""

    name = f"paddle {paddle.__version__}"
    formats = ("f32",)
    unscored = "zero"
    offers = [
        "log_prob", "log_z", "argmax", "mean_logit", "logit_grads", "pair_loss", "head_log_prob", "head_log_z",
        "hidden_grads",
    ]  # fmt: skip

    def precision(self, form):
        """f32, and one rounding to the format."""
        return kit.single(form)

    def forward(self, y, case, dtype):
        """log p of targets and log Z."""
        log_probs = paddle.take_along_axis(F.log_softmax(y, axis=-1), paddle.to_tensor(case.safe)[:, None], axis=1)
        found = {"log_probs": log_probs[:, 0], "log_z": paddle.logsumexp(y, axis=-1)}
        return {key: case.spread(array(value.astype(dtype))[case.scored]) for key, value in found.items()}

    def backward(self, y, case, x):
        """Of Σ c log p: cross_entropy is −log p, and leaves out the ignored target."""
        targets = paddle.to_tensor(case.targets)[:, None]
        losses = F.cross_entropy(y, targets, ignore_index=case.ignore, reduction="none")[:, 0]
        c = paddle.to_tensor(-case.coefficients).astype(losses.dtype)
        return array(paddle.grad(losses, x, c)[0])

    def rows(self, case):
        """Rows of logits."""
        x = tensor(case.logits)
        x.stop_gradient = False
        y = transformed(x, case.transform)
        found = self.forward(y, case, x.dtype) | {"grads": self.backward(y, case, x)}
        found["mean_logit"] = case.spread(array(y.mean(axis=-1).astype(x.dtype))[case.scored])
        return found | {"argmax": array(y.astype("float32").argmax(axis=-1))}

    def pairs(self, case):
        """DPO by log_sigmoid, in f32; derivatives by autograd."""
        chosen, rejected, ref_chosen, ref_rejected, weight, offset = paddle.to_tensor(case.columns.astype(np.float32))
        chosen.stop_gradient = rejected.stop_gradient = False
        margin = case.beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
        z, epsilon = margin - offset, case.label_smoothing
        loss = weight * (-F.log_sigmoid(z) * (1 - epsilon) - F.log_sigmoid(-z) * epsilon)
        rewards = case.beta * (chosen - ref_chosen), case.beta * (rejected - ref_rejected)
        grads = paddle.grad(loss.sum(), [chosen, rejected])
        return [array(x) for x in (loss, *rewards, margin, *grads)]

    def head(self, case):
        """`linear`, then as rows."""
        hidden = tensor(case.hidden)
        hidden.stop_gradient = False
        x = F.linear(hidden, tensor(case.weight).T, None if case.bias is None else tensor(case.bias))
        y = transformed(x, case.transform)
        return self.forward(y, case, hidden.dtype) | {"d_hidden": self.backward(y, case, hidden)}


if __name__ == "__main__":
    kit.main(Paddle)
