"""Functions reach the same results directly and by their operators, and go by these where something looks on."""

import dpo_kernel_torch as kernel
import pytest
import torch
from dpo_kernel_torch import door, head, logits, preference
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

CALLS = {
    "token_log_probs": lambda x, targets: kernel.token_log_probs(x, targets, details=True).log_probs.sum(),
    "head_log_probs": lambda x, targets: kernel.head_token_log_probs(x, torch.eye(9), targets).log_probs.sum(),
    "trained_head_backward": lambda x, targets: kernel.head_token_log_probs(
        x, torch.eye(9, requires_grad=True), targets
    ).log_probs.sum(),
    "preference_step": lambda x, targets: kernel.preference_loss(x, targets, loss="cpo").loss,
    "preference_loss": lambda x, targets: kernel.head_preference_loss(x, torch.eye(9), targets, loss="cpo").loss,
}
FUNCTIONS = [
    (logits.log_probs_of, logits.log_probs_backward),
    (head.log_probs_of, head.frozen_backward, head.trained_backward),
    (preference.step_of, preference.loss_of, preference.loss_backward),
]


class Seen(TorchDispatchMode):
    """The operators of dpo_kernel that PyTorch's dispatcher is asked for."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "dpo_kernel":
            self.names.add(function._opname)
        return function(*args, **(kwargs or {}))


def gradients(name, rows, targets):
    loss = CALLS[name](rows, targets)
    return loss.detach(), torch.autograd.grad(loss, rows)[0]


@pytest.mark.parametrize("name", CALLS)
def test_both_ways_have_the_same_bits(name, monkeypatch):
    rows, targets = torch.randn(4, 5, 9, requires_grad=True), torch.randint(0, 9, (4, 5))
    direct = gradients(name, rows, targets)
    with Seen() as seen:
        by_operators = gradients(name, rows, targets)
    assert name in seen.names and any("backward" in one for one in seen.names)
    monkeypatch.setattr(door, "alone", lambda inputs: False)
    for other in (by_operators, gradients(name, rows, targets)):
        assert all(torch.equal(one, two) for one, two in zip(direct, other))


class Mode(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Sub(torch.Tensor):
    pass


def test_what_looks_on():
    one = torch.randn(3)
    assert door.alone([one, torch.nn.Parameter(one), None, 3, [1.0]])
    assert not door.alone([one, one.as_subclass(Sub)])
    assert not door.alone([torch.empty(3, device="meta")])
    for mode in (Mode(), Seen(), torch.device("meta")):
        with mode:
            assert not door.alone([one])
    found = []
    torch.func.vmap(lambda x: found.append(door.alone([x])) or x)(one)
    torch.func.grad(lambda x: found.append(door.alone([x])) or x.sum())(one)
    assert found == [False, False] and door.alone([one])


def test_every_operator_has_a_door():
    assert sum(map(len, FUNCTIONS)) == 8 and all(callable(one) for some in FUNCTIONS for one in some)


def test_memory_is_that_of_the_cpu_under_another_default_device():
    rows, targets = torch.randn(4, 5, 9, requires_grad=True), torch.randint(0, 9, (4, 5))
    for name in ("token_log_probs", "preference_step"):
        expected = gradients(name, rows, targets)
        with torch.device("meta"):
            found = gradients(name, rows, targets)
        assert all(torch.equal(one, two) for one, two in zip(expected, found))
