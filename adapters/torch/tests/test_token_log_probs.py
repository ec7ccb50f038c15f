"""Token log-probs of logits and their gradients against float64."""

import pytest
import torch
from dpo_kernel_torch import token_log_probs
from oracle import Exact, assert_within, batch

TRANSFORMS = [
    {},
    {"scale": 0.25},
    {"softcap": 5.0},
    {"temperature": 0.7},
    {"scale": 2.0, "softcap": 30.0, "temperature": 1.5},
]


def slope(scale=1.0, softcap=None, temperature=1.0):
    return scale / temperature


@pytest.mark.parametrize("vocab", [1, 2, 15, 17, 1003])
def test_log_probs_and_gradients(dtype, vocab):
    logits, targets, coefficients = batch(dtype, vocab=vocab)
    logits.requires_grad_()
    found = token_log_probs(logits, targets).log_probs
    exact = Exact(logits, targets)
    exact.check_log_probs(found)
    found.backward(coefficients)
    exact.check_grads(logits.grad, coefficients)


def check_transformed_grads(exact, grads, coefficients, transform):
    """y, of f32, is off by two units in its last place, 2^-22 |y|, and p by twice that, as every y and their sum are.
    The slope is a product of two roundings, 2 * 2^-24, and 1 - tanh^2 is off by a unit of tanh twice, 2 * 2^-24."""
    largest = exact.logits.detach().abs().max().item() * slope(**transform)
    if "softcap" in transform:
        largest = min(largest, transform["softcap"] / transform.get("temperature", 1.0))
    exact.check_grads(grads, coefficients, slope(**transform), bend=2.0**-22, exponent=2.0**-22 * largest)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_transforms(dtype, transform):
    logits, targets, coefficients = batch(dtype)
    logits.requires_grad_()
    found = token_log_probs(logits, targets, **transform).log_probs
    exact = Exact(logits, targets, **transform)
    # The transform itself is of f32: y is off by two units in its last place.
    bound = 2.0**-22 * (1 + exact.log_probs.abs() + (logits.double().abs().amax(-1) * slope(**transform)))
    assert_within("log p", found, exact.log_probs, bound)
    found.backward(coefficients)
    check_transformed_grads(exact, logits.grad, coefficients, transform)


@pytest.mark.parametrize("transform", [TRANSFORMS[2], TRANSFORMS[4]], ids=str)
@pytest.mark.parametrize("part", [1e-3, 2.0**-16])
def test_the_bound_of_transforms_sees_a_slope_that_is_off(transform, part):
    """1 - tanh^2 with that part of tanh^2 left out."""
    logits, targets, coefficients = batch(torch.float32)
    logits.requires_grad_()
    token_log_probs(logits, targets, **transform).log_probs.backward(coefficients)
    exact = Exact(logits, targets, **transform)
    check_transformed_grads(exact, logits.grad, coefficients, transform)
    t = torch.tanh(logits.detach().double() * transform.get("scale", 1.0) / transform["softcap"]) ** 2
    planted = logits.grad.double() * (1 - (1 - part) * t) / (1 - t)
    with pytest.raises(AssertionError):
        check_transformed_grads(exact, planted.float(), coefficients, transform)


def test_details(dtype):
    logits, targets, _ = batch(dtype)
    found, exact = token_log_probs(logits, targets, details=True), Exact(logits, targets)
    exact.check_log_probs(found.log_probs)
    for name in ("entropy", "mean_logits", "log_sum_sq_probs"):
        value = getattr(exact, name)
        # Sums of terms as large as the largest logit times ln V, in f32.
        assert_within(name, getattr(found, name), value, 2.0**-21 * (1 + value.abs()))
    assert torch.equal(found.argmax, exact.argmax)
    assert torch.equal(found.is_top1, (exact.argmax == targets) & exact.scored)
    assert not any(getattr(found, name).requires_grad for name in ("entropy", "mean_logits", "log_sum_sq_probs"))


def test_argmax_is_the_first_of_the_largest():
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0]])
    for target, is_top1 in ((1, True), (2, False)):
        found = token_log_probs(logits, torch.tensor([target]), details=True)
        assert found.argmax.tolist() == [1] and found.is_top1.tolist() == [is_top1]


def layouts(logits):
    """The same logits in memory of other shapes, with NaN in what is not theirs, and the original to compare with."""
    sequences, rows, vocab = logits.shape
    wide = torch.full((sequences, rows + 1, vocab + 5), torch.nan, dtype=logits.dtype)
    wide[:, :-1, :vocab] = logits
    yield "padded columns and rows", wide[:, :-1, :vocab]
    late = torch.full((sequences, rows + 1, vocab), torch.nan, dtype=logits.dtype)
    late[:, :-1] = logits
    yield "all positions but the last", late[:, :-1]
    turned = torch.full((rows, sequences, vocab), torch.nan, dtype=logits.dtype)
    turned.copy_(logits.transpose(0, 1))
    yield "positions before sequences", turned.transpose(0, 1)
    every = torch.full((sequences, 2 * rows, vocab), torch.nan, dtype=logits.dtype)
    every[:, ::2] = logits
    yield "every other row", every[:, ::2]


def test_strides_are_the_same_bits(dtype):
    logits, targets, coefficients = batch(dtype)
    tracked = logits.clone().requires_grad_()
    expected = token_log_probs(tracked, targets, details=True)
    expected.log_probs.backward(coefficients)
    for name, view in layouts(logits):
        view.requires_grad_()
        found = token_log_probs(view, targets, details=True)
        for field in found._fields:
            assert torch.equal(getattr(found, field), getattr(expected, field)), f"{name}: {field}"
        found.log_probs.backward(coefficients)
        assert torch.equal(view.grad, tracked.grad), name


@pytest.mark.parametrize("shape", [(), (5,), (0,), (2, 0), (2, 3, 2)], ids=str)
def test_leading_dimensions(shape):
    logits, targets = torch.randn(*shape, 11, requires_grad=True), torch.randint(0, 11, shape)
    found = token_log_probs(logits, targets, details=True)
    assert all(getattr(found, field).shape == shape for field in found._fields)
    found.log_probs.sum().backward()
    Exact(logits, targets).check_grads(logits.grad, torch.ones(shape))


def test_rows_that_are_not_scored_are_not_read(dtype):
    logits, targets, coefficients = batch(dtype)
    logits[targets == -100] = torch.nan
    logits.requires_grad_()
    found = token_log_probs(logits, targets).log_probs
    found.backward(coefficients)
    exact = Exact(logits, targets)
    exact.check_log_probs(found)
    assert (logits.grad[targets == -100] == 0).all() and not logits.grad.isnan().any()


def test_another_ignore_index():
    logits, targets, _ = batch(torch.float32)
    expected = token_log_probs(logits, targets).log_probs
    # 0 is a token otherwise.
    shifted = torch.where(targets == -100, 0, targets.clamp(min=1))
    again = token_log_probs(logits, torch.where(shifted == 0, -100, shifted)).log_probs
    assert torch.equal(token_log_probs(logits, shifted, ignore_index=0).log_probs, again)
    assert not torch.equal(expected, token_log_probs(logits, torch.where(targets == -100, 5, targets)).log_probs)


def test_masked_columns():
    logits = torch.randn(4, 9)
    logits[:, 3] = -torch.inf
    logits.requires_grad_()
    targets = torch.tensor([0, 1, 2, 4])
    token_log_probs(logits, targets).log_probs.sum().backward()
    assert (logits.grad[:, 3] == 0).all() and logits.grad.isfinite().all()


def test_one_graph_twice_and_a_parameter_used_twice():
    weight = torch.randn(13, 6, requires_grad=True)
    states, targets = torch.randn(5, 6), torch.randint(0, 13, (5,))

    def loss():
        return token_log_probs(states @ weight.T, targets).log_probs.sum() + weight[targets].pow(2).sum()

    total = loss()
    (first,) = torch.autograd.grad(total, weight, retain_graph=True)
    (second,) = torch.autograd.grad(total, weight)
    assert torch.equal(first, second)
    exact = weight.detach().double().requires_grad_()
    log_probs = torch.log_softmax(states.double() @ exact.T, -1).gather(-1, targets.unsqueeze(-1))
    (log_probs.sum() + exact[targets].pow(2).sum()).backward()
    assert (first.double() - exact.grad).abs().max() <= 2.0**-19 * exact.grad.abs().max()


def test_gradcheck_in_single_precision():
    """Differences of f32: with log p off by 2^-22 (|log p| < 3) and a step of 2^-6, a quotient is off by 2^-22 / 2^-6
    = 2^-16 from rounding, and by h^2/6 of a third derivative below 1, 2^-14.6, from the step. Twice their sum."""
    targets = torch.tensor([0, 3, -100, 6])

    def call(logits):
        return token_log_probs(logits.float(), targets).log_probs.double()

    logits = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, logits, eps=2.0**-6, atol=2 * (2.0**-16 + 2.0**-14.6), rtol=0.0)


@pytest.mark.parametrize("fault", ["target", "sign", "row", "scale", "stall", "ignored"])
def test_the_oracle_sees_faults(fault):
    logits, targets, coefficients = batch(torch.float32)
    exact = Exact(logits, targets)
    tracked = logits.clone().requires_grad_()
    found = token_log_probs(tracked, targets).log_probs
    found.backward(coefficients)
    found, grads = found.detach().clone(), tracked.grad.clone()
    if fault == "target":
        found = Exact(logits, torch.where(targets == -100, targets, (targets + 1) % 1003)).log_probs.float()
    elif fault == "row":
        found = found.roll(1, 0)
    elif fault == "stall":
        # What a sum in bf16 gives.
        found = torch.log_softmax(logits.bfloat16(), -1).gather(-1, exact.index).squeeze(-1).float() * exact.scored
    elif fault == "sign":
        grads = -grads
    elif fault == "scale":
        grads *= 1 + 2.0**-18
    elif fault == "ignored":
        grads[targets == -100] = logits[targets == -100]
    with pytest.raises(AssertionError):
        exact.check_log_probs(found)
        exact.check_grads(grads, coefficients)


def test_modes_of_pytorch():
    """Autocast rounds nothing here, and without gradients the figures are the same."""
    logits, targets, _ = batch(torch.float32)
    expected = token_log_probs(logits.requires_grad_(), targets).log_probs
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(token_log_probs(logits, targets).log_probs, expected)
    with torch.no_grad():
        found = token_log_probs(logits, targets).log_probs
        assert torch.equal(found, expected) and not found.requires_grad
    with torch.inference_mode():
        assert torch.equal(token_log_probs(logits, targets).log_probs, expected)
