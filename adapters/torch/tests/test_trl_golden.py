"""TRL's own `_compute_loss`, every loss type it has, with log-probs by the operators: figures of `tests/data` of the
library, which TRL 1.16 gave in float64, and TRL itself in float64 on the same hidden states."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from dpo_kernel_torch import trl as kernel
from trl import DPOTrainer
from trl.trainer.utils import add_fused_lm_head

CASES = json.loads((Path(__file__).parents[3] / "tests/data/trl_losses.json").read_text())["cases"]
VOCAB = 7
OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1", "log_sum_sq_probs")


class Model(torch.nn.Module):
    """Hidden states that are given, and a head of the unit matrix: hidden states are logits."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden = hidden
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace())
        self.head = torch.nn.Linear(VOCAB, VOCAB, bias=False, dtype=hidden.dtype)
        self.head.weight = torch.nn.Parameter(torch.eye(VOCAB, dtype=hidden.dtype), requires_grad=False)
        self.is_gradient_checkpointing = False
        add_fused_lm_head(self, outputs=OUTPUTS)

    def forward(self, input_ids=None, **_inputs):
        raise AssertionError("TRL asks for the fused head alone")

    def base_model(self, **_inputs):
        return SimpleNamespace(last_hidden_state=self.hidden)

    def get_output_embeddings(self):
        return self.head


def rows(case):
    """Completions, chosen ones first, as lengths; one token of a prompt before each."""
    return [n for side in ("chosen", "rejected") for n in case["lengths"][side]]


def flat(case, name):
    return [tokens for side in ("chosen", "rejected") for tokens in case[name][side]]


def hidden_states(log_probs, targets, dtype):
    """Logits of 0 but for the target's, of which softmax gives these log-probs."""
    hidden = torch.zeros(*targets.shape, VOCAB, dtype=torch.float64)
    for i, tokens in enumerate(log_probs):
        for t, log_prob in enumerate(tokens):
            p = torch.tensor(log_prob, dtype=torch.float64).exp()
            hidden[i, t, targets[i, t + 1]] = torch.log(p * (VOCAB - 1) / (1 - p))
    return hidden.to(dtype).requires_grad_()


def inputs(case):
    lengths = rows(case)
    longest = max(lengths)
    targets = torch.randint(0, VOCAB, (len(lengths), longest + 1))
    mask = torch.tensor([[0] + [1] * n + [0] * (longest - n) for n in lengths])
    return {"input_ids": targets, "attention_mask": torch.ones_like(targets), "completion_mask": mask}


def trainer(case, model, reference):
    """What `_compute_loss` asks of a trainer."""
    same = lambda tensor: tensor
    return SimpleNamespace(
        model=model,
        ref_model=reference,
        accelerator=SimpleNamespace(device=torch.device("cpu"), gather=same, gather_for_metrics=same),
        args=SimpleNamespace(discopop_tau=0.05, gradient_checkpointing_kwargs=None),
        aux_loss_enabled=False,
        precompute_ref_logps=False,
        ld_alpha=case.get("ld_alpha"),
        f_divergence_type=case.get("f_divergence", "reverse_kl"),
        f_alpha_divergence_coef=case.get("alpha", 1.0),
        loss_types=case["loss_types"],
        loss_weights=case.get("loss_weights", [1.0] * len(case["loss_types"])),
        beta=case["beta"],
        label_smoothing=case.get("label_smoothing", 0.0),
        use_weighting=case.get("wpo", False),
        _metrics={"train": Metrics(), "eval": Metrics()},
        _total_train_tokens=0,
        _tp_size=1,
    )


class Metrics(dict):
    def __missing__(self, name):
        self[name] = []
        return self[name]


def compute(case, batch, hidden, reference, squares=None):
    """Loss, gradients of the log-probs and of the hidden states, metrics."""
    model, frozen = Model(hidden), Model(reference)
    found, forward = {}, model.forward

    def observed(*args, **kwargs):
        outputs = forward(*args, **kwargs)
        outputs.log_probs.retain_grad()
        found["log_probs"] = outputs.log_probs
        if squares is not None:
            outputs.log_sum_sq_probs = squares.to(outputs.log_probs.dtype)
        return outputs

    model.forward = observed
    made = trainer(case, model, frozen)
    loss = DPOTrainer._compute_loss(made, model, batch, False)
    loss.backward()
    metrics = {name: value[0] for name, value in made._metrics["train"].items()}
    return loss.item(), found["log_probs"].grad, hidden.grad, metrics


def ids(case):
    keys = ("loss_types", "beta", "label_smoothing", "f_divergence", "ld_alpha", "wpo")
    return " ".join(str(case[key]) for key in keys if key in case)


# A log-prob is off by 2^-23 of itself and by 2^-24 of a logit (below 4): 2^-21. A log-ratio is of at most 6 of them
# from each model, 2^-17.4; per unit of loss or gradient the losses are no steeper than 1 near 0, and where they are
# (squares: IPO, SPPO) their value is larger by as much.
RELATIVE, ABSOLUTE = 2.0**-16, 2.0**-16


def near(found, expected):
    return abs(found - expected) <= ABSOLUTE + RELATIVE * abs(expected)


@pytest.fixture
def patched():
    with kernel.patch() as patch:
        yield patch


def golden(case, beside=None):
    """Figures of TRL of a case, by the operators; `beside` changes what the model is given."""
    batch = inputs(case)
    targets = batch["input_ids"]
    squares = None
    if case.get("wpo"):
        # The file's are no distribution's: they stand in for the operator's own, of which a test follows.
        squares = torch.zeros(targets.shape[0], targets.shape[1] - 1)
        for i, tokens in enumerate(flat(case, "token_log_sum_sq_probs")):
            squares[i, : len(tokens)] = torch.tensor(tokens)
    policy = [list(tokens) for tokens in flat(case, "policy_token_logps")]
    if beside:
        beside(policy)
    hidden = hidden_states(policy, targets, torch.float32)
    reference = hidden_states(flat(case, "reference_token_logps"), targets, torch.float32)
    loss, grads, of_hidden, metrics = compute(case, batch, hidden, reference, squares)
    expected = case["expected"]
    assert near(loss, expected["loss"])
    assert (of_hidden[:, :-1][batch["completion_mask"][:, 1:] == 0] == 0).all() and (of_hidden[:, -1] == 0).all()
    for i, tokens in enumerate(flat(expected, "grad_policy_token_logps")):
        for t, gradient in enumerate(tokens):
            assert near(grads[i, t].item(), gradient), (i, t)
    for name, value in expected["metrics"].items():
        assert near(metrics[name], value), name


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_figures_of_trl(case, patched):
    golden(case)


def test_the_figures_see_faults(patched):
    def lower(policy):
        policy[0][0] -= 1e-3

    for case in CASES[:13]:
        with pytest.raises(AssertionError):
            golden(case, lower)


def test_the_operators_are_inside(patched, monkeypatch):
    calls = []
    monkeypatch.setattr(kernel, "head_token_log_probs", lambda *args, **_: calls.append(args) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        golden(CASES[0])
    # Of 16 scored positions alone, of the 42 that there are.
    assert calls[0][0].shape == (sum(rows(CASES[0])), VOCAB)


@pytest.mark.parametrize("case", CASES[:17] + CASES[29:32], ids=ids)
def test_trl_itself_in_float64(case, patched):
    """On logits of any kind, with the gradients of the hidden states, and every metric: entropy, mean logits, accuracy,
    and WPO's weights by the operator's own sums of squares."""
    batch = inputs(case)
    shape = (*batch["input_ids"].shape, VOCAB)
    hidden, reference = torch.randn(shape), torch.randn(shape)
    loss, _, grads, metrics = compute(case, batch, hidden.clone().requires_grad_(), reference)
    patched.undo()
    exact, _, exact_grads, exact_metrics = compute(case, batch, hidden.double().requires_grad_(), reference.double())
    assert near(loss, exact)
    assert (grads.double() - exact_grads).abs().max() <= RELATIVE * max(1.0, exact_grads.abs().max().item())
    assert metrics.keys() == exact_metrics.keys()
    for name, value in exact_metrics.items():
        assert near(metrics[name], value), name
