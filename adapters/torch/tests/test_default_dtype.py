"""PyTorch's default type, which training scripts set, has no say: results are the same bits, in the same types."""

import contextlib

import dpo_kernel_torch as kernel
import pytest
import torch
from dpo_kernel_torch.native import pointer

DEFAULTS = [torch.float64, torch.bfloat16, torch.float16]


@contextlib.contextmanager
def default(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def inputs():
    """Sixty-four rows: narrower memory for their log-probs is short by 128 bytes."""
    tensors = {
        "logits": torch.randn(4, 16, 33),
        "hidden": torch.randn(4, 16, 8),
        "weight": torch.randn(33, 8),
        "bias": torch.randn(33),
        "reference": torch.randn(4) - 20,
        "of_rows": torch.randn(4, 16),
    }
    return {name: tensor.float() for name, tensor in tensors.items()} | {"targets": torch.randint(0, 33, (4, 16))}


def results(logits, hidden, weight, bias, reference, of_rows, targets):
    """All five functions, with the gradients of each; the head frozen and trained."""
    logits.requires_grad_(), hidden.requires_grad_()
    trained = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    rows = (-of_rows.abs()).requires_grad_()
    found = []

    def of(figures, value, upstream, *due):
        found.extend([value.detach(), *figures, *torch.autograd.grad(value, due, upstream)])

    tokens = kernel.token_log_probs(logits, targets, details=True)
    of(tokens[1:], tokens.log_probs, of_rows, logits)
    for w, b, due in ((weight, bias, ()), (*trained, trained)):
        tokens = kernel.head_token_log_probs(hidden, w, targets, bias=b, details=True)
        of(tokens[1:], tokens.log_probs, of_rows, hidden, *due)
        loss = kernel.head_preference_loss(hidden, w, targets, bias=b, reference=reference)
        of([loss.margins], loss.loss, None, hidden, *due)
    nll = kernel.Nll(0.5, 64.0)
    loss = kernel.preference_loss(logits, targets, reference=reference, nll=nll)
    of([loss.margins, loss.log_probs, *loss.summary.values()], loss.loss, None, logits)
    loss = kernel.log_probs_preference_loss(rows, targets, loss="cpo", weights=of_rows[:2, 0].abs())
    of([loss.margins, loss.sequence_log_probs], loss.loss, None, rows)
    return found


@pytest.mark.parametrize("dtype", DEFAULTS, ids=str)
def test_results_are_the_same_bits(dtype):
    given = inputs()
    expected = results(**given)
    with default(dtype):
        found = results(**given)
    assert len(found) == len(expected) > 30
    for i, (one, other) in enumerate(zip(found, expected)):
        assert one.dtype == other.dtype and torch.equal(one, other), i


@pytest.mark.parametrize("dtype", DEFAULTS, ids=str)
def test_compiled_it_is_the_same(dtype):
    given = inputs()
    call = lambda logits: kernel.preference_loss(logits, given["targets"], reference=given["reference"]).loss
    logits = given["logits"].requires_grad_()
    expected = torch.autograd.grad(call(logits), logits)[0]
    with default(dtype):
        found = torch.autograd.grad(torch.compile(call, fullgraph=True)(logits), logits)[0]
    assert torch.equal(found, expected)


def test_memory_of_another_type_is_not_handed_over():
    with pytest.raises(TypeError, match="float16.*float32"):
        pointer(torch.zeros(4, dtype=torch.float16), torch.float32)
