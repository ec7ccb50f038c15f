"""The stages between token log-probs and their gradients: sequences, a loss, an NLL term, coefficients."""

from typing import NamedTuple

import torch

from .errors import KernelError, check
from .losses import MIXTURE, PER_PAIR, Losses
from .native import ffi, lib, new_error, pointer, struct
from .tensors import check_integers, check_shape, flat

# Fields of `dpo_summary`, `dpo_unpaired_summary` and `dpo_nll_summary`, each of them eight bytes.
SUMMARY, UNPAIRED_SUMMARY, NLL_SUMMARY = (
    [name for name, _ in ffi.typeof(kind).fields] for kind in ("dpo_summary", "dpo_unpaired_summary", "dpo_nll_summary")
)
# Numbers of `dpo_pair_loss` and `dpo_answer_loss`.
PAIR_FIGURES, ANSWER_FIGURES = (
    [name for name, _ in ffi.typeof(kind).fields] for kind in ("dpo_pair_loss", "dpo_answer_loss")
)


class Batch(NamedTuple):
    """What is measured, and by what: the arguments that the operators of losses share, in the order of `BATCH`."""

    targets: torch.Tensor
    spans: torch.Tensor | None  # one sequence a row of the targets
    items: torch.Tensor | None  # pairs or answers; the first half of the sequences is chosen
    reference: torch.Tensor | None
    weights: torch.Tensor | None
    offsets: torch.Tensor | None
    token_weights: torch.Tensor | None
    nll_answers: torch.Tensor | None
    nll_weights: torch.Tensor | None
    choices: list[int]  # `losses.Encoded`
    values: list[float]
    numbers: list[float]  # the divisor; weight, divisor, per and term of an NLL term

    @property
    def unpaired(self):
        return bool(self.choices[0])

    @property
    def has_nll(self):
        return len(self.numbers) > 1


BATCH = (
    "Tensor targets, Tensor? spans, Tensor? items, Tensor? reference, Tensor? weights, Tensor? offsets, "
    "Tensor? token_weights, Tensor? nll_answers, Tensor? nll_weights, int[] choices, float[] values, float[] numbers"
)


class Found:
    """Everything that a loss says, as the operators return it: one tensor of eight-byte numbers, here by their names.

    One, because PyTorch's time for a call grows with the number of its results.
    """

    def __init__(self, numbers, batch):
        self.numbers, self.batch = numbers, batch

    def _part(self, which):
        start, end = part(self.batch, which)
        return self.numbers[start:end]

    @property
    def coefficients(self):
        """d loss / d log p of each row, in f64."""
        return self._part(COEFFICIENTS).view(torch.float64)

    @property
    def figures(self):
        """P x 6 or M x 3, in f64."""
        width = len(ANSWER_FIGURES if self.batch.unpaired else PAIR_FIGURES)
        return self._part(FIGURES).view(torch.float64).view(-1, width)

    @property
    def sequences(self):
        """N `dpo_sequence_log_prob`, as bits."""
        return self._part(SEQUENCES).view(-1, 2)

    @property
    def summary(self):
        """Its fields by name: sums are doubles, all others counts."""
        return named(self._part(SUMS), UNPAIRED_SUMMARY if self.batch.unpaired else SUMMARY)

    @property
    def nll(self):
        return named(self._part(NLL_SUMS), NLL_SUMMARY) if self.batch.has_nll else None


# Where the parts of the numbers are.
COEFFICIENTS, FIGURES, SEQUENCES, SUMS, NLL_SUMS = range(5)


def sizes(batch):
    """How many numbers each part has."""
    sequences, items = counts(batch)
    figures, fields = (ANSWER_FIGURES, UNPAIRED_SUMMARY) if batch.unpaired else (PAIR_FIGURES, SUMMARY)
    return [batch.targets.numel(), items * len(figures), 2 * sequences, len(fields), len(NLL_SUMMARY)]


def part(batch, which):
    """Where a part begins and ends."""
    of = sizes(batch)
    start = sum(of[:which])
    return start, start + of[which]


def counts(batch):
    """How many sequences there are, and how many pairs or answers."""
    if batch.spans is None and batch.targets.ndim != 2:
        raise ValueError(
            f"targets have shape {tuple(batch.targets.shape)} and no spans are given: give (N, T) for one sequence a "
            "row, or spans"
        )
    sequences = batch.targets.shape[0] if batch.spans is None else batch.spans.shape[0]
    if batch.items is not None:
        return sequences, batch.items.shape[0]
    if sequences % 2 or batch.unpaired:
        raise ValueError(f"no pairs are given for {sequences} sequences: of an even number the first half is chosen")
    return sequences, sequences // 2


def owned(name, tensor):
    """N x 2 numbers, as the library reads them: negative ones are out of its range."""
    check_integers(name, tensor)
    if tensor.ndim != 2 or tensor.shape[1] != 2:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: give (count, 2)")
    tensor = tensor.contiguous()
    return pointer(tensor, torch.int64), tensor


def labelled(sequence, label):
    """A `dpo_answer`. A negative sequence is out of the library's range, as the unsigned number of its bits."""
    if not -(2**31) <= label < 2**31:
        raise KernelError("UNKNOWN_LABEL", value=label)
    return sequence % 2**64, label


class Stages:
    """One batch on its way through the stages."""

    def __init__(self, batch, rows, vocab):
        self.batch, self.rows = batch, rows
        self.count, self.found = counts(batch)
        self.error = new_error()
        # Pointers, and what owns the memory behind them.
        self.spans, self.own_spans = self.rectangle() if batch.spans is None else owned("spans", batch.spans)
        self.items, self.own_items = self.halves() if batch.items is None else owned("items", batch.items)
        # Spans in any order: the library sorts them here.
        self.order = ffi.new("size_t[]", max(1, self.count))
        self.layout = struct(
            "dpo_layout",
            targets=pointer(rows.ids, torch.int32),
            rows=rows.rows,
            spans=self.spans,
            count=self.count,
            vocab=vocab,
            order=self.order,
        )
        self.reference = flat("reference", batch.reference, torch.float64, (self.count,), "spans")
        of = "answers" if batch.unpaired else "pairs"
        self.weights = flat("weights", batch.weights, torch.float32, (self.found,), of)
        self.offsets = flat("offsets", batch.offsets, torch.float32, (self.found,), of)
        shape = batch.targets.shape
        self.token_weights = flat("token_weights", batch.token_weights, torch.float32, shape, "targets")
        self.numbers = torch.zeros(sum(sizes(batch)), dtype=torch.int64)
        self.losses = Losses(batch.choices, batch.values)
        self.divisor = batch.numbers[0] or self._divisor()

    def rectangle(self):
        spans, rows = ffi.new("dpo_span[]", max(1, self.count)), self.batch.targets.shape[1]
        check(lib.dpo_spans_of_batch(rows, spans, self.count, self.error), self.error)
        return spans, spans

    def halves(self):
        pairs = ffi.new("dpo_pair[]", [(i, i + self.found) for i in range(self.found)])
        return pairs, pairs

    def _divisor(self):
        """How many pairs or answers have a weight; groups of them where the loss is of groups."""
        if self.weights is None and self.losses.names != [lib.DPO_LOSS_S_DPO]:
            return float(max(1, self.found))
        weighted = torch.ones(self.found, dtype=torch.bool) if self.weights is None else self.weights != 0
        # Without indices every pair has a chosen answer of its own.
        grouped = self.losses.names == [lib.DPO_LOSS_S_DPO] and self.batch.items is not None
        chosen = self.batch.items[weighted, 0].unique_consecutive() if grouped else weighted.nonzero()
        return float(max(1, chosen.shape[0]))

    def at(self, which):
        """Where a part of the numbers is written."""
        return pointer(self.numbers, torch.int64, part(self.batch, which)[0])

    def run(self, log_probs):
        """All stages, from log p of each row: the loss, f32, and all numbers."""
        batch = self.batch
        policy = self.sequences(log_probs, self.token_weights, self.at(SEQUENCES))
        d_log_probs, d_nll = ffi.new("double[]", max(1, self.count)), ffi.NULL
        loss_of = self.nothing if not self.losses.count else self.answers if batch.unpaired else self.pairs
        loss = loss_of(policy, d_log_probs)
        if batch.has_nll:
            d_nll = ffi.new("double[]", max(1, self.count))
            loss += self.nll(log_probs, policy, d_nll)
        status = lib.dpo_token_coefficients(
            self.layout,
            d_log_probs,
            pointer(self.token_weights, torch.float32),
            d_nll,
            self.at(COEFFICIENTS),
            self.error,
        )
        check(status, self.error)
        return torch.full((), loss, dtype=torch.float32), self.numbers

    def sequences(self, log_probs, token_weights, out):
        """log pi and tokens of each span."""
        status = lib.dpo_sequence_log_probs(
            pointer(log_probs, torch.float32), self.layout, pointer(token_weights, torch.float32), out, self.error
        )
        check(status, self.error)
        return out

    def nothing(self, _policy, _d_log_probs):
        """No loss of pairs, beside an NLL term."""
        if not self.batch.has_nll:
            raise ValueError("neither a loss nor an NLL term is given: give one of them")
        return 0.0

    def pairs(self, policy, d_log_probs):
        given = struct(
            "dpo_pairs",
            pairs=self.items,
            count=self.found,
            reference_sums=pointer(self.reference, torch.float64),
            weights=pointer(self.weights, torch.float32),
            offsets=pointer(self.offsets, torch.float32),
            divisor=self.divisor,
        )
        objective = self.losses.objective(self.found)
        summary = ffi.cast("dpo_summary *", self.at(SUMS))
        status = lib.dpo_preference_loss(
            objective,
            given,
            policy,
            self.count,
            self.at(FIGURES),
            d_log_probs,
            summary,
            self.error,
        )
        check(status, self.error)
        return summary.loss_sum / self.divisor

    def answers(self, policy, d_log_probs):
        if self.offsets is not None:
            raise ValueError("offsets are given for answers without a partner: no loss of them has any; leave them out")
        answers = ffi.new("dpo_answer[]", [labelled(*answer) for answer in self.batch.items.tolist()])
        losses = self.losses
        one_each = losses.kind == PER_PAIR
        if losses.kind == MIXTURE:
            raise ValueError("a Mixture is given for answers without a partner: add up the losses of two calls")
        if one_each and losses.count != self.found:
            raise ValueError(f"{losses.count} losses for {self.found} answers: give one each")
        given = struct(
            "dpo_unpaired_batch",
            answers=answers,
            count=self.found,
            reference_sums=pointer(self.reference, torch.float64),
            weights=pointer(self.weights, torch.float32),
            losses=losses.made if one_each else ffi.NULL,
            divisor=self.divisor,
        )
        summary = ffi.cast("dpo_unpaired_summary *", self.at(SUMS))
        status = lib.dpo_unpaired_loss(
            ffi.NULL if one_each else losses.made,
            given,
            policy,
            self.count,
            self.at(FIGURES),
            d_log_probs,
            summary,
            self.error,
        )
        check(status, self.error)
        return (summary.desirable_loss_sum + summary.undesirable_loss_sum) / self.divisor

    def nll(self, log_probs, policy, d_nll):
        """The term's part of the loss. It is of the tokens as they are, without weights."""
        if self.token_weights is not None:
            plain = ffi.new("dpo_sequence_log_prob[]", max(1, self.count))
            policy = self.sequences(log_probs, None, plain)
        batch = self.batch
        _, weight, divisor, per, term = batch.numbers
        answers = batch.nll_answers
        given = struct("dpo_nll", weight=weight, divisor=divisor, per=int(per), term=int(term))
        if answers is None:
            if batch.unpaired:
                raise ValueError("an NLL term of answers without a partner needs nll.answers: which sequences")
            given.of, given.count = lib.DPO_NLL_OF_CHOSEN, self.found
            given.pairs = self.items
            count, weights = self.found, batch.weights if batch.nll_weights is None else batch.nll_weights
        else:
            check_integers("nll.answers", answers)
            check_shape("nll.answers", answers, (answers.numel(),), "a list")
            answers, count, weights = answers.contiguous(), answers.numel(), batch.nll_weights
            given.of, given.count = lib.DPO_NLL_OF_ANSWERS, count
            given.answers = pointer(answers, torch.int64)
        weights = flat("nll.weights", weights, torch.float32, (count,), "the NLL term")
        given.weights = pointer(weights, torch.float32)
        summary = ffi.cast("dpo_nll_summary *", self.at(NLL_SUMS))
        check(lib.dpo_nll_loss(given, policy, self.count, d_nll, summary, self.error), self.error)
        return summary.loss_sum / divisor


def sums_and_tokens(sequences):
    """Fields of `dpo_sequence_log_prob`: a double and a size_t."""
    return sequences.view(torch.float64)[:, 0], sequences[:, 1]


def named(summary, fields):
    """The fields of a summary by name: sums are doubles, all others counts."""
    return {
        name: (bits.view(torch.float64) if name.endswith("_sum") else bits)
        for name, bits in zip(fields, summary.unbind())
    }
