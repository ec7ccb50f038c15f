"""Losses by name, with their options; include/dpo_kernel_types.h numbers both, docs/losses.md has the formulas."""

from typing import NamedTuple

import torch

from .errors import check
from .native import ffi, lib, new_error, struct
from .tensors import check_constant

LOSSES = {
    name.removeprefix("DPO_LOSS_").lower(): getattr(lib, name)
    for name in dir(lib)
    if name.startswith("DPO_LOSS_") and name != "DPO_LOSS_SFT"
}
OPTIONS = {
    name.removeprefix("DPO_PARAMETER_").lower(): getattr(lib, name)
    for name in dir(lib)
    if name.startswith("DPO_PARAMETER_")
}
DIVERGENCES = {
    name.removeprefix("DPO_DIVERGENCE_").lower(): getattr(lib, name)
    for name in dir(lib)
    if name.startswith("DPO_DIVERGENCE_")
}
ONE, PER_PAIR, MIXTURE = lib.DPO_OBJECTIVE_ONE, lib.DPO_OBJECTIVE_PER_PAIR, lib.DPO_OBJECTIVE_MIXTURE
MOST_OPTIONS, MOST_TERMS = lib.DPO_MOST_OPTIONS, lib.DPO_MOST_TERMS
# They sort the pairs, in memory of the caller.
SORTED = (lib.DPO_LOSS_AOT, lib.DPO_LOSS_AOT_UNPAIRED)


class Loss:
    """A loss by the name that trainers give it, with its options: `Loss("simpo", beta=2.5, target_margin=0.5)`.

    Options that are not given have the loss's default, and those that it does not have are refused. A divergence is
    given by name, `Loss("sigmoid", divergence="forward_kl")`; `alpha_paper` and `alpha_trl` need `divergence_alpha`.
    """

    __slots__ = ("name", "number", "options")

    def __init__(self, name="sigmoid", **options):
        if len(options) > MOST_OPTIONS:
            raise ValueError(f"{len(options)} options: a loss has {MOST_OPTIONS} at most")
        self.name, self.number = name, number_of(name)
        self.options = [_option(option, value) for option, value in options.items()]

    def __repr__(self):
        return f"Loss({self.name!r}, {self.options})"


@torch.compiler.assume_constant_result
def number_of(name):
    """The number of a loss from any of its names. `torch.compile` keeps it, as the name is part of the program."""
    number, error = ffi.new("int32_t *"), new_error()
    text = name.encode()
    status = lib.dpo_loss_parse(text, len(text), number, error)
    if status == lib.DPO_ERROR_UNKNOWN_LOSS:
        raise ValueError(f"no loss is named {name!r}: give one of {', '.join(sorted(LOSSES))}")
    check(status, error)
    if number[0] == lib.DPO_LOSS_SFT:
        raise ValueError("sft is an NLL term, beside a loss of pairs or alone: give loss=None and nll=Nll(1.0, tokens)")
    return number[0]


def _option(name, value):
    if name not in OPTIONS:
        raise ValueError(f"no option is named {name!r}: give some of {', '.join(sorted(OPTIONS))}")
    if name == "divergence" and isinstance(value, str):
        if value not in DIVERGENCES:
            raise ValueError(f"no divergence is named {value!r}: give one of {', '.join(DIVERGENCES)}")
        value = DIVERGENCES[value]
    check_constant(name, value)
    return OPTIONS[name], float(value)


class Mixture:
    """A weighted sum of losses; rewards are those of the first: `Mixture((0.8, "sigmoid"), (0.2, "bco_pair"))`."""

    __slots__ = ("losses", "weights")

    def __init__(self, *terms):
        if not 1 <= len(terms) <= MOST_TERMS:
            raise ValueError(f"{len(terms)} terms: give 1 to {MOST_TERMS}")
        for weight, _ in terms:
            check_constant("a weight of a Mixture", weight)
        self.weights = [float(weight) for weight, _ in terms]
        self.losses = [_loss(loss) for _, loss in terms]


class Encoded(NamedTuple):
    """Losses as arguments of an operator, numbers alone.

    choices: 1 for answers without a partner, the kind of the objective, then 1 + MOST_OPTIONS numbers a loss: its
    name and its options' names. values: MOST_OPTIONS a loss, then the weights of a mixture.
    """

    choices: list[int]
    values: list[float]


def _loss(loss):
    return Loss(loss) if isinstance(loss, str) else loss


def encode(loss, unpaired):
    """A name, a `Loss`, a `Mixture`, a list of one loss a pair or answer, or None for an NLL term alone."""
    if loss is None:
        return Encoded([int(unpaired), ONE], [])
    if isinstance(loss, Mixture):
        kind, losses, weights = MIXTURE, loss.losses, loss.weights
    elif isinstance(loss, (list, tuple)):
        kind, losses, weights = PER_PAIR, [_loss(one) for one in loss], []
    else:
        kind, losses, weights = ONE, [_loss(loss)], []
    choices, values = [int(unpaired), kind], []
    for one in losses:
        if not isinstance(one, Loss):
            raise TypeError(f"loss is a {type(one).__name__}: give a name, a Loss, a Mixture, or a list of losses")
        padded = one.options + [(0, 0.0)] * (MOST_OPTIONS - len(one.options))
        choices += [one.number, *(parameter for parameter, _ in padded)]
        values += [value for _, value in padded]
    return Encoded(choices, values + weights)


class Losses:
    """`dpo_loss` of each that is encoded, and the memory of what an objective points to."""

    def __init__(self, choices, values):
        of_losses = choices[2:]
        self.unpaired, self.kind = bool(choices[0]), choices[1]
        self.count = len(of_losses) // (1 + MOST_OPTIONS)
        weights = values[MOST_OPTIONS * self.count :]
        if len(of_losses) % (1 + MOST_OPTIONS) or len(weights) != (self.count if self.kind == MIXTURE else 0):
            raise ValueError(f"{len(choices)} choices and {len(values)} values are not what losses.encode makes")
        self.names = of_losses[:: 1 + MOST_OPTIONS]
        self.made = ffi.new("dpo_loss[]", self.count)
        for i, one in enumerate(self.made):
            first = (1 + MOST_OPTIONS) * i
            one.name = of_losses[first]
            for j in range(MOST_OPTIONS):
                # Most places are empty, and zeros already.
                if of_losses[first + 1 + j]:
                    one.options[j] = of_losses[first + 1 + j], values[MOST_OPTIONS * i + j]
        self.weights = ffi.new("double[]", weights) if weights else ffi.NULL
        self.order = ffi.NULL

    def objective(self, pairs):
        """`dpo_objective` for so many pairs; memory to sort in is for losses that sort, and NULL otherwise."""
        sorts = any(name in SORTED for name in self.names)
        self.order = ffi.new("size_t[]", 2 * pairs) if sorts else ffi.NULL
        return struct(
            "dpo_objective",
            losses=self.made,
            count=self.count,
            kind=self.kind,
            term_weights=self.weights,
            order=self.order,
            order_len=2 * pairs if sorts else 0,
        )
