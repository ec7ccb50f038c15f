"""Targets, transforms and layouts as the library takes them."""

import torch

from .errors import check
from .native import ffi, lib, new_error, pointer, struct
from .tensors import check_constant, check_integers, check_shape

# The library's own ignore value, which targets have after `targets_of`.
IGNORED = lib.DPO_IGNORE_INDEX


class Targets:
    """One target a row, of all rows."""

    def __init__(self, targets, shape, ignore_index):
        check_integers("targets", targets)
        check_shape("targets", targets, shape, "the tensor that they are of")
        labels = targets.contiguous()
        self.rows, self.labels, self.ignore_index = labels.numel(), labels, ignore_index
        # PyTorch has few operations of uint32; the bits are what counts.
        self.ids = torch.empty(self.rows, dtype=torch.int32)
        error = new_error()
        status = lib.dpo_targets_of_i64(
            pointer(labels, torch.int64), self.rows, ignore_index, pointer(self.ids, torch.int32), error
        )
        check(status, error)

    def scored(self):
        """Which rows are scored."""
        return self.labels.view(-1) != self.ignore_index

    def layout(self, part, vocab):
        """Of the rows of a part, all in one span. The second value owns the memory of the span."""
        span = ffi.new("dpo_span *", (0, part.rows))
        ids = pointer(self.ids, torch.int32, part.first)
        return struct("dpo_layout", targets=ids, rows=part.rows, spans=span, count=1, vocab=vocab), span


def factors(scale, softcap, temperature):
    """`softcap * tanh(scale * x / softcap) / temperature` as an operator takes it: 0 for a part that is left out."""
    return [
        _factor("scale", scale) if scale != 1.0 else 0.0,
        _factor("softcap", softcap) if softcap is not None else 0.0,
        _factor("temperature", temperature) if temperature != 1.0 else 0.0,
    ]


def _factor(name, value):
    check_constant(name, value)
    # Numbers that f32 rounds to 0 would be read as no factor.
    if not 2.0**-149 <= value < 2.0**128:
        raise ValueError(f"{name} is {value}: give a number > 0 that float32 holds")
    return float(value)


def transform(factors):
    """`dpo_transform` of three factors."""
    if len(factors) != 3:
        raise ValueError(f"{len(factors)} factors: give scale, softcap and temperature, 0 for what is left out")
    return ffi.new("dpo_transform *", factors)[0]
