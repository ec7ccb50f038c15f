"""Operators under `opcheck` and `torch.compile`: schemas, fake kernels, autograd, tracing."""

import dpo_kernel_torch as kernel
import pytest
import torch
import torch.utils.checkpoint
from dpo_kernel_torch.preference import batch_of

NONE = [0.0, 0.0, 0.0]
OPERATORS = torch.ops.dpo_kernel


def rows(dtype=torch.float32, shape=(4, 5), vocab=33):
    targets = torch.randint(0, vocab, shape)
    targets[0, 0] = -100
    return torch.randn(*shape, vocab, dtype=dtype, requires_grad=True), targets


def batches(targets):
    reference = torch.randn(4)
    yield batch_of(targets, reference=reference)
    yield batch_of(targets, reference=reference, loss="ipo", weights=torch.tensor([1.0, 0.5]), divisor=4.0)
    yield batch_of(targets, loss=kernel.Loss("simpo", beta=1.0), nll=kernel.Nll(0.5, 3.0))
    yield batch_of(
        targets,
        spans=torch.tensor([[0, 4], [5, 9], [12, 20]]),
        answers=torch.tensor([[0, 1], [2, 0], [1, 1]]),
        loss=kernel.Loss("kto", reference_kl=0.1),
        reference=torch.randn(3),
        token_weights=torch.rand(4, 5),
    )


@pytest.mark.parametrize("details", [False, True])
def test_token_log_probs(dtype, details):
    logits, targets = rows(dtype)
    torch.library.opcheck(OPERATORS.token_log_probs, (logits, targets, details, -100, NONE, 1))
    wide = torch.randn(4, 6, 40, dtype=dtype)[:, :-1, :33].requires_grad_()
    torch.library.opcheck(OPERATORS.token_log_probs, (wide, targets, details, -100, [0.5, 3.0, 2.0], 2))


def test_token_log_probs_backward(dtype):
    logits, targets = rows(dtype)
    _, norms, _ = OPERATORS.token_log_probs(logits, targets, False, -100, NONE, 1)
    coefficients = torch.randn(4, 5, dtype=torch.float64)
    args = (logits.detach(), targets, norms, coefficients, -100, NONE, 1)
    torch.library.opcheck(OPERATORS.token_log_probs_backward, args)


@pytest.mark.parametrize("plan", [0, 1, 2])
def test_head_log_probs(dtype, plan):
    hidden, targets = rows(dtype, vocab=33)
    hidden.requires_grad_(plan > 0)
    weight, bias = torch.randn(50, 33, dtype=dtype), torch.randn(50)
    weight.requires_grad_(plan == 2), bias.requires_grad_(plan == 2)
    for given in (None, bias):
        args = (hidden, weight, given, targets, True, plan, -100, NONE, 1)
        torch.library.opcheck(OPERATORS.head_log_probs, args)


def head_rows(dtype):
    hidden, targets = rows(dtype, vocab=33)
    return hidden.detach(), torch.randn(50, 33, dtype=dtype), torch.randn(50), targets


@pytest.mark.parametrize("biased", [False, True])
def test_head_log_probs_backward(dtype, biased):
    hidden, weight, bias, targets = head_rows(dtype)
    given = hidden, weight, bias if biased else None, targets
    _, norms, _, sums = OPERATORS.head_log_probs(*given, False, 1, -100, NONE, 1)
    args = (*given, norms, sums, torch.randn(4, 5, dtype=torch.float64), -100, NONE, 1)
    torch.library.opcheck(OPERATORS.head_log_probs_backward, args)


@pytest.mark.parametrize("of_weight, of_bias", [(True, True), (True, False), (False, True)])
def test_trained_head_backward(dtype, of_weight, of_bias):
    hidden, weight, bias, targets = head_rows(dtype)
    given = hidden, weight, bias, targets
    _, norms, _, _ = OPERATORS.head_log_probs(*given, False, 2, -100, NONE, 1)
    args = (*given, norms, torch.randn(4, 5, dtype=torch.float64), of_weight, of_bias, -100, NONE)
    torch.library.opcheck(OPERATORS.trained_head_backward, args)


def test_preference_step(dtype):
    logits, targets = rows(dtype)
    for batch in batches(targets):
        torch.library.opcheck(OPERATORS.preference_step, (logits, *batch, -100, NONE, 1))


def test_preference_loss():
    _, targets = rows()
    log_probs = (-torch.rand(4, 5) - 1).requires_grad_()
    for batch in batches(targets):
        torch.library.opcheck(OPERATORS.preference_loss, (log_probs, *batch, -100))


def test_preference_loss_backward():
    _, targets = rows()
    log_probs = -torch.rand(4, 5) - 1
    for batch in batches(targets):
        _, numbers = OPERATORS.preference_loss(log_probs, *batch, -100)
        torch.library.opcheck(OPERATORS.preference_loss_backward, (log_probs, numbers, torch.tensor(0.5)))


def by_logits(weight, states, targets, reference):
    logits = states @ weight.T
    details = kernel.token_log_probs(logits, targets, details=True)
    found = kernel.preference_loss(logits, targets, reference=reference, loss=kernel.Loss("sigmoid", beta=0.2))
    return found.loss * 2 + details.log_probs.mean(), details.entropy, found.margins, found.sequence_log_probs


def by_head(weight, states, targets, reference):
    found = kernel.head_preference_loss((states * 2).tanh(), weight.detach(), targets, reference=reference, loss="ipo")
    return found.loss + (weight * 0).sum(), found.losses, found.margins, found.sequence_log_probs


@pytest.mark.parametrize("function", [by_logits, by_head])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_is_the_same(function, dynamic):
    compiled = torch.compile(function, fullgraph=True, dynamic=dynamic)
    # The second batch is of another length: the graph is for any, or is made again.
    for length in (5, 7):
        weight, states = torch.randn(33, 8, requires_grad=True), torch.randn(4, length, 8, requires_grad=True)
        targets = torch.randint(0, 33, (4, length))
        reference = torch.randn(4) - 20
        expected = function(weight, states, targets, reference)
        grads = torch.autograd.grad(expected[0], (weight, states))
        found = compiled(weight, states, targets, reference)
        for one, other in zip(found, expected):
            # The compiler's product and tanh are others than PyTorch's: measured 9e-7 of 1 + |x|; and ten times that.
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
        for one, other in zip(torch.autograd.grad(found[0], (weight, states)), grads):
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_compiled_head_that_is_trained_and_frozen(checkpoint):
    """The plan follows what requires gradients: one compiled function, the head trained, frozen, and trained again.

    The head is an operator in both, on the same numbers, so gradients have the same bits."""
    hidden, weight, bias, targets = head_rows(torch.float32)
    hidden.requires_grad_()

    def head(hidden, weight, bias):
        return kernel.head_token_log_probs(hidden, weight, targets, bias=bias).log_probs

    def function(hidden, weight, bias):
        if checkpoint:
            return torch.utils.checkpoint.checkpoint(head, hidden, weight, bias, use_reentrant=False).sum()
        return head(hidden, weight, bias).sum()

    compiled = torch.compile(function, fullgraph=True)
    for trained in (True, False, True):
        weight.requires_grad_(trained), bias.requires_grad_(trained)
        due = (hidden, weight, bias) if trained else (hidden,)
        expected = torch.autograd.grad(function(hidden, weight, bias), due)
        found = torch.autograd.grad(compiled(hidden, weight, bias), due)
        for one, other in zip(found, expected):
            assert torch.equal(one, other)


def test_shapes_without_data():
    logits, targets = torch.randn(4, 5, 33, device="meta"), torch.zeros(4, 5, dtype=torch.long, device="meta")
    found = kernel.token_log_probs(logits, targets, details=True)
    assert found.log_probs.shape == (4, 5) and found.entropy.device.type == "meta"
    assert kernel.preference_loss(logits, targets, loss="cpo").margins.shape == (2,)
