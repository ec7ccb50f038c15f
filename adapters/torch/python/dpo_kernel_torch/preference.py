"""Preference losses: the operators `dpo_kernel::preference_step`, from logits, and `dpo_kernel::preference_loss`.

The step's forward is log-probs, sequences, loss; it keeps a norm and a coefficient a row, and the backward makes the
gradients of the logits in one sweep: the bits of `dpo_preference_step`. So an evaluation costs no backward, and what
autograd multiplies the loss by goes into the coefficients, before anything is rounded to 16 bits.
"""

from typing import NamedTuple

import torch

from . import logits as of_logits
from .door import backward_door, door
from .head import head_token_log_probs
from .logits import TRANSFORM
from .losses import encode
from .native import lib
from .rows import Targets, factors, transform
from .stages import (
    ANSWER_FIGURES,
    BATCH,
    PAIR_FIGURES,
    Batch,
    Found,
    Stages,
    sizes,
    sums_and_tokens,
)
from .tensors import check_constant, check_matrix, check_tangent, flat

# Targets are checked against a vocabulary with the logits; of log-probs alone it is the largest that there can be.
MOST_COLUMNS = 2**31 - 1

PER = {"token": lib.DPO_NLL_PER_TOKEN, "sequence": lib.DPO_NLL_PER_SEQUENCE}
TERM = {"nll": lib.DPO_NLL_TERM_NLL, "xpo": lib.DPO_NLL_TERM_XPO}


class Nll(NamedTuple):
    """An NLL term beside the loss: weight / divisor * sum of -log p over tokens, or over answers of their means.

    Of the chosen answers of the pairs, or of the sequences that `answers` (int64) names; `weights`: one each.
    `divisor`: tokens or answers of the whole batch. `term="xpo"` has the opposite sign.
    """

    weight: float
    divisor: float
    per: str = "token"
    term: str = "nll"
    answers: torch.Tensor | None = None
    weights: torch.Tensor | None = None


class PreferenceLoss:
    """A loss and everything that it says. `loss` is a scalar with gradients; the others have none.

    Of each pair, in f64: `losses`, `rewards_chosen`, `rewards_rejected`, `margins`; of each answer without a partner
    `losses`, `rewards`. Of each span: `sequence_log_probs`, f64, and `sequence_tokens`. Of each token, in the shape of
    the targets: `log_probs`. `summary`: the fields of `dpo_summary` or `dpo_unpaired_summary`; `nll`: those of
    `dpo_nll_summary`, or None.
    """

    def __init__(self, loss, log_probs, found):
        self.loss, self.log_probs, self._found = loss, log_probs, found

    def _figure(self, name):
        unpaired = self._found.batch.unpaired
        fields = ANSWER_FIGURES if unpaired else PAIR_FIGURES
        if name not in fields:
            raise AttributeError(f"{'answers' if unpaired else 'pairs'} have no {name}")
        return self._found.figures[:, fields.index(name)]

    @property
    def losses(self):
        return self._figure("loss")

    @property
    def rewards_chosen(self):
        return self._figure("reward_chosen")

    @property
    def rewards_rejected(self):
        return self._figure("reward_rejected")

    @property
    def margins(self):
        return self._figure("margin")

    @property
    def rewards(self):
        return self._figure("reward")

    @property
    def sequence_log_probs(self):
        return sums_and_tokens(self._found.sequences)[0]

    @property
    def sequence_tokens(self):
        return sums_and_tokens(self._found.sequences)[1]

    @property
    def summary(self):
        return self._found.summary

    @property
    def nll(self):
        return self._found.nll

    def __repr__(self):
        return f"PreferenceLoss(loss={self.loss}, summary={self.summary})"


def batch_of(
    targets,
    *,
    spans=None,
    pairs=None,
    answers=None,
    loss="sigmoid",
    reference=None,
    weights=None,
    offsets=None,
    token_weights=None,
    nll=None,
    divisor=None,
):
    """The arguments of a loss as the operators take them."""
    if pairs is not None and answers is not None:
        raise ValueError("pairs and answers are given: give one of them")
    made = encode(loss, answers is not None)
    given = {
        "reference": reference,
        "weights": weights,
        "offsets": offsets,
        "token_weights": token_weights,
        "divisor": divisor,
    }
    if nll is not None:
        given |= {"nll.weights": nll.weights, "nll.weight": nll.weight, "nll.divisor": nll.divisor}
    for name, value in given.items():
        check_constant(name, value)
    if divisor is not None and not 0.0 < divisor < float("inf"):
        raise ValueError(f"divisor is {divisor}: give a number > 0")
    # 0 stands for the number of pairs or answers.
    numbers = [0.0 if divisor is None else float(divisor)]
    if nll is not None:
        for name, value, known in (("per", nll.per, PER), ("term", nll.term, TERM)):
            if value not in known:
                raise ValueError(f"nll.{name} is {value!r}: give one of {', '.join(known)}")
        numbers += [float(nll.weight), float(nll.divisor), float(PER[nll.per]), float(TERM[nll.term])]
    return Batch(
        targets,
        spans,
        pairs if answers is None else answers,
        reference,
        weights,
        offsets,
        token_weights,
        None if nll is None else nll.answers,
        None if nll is None else nll.weights,
        *made,
        numbers,
    )


def preference_loss(
    logits, targets, *, ignore_index=-100, scale=1.0, softcap=None, temperature=1.0, threads=0, **batch
):
    """A preference loss of logits, and everything that it says: `PreferenceLoss`.

    logits: (..., V), targets: (...), as `token_log_probs` takes them. Rows count over all leading dimensions.

    spans: (N, 2), int64, first row and the one past the last of each sequence; without it each row of (N, T) targets
    is one. pairs: (P, 2), int64, indices of chosen and rejected sequences; without it the first half is chosen, as
    TRL has it. answers: (M, 2), int64, sequence and label (1 desirable, 0 not), in the place of pairs. loss: a name,
    a `Loss` with options, a `Mixture`, a list of one a pair or answer, or None for the NLL term alone. reference:
    (N), log-probs of the sequences under the frozen model, for losses that have one. weights, offsets: one a pair or
    answer; token_weights: one a row; nll: an `Nll`. divisor: what the loss is divided by; without it as many as have
    a weight (groups, for `s_dpo`), which makes it the mean.
    """
    check_tangent(logits=logits)
    made = batch_of(targets, **batch)
    found = step_of(logits, *made, ignore_index, factors(scale, softcap, temperature), threads)
    return PreferenceLoss(found[0], found[2], Found(found[1], made))


def head_preference_loss(
    hidden,
    weight,
    targets,
    *,
    bias=None,
    ignore_index=-100,
    scale=1.0,
    softcap=None,
    temperature=1.0,
    threads=0,
    **batch,
):
    """`preference_loss` of the logits `hidden @ weight.T + bias`, which never exist: see `head_token_log_probs`."""
    made = batch_of(targets, **batch)
    log_probs = head_token_log_probs(
        hidden,
        weight,
        targets,
        bias=bias,
        ignore_index=ignore_index,
        scale=scale,
        softcap=softcap,
        temperature=temperature,
        threads=threads,
    ).log_probs
    return _of_log_probs(log_probs, made, ignore_index)


def log_probs_preference_loss(log_probs, targets, *, ignore_index=-100, **batch):
    """`preference_loss` of token log-probs, f32, in the shape of the targets, wherever they come from."""
    check_tangent(log_probs=log_probs)
    return _of_log_probs(log_probs, batch_of(targets, **batch), ignore_index)


def _of_log_probs(log_probs, made, ignore_index):
    loss, numbers = loss_of(log_probs, *made, ignore_index)
    return PreferenceLoss(loss, log_probs.detach(), Found(numbers, made))


def _fake_found(batch):
    new = batch.targets.new_empty
    return new((), dtype=torch.float32), new((sum(sizes(batch)),), dtype=torch.int64)


def _step_of(logits, *given):
    batch = Batch(*given[:-3])
    ignore_index, of_logit, threads = given[-3:]
    check_matrix("logits", logits)
    rows = Targets(batch.targets, logits.shape[:-1], ignore_index)
    stages = Stages(batch, rows, logits.shape[-1])
    map = transform(of_logit)
    log_probs, norms, _ = of_logits.forward(logits, rows, map, threads, False)
    shape = batch.targets.shape
    return *stages.run(log_probs), log_probs.view(shape), norms.view(*shape, 4)


_step = torch.library.custom_op(
    "dpo_kernel::preference_step",
    _step_of,
    mutates_args=(),
    schema=f"(Tensor logits, {BATCH}, {TRANSFORM}) -> (Tensor, Tensor, Tensor, Tensor)",
)


@_step.register_fake
def _(logits, *given):
    batch = Batch(*given[:-3])
    new, shape = batch.targets.new_empty, batch.targets.shape
    return *_fake_found(batch), new(shape, dtype=torch.float32), new((*shape, 4), dtype=torch.int32)


def _refuse_others(ctx):
    """Gradients of the first argument alone: calls of the operators themselves are not checked before."""
    if any(ctx.needs_input_grad[1:]):
        raise RuntimeError("an argument beside the first requires grad, and a loss has no gradient for it: detach it")


def _coefficients(numbers, rows):
    """They are the first of the numbers."""
    return numbers[:rows].view(torch.float64)


def _step_setup(ctx, inputs, output):
    _refuse_others(ctx)
    logits, targets = inputs[:2]
    ctx.transform = inputs[-3:]
    ctx.inputs = len(inputs)
    _loss, numbers, log_probs, norms = output
    ctx.save_for_backward(logits, targets, norms, numbers)
    ctx.mark_non_differentiable(numbers, log_probs, norms)
    ctx.set_materialize_grads(False)


def _step_grads(ctx, of_loss, *_others):
    logits, targets, norms, numbers = ctx.saved_tensors
    nothing = [None] * (ctx.inputs - 1)
    if of_loss is None:
        return None, *nothing
    of_rows = (_coefficients(numbers, targets.numel()) * of_loss).view(targets.shape)
    grads = of_logits.log_probs_backward(logits, targets, norms, of_rows, *ctx.transform)
    return grads, *nothing


_step.register_autograd(_step_grads, setup_context=_step_setup)
step_of = door(torch.ops.dpo_kernel.preference_step, _step_of, _step_setup, _step_grads)


def _loss_of(log_probs, *given):
    batch, ignore_index = Batch(*given[:-1]), given[-1]
    rows = Targets(batch.targets, log_probs.shape, ignore_index)
    if log_probs.dtype != torch.float32:
        raise TypeError(f"log_probs are {log_probs.dtype}: give torch.float32, as log_probs.float() does")
    numbers = flat("log_probs", log_probs, torch.float32, batch.targets.shape, "targets")
    return tuple(Stages(batch, rows, MOST_COLUMNS).run(numbers))


_loss = torch.library.custom_op(
    "dpo_kernel::preference_loss",
    _loss_of,
    mutates_args=(),
    schema=f"(Tensor log_probs, {BATCH}, int ignore_index) -> (Tensor, Tensor)",
)


@_loss.register_fake
def _(log_probs, *given):
    return _fake_found(Batch(*given[:-1]))


def _loss_backward_of(log_probs, numbers, of_loss):
    # The log-probs are given for autograd alone: coefficients depend on them, so a second derivative is refused.
    return (_coefficients(numbers, log_probs.numel()) * of_loss).float().view(log_probs.shape)


_loss_backward = torch.library.custom_op(
    "dpo_kernel::preference_loss_backward",
    _loss_backward_of,
    mutates_args=(),
    schema="(Tensor log_probs, Tensor numbers, Tensor of_loss) -> Tensor",
)


@_loss_backward.register_fake
def _(log_probs, numbers, of_loss):
    return log_probs.new_empty(log_probs.shape)


loss_backward = backward_door(torch.ops.dpo_kernel.preference_loss_backward, _loss_backward_of)


def _loss_setup(ctx, inputs, output):
    _refuse_others(ctx)
    ctx.inputs = len(inputs)
    _loss, numbers = output
    ctx.save_for_backward(inputs[0], numbers)
    ctx.mark_non_differentiable(numbers)
    ctx.set_materialize_grads(False)


def _loss_grads(ctx, of_loss, *_others):
    nothing = [None] * (ctx.inputs - 1)
    if of_loss is None:
        return None, *nothing
    return loss_backward(*ctx.saved_tensors, of_loss), *nothing


_loss.register_autograd(_loss_grads, setup_context=_loss_setup)
loss_of = door(torch.ops.dpo_kernel.preference_loss, _loss_of, _loss_setup, _loss_grads)
