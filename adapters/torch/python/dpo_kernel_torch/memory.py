"""Memory for gradients of logits, which a training loop asks for again in each step.

512 rows of 32,000 logits have 64 MB of gradients. The allocator gets so much from the system each time and gives it
back after the step, and the first write to each of its pages stops the program: three quarters of a whole step. So
the last such memory is kept when its tensor is gone, and is the next one's, and pages of 2 MB are asked for, where the
system has them. `release` gives it back.
"""

import math
import mmap
import weakref

import torch

# Where pages do not matter.
LEAST_BYTES = 1 << 23


class _Kept:
    """One piece of memory that no tensor has."""

    def __init__(self):
        # Appending and popping are one step of the interpreter: threads need no lock.
        self.free = []

    def take(self, size):
        """The kept memory, unless it is too small, or so large that most of it would lie idle."""
        while self.free:
            try:
                pages = self.free.pop()
            except IndexError:
                break
            if size <= len(pages) <= 2 * size:
                return pages
        return _new(size)

    def put(self, pages):
        self.free[:] = [pages]


KEPT = _Kept()


def _new(size):
    """Pages of this process alone, zeros; None where the system has none to give."""
    try:
        if hasattr(mmap, "MAP_ANONYMOUS"):
            pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            pages = mmap.mmap(-1, size)
    except OSError:
        return None
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            pages.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            # Small pages do as well.
            pass
    return pages


def empty(shape, dtype):
    """`torch.empty`, in kept memory where it is large."""
    size = math.prod(shape) * dtype.itemsize
    pages = KEPT.take(size) if size >= LEAST_BYTES else None
    if pages is None:
        return torch.empty(shape, dtype=dtype)
    # The tensor's storage owns the view; when both are gone the pages are free again.
    view = memoryview(pages)[:size]
    weakref.finalize(view, KEPT.put, pages).atexit = False
    return torch.frombuffer(view, dtype=dtype).view(shape)


def release():
    """Gives back the memory that is kept for the next gradients. What tensors have is theirs."""
    KEPT.free.clear()
