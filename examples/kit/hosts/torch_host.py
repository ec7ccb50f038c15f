"""PyTorch on the CPU: `torch.nn.functional` and autograd, in the format of the logits.

Its documentation says nothing of the precision of log_softmax and cross_entropy in 16 bits. Held to: sums in f32, one
rounding to the format. A transform is made in f32, as each of its operations would round in 16 bits.
"""

import numpy as np
import torch
import torch.nn.functional as F

import kit


def tensor(x):
    """An array as a tensor of its format, with its strides."""
    out = torch.from_numpy(x.view(np.int16) if x.dtype == np.uint16 else x)
    return out.view(torch.bfloat16) if x.dtype == np.uint16 else out


def array(x):
    """A tensor as an array; bf16 as its bits."""
    x = x.detach().contiguous()
    return x.view(torch.int16).numpy().view(np.uint16) if x.dtype == torch.bfloat16 else x.numpy()


def transformed(x, transform):
    """y of x; what is masked stays so."""
    if transform.plain:
        return x
    y = x.float() * transform.scale
    if transform.softcap is not None:
        y = transform.softcap * torch.tanh(y / transform.softcap)
        y = torch.where(x == -torch.inf, -torch.inf, y)
    return y / transform.temperature


class Torch:
    """log_softmax, logsumexp, Categorical, cross_entropy, logsigmoid, linear."""

    name = f"torch {torch.__version__}"
    formats = ("f32", "bf16", "f16")
    unscored = "zero"
    offers = [
        "log_prob", "log_z", "entropy", "argmax", "mean_logit", "logit_grads", "pair_loss", "head_log_prob",
        "head_log_z", "hidden_grads",
    ]  # fmt: skip

    def precision(self, form):
        """f32, and one rounding to the format."""
        return kit.single(form)

    def forward(self, y, case, dtype):
        """log p of targets and log Z."""
        log_probs = F.log_softmax(y, dim=-1).gather(1, torch.from_numpy(case.safe)[:, None])[:, 0]
        found = {"log_probs": log_probs, "log_z": torch.logsumexp(y, dim=-1)}
        return {key: case.spread(array(value.to(dtype))[case.scored]) for key, value in found.items()}

    def backward(self, y, case, x):
        """Of Σ c log p: cross_entropy is −log p, and leaves out the ignored target."""
        losses = F.cross_entropy(y, torch.from_numpy(case.targets), ignore_index=case.ignore, reduction="none")
        return array(torch.autograd.grad(losses, x, torch.from_numpy(-case.coefficients).to(losses.dtype))[0])

    def rows(self, case):
        """Rows of logits."""
        x = tensor(case.padded)[:, : case.vocab].requires_grad_()
        y = transformed(x, case.transform)
        entropy = torch.distributions.Categorical(logits=y, validate_args=False).entropy()
        found = {"entropy": entropy.to(x.dtype), "mean_logit": y.mean(dim=-1).to(x.dtype)}
        found = {key: case.spread(array(value)[case.scored]) for key, value in found.items()}
        found["argmax"] = array(y.argmax(dim=-1))
        return self.forward(y, case, x.dtype) | found | {"grads": self.backward(y, case, x)}

    def pairs(self, case):
        """DPO as TRL writes it, in f32; derivatives by autograd."""
        chosen, rejected, ref_chosen, ref_rejected, weight, offset = torch.from_numpy(case.columns).float()
        chosen.requires_grad_(), rejected.requires_grad_()
        rewards = [case.beta * (chosen - ref_chosen), case.beta * (rejected - ref_rejected)]
        margin = case.beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
        z, epsilon = margin - offset, case.label_smoothing
        loss = weight * (-F.logsigmoid(z) * (1 - epsilon) - F.logsigmoid(-z) * epsilon)
        grads = torch.autograd.grad(loss.sum(), (chosen, rejected))
        return [array(x) for x in (loss, *rewards, margin, *grads)]

    def head(self, case):
        """`linear`, then as rows."""
        hidden = tensor(case.hidden).requires_grad_()
        x = F.linear(hidden, tensor(case.weight), None if case.bias is None else tensor(case.bias))
        y = transformed(x, case.transform)
        return self.forward(y, case, hidden.dtype) | {"d_hidden": self.backward(y, case, hidden)}


if __name__ == "__main__":
    kit.main(Torch)
