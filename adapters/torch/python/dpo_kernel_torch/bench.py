"""A preference step by three ways, on one thread, in turns: `python -m dpo_kernel_torch.bench`.

1. `trl`: TRL's `selective_log_softmax` and its sigmoid loss, in PyTorch's operations.
2. `bare`: `dpo_preference_step` called through cffi, its structs made once. The gradients go to memory that each call
   gets as the operator does; `kept`: to memory that is there already; `torch.empty`: to what PyTorch's allocator gives.
3. `operator`: `dpo_kernel_torch.preference_loss` and autograd.
4. `bare + nothing`: the bare call, and an operator that does nothing with its backward: what PyTorch's own part of any
   operator costs where a call has emptied the caches.

Losses and gradients are compared first. Times are the thread's CPU time, the median of all rounds, as the best would
be those in which memory happened to be there. What the operator takes of `bare` is printed beside the bar, 1.05. Fails
if a result is wrong, whatever the times are: they are those of the machine and of what else it does.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import torch
import torch.nn.functional as F

from . import Loss, __version__, preference_loss
from .memory import empty
from .native import FASTEST, ffi, lib, new_error, pointer, struct
from .tensors import TYPES

BAR = 1.05
BETA = 0.1


def by_torch(selective_log_softmax, logits, targets, reference):
    """TRL's `_compute_loss` for `sigmoid`, from logits."""
    log_probs = selective_log_softmax(logits, targets).sum(1)
    chosen, rejected = (log_probs.float() - reference).chunk(2)
    loss = -F.logsigmoid(BETA * (chosen - rejected)).mean()
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def by_operator(logits, targets, reference):
    loss = preference_loss(logits, targets, reference=reference, loss=Loss("sigmoid", beta=BETA)).loss
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


@torch.library.custom_op("dpo_kernel_bench::nothing", mutates_args=(), schema="(Tensor logits) -> Tensor")
def nothing(logits):
    return torch.zeros((), dtype=logits.dtype)


def nothing_setup(ctx, inputs, output):
    ctx.shape = inputs[0].shape


nothing.register_autograd(lambda ctx, grad: grad.expand(ctx.shape), setup_context=nothing_setup)


class Bare:
    """`dpo_preference_step` as a C host calls it."""

    def __init__(self, logits, targets, reference, new):
        sequences, length, vocab = logits.shape
        rows, pairs = sequences * length, sequences // 2
        self.like, self.new = logits.detach(), new
        self.kept = torch.empty_like(self.like) if new is None else None
        self.targets = targets.to(torch.int32)
        spans = ffi.new("dpo_span[]", [(i * length, (i + 1) * length) for i in range(sequences)])
        self.reference = reference.double()
        losses = ffi.new("dpo_loss *")
        losses.options[0].parameter, losses.options[0].value = lib.DPO_PARAMETER_BETA, BETA
        of = ffi.new("dpo_pair[]", [(i, i + pairs) for i in range(pairs)])
        shape = {"len": rows * vocab, "rows": rows, "vocab": vocab, "type": TYPES[logits.dtype]}
        self.out = struct("dpo_logits_mut", **shape)
        layout = struct(
            "dpo_layout",
            targets=pointer(self.targets, torch.int32),
            rows=rows,
            spans=spans,
            count=sequences,
            vocab=vocab,
        )
        view = struct("dpo_logits", data=pointer(self.like, logits.dtype), **shape)
        self.memory = (
            spans,
            losses,
            of,
            layout,
            view,
            ffi.new("float[]", rows),
            ffi.new("dpo_row_norm[]", rows),
            ffi.new("dpo_sequence_log_prob[]", sequences),
            ffi.new("double[]", sequences),
            ffi.new("double[]", rows),
        )
        log_probs, norms, policy, d_log_probs, coefficients = self.memory[5:]
        self.step = struct(
            "dpo_step",
            layout=layout,
            logits=view,
            grads=self.out,
            log_probs=log_probs,
            norms=norms,
            sequences=policy,
            d_log_probs=d_log_probs,
            coefficients=coefficients,
            unscored=lib.DPO_UNSCORED_ZERO,
        )
        self.objective = struct("dpo_objective", losses=losses, count=1)
        self.pairs = struct(
            "dpo_pairs",
            pairs=of,
            count=pairs,
            reference_sums=pointer(self.reference, torch.float64),
            divisor=float(pairs),
        )
        self.losses, self.summary, self.error = ffi.new("dpo_pair_loss[]", pairs), ffi.new("dpo_summary *"), new_error()

    def __call__(self):
        # The memory of the step before is free by now, as it is in a training loop.
        grads = self.kept if self.new is None else self.new(self.like.shape, self.like.dtype)
        self.out.data = pointer(grads, self.like.dtype)
        status = lib.dpo_preference_step(
            FASTEST, self.objective, self.pairs, self.step, self.losses, self.summary, self.error
        )
        if status:
            raise SystemExit(f"dpo_preference_step: status {status}")
        return torch.tensor(self.summary.loss_sum / self.summary.pairs), grads


def median_of(ways, rounds):
    """The CPU time of each way, in seconds; the order changes with each round."""
    times = {name: [] for name in ways}
    names = list(ways)
    for _ in range(rounds):
        for name in names:
            start = time.thread_time_ns()
            found = ways[name]()
            times[name].append((time.thread_time_ns() - start) / 1e9)
            del found
        names = names[1:] + names[:1]
    return {name: statistics.median(found) for name, found in times.items()}


def differs(name, found, exact, tolerance):
    """Loss and gradients against f64; what is far off is not timed."""
    loss = abs(float(found[0]) - float(exact[0]))
    scale = exact[1].abs().max()
    grads = float((found[1].double() - exact[1]).abs().max() / scale)
    print(f"  {name}: loss off by {loss:.1e}, gradients by {grads:.1e} of the largest")
    if not (loss <= tolerance and grads <= tolerance):
        raise SystemExit(f"{name} does other work: more than {tolerance} off")


def measure(dtype, rows, vocab, rounds):
    from trl.trainer.utils import selective_log_softmax

    torch.manual_seed(1)
    logits = (3 * torch.randn(4, rows // 4, vocab)).to(dtype).requires_grad_()
    targets = torch.randint(0, vocab, (4, rows // 4))
    wide = logits.detach().double().requires_grad_()
    log_probs = torch.log_softmax(wide, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1).sum(1)
    # Near the policy, so that no pair is saturated.
    reference = (log_probs.detach() + torch.randn(4)).float()
    chosen, rejected = (log_probs - reference).chunk(2)
    loss = -F.logsigmoid(BETA * (chosen - rejected)).mean()
    exact = loss.detach(), torch.autograd.grad(loss, wide)[0]
    ways = {
        "trl": lambda: by_torch(selective_log_softmax, logits, targets, reference),
        "bare": Bare(logits, targets, reference, empty),
        "bare, kept": Bare(logits, targets, reference, None),
        "bare, torch.empty": Bare(logits, targets, reference, lambda shape, dtype: torch.empty(shape, dtype=dtype)),
        "operator": lambda: by_operator(logits, targets, reference),
    }
    bare = ways["bare"]
    ways["bare + nothing"] = lambda: (bare(), torch.autograd.grad(nothing(logits), logits))[0]
    print(f"{dtype}, {rows} rows, V = {vocab}:")
    for name, way in ways.items():
        # PyTorch rounds log-probs to bf16, whose step at -20 is 0.125, and sums some hundred of them.
        loose = name == "trl" and dtype != torch.float32
        differs(name, way(), exact, 2.0 if loose else 1e-4 if dtype == torch.float32 else 1e-2)
    del exact, wide, log_probs
    times = median_of(ways, rounds)
    for name, seconds in times.items():
        print(
            f"  {name}: {1e3 * seconds:.2f} ms, {1e9 * seconds / (rows * vocab):.3f} ns per logit, "
            f"trl takes {times['trl'] / seconds:.1f} x, {seconds / times['bare']:.3f} of bare"
        )
    return times["operator"] / times["bare"]


def main():
    parser = argparse.ArgumentParser(prog="python -m dpo_kernel_torch.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=512, help="a multiple of 4")
    parser.add_argument("--vocab", type=int, default=32_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    import trl

    print(f"dpo-kernel {__version__}, PyTorch {torch.__version__}, TRL {trl.__version__}", end=", ")
    print(torch.backends.cpu.get_cpu_capability())
    worst = 0.0
    for name in options.dtype or ["float32", "bfloat16"]:
        worst = max(worst, measure(getattr(torch, name), options.rows, options.vocab, options.rounds))
    reached = "reached" if worst <= BAR else "missed"
    print(f"the operator takes at most {worst:.3f} of the bare call; the bar, {BAR}, is {reached}")


if __name__ == "__main__":
    main()
