"""What is refused, by which exception, and what it says."""

import pickle

import dpo_kernel_torch as kernel
import pytest
import torch
from dpo_kernel_torch import KernelError, Loss, Mixture, Nll, NonFiniteError
from dpo_kernel_torch.preference import batch_of
from torch.autograd import forward_ad


def rows(shape=(4, 5), vocab=9):
    return torch.randn(*shape, vocab), torch.randint(0, vocab, shape)


def refused(kind, text, call, *args, **kwargs):
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    assert text in str(caught.value), str(caught.value)
    return caught.value


def test_types():
    logits, targets = rows()
    for bad, text in (
        (logits.double(), "torch.float64"),
        (logits.int(), "torch.int32"),
        (logits.to_sparse(), "layout"),
    ):
        refused(TypeError, text, kernel.token_log_probs, bad, targets)
    refused(TypeError, "torch.int32", kernel.token_log_probs, logits, targets.int())
    refused(TypeError, "torch.float64", kernel.head_token_log_probs, logits, torch.eye(9).double(), targets)
    refused(TypeError, "torch.float16", kernel.log_probs_preference_loss, torch.zeros(4, 5).half(), targets)
    refused(TypeError, "bool", kernel.preference_loss, logits, targets, weights=torch.tensor([True, False]))
    refused(TypeError, "int", kernel.preference_loss, logits, targets, loss=3)


def test_devices_are_named():
    """No other device is here, so the check itself is asked."""
    from dpo_kernel_torch.tensors import check_tensor

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda", 1)

    refused(TypeError, "cuda:1", check_tensor, "logits", torch.zeros(2).as_subclass(Elsewhere))


def test_shapes():
    logits, targets = rows()
    refused(ValueError, "(4, 4)", kernel.token_log_probs, logits, targets[:, :-1])
    refused(ValueError, "stride", kernel.token_log_probs, logits.transpose(1, 2), torch.zeros(4, 9).long())
    refused(ValueError, "share memory", kernel.token_log_probs, torch.randn(1, 9).expand(5, 9), targets[0])
    refused(ValueError, "share memory", kernel.token_log_probs, torch.randn(30).unfold(0, 9, 1), torch.zeros(22).long())
    refused(ValueError, "columns", kernel.token_log_probs, torch.randn(4, 0), torch.zeros(4).long())
    refused(ValueError, "(V, H)", kernel.head_token_log_probs, logits, torch.randn(9, 8), targets)
    refused(ValueError, "(V, H)", kernel.head_token_log_probs, logits, torch.randn(9), targets)
    refused(ValueError, "bias", kernel.head_token_log_probs, logits, torch.eye(9), targets, bias=torch.zeros(8))
    for name, value in (("weights", torch.ones(3)), ("offsets", torch.ones(1)), ("reference", torch.ones(3))):
        given = {"reference": torch.zeros(4)} | {name: value}
        refused(ValueError, name, kernel.preference_loss, logits, targets, **given)
    refused(ValueError, "first half", kernel.preference_loss, logits[:3], targets[:3], loss="cpo")
    refused(ValueError, "no spans", kernel.preference_loss, logits.view(20, 9), targets.view(20), loss="cpo")
    both = {"pairs": torch.tensor([[0, 1]]), "answers": torch.tensor([[0, 1]])}
    refused(ValueError, "one of them", kernel.preference_loss, logits, targets, **both)
    refused(ValueError, "(count, 2)", kernel.preference_loss, logits, targets, spans=torch.zeros(4).long())


@pytest.mark.parametrize("name", ["reference", "weights", "offsets", "token_weights", "nll.answers", "nll.weights"])
def test_as_many_numbers_in_another_shape(name):
    """They would be read in another order."""
    logits, targets = rows()
    ones = torch.ones
    shaped = {"reference": ones(2, 2), "weights": ones(1, 2), "offsets": ones(2, 1), "token_weights": ones(4, 5).T}
    given = {
        "nll.answers": {"nll": Nll(1.0, 1.0, answers=torch.tensor([[0, 1], [2, 3]]))},
        "nll.weights": {"nll": Nll(1.0, 1.0, weights=ones(2, 1))},
    }.get(name) or {name: shaped[name]}
    text = f"{name} has shape ("
    given = {"reference": torch.zeros(4)} | given
    refused(ValueError, text, kernel.preference_loss, logits, targets, **given)
    refused(ValueError, text, kernel.log_probs_preference_loss, logits[..., 0], targets, **given)


def test_operators_are_given_what_the_forward_made():
    logits, targets = rows()
    _, norms, _ = torch.ops.dpo_kernel.token_log_probs(logits, targets, False, -100, [0.0, 0.0, 0.0], 1)
    call = lambda norms, coefficients: torch.ops.dpo_kernel.token_log_probs_backward(
        logits, targets, norms, coefficients, -100, [0.0, 0.0, 0.0], 1
    )
    assert call(norms, torch.ones(4, 5)).shape == logits.shape
    refused(ValueError, "norms has shape (4, 4, 5)", call, norms.transpose(1, 2), torch.ones(4, 5))
    refused(ValueError, "coefficients has shape (5, 4)", call, norms, torch.ones(5, 4))
    refused(
        ValueError,
        "bias has shape (3, 3)",
        kernel.head_token_log_probs,
        logits,
        torch.eye(9),
        targets,
        bias=torch.ones(3, 3),
    )


@pytest.mark.parametrize("name", ["scale", "softcap", "temperature"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1e-50])
def test_factors(name, value):
    logits, targets = rows()
    refused(ValueError, name, kernel.token_log_probs, logits, targets, **{name: value})


def test_targets_have_their_row():
    logits, targets = rows()
    for value in (9, -1, 2**40, -(2**40)):
        targets[2, 3] = value
        for threads in (1, 2):
            error = refused(
                KernelError, "TARGET_OUT_OF_RANGE", kernel.token_log_probs, logits, targets, threads=threads
            )
            assert error.numbers["row"] == 13 and error.numbers["target"] == value


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_that_are_not_finite_are_counted_over_all_threads(threads):
    # As many columns as are worth a thread.
    logits, targets = torch.randn(40, 20_000), torch.randint(0, 20_000, (40,))
    logits[3, 7], logits[31, 0], logits[38] = torch.nan, torch.inf, -torch.inf
    error = refused(NonFiniteError, "NON_FINITE_ROWS", kernel.token_log_probs, logits, targets, threads=threads)
    assert error.numbers == {"first": 3, "count": 3}
    assert isinstance(error, ArithmeticError) and isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, again.numbers, str(again)) == (error.status, error.numbers, str(error))


def test_gradients_that_are_not_finite():
    logits, targets = rows()
    found = kernel.token_log_probs(logits.requires_grad_(), targets).log_probs
    coefficients = torch.ones(4, 5)
    coefficients[1, 2] = torch.nan
    error = refused(KernelError, "INVALID_VALUE", found.backward, coefficients)
    assert error.numbers["index"] == 7


def test_losses():
    logits, targets = rows()
    reference = torch.zeros(4)
    call = lambda loss, **given: kernel.preference_loss(logits, targets, loss=loss, **given)
    refused(ValueError, "'nonsense'", Loss, "nonsense")
    refused(ValueError, "'betta'", Loss, "sigmoid", betta=0.1)
    refused(ValueError, "'kl'", Loss, "sigmoid", divergence="kl")
    refused(ValueError, "9 options", Loss, **dict.fromkeys("abcdefghi", 1.0))
    refused(ValueError, "terms", Mixture)
    refused(KernelError, "beta", call, Loss("sigmoid", beta=-1.0), reference=reference)
    refused(KernelError, "PARAMETER_UNUSED", call, Loss("sigmoid", target_margin=1.0), reference=reference)
    refused(KernelError, "options of a loss", call, Loss("sigmoid", softcap=1.0), reference=reference)
    refused(KernelError, "PARAMETER_MISSING", call, "rpo_sq", reference=reference)
    refused(KernelError, "REFERENCE_MISSING", call, "sigmoid")
    refused(KernelError, "INPUT_UNUSED", call, "simpo", reference=reference)
    refused(KernelError, "expected 2, found 3", call, ["sigmoid"] * 3, reference=reference)
    for divisor in (0.0, -1.0, float("nan")):
        refused(ValueError, "divisor", call, "sigmoid", reference=reference, divisor=divisor)
    answers = torch.tensor([[0, 1], [2, 0]])
    given = {"answers": answers, "reference": reference}
    refused(ValueError, "offsets", call, "apo_zero", offsets=torch.ones(2), **given)
    refused(ValueError, "Mixture", call, Mixture((1.0, "apo_zero")), **given)
    refused(ValueError, "1 losses for 2", call, ["apo_zero"], **given)
    refused(KernelError, "UNKNOWN_LABEL", call, "apo_zero", reference=reference, answers=torch.tensor([[0, 2]]))
    refused(ValueError, "nll.answers", call, "apo_zero", nll=Nll(1.0, 1.0), **given)
    refused(ValueError, "nll.per", call, "cpo", nll=Nll(1.0, 1.0, per="word"))
    refused(ValueError, "nll.term", call, "cpo", nll=Nll(1.0, 1.0, term="word"))


def test_indices_have_their_sign():
    logits, targets = rows()
    call = lambda **given: kernel.preference_loss(logits, targets, loss="cpo", **given)
    error = refused(KernelError, "SEQUENCE_OUT_OF_RANGE", call, pairs=torch.tensor([[0, 1], [2, -3]]))
    assert error.numbers == {"pair": 1, "sequence": -3, "sequences": 4}
    error = refused(KernelError, "SPAN_OUT_OF_RANGE", call, spans=torch.tensor([[0, 3], [-2, 9]]))
    assert error.numbers == {"sequence": 1, "start": -2, "end": 9, "rows": 20}
    call = lambda answer: kernel.preference_loss(
        logits, targets, loss="apo_zero", reference=torch.zeros(4), answers=torch.tensor([[0, 1], answer])
    )
    for sequence in (4, -1, 2**62, -(2**63)):
        error = refused(KernelError, "ANSWER_OUT_OF_RANGE", call, [sequence, 0])
        assert error.numbers == {"answer": 1, "sequence": sequence, "sequences": 4}
    for label in (2, -1, 2**31, -(2**31) - 1, 2**32 + 1):
        error = refused(KernelError, "UNKNOWN_LABEL", call, [2, label])
        assert error.value == label
    call = lambda **given: kernel.preference_loss(logits, targets, loss="cpo", **given)
    refused(KernelError, "SPANS_OVERLAP", call, spans=torch.tensor([[0, 3], [2, 9]]))
    refused(KernelError, "PAIR_OF_ONE_SEQUENCE", call, pairs=torch.tensor([[1, 1]]))


def test_sequences_without_a_token_and_pairs_without_a_number():
    logits, targets = rows()
    targets[2] = -100
    refused(KernelError, "NO_SCORED_TOKENS", kernel.preference_loss, logits, targets, loss="cpo")
    logits, targets = rows()
    reference = torch.tensor([0.0, torch.nan, 0.0, 0.0])
    error = refused(NonFiniteError, "NON_FINITE_PAIRS", kernel.preference_loss, logits, targets, reference=reference)
    assert error.numbers == {"first": 1, "count": 1}
    # A pair of weight 0 is as if it were not there.
    given = {"reference": reference, "weights": torch.tensor([1.0, 0.0])}
    assert kernel.preference_loss(logits, targets, **given).loss.isfinite()


LEARNT = {
    "reference": lambda one: {"reference": one.expand(4)},
    "weights": lambda one: {"weights": one.expand(2)},
    "offsets": lambda one: {"offsets": one.expand(2)},
    "token_weights": lambda one: {"token_weights": one.expand(4, 5)},
    "nll.weights": lambda one: {"nll": Nll(1.0, 1.0, weights=one.expand(2))},
    "nll.weight": lambda one: {"nll": Nll(one, 1.0)},
    "nll.divisor": lambda one: {"nll": Nll(1.0, one)},
    "divisor": lambda one: {"divisor": one},
    "beta": lambda one: {"loss": Loss("sigmoid", beta=one)},
    "a weight of a Mixture": lambda one: {"loss": Mixture((one, "sigmoid"))},
    "scale": lambda one: {"scale": 2 * one},
    "softcap": lambda one: {"softcap": one},
    "temperature": lambda one: {"temperature": 2 * one},
}


@pytest.mark.parametrize("name", LEARNT)
def test_what_has_no_gradient_is_not_learnt(name):
    """By logits and by log-probs; detached, or without gradients, it is a number as others are."""
    logits, targets = rows()
    one = torch.ones((), requires_grad=True)

    def calls(one):
        given = {"reference": torch.zeros(4)} | LEARNT[name](one)
        kernel.preference_loss(logits, targets, **given)
        if name not in ("scale", "softcap", "temperature"):
            kernel.log_probs_preference_loss(logits[..., 0], targets, **given)

    refused(ValueError, f"{name} requires grad", calls, one)
    calls(one.detach())
    with torch.no_grad():
        calls(one)


def test_the_operators_have_no_gradient_for_it_either():
    logits, targets = rows()
    batch = batch_of(targets, reference=torch.zeros(4))._replace(reference=torch.zeros(4, requires_grad=True))
    for call in (
        lambda: torch.ops.dpo_kernel.preference_step(logits, *batch, -100, [0.0, 0.0, 0.0], 1),
        lambda: torch.ops.dpo_kernel.preference_loss(logits[..., 0], *batch, -100),
    ):
        refused(RuntimeError, "requires grad", call)


TRAINED = torch.eye(9, requires_grad=True)
CALLS = {
    "token_log_probs": lambda x, targets: kernel.token_log_probs(x, targets).log_probs.sum(),
    "head_token_log_probs": lambda x, targets: kernel.head_token_log_probs(x, torch.eye(9), targets).log_probs.sum(),
    "trained head_token_log_probs": lambda x, targets: kernel.head_token_log_probs(x, TRAINED, targets).log_probs.sum(),
    "preference_loss": lambda x, targets: kernel.preference_loss(x, targets, loss="cpo").loss,
    "head_preference_loss": lambda x, targets: kernel.head_preference_loss(x, torch.eye(9), targets, loss="cpo").loss,
    # What is before the function has second derivatives of its own, which alone would be wrong.
    "log_probs_preference_loss": lambda x, targets: (
        kernel.log_probs_preference_loss(
            torch.log_softmax(x, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1), targets, loss="cpo"
        ).loss
    ),
    "preference_loss of log-probs": lambda x, targets: (
        kernel.log_probs_preference_loss(x[..., 0], targets, loss="cpo").loss
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_forward_mode_is_refused(name):
    """By dual numbers and by `torch.func.jvp`, for which PyTorch would give a tangent of 0."""
    logits, targets = rows()
    with forward_ad.dual_level():
        refused(NotImplementedError, "tangent", CALLS[name], forward_ad.make_dual(logits, logits), targets)
    function = lambda x: CALLS[name](x, targets)
    refused(NotImplementedError, "tangent", torch.func.jvp, function, (logits,), (logits,))


def test_forward_mode_of_the_others_is_refused():
    logits, targets = rows()
    refused(
        NotImplementedError,
        "weight has a tangent",
        torch.func.jvp,
        lambda weight: kernel.head_token_log_probs(logits, weight, targets).log_probs,
        (torch.eye(9),),
        (torch.eye(9),),
    )
    refused(
        NotImplementedError,
        "reference has a tangent",
        torch.func.jvp,
        lambda reference: kernel.preference_loss(logits, targets, reference=reference).loss,
        (torch.zeros(4),),
        (torch.ones(4),),
    )


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("factor", [lambda x: 1.0, lambda x: x.pow(2).mean()], ids=["constant", "of the logits"])
def test_second_derivatives_are_refused(name, factor):
    """Whether the gradient that arrives at the function depends on the logits or not."""
    logits, targets = rows()
    logits.requires_grad_()
    found = CALLS[name](logits, targets) * factor(logits)
    (grads,) = torch.autograd.grad(found, logits, create_graph=True)
    with pytest.raises(RuntimeError, match="autograd"):
        grads.pow(2).sum().backward()
