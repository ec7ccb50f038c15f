"""Token log-probs of hidden states under a head, without logits: the operator `dpo_kernel::head_log_probs`."""

import torch

from .door import backward_door, door
from .errors import check
from .logits import TRANSFORM, TokenLogProbs, figures
from .native import FASTEST, ffi, lib, new_error, pointer, struct
from .rows import Targets, factors, transform
from .tensors import TYPES, blocks, check_float, check_matrix, check_tangent, flat
from .threads import Part, how_many, parts, run

# Rows that go through the head together: its weights are read once for each such group.
GROUP = 512

# What a forward prepares: nothing, gradients of the hidden states alone, or gradients of the head too.
SCORED, FROZEN, TRAINED = 0, 1, 2


def head_token_log_probs(
    hidden,
    weight,
    targets,
    *,
    bias=None,
    ignore_index=-100,
    scale=1.0,
    softcap=None,
    temperature=1.0,
    details=False,
    threads=0,
):
    """`token_log_probs` of the logits `hidden @ weight.T + bias`, of which no more than a tile exists at a time.

    hidden: (..., H), weight: (V, H), as `lm_head.weight`; each f32, f16 or bf16, they may differ. bias: (V). The
    product is of the values as they are, summed in f32: autocast does not round them. Rows of `ignore_index` are
    not multiplied. Without gradients, or under `torch.no_grad()`, nothing is kept for them; with a frozen head the
    forward keeps R x H numbers in f32 and the weights are read once; with a trained one, or a trained bias, the
    backward makes the tiles again, in one thread, as the gradients of the head are sums over all rows.
    """
    check_tangent(hidden=hidden, weight=weight, bias=bias)
    wanted = torch.is_grad_enabled()
    trained = wanted and (weight.requires_grad or (bias is not None and bias.requires_grad))
    plan = TRAINED if trained else FROZEN if wanted and hidden.requires_grad else SCORED
    log_probs, _, found, _ = log_probs_of(
        hidden,
        weight,
        bias,
        targets,
        details,
        plan,
        ignore_index,
        factors(scale, softcap, temperature),
        threads,
    )
    return figures(log_probs, found, targets, ignore_index) if details else TokenLogProbs(log_probs)


class Head:
    """Weights and bias as the library takes them, and the memory that it works in."""

    def __init__(self, hidden, weight, bias, map):
        check_matrix("hidden", hidden)
        check_matrix("weight", weight)
        if weight.ndim != 2 or weight.shape[1] != hidden.shape[-1]:
            raise ValueError(
                f"weight has shape {tuple(weight.shape)} and hidden {tuple(hidden.shape)}: give (V, H) and (..., H)"
            )
        self.vocab, self.hidden = weight.shape
        (self.block,) = blocks("weight", weight)
        if bias is not None:
            check_float("bias", bias)
        # The library adds it in f32.
        self.bias = flat("bias", bias, torch.float32, (self.vocab,), "weight")
        self.map = map

    def view(self):
        return struct(
            "dpo_head",
            weights=pointer(self.block.data, self.block.data.dtype),
            len=(self.vocab - 1) * self.block.stride + self.hidden,
            vocab=self.vocab,
            hidden=self.hidden,
            stride=self.block.stride,
            type=TYPES[self.block.data.dtype],
            transform=self.map,
            bias=pointer(self.bias, torch.float32),
        )

    def scratch(self, view, rows):
        """Memory for one call; the second value owns it."""
        rows = max(1, min(rows, GROUP))
        length, error = ffi.new("size_t *"), new_error()
        check(lib.dpo_head_scratch_len(view, rows, length, error), error)
        numbers = torch.empty(length[0], dtype=torch.float64)
        return struct("dpo_head_scratch", numbers=pointer(numbers, torch.float64), len=length[0], rows=rows), numbers


def states_view(part, hidden, dtype):
    """`dpo_hidden` of a part."""
    block = part.block
    return struct(
        "dpo_hidden",
        data=pointer(block.data, dtype, part.start * block.stride),
        len=(part.rows - 1) * block.stride + hidden,
        rows=part.rows,
        hidden=hidden,
        stride=block.stride,
        type=TYPES[dtype],
    )


def dense(kind, tensor, dtype, part, hidden):
    """`dpo_hidden` or `dpo_hidden_mut` of rows without padding."""
    return struct(
        kind,
        data=pointer(tensor, dtype, part.first * hidden),
        len=part.rows * hidden,
        rows=part.rows,
        hidden=hidden,
        type=TYPES[dtype],
    )


def cut(hidden, targets, vocab, threads):
    threads = how_many(threads)
    return parts(blocks("hidden", hidden), targets, vocab * hidden.shape[-1], threads), threads


def forward(hidden, head, targets, details, plan, threads):
    """log p, R; norms, R x 4; details, R x 4 or none; sums of the head's rows, R x H for a frozen head."""
    log_probs = torch.zeros(targets.rows, dtype=torch.float32)
    norms = torch.zeros(targets.rows, 4, dtype=torch.int32)
    found = torch.zeros(targets.rows if details else 0, 4, dtype=torch.int32)
    sums = torch.zeros(targets.rows if plan == FROZEN else 0, head.hidden, dtype=torch.float32)

    def call(part):
        layout, _span = targets.layout(part, head.vocab)
        view, error = head.view(), new_error()
        scratch, _numbers = head.scratch(view, part.rows)
        given = FASTEST, states_view(part, head.hidden, hidden.dtype), view, layout
        out = (
            pointer(log_probs, torch.float32, part.first),
            pointer(norms, torch.int32, 4 * part.first),
            pointer(found, torch.int32, 4 * part.first) if details else ffi.NULL,
            ffi.NULL,
        )
        if plan == FROZEN:
            kept = dense("dpo_hidden_mut", sums, torch.float32, part, head.hidden)
            status = lib.dpo_head_forward(*given, *out, kept, scratch, error)
        else:
            status = lib.dpo_head_token_log_probs(*given, *out, scratch, error)
        check(status, error, part.first)

    run(call, *cut(hidden, targets, head.vocab, threads))
    return log_probs, norms, found, sums


def hidden_grads(hidden, head, targets, norms, sums, coefficients, threads):
    """The sums of the forward become gradients of the hidden states, in their type."""
    grads = torch.empty(hidden.shape, dtype=hidden.dtype)

    def call(part):
        layout, _span = targets.layout(part, head.vocab)
        view, error = head.view(), new_error()
        scratch, _numbers = head.scratch(view, part.rows)
        given = struct(
            "dpo_grads",
            norms=pointer(norms, torch.int32, 4 * part.first),
            coefficients=pointer(coefficients, torch.float64, part.first),
            unscored=lib.DPO_UNSCORED_ZERO,
        )
        status = lib.dpo_hidden_grads(
            FASTEST,
            states_view(part, head.hidden, hidden.dtype),
            view,
            layout,
            given,
            dense("dpo_hidden", sums, torch.float32, part, head.hidden),
            dense("dpo_hidden_mut", grads, hidden.dtype, part, head.hidden),
            scratch,
            error,
        )
        check(status, error, part.first)

    run(call, *cut(hidden, targets, head.vocab, threads))
    return grads


def trained_grads(hidden, head, targets, norms, coefficients, of_weight, of_bias):
    """Gradients of hidden states, R x H, of weights in their type, and of the bias, in f32."""
    parts = [Part(block, 0, block.rows) for block in blocks("hidden", hidden)]
    of_hidden = torch.zeros(targets.rows, head.hidden, dtype=torch.float32)
    # Rounded once: where rows are apart, calls add up in f32.
    dtype = head.block.data.dtype if len(parts) == 1 else torch.float32
    weights = torch.zeros(head.vocab, head.hidden, dtype=dtype) if of_weight else None
    bias = torch.zeros(head.vocab, dtype=torch.float32) if of_bias else None
    d_head = struct("dpo_head_mut", mode=lib.DPO_GRADS_ADD)
    if of_weight:
        d_head.weights, d_head.len, d_head.type = pointer(weights, dtype), weights.numel(), TYPES[dtype]
    if of_bias:
        d_head.bias = pointer(bias, torch.float32)
    for part in parts:
        layout, _span = targets.layout(part, head.vocab)
        view, error = head.view(), new_error()
        rows, length = max(1, min(part.rows, GROUP)), ffi.new("size_t *")
        check(lib.dpo_head_grads_scratch_len(view, d_head, rows, length, error), error)
        numbers = torch.empty(length[0], dtype=torch.float64)
        scratch = struct("dpo_head_scratch", numbers=pointer(numbers, torch.float64), len=length[0], rows=rows)
        given = struct(
            "dpo_grads",
            norms=pointer(norms, torch.int32, 4 * part.first),
            coefficients=pointer(coefficients, torch.float64, part.first),
            unscored=lib.DPO_UNSCORED_ZERO,
        )
        status = lib.dpo_head_grads(
            FASTEST,
            states_view(part, head.hidden, hidden.dtype),
            view,
            layout,
            given,
            dense("dpo_hidden_mut", of_hidden, torch.float32, part, head.hidden),
            d_head,
            scratch,
            error,
        )
        check(status, error, part.first)
    return of_hidden, weights, bias


def _head_log_probs_of(hidden, weight, bias, targets, details, plan, ignore_index, factors, threads):
    head = Head(hidden, weight, bias, transform(factors))
    rows = Targets(targets, hidden.shape[:-1], ignore_index)
    log_probs, norms, found, sums = forward(hidden, head, rows, details, plan, threads)
    shape = targets.shape
    return log_probs.view(shape), norms.view(*shape, 4), found.view(*(shape if details else (0,)), 4), sums


_head_log_probs = torch.library.custom_op(
    "dpo_kernel::head_log_probs",
    _head_log_probs_of,
    mutates_args=(),
    schema=f"(Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, bool details, int plan, {TRANSFORM})"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)


@_head_log_probs.register_fake
def _(hidden, weight, bias, targets, details, plan, *_transform):
    shape = targets.shape
    return (
        targets.new_empty(shape, dtype=torch.float32),
        targets.new_empty((*shape, 4), dtype=torch.int32),
        targets.new_empty((*(shape if details else (0,)), 4), dtype=torch.int32),
        targets.new_empty((targets.numel() if plan == FROZEN else 0, hidden.shape[-1]), dtype=torch.float32),
    )


def _head_log_probs_backward_of(
    hidden, weight, bias, targets, norms, sums, coefficients, ignore_index, factors, threads
):
    head = Head(hidden, weight, bias, transform(factors))
    rows = Targets(targets, hidden.shape[:-1], ignore_index)
    of_rows = flat("coefficients", coefficients, torch.float64, targets.shape, "targets")
    kept = flat("norms", norms, torch.int32, (*targets.shape, 4), "targets")
    sums = flat("sums", sums, torch.float32, (rows.rows, head.hidden), "hidden")
    return hidden_grads(hidden, head, rows, kept, sums, of_rows, threads)


_head_log_probs_backward = torch.library.custom_op(
    "dpo_kernel::head_log_probs_backward",
    _head_log_probs_backward_of,
    mutates_args=(),
    schema="(Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, Tensor norms, Tensor sums, "
    f"Tensor coefficients, {TRANSFORM}) -> Tensor",
)


@_head_log_probs_backward.register_fake
def _(hidden, *_others):
    return hidden.new_empty(hidden.shape)


def _trained_head_backward_of(
    hidden, weight, bias, targets, norms, coefficients, of_weight, of_bias, ignore_index, factors
):
    head = Head(hidden, weight, bias, transform(factors))
    rows = Targets(targets, hidden.shape[:-1], ignore_index)
    of_rows = flat("coefficients", coefficients, torch.float64, targets.shape, "targets")
    kept = flat("norms", norms, torch.int32, (*targets.shape, 4), "targets")
    if of_bias and bias is None:
        raise ValueError("gradients of a bias are asked for, and no bias is given")
    of_hidden, weights, biases = trained_grads(hidden, head, rows, kept, of_rows, of_weight, of_bias)
    return (
        of_hidden.to(hidden.dtype).view(hidden.shape),
        weights.to(weight.dtype) if of_weight else weight.new_empty(0),
        biases.to(bias.dtype) if of_bias else weight.new_empty(0),
    )


_trained_head_backward = torch.library.custom_op(
    "dpo_kernel::trained_head_backward",
    _trained_head_backward_of,
    mutates_args=(),
    schema="(Tensor hidden, Tensor weight, Tensor? bias, Tensor targets, Tensor norms, Tensor coefficients, "
    "bool of_weight, bool of_bias, int ignore_index, float[] factors) -> (Tensor, Tensor, Tensor)",
)


@_trained_head_backward.register_fake
def _(hidden, weight, bias, targets, norms, coefficients, of_weight, of_bias, *_transform):
    return (
        hidden.new_empty(hidden.shape),
        weight.new_empty(weight.shape if of_weight else 0),
        bias.new_empty(bias.shape) if of_bias else weight.new_empty(0),
    )


frozen_backward = backward_door(torch.ops.dpo_kernel.head_log_probs_backward, _head_log_probs_backward_of)
trained_backward = backward_door(torch.ops.dpo_kernel.trained_head_backward, _trained_head_backward_of)


def _setup(ctx, inputs, output):
    hidden, weight, bias, targets, _details, ctx.plan, *ctx.transform = inputs
    _log_probs, norms, details, sums = output
    ctx.save_for_backward(hidden, weight, bias, targets, norms, sums)
    ctx.mark_non_differentiable(norms, details, sums)
    ctx.set_materialize_grads(False)


def _grads(ctx, of_log_probs, *_others):
    hidden, weight, bias, targets, norms, sums = ctx.saved_tensors
    nothing = [None] * (3 + len(ctx.transform))
    of_hidden, of_weight, of_bias = ctx.needs_input_grad[:3]
    if ctx.plan != TRAINED and (of_weight or of_bias) or ctx.plan == SCORED and of_hidden:
        raise RuntimeError(f"head_log_probs was told plan {ctx.plan}: it keeps nothing for the gradients that are due")
    if of_log_probs is None:
        return None, None, None, *nothing
    given = hidden, weight, bias, targets, norms
    if ctx.plan == TRAINED:
        # The last of the arguments is how many threads, of which this has one.
        found = trained_backward(*given, of_log_probs, of_weight, of_bias, *ctx.transform[:-1])
        due = zip(found, (of_hidden, of_weight, of_bias))
        return *(grads if wanted else None for grads, wanted in due), *nothing
    grads = frozen_backward(*given, sums, of_log_probs, *ctx.transform)
    return grads, None, None, *nothing


_head_log_probs.register_autograd(_grads, setup_context=_setup)
log_probs_of = door(torch.ops.dpo_kernel.head_log_probs, _head_log_probs_of, _setup, _grads)
