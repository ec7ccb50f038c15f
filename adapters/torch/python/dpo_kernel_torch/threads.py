"""Rows over threads. The library holds no lock and cffi releases the interpreter's during a call."""

import os
from concurrent.futures import ThreadPoolExecutor

import torch

from .errors import KernelError, merged

# Numbers that are worth a thread: about a tenth of a millisecond.
LEAST = 1 << 16


class Part:
    """Some rows of a block."""

    __slots__ = ("block", "end", "start")

    def __init__(self, block, start, end):
        self.block, self.start, self.end = block, start, end

    @property
    def first(self):
        """Of all rows."""
        return self.block.first + self.start

    @property
    def rows(self):
        return self.end - self.start


class _Pool:
    """Threads that are made once they are needed, and anew in a forked process, which has none of them."""

    def __init__(self):
        self.threads, self.count = None, 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self):
        self.threads, self.count = None, 0

    def of(self, count):
        if self.count < count:
            self.threads, self.count = ThreadPoolExecutor(count, "dpo_kernel"), count
        return self.threads


POOL = _Pool()


def how_many(threads):
    """0 asks for as many as PyTorch has."""
    if threads < 0:
        raise ValueError(f"threads is {threads}: give 0 for torch.get_num_threads(), or how many")
    return threads or torch.get_num_threads()


def parts(blocks, targets, work, threads):
    """Blocks cut into parts with about as many scored rows each. `work`: numbers a row."""
    count = min(threads, targets.rows * work // LEAST)
    if count < 2:
        return [Part(block, 0, block.rows) for block in blocks]
    done = targets.scored().cumsum(0)
    total = int(done[-1])
    bounds = [int(torch.searchsorted(done, total * i // count)) + 1 for i in range(1, count)]
    found = []
    for block in blocks:
        inside = [bound - block.first for bound in bounds if block.first < bound < block.first + block.rows]
        edges = sorted({0, *inside, block.rows})
        found += [Part(block, start, end) for start, end in zip(edges, edges[1:])]
    return found


def run(call, parts, threads):
    """`call` of every part, over threads; the error of the first part that has one, with all rows counted."""
    if len(parts) == 1 or threads == 1:
        errors = [_caught(call, part) for part in parts]
    else:
        errors = list(POOL.of(threads).map(lambda part: _caught(call, part), parts))
    errors = [error for error in errors if error is not None]
    if errors:
        raise merged(errors)


def _caught(call, part):
    try:
        call(part)
    except KernelError as error:
        return error
    return None
