"""`dpo_preference_step` and `dpo_unpaired_step` as a C host calls them: the bits of the operators."""

import torch
from dpo_kernel_torch.losses import Losses, encode
from dpo_kernel_torch.native import FASTEST, ffi, lib, new_error, pointer, struct
from dpo_kernel_torch.tensors import TYPES


class Found:
    """Figures of a step. `grads` in the shape of the logits."""


def step(logits, targets, items, loss, *, unpaired=False, reference=None, weights=None, offsets=None, divisor):
    """Sequences are the rows of (N, T) targets."""
    sequences, length, vocab = logits.shape
    rows, count = sequences * length, len(items)
    found = Found()
    found.grads = torch.empty_like(logits)
    ids = torch.where(targets == -100, lib.DPO_IGNORE_INDEX - 2**32, targets).to(torch.int32)
    spans = ffi.new("dpo_span[]", [(i * length, (i + 1) * length) for i in range(sequences)])
    layout = struct(
        "dpo_layout", targets=pointer(ids, torch.int32), rows=rows, spans=spans, count=sequences, vocab=vocab
    )
    shape = {"len": rows * vocab, "rows": rows, "vocab": vocab, "type": TYPES[logits.dtype]}
    view = struct("dpo_logits", data=pointer(logits, logits.dtype), **shape)
    out = struct("dpo_logits_mut", data=pointer(found.grads, logits.dtype), **shape)
    found.log_probs = torch.zeros(rows)
    found.sequences = torch.zeros(sequences, 2, dtype=torch.int64)
    norms, coefficients = ffi.new("dpo_row_norm[]", rows), ffi.new("double[]", rows)
    d_log_probs = ffi.new("double[]", sequences)
    made = struct(
        "dpo_step",
        layout=layout,
        logits=view,
        grads=out,
        log_probs=pointer(found.log_probs, torch.float32),
        norms=norms,
        sequences=pointer(found.sequences, torch.int64),
        d_log_probs=d_log_probs,
        coefficients=coefficients,
        unscored=lib.DPO_UNSCORED_ZERO,
    )
    losses = Losses(*encode(loss, unpaired))
    found.figures = torch.zeros(count, 3 if unpaired else 6, dtype=torch.float64)
    given = {
        "count": count,
        "reference_sums": pointer(reference, torch.float64),
        "weights": pointer(weights, torch.float32),
        "divisor": divisor,
    }
    error = new_error()
    if unpaired:
        answers = ffi.new("dpo_answer[]", items)
        batch = struct("dpo_unpaired_batch", answers=answers, **given)
        found.summary = ffi.new("dpo_unpaired_summary *")
        status = lib.dpo_unpaired_step(
            FASTEST, losses.made, batch, made, pointer(found.figures, torch.float64), found.summary, error
        )
    else:
        pairs = ffi.new("dpo_pair[]", items)
        batch = struct("dpo_pairs", pairs=pairs, offsets=pointer(offsets, torch.float32), **given)
        found.summary = ffi.new("dpo_summary *")
        objective = losses.objective(count)
        status = lib.dpo_preference_step(
            FASTEST, objective, batch, made, pointer(found.figures, torch.float64), found.summary, error
        )
    assert status == 0, ffi.string(lib.dpo_status_message(status))
    return found
