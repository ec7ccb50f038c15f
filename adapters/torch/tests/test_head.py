"""Token log-probs of hidden states against float64, which makes the logits."""

import dpo_kernel_torch
import pytest
import torch
from dpo_kernel_torch import head_preference_loss, head_token_log_probs, preference_loss, token_log_probs
from oracle import assert_within


class ExactHead:
    """log p and the gradients of sum(c log p), in f64."""

    def __init__(self, hidden, weight, bias, targets, softcap=None, scale=1.0, temperature=1.0):
        self.hidden = hidden.detach().double().requires_grad_()
        self.weight = weight.detach().double().requires_grad_()
        self.bias = None if bias is None else bias.detach().double().requires_grad_()
        self.scored = targets != -100
        states = torch.where(self.scored.unsqueeze(-1), self.hidden, 0.0)
        logits = states @ self.weight.T
        # The sum of what a logit is made of: what rounding is relative to.
        self.size = (states.detach().abs() @ self.weight.detach().abs().T).amax(-1) * scale / temperature
        if bias is not None:
            logits = logits + self.bias
        y = logits * scale
        if softcap is not None:
            y = softcap * torch.tanh(y / softcap)
        index = torch.where(self.scored, targets, 0).unsqueeze(-1)
        self.log_probs = torch.log_softmax(y / temperature, -1).gather(-1, index).squeeze(-1) * self.scored

    def grads(self, coefficients):
        inputs = [self.hidden, self.weight] + ([] if self.bias is None else [self.bias])
        return torch.autograd.grad((coefficients.double() * self.log_probs).sum(), inputs, retain_graph=True)

    def check(self, found):
        """Two logits make a log-prob; each is a sum of H products in f32, off by 2^-24 sqrt(H) at most of the sum of
        their sizes when errors do not line up; four times that."""
        h = self.hidden.shape[-1]
        bound = 2.0**-23 * (1 + self.log_probs.abs()) + 4 * 2 * 2.0**-24 * h**0.5 * self.size
        assert_within("log p", found, self.log_probs, bound)
        assert (found[~self.scored] == 0).all()

    def check_grads(self, found, coefficients):
        """Relative to the largest gradient: p is off by what a logit is, sums of V terms by less."""
        h = self.hidden.shape[-1]
        for name, one, exact in zip(("hidden", "weight", "bias"), found, self.grads(coefficients)):
            if one is None:
                continue
            largest = exact.abs().amax()
            logit = 4 * 2 * 2.0**-24 * h**0.5 * self.size.max()
            bound = (logit + 2.0**-20) * largest + torch.finfo(one.dtype).eps / 2 * exact.abs() + 1e-12
            assert_within(f"gradient of {name}", one, exact, bound)


def batch(states=torch.float32, weights=None, rows=(3, 7), vocab=1003, hidden=65, bias=True):
    h = torch.randn(*rows, hidden).to(states)
    w = (torch.randn(vocab, hidden) / hidden**0.5).to(weights or states)
    b = torch.randn(vocab).to(weights or states) if bias else None
    targets = torch.randint(0, vocab, rows)
    targets.view(-1)[1::5] = -100
    return h, w, b, targets, torch.randn(rows)


@pytest.mark.parametrize("weights", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_frozen_head(dtype, weights, bias):
    h, w, b, targets, c = batch(dtype, weights, bias=bias)
    h.requires_grad_()
    exact = ExactHead(h, w, b, targets)
    found = head_token_log_probs(h, w, targets, bias=b).log_probs
    exact.check(found)
    found.backward(c)
    exact.check_grads([h.grad], c)
    assert (h.grad[targets == -100] == 0).all()


@pytest.mark.parametrize("vocab", [1, 31, 512, 513])
@pytest.mark.parametrize("hidden", [1, 7, 64])
def test_odd_shapes(vocab, hidden):
    h, w, b, targets, c = batch(vocab=vocab, hidden=hidden)
    h.requires_grad_()
    exact = ExactHead(h, w, b, targets)
    found = head_token_log_probs(h, w, targets, bias=b).log_probs
    exact.check(found)
    found.backward(c)
    exact.check_grads([h.grad], c)


def test_transform():
    h, w, b, targets, c = batch()
    h.requires_grad_()
    factors = {"softcap": 3.0, "scale": 0.5, "temperature": 0.75}
    exact = ExactHead(h, w, b, targets, **factors)
    found = head_token_log_probs(h, w, targets, bias=b, **factors).log_probs
    exact.check(found)
    found.backward(c)
    exact.check_grads([h.grad], c)


@pytest.mark.parametrize("weights", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("due", ["hwb", "wb", "hw", "hb", "w", "b"])
def test_trained_head(dtype, weights, due):
    """Gradients of hidden states, weights and bias, of all that are due and no others."""
    h, w, b, targets, c = batch(dtype, weights)
    inputs = {"h": h, "w": w, "b": b}
    for name in due:
        inputs[name].requires_grad_()
    exact = ExactHead(h, w, b, targets)
    found = head_token_log_probs(h, w, targets, bias=b).log_probs
    exact.check(found)
    found.backward(c)
    exact.check_grads([h.grad, w.grad, b.grad], c)
    assert [name for name in "hwb" if inputs[name].grad is not None] == sorted(due, key="hwb".index)
    if "h" in due:
        assert (h.grad[targets == -100] == 0).all()


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=str)
def test_trained_head_of_rows_that_are_apart(weights):
    """One part a sequence: sums go on from one to the next, and are rounded once."""
    h, w, b, targets, c = batch(torch.float32, weights)
    states, heads = layouts(h, w)
    states.requires_grad_(), heads.requires_grad_(), b.requires_grad_()
    exact = ExactHead(h, w, b, targets, softcap=5.0)
    found = head_token_log_probs(states, heads, targets, bias=b, softcap=5.0).log_probs
    exact.check(found)
    found.backward(c)
    exact.check_grads([states.grad, heads.grad, b.grad], c)


def test_trained_head_without_rows():
    h, w = torch.randn(0, 5, requires_grad=True), torch.randn(9, 5, requires_grad=True)
    head_token_log_probs(h, w, torch.zeros(0, dtype=torch.long)).log_probs.sum().backward()
    assert h.grad.shape == (0, 5) and (w.grad == 0).all()
    h, targets = torch.full((3, 5), torch.nan, requires_grad=True), torch.full((3,), -100)
    head_token_log_probs(h, w, targets).log_probs.sum().backward()
    assert (h.grad == 0).all() and (w.grad == 0).all()


def test_tied_weights():
    """The embedding is the head, as in small models: both gradients meet in one parameter."""
    w, ids, targets = torch.randn(40, 16, requires_grad=True), torch.randint(0, 40, (9,)), torch.randint(0, 40, (9,))
    head_token_log_probs(w[ids] / 4, w, targets).log_probs.sum().backward()
    exact = w.detach().double().requires_grad_()
    log_probs = torch.log_softmax(exact[ids] / 4 @ exact.T, -1).gather(-1, targets.unsqueeze(-1))
    log_probs.sum().backward()
    assert (w.grad.double() - exact.grad).abs().max() <= 2.0**-19 * exact.grad.abs().max()


def test_details_are_those_of_the_logits():
    """With weights that pick columns, the product is exact, and everything is the same bits."""
    logits = torch.randn(4, 6, 33)
    targets = torch.randint(0, 33, (4, 6))
    targets[0, 1] = -100
    found = head_token_log_probs(logits, torch.eye(33), targets, details=True)
    expected = token_log_probs(logits, targets, details=True)
    for field in found._fields:
        assert torch.equal(getattr(found, field), getattr(expected, field)), field


def test_nothing_is_kept_without_gradients():
    h, w, b, targets, _ = batch()
    expected = head_token_log_probs(h.requires_grad_(), w, targets, bias=b).log_probs.detach()
    with torch.no_grad():
        assert torch.equal(head_token_log_probs(h, w, targets, bias=b).log_probs, expected)
    args = (h.detach(), w, b, targets, False, 0, -100, [0.0, 0.0, 0.0], 0)
    assert [out.numel() for out in torch.ops.dpo_kernel.head_log_probs(*args)][2:] == [0, 0]


def test_a_plan_without_the_gradients_that_are_due_is_refused():
    h, w, b, targets, _ = batch()
    h.requires_grad_()
    for tracked, plan in ((h, 0), (w.requires_grad_(), 1)):
        args = (h, w, b, targets, False, plan, -100, [0.0, 0.0, 0.0], 0)
        log_probs = torch.ops.dpo_kernel.head_log_probs(*args)[0]
        with pytest.raises(RuntimeError, match="plan"):
            torch.autograd.grad(log_probs.sum(), tracked)


def layouts(h, w):
    """NaN in what is padding."""
    wide = torch.full((h.shape[0], h.shape[1] + 1, h.shape[2] + 3), torch.nan)
    wide[:, :-1, :-3] = h
    heads = torch.full((w.shape[0], w.shape[1] + 9), torch.nan, dtype=w.dtype)
    heads[:, :-9] = w
    return wide[:, :-1, :-3], heads[:, :-9]


def test_strides_are_the_same_bits():
    h, w, b, targets, c = batch()
    tracked = h.clone().requires_grad_()
    expected = head_token_log_probs(tracked, w, targets, bias=b).log_probs
    expected.backward(c)
    states, weights = layouts(h, w)
    states.requires_grad_()
    found = head_token_log_probs(states, weights, targets, bias=b).log_probs
    found.backward(c)
    assert torch.equal(found, expected) and torch.equal(states.grad, tracked.grad)


def test_rows_that_are_not_scored_are_not_read():
    h, w, b, targets, c = batch()
    h[targets == -100] = torch.nan
    h.requires_grad_()
    found = head_token_log_probs(h, w, targets, bias=b).log_probs
    found.backward(c)
    ExactHead(h, w, b, targets).check(found)
    assert (h.grad[targets == -100] == 0).all() and h.grad.isfinite().all()


def test_no_rows():
    h = torch.randn(0, 5, requires_grad=True)
    found = head_token_log_probs(h, torch.randn(9, 5), torch.zeros(0, dtype=torch.long), details=True)
    found.log_probs.sum().backward()
    assert found.log_probs.shape == (0,) and h.grad.shape == (0, 5)


def test_the_loss_is_that_of_the_logits():
    """Weights that pick columns: the same log-probs, so the same figures, and coefficients rounded to f32."""
    logits, targets = torch.randn(4, 6, 33), torch.randint(0, 33, (4, 6))
    reference = torch.randn(4)
    one, other = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = head_preference_loss(one, torch.eye(33), targets, reference=reference)
    expected = preference_loss(other, targets, reference=reference)
    assert torch.equal(found.loss, expected.loss) and torch.equal(found.margins, expected.margins)
    found.loss.backward()
    expected.loss.backward()
    bound = 2.0**-20 * other.grad.abs().amax() + torch.zeros_like(other.grad)
    assert_within("gradient", one.grad, other.grad.double(), bound.double())


def test_gradcheck_in_single_precision():
    """As for logits; a step of the states moves logits by it times weights below 1."""
    weight, targets = torch.randn(7, 5).clamp(-1, 1), torch.tensor([0, 3, -100, 6])

    def call(hidden):
        return head_token_log_probs(hidden.float(), weight, targets).log_probs.double()

    hidden = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, hidden, eps=2.0**-6, atol=2 * (2.0**-16 + 2.0**-13.6), rtol=0.0)


def test_gradcheck_of_weights_in_single_precision():
    states, targets = torch.randn(4, 5).clamp(-1, 1), torch.tensor([0, 3, -100, 6])

    def call(weight, bias):
        return head_token_log_probs(states, weight.float(), targets, bias=bias.float()).log_probs.double()

    inputs = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((7, 5), (7,))]
    assert torch.autograd.gradcheck(call, inputs, eps=2.0**-6, atol=2 * (2.0**-16 + 2.0**-13.6), rtol=0.0)


@pytest.mark.parametrize("fault", ["row", "sign", "scale", "stall", "missing"])
def test_the_oracle_sees_faults_of_a_trained_head(fault):
    h, w, b, targets, c = batch(rows=(30, 7))
    w.requires_grad_()
    exact = ExactHead(h, w, b, targets)
    (grads,) = torch.autograd.grad(head_token_log_probs(h, w, targets, bias=b).log_probs, w, c)
    exact.check_grads([None, grads], c)
    if fault == "stall":
        # Sums in bf16, a row at a time.
        p = torch.log_softmax(h @ w.detach().T + b, -1).exp()
        onehot = torch.nn.functional.one_hot(targets.clamp(min=0), 1003)
        rows = ((onehot - p) * (c * (targets != -100)).unsqueeze(-1)).view(-1, 1003)
        grads = torch.zeros(1003, 65, dtype=torch.bfloat16)
        for row, state in zip(rows, h.view(-1, 65)):
            grads += torch.outer(row, state).bfloat16()
    elif fault == "missing":
        seen = targets.clone()
        seen[3, 3] = -100
        (grads,) = torch.autograd.grad(head_token_log_probs(h, w, seen, bias=b).log_probs, w, c)
    else:
        grads = {"row": grads.roll(1, 0), "sign": -grads, "scale": grads * (1 + 2.0**-14)}[fault]
    with pytest.raises(AssertionError):
        exact.check_grads([None, grads], c)


@pytest.mark.parametrize("fault", ["bias", "column", "state", "sixteen", "sign", "scale"])
def test_the_oracle_sees_faults(fault):
    h, w, b, targets, c = batch()
    exact = ExactHead(h, w, b, targets)
    h.requires_grad_()
    given = {
        "bias": (h, w, torch.zeros(1003)),
        "column": (h, w.roll(1, 0), b),
        "state": (h.roll(1, 1), w, b),
        "sixteen": (h.half(), w.half(), b),
    }.get(fault, (h, w, b))
    found = dpo_kernel_torch.head_token_log_probs(given[0], given[1], targets, bias=given[2]).log_probs
    (grads,) = torch.autograd.grad(found, h, c)
    grads = {"sign": -grads, "scale": grads * (1 + 2.0**-14)}.get(fault, grads)
    with pytest.raises(AssertionError):
        exact.check(found)
        exact.check_grads([grads], c)
