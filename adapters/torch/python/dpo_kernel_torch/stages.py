"""The stages between token log-probs and their gradients: sequences, a loss, an NLL term, coefficients."""

from typing import NamedTuple

import torch

from .errors import check
from .losses import MIXTURE, PER_PAIR, Losses
from .native import ffi, lib, new_error, pointer, struct
from .tensors import check_integers, flat

# Fields of `dpo_summary`, `dpo_unpaired_summary` and `dpo_nll_summary`, each of them eight bytes.
SUMMARY, UNPAIRED_SUMMARY, NLL_SUMMARY = (
    [name for name, _ in ffi.typeof(kind).fields]
    for kind in ("dpo_summary", "dpo_unpaired_summary", "dpo_nll_summary")
)
# Numbers of `dpo_pair_loss` and `dpo_answer_loss`.
PAIR_FIGURES, ANSWER_FIGURES = (
    [name for name, _ in ffi.typeof(kind).fields] for kind in ("dpo_pair_loss", "dpo_answer_loss")
)


class Batch(NamedTuple):
    """What is measured, and by what: the arguments that the operators of losses share, in the order of `BATCH`."""

    targets: torch.Tensor
    spans: torch.Tensor
    items: torch.Tensor  # pairs or answers
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
    "Tensor targets, Tensor spans, Tensor items, Tensor? reference, Tensor? weights, Tensor? offsets, "
    "Tensor? token_weights, Tensor? nll_answers, Tensor? nll_weights, int[] choices, float[] values, float[] numbers"
)


class Found(NamedTuple):
    """The loss, what it says of each pair or answer, sums, and d loss / d log p of each row."""

    loss: torch.Tensor  # f32, one number
    figures: torch.Tensor  # P x 6 or M x 3
    summary: torch.Tensor  # fields of the summary, then of the NLL term's
    sequences: torch.Tensor  # N `dpo_sequence_log_prob`, as bits: `sums_and_tokens`
    coefficients: torch.Tensor  # R


def indices(name, tensor):
    """N x 2 numbers that are not negative, as the library reads them."""
    check_integers(name, tensor)
    if tensor.ndim != 2 or tensor.shape[1] != 2:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: give (count, 2)")
    if tensor.numel() and int(tensor.min()) < 0:
        raise ValueError(f"{name} holds {int(tensor.min())}: give numbers >= 0")
    return tensor.contiguous()


class Stages:
    """One batch on its way through the stages."""

    def __init__(self, batch, rows, vocab):
        self.batch, self.rows = batch, rows
        self.spans = indices("spans", batch.spans)
        self.items = indices("answers" if batch.unpaired else "pairs", batch.items)
        self.count, self.found = self.spans.shape[0], self.items.shape[0]
        # Spans in any order: the library sorts them here.
        self.order = ffi.new("size_t[]", max(1, self.count))
        self.layout = struct(
            "dpo_layout",
            targets=pointer("const uint32_t", rows.ids),
            rows=rows.rows,
            spans=pointer("const dpo_span", self.spans),
            count=self.count,
            vocab=vocab,
            order=self.order,
        )
        self.reference = flat("reference", batch.reference, torch.float64, self.count, "spans")
        of = "answers" if batch.unpaired else "pairs"
        self.weights = flat("weights", batch.weights, torch.float32, self.found, of)
        self.offsets = flat("offsets", batch.offsets, torch.float32, self.found, of)
        self.token_weights = flat("token_weights", batch.token_weights, torch.float32, rows.rows, "targets")
        self.losses = Losses(batch.choices, batch.values)
        self.divisor = batch.numbers[0] or self._divisor()
        self.error = new_error()

    def _divisor(self):
        """How many pairs or answers have a weight; groups of them where the loss is of groups."""
        items = self.items if self.weights is None else self.items[self.weights != 0]
        if self.losses.names == [lib.DPO_LOSS_S_DPO] and not self.batch.unpaired:
            items = items[:, 0].unique_consecutive()
        return float(max(1, items.shape[0]))

    def run(self, log_probs):
        """All stages, from log p of each row."""
        batch = self.batch
        policy = self.sequences(log_probs, self.token_weights)
        d_log_probs = torch.zeros(self.count, dtype=torch.float64)
        loss_of = self.answers if batch.unpaired else self.pairs
        figures, summary, loss = loss_of(policy, d_log_probs)
        d_nll, of_nll = None, torch.zeros(len(NLL_SUMMARY), dtype=torch.float64)
        if batch.has_nll:
            # The term is of the tokens as they are.
            plain = policy if self.token_weights is None else self.sequences(log_probs, None)
            d_nll, of_nll = self.nll(plain)
            loss += float(of_nll[-1]) / batch.numbers[2]
        coefficients = torch.zeros(self.rows.rows, dtype=torch.float64)
        status = lib.dpo_token_coefficients(
            self.layout,
            pointer("const double", d_log_probs),
            pointer("const float", self.token_weights),
            pointer("const double", d_nll),
            pointer("double", coefficients),
            self.error,
        )
        check(status, self.error)
        summary = torch.cat([summary, of_nll])
        return Found(torch.tensor(loss, dtype=torch.float32), figures, summary, policy, coefficients)

    def sequences(self, log_probs, token_weights):
        """log pi and tokens of each span."""
        found = torch.zeros(self.count, 2, dtype=torch.int64)
        status = lib.dpo_sequence_log_probs(
            pointer("const float", log_probs),
            self.layout,
            pointer("const float", token_weights),
            pointer("dpo_sequence_log_prob", found),
            self.error,
        )
        check(status, self.error)
        return found

    def pairs(self, sequences, d_log_probs):
        batch = self.batch
        given = struct(
            "dpo_pairs",
            pairs=pointer("const dpo_pair", self.items),
            count=self.found,
            reference_sums=pointer("const double", self.reference),
            weights=pointer("const float", self.weights),
            offsets=pointer("const float", self.offsets),
            divisor=self.divisor,
        )
        objective = self.losses.objective(self.found)
        figures = torch.zeros(self.found, len(PAIR_FIGURES), dtype=torch.float64)
        summary = ffi.new("dpo_summary *")
        status = lib.dpo_preference_loss(
            objective,
            given,
            pointer("const dpo_sequence_log_prob", sequences),
            self.count,
            pointer("dpo_pair_loss", figures),
            pointer("double", d_log_probs),
            summary,
            self.error,
        )
        check(status, self.error)
        return figures, _numbers(summary, SUMMARY), summary.loss_sum / self.divisor

    def answers(self, sequences, d_log_probs):
        batch = self.batch
        if self.offsets is not None:
            raise ValueError("offsets are given for answers without a partner: no loss of them has any; leave them out")
        answers = ffi.new("dpo_answer[]", [tuple(answer) for answer in self.items.tolist()])
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
            reference_sums=pointer("const double", self.reference),
            weights=pointer("const float", self.weights),
            losses=losses.made if one_each else None,
            divisor=self.divisor,
        )
        figures = torch.zeros(self.found, len(ANSWER_FIGURES), dtype=torch.float64)
        summary = ffi.new("dpo_unpaired_summary *")
        status = lib.dpo_unpaired_loss(
            ffi.NULL if one_each else losses.made,
            given,
            pointer("const dpo_sequence_log_prob", sequences),
            self.count,
            pointer("dpo_answer_loss", figures),
            pointer("double", d_log_probs),
            summary,
            self.error,
        )
        check(status, self.error)
        loss = (summary.desirable_loss_sum + summary.undesirable_loss_sum) / self.divisor
        return figures, _numbers(summary, UNPAIRED_SUMMARY), loss

    def nll(self, sequences):
        batch = self.batch
        _, weight, divisor, per, term = batch.numbers
        answers = batch.nll_answers
        given = struct("dpo_nll", weight=weight, divisor=divisor, per=int(per), term=int(term))
        if answers is None:
            if batch.unpaired:
                raise ValueError("an NLL term of answers without a partner needs nll.answers: which sequences")
            given.of, given.count = lib.DPO_NLL_OF_CHOSEN, self.found
            given.pairs = pointer("const dpo_pair", self.items)
            count, weights = self.found, batch.weights if batch.nll_weights is None else batch.nll_weights
        else:
            check_integers("nll.answers", answers)
            answers, count, weights = answers.reshape(-1).contiguous(), answers.numel(), batch.nll_weights
            if count and int(answers.min()) < 0:
                raise ValueError(f"nll.answers holds {int(answers.min())}: give numbers >= 0")
            given.of, given.count = lib.DPO_NLL_OF_ANSWERS, count
            given.answers = pointer("const size_t", answers)
        weights = flat("nll.weights", weights, torch.float32, count, "the NLL term")
        given.weights = pointer("const float", weights)
        d_nll = torch.zeros(self.count, dtype=torch.float64)
        summary = ffi.new("dpo_nll_summary *")
        status = lib.dpo_nll_loss(
            given, pointer("const dpo_sequence_log_prob", sequences), self.count, pointer("double", d_nll), summary, self.error
        )
        check(status, self.error)
        return d_nll, _numbers(summary, NLL_SUMMARY)


def sums_and_tokens(sequences):
    """Fields of `dpo_sequence_log_prob`: a double and a size_t."""
    return sequences.view(torch.float64)[:, 0], sequences[:, 1]


def _numbers(summary, fields):
    return torch.tensor([float(getattr(summary, field)) for field in fields], dtype=torch.float64)
