"""Memory for gradients: used again once it is free, and never before."""

import gc

import dpo_kernel_torch as kernel
import pytest
import torch
from dpo_kernel_torch import memory

LARGE = (memory.LEAST_BYTES // 4,)


@pytest.fixture(autouse=True)
def nothing_kept():
    memory.release()
    yield
    memory.release()


def test_it_is_used_again_when_its_tensor_is_gone():
    first = memory.empty(LARGE, torch.float32)
    where = first.data_ptr()
    second = memory.empty(LARGE, torch.float32)
    assert second.data_ptr() != where
    view = first[5:].view(-1)
    del first
    third = memory.empty(LARGE, torch.float32)
    assert third.data_ptr() != where, "a view has it"
    del view
    fourth = memory.empty(LARGE, torch.float32)
    assert fourth.data_ptr() == where
    array = fourth.numpy()
    del fourth
    assert memory.empty(LARGE, torch.float32).data_ptr() != where, "an array has it"
    del array
    assert memory.empty(LARGE, torch.float32).data_ptr() == where


def test_of_any_type_and_shape(dtype):
    found = memory.empty((3, *LARGE), dtype)
    assert found.shape == (3, *LARGE) and found.dtype == dtype and found.is_contiguous()
    found.fill_(2.0)
    assert (found == 2).all()


def test_small_and_much_larger_memory_is_not_used():
    large = memory.empty((LARGE[0] * 3,), torch.float32)
    where = large.data_ptr()
    del large
    assert memory.empty(LARGE, torch.float32).data_ptr() != where
    assert memory.empty((4,), torch.float32).numel() == 4 and not memory.KEPT.free == [None]


def test_without_pages_it_is_pytorchs(monkeypatch):
    monkeypatch.setattr(memory, "_new", lambda size: None)
    assert memory.empty(LARGE, torch.float32).shape == LARGE


def test_gradients_that_are_kept_stay():
    """Two steps: the gradients of the first are not overwritten while anyone has them."""
    logits = torch.randn(64, 40_000, requires_grad=True)
    targets = torch.randint(0, 40_000, (64,))
    (first,) = torch.autograd.grad(kernel.token_log_probs(logits, targets).log_probs.sum(), logits)
    copy, where = first.clone(), first.data_ptr()
    (second,) = torch.autograd.grad(-2 * kernel.token_log_probs(logits, targets).log_probs.sum(), logits)
    assert torch.equal(first, copy) and torch.equal(second, -2 * copy)
    del first, second
    gc.collect()
    (third,) = torch.autograd.grad(kernel.token_log_probs(logits, targets).log_probs.sum(), logits)
    assert torch.equal(third, copy)
    # The memory of one of the two.
    assert third.data_ptr() == where or memory.KEPT.free == []


def test_operators_work_in_it(monkeypatch):
    """With every gradient in kept memory: `opcheck`, accumulation over two backwards, and a compiled step."""
    monkeypatch.setattr(memory, "LEAST_BYTES", 1)
    logits, targets = torch.randn(4, 5, 33, requires_grad=True), torch.randint(0, 33, (4, 5))
    torch.library.opcheck(torch.ops.dpo_kernel.token_log_probs, (logits, targets, True, -100, [0.0, 0.0, 0.0], 1))
    (expected,) = torch.autograd.grad(kernel.token_log_probs(logits, targets).log_probs.sum(), logits)
    for _ in range(2):
        kernel.token_log_probs(logits, targets).log_probs.sum().backward()
    assert torch.equal(logits.grad, 2 * expected)
    compiled = torch.compile(lambda x: kernel.token_log_probs(x * 1, targets).log_probs.sum(), fullgraph=True)
    (found,) = torch.autograd.grad(compiled(logits), logits)
    assert torch.equal(found, expected)
