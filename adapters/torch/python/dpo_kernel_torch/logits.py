"""Token log-probs of logits, and their gradients: the operators `dpo_kernel::token_log_probs` and its backward."""

from typing import NamedTuple

import torch

from .door import backward_door, door
from .errors import check
from .memory import empty
from .native import FASTEST, ffi, lib, new_error, pointer, struct
from .rows import Targets, factors, transform
from .tensors import TYPES, blocks, check_matrix, check_tangent, flat
from .threads import how_many, parts, run

# What is done with each logit, and how rows are shared out: arguments of every operator over logits.
# Few arguments: PyTorch's time for a call goes with the square of their number.
TRANSFORM = "int ignore_index, float[] factors, int threads"


class TokenLogProbs(NamedTuple):
    """Figures of the rows, in the shape of the targets; 0 (False) where a row is not scored.

    `log_probs` alone has gradients. The others are None unless `details` asks for them: what TRL calls entropy,
    mean_logits, log_sum_sq_probs and is_top1, and the column of the largest logit, the first of several.
    """

    log_probs: torch.Tensor
    entropy: torch.Tensor | None = None
    mean_logits: torch.Tensor | None = None
    log_sum_sq_probs: torch.Tensor | None = None
    is_top1: torch.Tensor | None = None
    argmax: torch.Tensor | None = None


def token_log_probs(
    logits, targets, *, ignore_index=-100, scale=1.0, softcap=None, temperature=1.0, details=False, threads=0
):
    """log p of each row's target: `y[target] - log sum exp(y)`, y = softcap * tanh(scale * x / softcap) / temperature.

    logits: (..., V), f32, f16 or bf16, on the CPU; rows may be apart by any strides, columns may not. targets:
    (...), int64; rows of `ignore_index` are not scored, never read, and get gradients of 0. threads: 0 for
    `torch.get_num_threads()`; results do not depend on it. Returns `TokenLogProbs` in f32.

    Raises `TypeError` for another device or type, `KernelError` (a `ValueError`) for targets out of range, and
    `NonFiniteError` for rows with NaN, +inf or nothing but -inf.
    """
    check_tangent(logits=logits)
    log_probs, _, found = log_probs_of(
        logits, targets, details, ignore_index, factors(scale, softcap, temperature), threads
    )
    return figures(log_probs, found, targets, ignore_index) if details else TokenLogProbs(log_probs)


def figures(log_probs, details, targets, ignore_index):
    """Fields of `dpo_row_details`: three of float, one of uint32."""
    entropy, mean, squares = details.view(torch.float32)[..., :3].unbind(-1)
    argmax = details[..., 3].long()
    is_top1 = (argmax == targets) & (targets != ignore_index)
    return TokenLogProbs(log_probs, entropy, mean, squares, is_top1, argmax)


def logits_view(part, vocab, dtype, map):
    """`dpo_logits` of a part."""
    block = part.block
    return struct(
        "dpo_logits",
        data=pointer(block.data, dtype, part.start * block.stride),
        len=(part.rows - 1) * block.stride + vocab,
        rows=part.rows,
        vocab=vocab,
        stride=block.stride,
        type=TYPES[dtype],
        transform=map,
    )


def forward(logits, targets, map, threads, details):
    """log p, R; norms, R x 4; details, R x 4 or none. `targets`: a `Targets` of all rows."""
    vocab = logits.shape[-1]
    log_probs = torch.zeros(targets.rows, dtype=torch.float32)
    norms = torch.zeros(targets.rows, 4, dtype=torch.int32)
    found = torch.zeros(targets.rows if details else 0, 4, dtype=torch.int32)

    def call(part):
        layout, _span = targets.layout(part, vocab)
        view = logits_view(part, vocab, logits.dtype, map)
        error = new_error()
        status = lib.dpo_token_log_probs(
            FASTEST,
            view,
            layout,
            pointer(log_probs, torch.float32, part.first),
            pointer(norms, torch.int32, 4 * part.first),
            pointer(found, torch.int32, 4 * part.first) if details else ffi.NULL,
            ffi.NULL,
            error,
        )
        check(status, error, part.first)

    threads = how_many(threads)
    run(call, parts(blocks("logits", logits), targets, vocab, threads), threads)
    return log_probs, norms, found


def backward(logits, targets, norms, coefficients, map, threads):
    """Gradients of the logits, from d loss / d log p of each row in f64. Rows that are not scored get 0."""
    vocab = logits.shape[-1]
    grads = empty(logits.shape, logits.dtype)

    def call(part):
        layout, _span = targets.layout(part, vocab)
        view = logits_view(part, vocab, logits.dtype, map)
        given = struct(
            "dpo_grads",
            norms=pointer(norms, torch.int32, 4 * part.first),
            coefficients=pointer(coefficients, torch.float64, part.first),
            unscored=lib.DPO_UNSCORED_ZERO,
        )
        out = struct(
            "dpo_logits_mut",
            data=pointer(grads, logits.dtype, part.first * vocab),
            len=part.rows * vocab,
            rows=part.rows,
            vocab=vocab,
            type=TYPES[logits.dtype],
        )
        error = new_error()
        check(lib.dpo_logit_grads(FASTEST, view, layout, given, out, error), error, part.first)

    threads = how_many(threads)
    run(call, parts(blocks("logits", logits), targets, vocab, threads), threads)
    return grads


def _token_log_probs_of(logits, targets, details, ignore_index, factors, threads):
    check_matrix("logits", logits)
    rows = Targets(targets, logits.shape[:-1], ignore_index)
    map = transform(factors)
    log_probs, norms, found = forward(logits, rows, map, threads, details)
    shape = targets.shape
    return log_probs.view(shape), norms.view(*shape, 4), found.view(*(shape if details else (0,)), 4)


_token_log_probs = torch.library.custom_op(
    "dpo_kernel::token_log_probs",
    _token_log_probs_of,
    mutates_args=(),
    schema=f"(Tensor logits, Tensor targets, bool details, {TRANSFORM}) -> (Tensor, Tensor, Tensor)",
)


@_token_log_probs.register_fake
def _(logits, targets, details, *_transform):
    shape = targets.shape
    return (
        targets.new_empty(shape, dtype=torch.float32),
        targets.new_empty((*shape, 4), dtype=torch.int32),
        targets.new_empty((*(shape if details else (0,)), 4), dtype=torch.int32),
    )


def _token_log_probs_backward_of(logits, targets, norms, coefficients, ignore_index, factors, threads):
    check_matrix("logits", logits)
    rows = Targets(targets, logits.shape[:-1], ignore_index)
    of_rows = flat("coefficients", coefficients, torch.float64, targets.shape, "targets")
    kept = flat("norms", norms, torch.int32, (*targets.shape, 4), "targets")
    return backward(logits, rows, kept, of_rows, transform(factors), threads)


_token_log_probs_backward = torch.library.custom_op(
    "dpo_kernel::token_log_probs_backward",
    _token_log_probs_backward_of,
    mutates_args=(),
    schema=f"(Tensor logits, Tensor targets, Tensor norms, Tensor coefficients, {TRANSFORM}) -> Tensor",
)


@_token_log_probs_backward.register_fake
def _(logits, *_others):
    return logits.new_empty(logits.shape)


log_probs_backward = backward_door(torch.ops.dpo_kernel.token_log_probs_backward, _token_log_probs_backward_of)


def _setup(ctx, inputs, output):
    logits, targets, _details, *ctx.transform = inputs
    _log_probs, norms, details = output
    ctx.save_for_backward(logits, targets, norms)
    ctx.mark_non_differentiable(norms, details)
    ctx.set_materialize_grads(False)


def _grads(ctx, of_log_probs, *_others):
    logits, targets, norms = ctx.saved_tensors
    nothing = [None] * (1 + 1 + len(ctx.transform))
    if of_log_probs is None:
        return None, *nothing
    grads = log_probs_backward(logits, targets, norms, of_log_probs, *ctx.transform)
    return grads, *nothing


_token_log_probs.register_autograd(_grads, setup_context=_setup)
log_probs_of = door(torch.ops.dpo_kernel.token_log_probs, _token_log_probs_of, _setup, _grads)
