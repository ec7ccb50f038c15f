"""Rows over threads: the same bits, and an interpreter that goes on during a call."""

import ctypes
import os
import sys
import threading
import time

import dpo_kernel_torch as kernel
import pytest
import torch
from dpo_kernel_torch import _native
from dpo_kernel_torch import threads as pool
from dpo_kernel_torch.logits import logits_view
from dpo_kernel_torch.native import FASTEST, ffi, lib, pointer
from dpo_kernel_torch.rows import Targets, transform
from dpo_kernel_torch.tensors import blocks
from oracle import batch


@pytest.fixture
def small(monkeypatch):
    """Every row is worth a thread."""
    monkeypatch.setattr(pool, "LEAST", 1)


def everything(dtype, threads):
    torch.manual_seed(3)
    logits, targets, coefficients = batch(dtype, shape=(4, 7), vocab=129)
    logits.requires_grad_()
    found = kernel.token_log_probs(logits[:, :-1], targets[:, :-1], details=True, threads=threads)
    (grads,) = torch.autograd.grad(found.log_probs, logits, coefficients[:, :-1])
    step = kernel.preference_loss(logits, targets, loss="cpo", threads=threads)
    (of_step,) = torch.autograd.grad(step.loss, logits)
    hidden, weight = torch.randn(4, 7, 33, dtype=dtype, requires_grad=True), torch.randn(129, 33, dtype=dtype)
    head = kernel.head_token_log_probs(hidden, weight, targets, details=True, threads=threads)
    (of_hidden,) = torch.autograd.grad(head.log_probs, hidden, coefficients)
    return [*found, grads, step.loss, step.losses, of_step, *head, of_hidden]


@pytest.mark.parametrize("threads", [2, 3, 5, 64])
def test_the_same_bits(small, dtype, threads):
    for one, other in zip(everything(dtype, 1), everything(dtype, threads)):
        assert torch.equal(one, other)


def test_parts_cover_all_rows_once(small):
    for shape, threads in (((1, 1), 4), ((3, 7), 2), ((5, 4), 7), ((2, 9), 18)):
        logits, targets, _ = batch(torch.float32, shape=shape, vocab=5)
        for view in (logits, logits.transpose(0, 1).contiguous().transpose(0, 1)):
            rows = Targets(targets, shape, -100)
            found = pool.parts(blocks("logits", view), rows, 5, threads)
            covered = [row for part in found for row in range(part.first, part.first + part.rows)]
            assert covered == list(range(targets.numel()))
            assert len(found) <= threads + len(blocks("logits", view))


def test_the_default_is_pytorchs():
    assert pool.how_many(0) == torch.get_num_threads() and pool.how_many(3) == 3
    with pytest.raises(ValueError, match="-1"):
        pool.how_many(-1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(small):
    expected = everything(torch.float32, 2)[0]
    child = os.fork()
    if child == 0:
        same = torch.equal(everything(torch.float32, 2)[0], expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


class LongCall:
    """`dpo_token_log_probs` over some 10^8 logits, as its arguments, for cffi and for ctypes."""

    def __init__(self):
        logits, targets = torch.zeros(64, 500_000), torch.zeros(64, dtype=torch.long)
        rows = Targets(targets, (64,), -100)
        (part,) = pool.parts(blocks("logits", logits), rows, 1, 1)
        self.layout, self.span = rows.layout(part, 500_000)
        self.view = logits_view(part, 500_000, torch.float32, transform([0.0, 0.0, 0.0]))
        self.log_probs = torch.zeros(64)
        self.kept = logits, targets, rows

    def by_cffi(self):
        """The call as operators make it, its arguments made."""
        given = FASTEST, self.view, self.layout, pointer(self.log_probs, torch.float32), *[ffi.NULL] * 4
        return lambda: lib.dpo_token_log_probs(*given)

    def by_pydll(self):
        """The same function through ctypes, told to keep the interpreter's lock: the planted fault."""
        folder = os.path.dirname(_native.__file__)
        (name,) = (name for name in os.listdir(folder) if name.endswith((".so", ".dylib", ".dll")))
        function = ctypes.PyDLL(os.path.join(folder, name)).dpo_token_log_probs
        structs = [self.view, self.layout, pointer(self.log_probs, torch.float32)]
        pointers = [ctypes.c_void_p(int(ffi.cast("intptr_t", struct))) for struct in structs]
        # Two int32 of a dispatch travel as one number; zeros stand for the fastest.
        given = ctypes.c_int64(0), *pointers, *[ctypes.c_void_p(0)] * 4
        return lambda: function(*given)


def ticks_during(call):
    """How often the main thread gets on while another is inside a call, in the middle half of its time: before and
    after the call itself the other waits for the interpreter's lock."""
    over, times, ticks = threading.Event(), [], []

    def run():
        times.append(time.perf_counter())
        call()
        times.append(time.perf_counter())
        over.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not over.is_set():
        ticks.append(time.perf_counter())
    thread.join()
    start, end = times
    quarter = (end - start) / 4
    return sum(start + quarter < tick < end - quarter for tick in ticks)


@pytest.fixture
def quick_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-3)
    yield
    sys.setswitchinterval(before)


def test_the_interpreter_goes_on_during_a_call(quick_switches):
    """Thousands of ticks during some 20 ms; none if the lock is kept."""
    long = LongCall()
    free = max(ticks_during(long.by_cffi()) for _ in range(12))
    expected = long.log_probs.clone()
    long.log_probs.zero_()
    held = min(ticks_during(long.by_pydll()) for _ in range(12))
    assert torch.equal(long.log_probs, expected) and (expected != 0).all()
    assert held < 10 < 100 < free, (free, held)
