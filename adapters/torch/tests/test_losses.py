"""Preference losses: to the bit those of the library's own step, and some of them against formulas in float64."""

import bare
import pytest
import torch
import torch.nn.functional as F
from dpo_kernel_torch import Loss, Mixture, Nll, log_probs_preference_loss, preference_loss
from dpo_kernel_torch.losses import LOSSES

# Of answers without a partner (and a2po, below); without a reference; options where a loss needs one.
UNPAIRED = ("kto", "apo_zero", "bco_pair", "nca_pair", "sppo_hard")
FREE = "simpo cpo cpo_hinge cpo_ipo slic alphapo orpo tpo tpo_hinge tpo_ipo tpo_l reward_model".split()
OPTIONS = {
    "rpo_fwd_kl": {"reward_gap": 0.5},
    "rpo_bwd_kl": {"reward_gap": 0.5},
    "rpo_sq": {"reward_gap": 0.5},
    "kto": {"reference_kl": 0.25},
}
PAIRED = sorted(set(LOSSES) - {"a2po"})


def batch(dtype=torch.float32):
    """Three pairs of 5 rows; the reference near the policy, so that no pair is far out on its curve."""
    logits = (2 * torch.randn(6, 5, 37)).to(dtype)
    targets = torch.randint(0, 37, (6, 5))
    targets[1, :2] = targets[4, :1] = -100
    exact = log_probs(logits, targets)
    return logits, targets, (exact.sum(1) + torch.randn(6)).detach()


def log_probs(logits, targets):
    """In f64."""
    found = torch.log_softmax(logits.double(), -1).gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return found.masked_fill(targets == -100, 0.0)


def made(name):
    return Loss(name, **OPTIONS.get(name, {}))


def check_bits(found, expected, logits):
    assert torch.equal(found._found.figures, expected.figures)
    assert torch.equal(found.log_probs.flatten(), expected.log_probs)
    assert torch.equal(found._found.sequences, expected.sequences)
    for name, value in found.summary.items():
        assert value.item() == getattr(expected.summary, name), name
    (grads,) = torch.autograd.grad(found.loss, logits)
    assert torch.equal(grads, expected.grads)


@pytest.mark.parametrize("name", PAIRED)
def test_every_loss_of_pairs_is_the_steps(name, dtype):
    logits, targets, reference = batch(dtype)
    logits.requires_grad_()
    reference = None if name in FREE else reference
    pairs = [(0, 3), (1, 4), (2, 5)] if name != "s_dpo" else [(0, 3), (0, 4), (2, 5)]
    divisor = 2.0 if name == "s_dpo" else 3.0
    expected = bare.step(logits.detach(), targets, pairs, made(name), reference=reference, divisor=divisor)
    found = preference_loss(logits, targets, loss=made(name), reference=reference, pairs=torch.tensor(pairs))
    check_bits(found, expected, logits)
    assert found.loss.item() == pytest.approx(expected.summary.loss_sum / divisor, rel=2.0**-23)


@pytest.mark.parametrize("name", UNPAIRED)
def test_every_loss_of_answers_is_the_steps(name, dtype):
    logits, targets, reference = batch(dtype)
    logits.requires_grad_()
    answers = [(0, 1), (3, 0), (5, 0), (4, 1)]
    expected = bare.step(logits.detach(), targets, answers, made(name), unpaired=True, reference=reference, divisor=4.0)
    found = preference_loss(logits, targets, loss=made(name), reference=reference, answers=torch.tensor(answers))
    check_bits(found, expected, logits)
    assert torch.equal(found.rewards, expected.figures[:, 1])


def test_one_loss_an_answer():
    logits, targets, reference = batch()
    answers, advantages = torch.tensor([[0, 1], [3, 0]]), [0.5, -0.25]
    losses = [Loss("a2po", beta=0.1, advantage=advantage) for advantage in advantages]
    found = preference_loss(logits, targets, loss=losses, reference=reference, answers=answers)
    ratios = (log_probs(logits, targets).sum(1) - reference)[answers[:, 0]]
    expected = (0.1 * ratios - torch.tensor(advantages, dtype=torch.float64)).pow(2)
    assert torch.allclose(found.losses, expected, rtol=1e-5)


def formula(name, chosen, rejected, tokens):
    """Of log-ratios, or of log-probs where there is no reference; beta 0.1, and defaults of docs/losses.md."""
    z = 0.1 * (chosen - rejected)
    means = chosen / tokens[0], rejected / tokens[1]
    return {
        "sigmoid": lambda: -F.logsigmoid(z),
        "hinge": lambda: (1 - z).relu(),
        "ipo": lambda: (means[0] - means[1] - 5).pow(2),
        "apo_zero": lambda: torch.sigmoid(-0.1 * chosen) + torch.sigmoid(0.1 * rejected),
        "nca_pair": lambda: F.softplus(-0.1 * chosen) + (F.softplus(0.1 * chosen) + F.softplus(0.1 * rejected)) / 2,
        "cpo": lambda: -F.logsigmoid(z),
        "simpo": lambda: -F.logsigmoid(2 * (means[0] - means[1]) - 0.5),
        "orpo": lambda: (
            -0.1 * F.logsigmoid((means[0] - torch.log1p(-means[0].exp())) - (means[1] - torch.log1p(-means[1].exp())))
        ),
    }[name]()


FORMULAS = ["sigmoid", "hinge", "ipo", "apo_zero", "nca_pair", "cpo", "simpo", "orpo"]


def by_formula(name, logits, targets, reference):
    """Losses and gradients in f64."""
    wide = logits.detach().double().requires_grad_()
    sums = log_probs(wide, targets).sum(1)
    chosen, rejected = (sums if name in FREE else sums - reference).chunk(2)
    losses = formula(name, chosen, rejected, (targets != -100).sum(1).chunk(2))
    return losses.detach(), torch.autograd.grad(losses.mean(), wide)[0]


def check_formula(found, grads, expected):
    """A log-ratio is a sum of ten log-probs, each off by 2^-23 * 12 at most, so by 2^-16; losses move by no more than
    thrice that (IPO, whose slope is 2 * 8 / 5), and gradients by 2^-16 of the largest."""
    losses, exact = expected
    assert (found - losses).abs().max() <= 3 * 2.0**-16
    assert (grads.double() - exact).abs().max() <= 2.0**-16 * exact.abs().max()


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    logits, targets, reference = batch()
    logits.requires_grad_()
    found = preference_loss(logits, targets, loss=name, reference=None if name in FREE else reference)
    (grads,) = torch.autograd.grad(found.loss, logits)
    check_formula(found.losses, grads, by_formula(name, logits, targets, reference))


@pytest.mark.parametrize("fault", ["beta", "swap", "reference", "token", "mean"])
def test_the_formulas_see_faults(fault):
    logits, targets, reference = batch()
    logits.requires_grad_()
    loss = Loss("sigmoid", beta=0.1001) if fault == "beta" else "sigmoid"
    pairs = torch.tensor([[3, 0], [4, 1], [5, 2]]) if fault == "swap" else None
    given = reference + 1e-3 * torch.arange(6) if fault == "reference" else reference
    asked = targets.clone()
    if fault == "token":
        asked[2, 2] = -100
    found = preference_loss(logits, asked, loss=loss, pairs=pairs, reference=given)
    (grads,) = torch.autograd.grad(found.loss * (3 if fault == "mean" else 1), logits)
    with pytest.raises(AssertionError):
        check_formula(found.losses, grads, by_formula("sigmoid", logits, targets, reference))


def test_options_mixtures_and_one_loss_a_pair():
    logits, targets, reference = batch()
    call = lambda loss: preference_loss(logits, targets, loss=loss, reference=reference)
    sharp, plain, ipo = call(Loss("sigmoid", beta=0.5)), call("sigmoid"), call("ipo")
    mixed = call(Mixture((0.75, Loss("sigmoid", beta=0.5)), (0.25, "ipo")))
    assert torch.allclose(mixed.losses, 0.75 * sharp.losses + 0.25 * ipo.losses, rtol=1e-12)
    each = call([Loss("sigmoid", beta=0.5), "ipo", "sigmoid"])
    assert each.losses.tolist() == [sharp.losses[0], ipo.losses[1], plain.losses[2]]
    kl = call(Loss("sigmoid", divergence="forward_kl"))
    assert not torch.equal(kl.losses, plain.losses)
    assert call("dpo").loss == plain.loss


def test_weights_offsets_token_weights_and_divisor(dtype):
    logits, targets, reference = batch(dtype)
    logits.requires_grad_()
    weights, offsets = torch.tensor([2.0, 0.0, 0.5]), torch.tensor([0.1, 0.0, -0.2])
    expected = bare.step(
        logits.detach(),
        targets,
        [(0, 3), (1, 4), (2, 5)],
        "sigmoid",
        reference=reference,
        weights=weights,
        offsets=offsets,
        divisor=2.0,
    )
    found = preference_loss(logits, targets, reference=reference, weights=weights, offsets=offsets)
    check_bits(found, expected, logits)
    assert found.summary["left_out"] == 1
    doubled = preference_loss(logits, targets, reference=reference, weights=weights, offsets=offsets, divisor=4.0)
    assert doubled.loss == found.loss / 2
    halves = torch.full((6, 5), 0.5)
    found = preference_loss(logits, targets, reference=reference, token_weights=halves)
    expected = preference_loss(logits, targets, reference=reference * 2, loss=Loss("sigmoid", beta=0.05))
    assert torch.allclose(found.losses, expected.losses, rtol=1e-12)


def test_an_nll_term():
    logits, targets, reference = batch()
    logits.requires_grad_()
    plain = preference_loss(logits, targets, reference=reference)
    exact = log_probs(logits, targets)
    tokens = (targets != -100).sum(1)
    for nll, term in (
        (Nll(0.5, 12.0), -0.5 / 12 * exact[:3].sum()),
        (Nll(0.5, 3.0, per="sequence"), -0.5 / 3 * (exact[:3].sum(1) / tokens[:3]).sum()),
        (Nll(1e-5, 3.0, term="xpo", answers=torch.tensor([3, 5])), 1e-5 / 3 * exact[[3, 5]].sum()),
        (Nll(1.0, 2.0, weights=torch.tensor([1.0, 0.0, 3.0])), -0.5 * (exact[0].sum() + 3 * exact[2].sum())),
    ):
        found = preference_loss(logits, targets, reference=reference, nll=nll)
        assert found.loss.item() == pytest.approx((plain.loss + term).item(), rel=2.0**-20)
        assert torch.equal(found.losses, plain.losses) and found.nll["tokens"] > 0
        (grads,) = torch.autograd.grad(found.loss, logits)
        wide = logits.detach().double().requires_grad_()
        sums = log_probs(wide, targets)
        chosen, rejected = (sums.sum(1) - reference).chunk(2)
        total = -F.logsigmoid(0.1 * (chosen - rejected)).mean()
        sign, of = (1, sums[[3, 5]]) if nll.term == "xpo" else (-1, sums[:3])
        share = of / tokens[:3].unsqueeze(1) if nll.per == "sequence" else of
        share = share if nll.weights is None else share * nll.weights.unsqueeze(1)
        total = total + sign * nll.weight / nll.divisor * share.sum()
        (expected,) = torch.autograd.grad(total, wide)
        assert (grads.double() - expected).abs().max() <= 2.0**-18 * expected.abs().max()


def test_sft_is_an_nll_term_alone():
    logits, targets, _ = batch()
    found = preference_loss(logits, targets, loss=None, nll=Nll(1.0, 12.0))
    assert found.loss.item() == pytest.approx(-log_probs(logits, targets)[:3].sum().item() / 12, rel=2.0**-20)
    with pytest.raises(ValueError, match="nll=Nll"):
        preference_loss(logits, targets, loss="sft")
    with pytest.raises(ValueError, match="neither"):
        preference_loss(logits, targets, loss=None)


def test_spans_of_packed_sequences():
    """Rows in one line, sequences of different lengths, rows between them that belong to none, spans in any order."""
    logits, targets, _ = batch()
    flat, asked = logits.view(30, 37).requires_grad_(), targets.view(30)
    spans = torch.tensor([[20, 30], [0, 7], [9, 12], [12, 20]])
    pairs = torch.tensor([[0, 1], [2, 3]])
    found = preference_loss(flat, asked, spans=spans, pairs=pairs, loss="cpo")
    wide = flat.detach().double().requires_grad_()
    rows = log_probs(wide, asked)
    sums = torch.stack([rows[start:end].sum() for start, end in spans.tolist()])
    losses = -F.logsigmoid(0.1 * (sums[pairs[:, 0]] - sums[pairs[:, 1]]))
    assert torch.allclose(found.losses, losses, atol=2.0**-16)
    assert torch.allclose(found.sequence_log_probs, sums, atol=2.0**-16)
    (grads,) = torch.autograd.grad(found.loss, flat)
    (expected,) = torch.autograd.grad(losses.mean(), wide)
    assert (grads.double() - expected).abs().max() <= 2.0**-18 * expected.abs().max()
    assert (grads[7:9] == 0).all()


def test_of_log_probs_it_is_the_same_loss():
    logits, targets, reference = batch()
    logits.requires_grad_()
    expected = preference_loss(logits, targets, reference=reference)
    rows = expected.log_probs.clone().requires_grad_()
    found = log_probs_preference_loss(rows, targets, reference=reference)
    assert found.loss == expected.loss and torch.equal(found._found.figures, expected._found.figures)
    (grads,) = torch.autograd.grad(found.loss, rows)
    assert torch.equal(grads.flatten(), expected._found.coefficients.float())


def test_what_autograd_multiplies_by_is_in_the_coefficients(dtype):
    """A loss over k micro-batches, as trainers have it: the same bits as with the divisor k times as large."""
    logits, targets, reference = batch(dtype)
    logits.requires_grad_()
    found = preference_loss(logits, targets, reference=reference)
    (grads,) = torch.autograd.grad(found.loss / 4, logits)
    (expected,) = torch.autograd.grad(preference_loss(logits, targets, reference=reference, divisor=12.0).loss, logits)
    assert torch.equal(grads, expected)


def test_two_micro_batches_are_one_batch():
    logits, targets, reference = batch()
    logits.requires_grad_()
    (whole,) = torch.autograd.grad(preference_loss(logits, targets, reference=reference).loss, logits)
    for part in ([0, 3], [1, 2, 4, 5]):
        preference_loss(logits[part], targets[part], reference=reference[part], divisor=3.0).loss.backward()
    assert torch.equal(logits.grad, whole)
