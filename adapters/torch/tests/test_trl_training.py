"""TRL's `DPOTrainer` on a small Llama, with and without the operators."""

import warnings

import models
import pytest
import torch
from dpo_kernel_torch import trl as kernel
from trl.trainer import utils

LOSSES = [
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]
# What a step logs that the operators have a part in.
FIGURES = (
    "loss grad_norm entropy logits/chosen logits/rejected mean_token_accuracy rewards/chosen rewards/rejected "
    "rewards/margins logps/chosen logps/rejected"
).split()


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run(folder, patched, dtype=torch.float32, frozen=False, tied=False, **options):
    """Figures of every step, and the weights at the end."""
    model = models.llama(dtype, tied=tied)
    model.lm_head.weight.requires_grad_(not frozen)
    trainer = models.trainer(model, folder, **options)
    if patched:
        with kernel.patch():
            trainer.train()
    else:
        trainer.train()
    return {name: models.figures(trainer, name) for name in FIGURES}, dict(model.named_parameters())


def same(found, expected, steps):
    """Measured over all runs here, of 1 + |figure|: 2.9e-6 at most for norms of gradients, 8e-7 for all else. The bound
    leaves room for machines whose products round otherwise."""
    for name in FIGURES:
        assert len(found[name]) == len(expected[name]) == steps
        for one, other in zip(found[name], expected[name]):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("head", ["trained", "tied", "frozen"])
def test_twenty_steps(tmp_path, head):
    """Losses to 1e-5 relative, and every figure that is logged."""
    given = {"frozen": head == "frozen", "tied": head == "tied"}
    found, weights = run(tmp_path, True, **given)
    expected, others = run(tmp_path, False, **given)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    same(found, expected, 20)
    # They learnt: the reference is the model before.
    assert abs(expected["rewards/margins"][-1]) > 1e-3
    for name, one in weights.items():
        # AdamW divides a gradient by its own size: where it is near 0 a rounding error is a step.
        off = (one - others[name]).abs()
        # Measured: 1.7e-8 on the mean; and ten times that. No weight goes further than the rate of every step.
        assert off.mean() <= 2e-7 and off.max() <= 1e-3 * 20, name


@pytest.mark.parametrize("loss_type", LOSSES)
def test_three_steps_of_every_loss(tmp_path, loss_type):
    options = {"steps": 3, "loss_type": [loss_type], "label_smoothing": 0.1}
    same(run(tmp_path, True, **options)[0], run(tmp_path, False, **options)[0], 3)


@pytest.mark.parametrize(
    "options",
    [
        {"use_weighting": True},
        {"ld_alpha": 0.5},
        {"f_divergence_type": "js_divergence"},
        {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
        {"precompute_ref_log_probs": True},
        {"gradient_accumulation_steps": 2},
        {"gradient_checkpointing": True},
        {"padding_free": False, "pad_to_multiple_of": 16},
    ],
    ids=str,
)
def test_three_steps_of_every_option(tmp_path, options):
    same(run(tmp_path, True, steps=3, **options)[0], run(tmp_path, False, steps=3, **options)[0], 3)


def test_three_steps_of_an_adapter(tmp_path):
    """LoRA over a frozen head; the reference is the model without it."""
    peft = pytest.importorskip("peft")

    def steps(folder, patched):
        config = peft.LoraConfig(
            r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights="gaussian"
        )
        trainer = models.trainer(models.llama(), folder, steps=5, peft_config=config)
        if patched:
            with kernel.patch():
                trainer.train()
        else:
            trainer.train()
        return {name: models.figures(trainer, name) for name in FIGURES}

    same(steps(tmp_path, True), steps(tmp_path, False), 5)


def test_bf16_is_nearer_to_float64(tmp_path):
    """Twenty steps in bf16; before each, the loss of the same weights and pairs in float64, by TRL alone, and by the
    operators; and by both with the float64 head on the same hidden states, which are of bf16 for all three."""
    model = models.llama(torch.bfloat16)
    model.lm_head.weight.requires_grad_(False)
    trainer = models.trainer(model, tmp_path, learning_rate=1e-2)
    wide = models.llama(torch.float64)
    exact = models.trainer(wide, tmp_path / "exact", reference=models.llama(torch.float64))
    exact.ref_model.load_state_dict(trainer.ref_model.state_dict())
    compute, found = trainer._compute_loss, []

    def observed(model, inputs, return_outputs):
        exact.model.load_state_dict(model.state_dict())
        with torch.no_grad():
            whole = exact._compute_loss(exact.model, inputs, False).item()
            own = compute(model, inputs, False).item()
            with kernel.patch():
                ours = compute(model, inputs, False).item()
            with wide_head():
                head = compute(model, inputs, False).item()
        found.append((whole, head, own, ours))
        with kernel.patch():
            return compute(model, inputs, return_outputs)

    trainer._compute_loss = observed
    trainer.train()
    whole, head, own, ours = torch.tensor(found, dtype=torch.float64).T
    assert len(found) == 20 and len(set(head.tolist())) > 10
    print("against float64:", (own - whole).abs().mean().item(), (ours - whole).abs().mean().item())
    print("against a float64 head:", (own - head).abs().mean().item(), (ours - head).abs().mean().item())
    # The head and the loss alone: each step, and by two decimal orders on the whole. Against float64 altogether both
    # are off by the backbone's own rounding, which is larger and says nothing of them.
    assert ((ours - head).abs() <= (own - head).abs() + 1e-6).all()
    assert (ours - head).abs().mean() < 0.01 * (own - head).abs().mean()


class wide_head:
    """TRL's own head and loss in float64, on the hidden states as they are."""

    def __enter__(self):
        self.before = utils._ChunkedLogProbFunction
        before = self.before

        class Wide:
            @staticmethod
            def apply(hidden, weight, bias, *others):
                return before.apply(hidden.double(), weight.double(), bias, *others)

        utils._ChunkedLogProbFunction = Wide

    def __exit__(self, *_exception):
        utils._ChunkedLogProbFunction = self.before


def test_patches_are_undone():
    before = utils._ChunkedLogProbFunction, utils._use_triton
    patch = kernel.patch()
    assert utils._ChunkedLogProbFunction is not before[0] and utils._use_triton(torch.device("cpu"))
    with kernel.patch():
        assert utils._use_triton(torch.device("cpu"))
    patch.undo()
    patch.undo()
    assert (utils._ChunkedLogProbFunction, utils._use_triton) == before
    with pytest.raises(ZeroDivisionError), kernel.patch():
        raise ZeroDivisionError
    assert (utils._ChunkedLogProbFunction, utils._use_triton) == before


def test_a_patch_under_another_is_not_undone():
    """It would put TRL's function back, and the later one its own for good."""
    before = utils._ChunkedLogProbFunction, utils._use_triton
    first, second = kernel.patch(), kernel.patch()
    installed = utils._ChunkedLogProbFunction, utils._use_triton
    with pytest.raises(RuntimeError, match="later"):
        first.undo()
    assert (utils._ChunkedLogProbFunction, utils._use_triton) == installed
    second.undo()
    first.undo()
    assert (utils._ChunkedLogProbFunction, utils._use_triton) == before


def head_of(hidden, weight, targets, **given):
    """As TRL calls it."""
    defaults = {"final_logit_softcapping": None, "logit_scale": 1.0, "outputs": ("log_probs", "entropy")}
    return utils._ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 8192, *(defaults | given).values())


def test_what_is_not_here_is_said():
    hidden, weight, targets = torch.randn(4, 8, requires_grad=True), torch.randn(9, 8), torch.randint(0, 9, (4,))
    with kernel.patch():
        with pytest.raises(TypeError, match="float64"):
            head_of(hidden.double(), weight.double(), targets)
        log_probs, entropy, *_ = head_of(hidden, weight, targets)
        assert entropy.requires_grad
        log_probs.sum().backward(retain_graph=True)
        with pytest.raises(kernel.EntropyGradientError, match="detach"):
            (log_probs.sum() + entropy.sum()).backward()
        with pytest.raises(ValueError, match="scale"):
            head_of(hidden, weight, targets, logit_scale=0.0)


def test_another_device_is_trls():
    seen = []

    class Original:
        @staticmethod
        def apply(*given):
            seen.append(given)
            return "TRL's"

    function = kernel._function(Original, 0)
    elsewhere = torch.randn(4, 8, device="meta")
    assert function.apply(elsewhere, elsewhere, None, None, 1.0, 8192, None, 1.0, ("log_probs",)) == "TRL's"
    assert len(seen) == 1 and seen[0][0] is elsewhere


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(kernel, "version", lambda name: "1.17.0")
    with pytest.raises(ImportError, match=r"1\.17\.0"):
        kernel.patch()


def test_twenty_steps_see_a_fault(tmp_path, monkeypatch):
    """A temperature of 1.001: what the comparison must find."""
    original = kernel.head_token_log_probs
    monkeypatch.setattr(
        kernel, "head_token_log_probs", lambda *args, **given: original(*args, **(given | {"temperature": 1.001}))
    )
    found = run(tmp_path, True, steps=3, frozen=True)[0]
    expected = run(tmp_path, False, steps=3, frozen=True)[0]
    with pytest.raises(AssertionError):
        same(found, expected, 3)
