"""Token log-probs by PyTorch's autograd in float64, which share nothing with the library, and what may differ.

Bounds. The library sums in f32 with compensation and rounds each log-prob once:
    |log p - exact| <= 2^-23 (1 + |log p|)
half of it for the rounding of the result, half for a sum of exponentials within four units in the last place.
A gradient is c (onehot - p), p as good as that sum, rounded once to the type of the logits:
    |g - exact| <= 2^-21 |c| p + half a unit in the last place of g
"""

import torch

LOG_PROB = 2.0**-23
PROBABILITY = 2.0**-21


class Exact:
    """log p of each target, its details, and gradients of sum(c log p), in f64."""

    def __init__(self, logits, targets, ignore_index=-100, scale=1.0, softcap=None, temperature=1.0):
        self.logits = logits.detach().double().requires_grad_()
        self.scored = targets != ignore_index
        # Rows that are not scored may hold anything.
        y = torch.where(self.scored.unsqueeze(-1), self.logits, 0.0) * scale
        if softcap is not None:
            y = softcap * torch.tanh(y / softcap)
        y = y / temperature
        self.all = torch.log_softmax(y, -1)
        self.index = torch.where(self.scored, targets, 0).unsqueeze(-1)
        self.log_probs = self.all.gather(-1, self.index).squeeze(-1) * self.scored
        p = self.all.exp()
        terms = torch.where(p > 0, p * self.all, 0.0)
        self.entropy = -terms.sum(-1) * self.scored
        self.mean_logits = y.mean(-1) * self.scored
        self.log_sum_sq_probs = torch.logsumexp(2 * self.all, -1) * self.scored
        self.argmax = y.argmax(-1) * self.scored

    def grads(self, coefficients):
        total = (coefficients.double() * self.log_probs).sum()
        return torch.autograd.grad(total, self.logits, retain_graph=True)[0]

    def check_log_probs(self, found):
        assert found.dtype == torch.float32
        bound = LOG_PROB * (1 + self.log_probs.abs())
        assert_within("log p", found, self.log_probs, bound)
        assert (found[~self.scored] == 0).all()

    def check_grads(self, found, coefficients, slope=1.0, bend=0.0, exponent=0.0):
        """`slope`: the most that the transform multiplies a gradient by; `bend`: what it is off by, relative to that;
        `exponent`: what each y is off by."""
        exact = self.grads(coefficients)
        c = (coefficients.double().abs() * slope * self.scored).unsqueeze(-1)
        info = torch.finfo(found.dtype)
        near = torch.zeros_like(self.all).scatter(-1, self.index, 1.0) + self.all.exp()
        bound = (
            (PROBABILITY + 2 * exponent) * c * self.all.exp()
            + bend * c * near
            + info.eps / 2 * exact.abs()
            + info.smallest_normal * info.eps
        )
        assert_within("gradient", found, exact, bound.detach())
        assert (found[~self.scored] == 0).all(), "rows that are not scored have gradients of 0"


def assert_within(name, found, exact, bound):
    off = (found.detach().double() - exact.detach()).abs()
    over = off > bound.detach()
    # NaN is over any bound.
    over |= off.isnan()
    if over.any():
        i = tuple(over.nonzero()[0].tolist())
        raise AssertionError(f"{name} at {i}: {found[i]} instead of {exact[i]}, may be off by {bound[i]}")


def batch(dtype, shape=(3, 7), vocab=1003, spread=4.0):
    """Logits, targets of which some are ignored, coefficients of both signs."""
    logits = (spread * torch.randn(*shape, vocab)).to(dtype)
    targets = torch.randint(0, vocab, shape)
    targets.view(-1)[1::5] = -100
    return logits, targets, torch.randn(shape)
