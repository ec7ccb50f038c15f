"""Losses over a head without logits, as peers of the driver in src/head/main.rs: one peer a process.

    python3 -m venv peers
    peers/bin/pip install torch==2.15.0 trl==1.16.0 && peers/bin/pip install --no-deps liger-kernel==0.8.5

The driver starts it with a folder, a shape, a type and a peer's name, and asks for one turn at a time: `frozen` and
`trained` (forward and backward, the head's weights without and with a gradient) and `products` (two bare products)
answer in nanoseconds that the thread computed; results lie in the folder then. `memory frozen` and `memory trained`
answer with the bytes by which the resident size rose at most, the gradients' among them. One thread.
"""

import ctypes
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(1)
torch.set_num_interop_threads(1)

folder, rows, size, vocab = sys.argv[1], *(int(n) for n in sys.argv[2:5])
dtype, peer = getattr(torch, sys.argv[5]), sys.argv[6]
BETA = 0.01


def read(name, kind):
    return torch.from_numpy(np.fromfile(os.path.join(folder, name), dtype=kind))


def pair_loss(log_probs):
    """Of the log-probs of a chosen and a rejected answer, one after the other."""
    log_probs = log_probs.float()
    return -F.logsigmoid(BETA * (log_probs[: rows // 2].sum() - log_probs[rows // 2 :].sum()))


def trl_step(hidden, weight, targets):
    # As TRL's DPO trainer calls it, and none of the statistics that cost more.
    found = ChunkedLogProbFunction.apply(hidden, weight, None, targets, 1.0, 32768, None, 1.0, ())
    return pair_loss(found[0])


def torch_step(options):
    def loss_of(hidden, weight, targets, reduction):
        return F.linear_cross_entropy(hidden, weight, targets, reduction=reduction, options=options)

    def step(hidden, weight, targets):
        if dtype != torch.float32:
            # Its sums in bf16 are wrong by percents: findings/torch_bf16_loss.sh.
            return pair_loss(-loss_of(hidden, weight, targets, "none"))
        # The sum of each answer: gradients are made in the forward, and no logit twice.
        half = len(targets) // 2
        chosen = loss_of(hidden[:half], weight, targets[:half], "sum")
        rejected = loss_of(hidden[half:], weight, targets[half:], "sum")
        return -F.logsigmoid(BETA * (rejected - chosen))

    return step


def liger_step(hidden, weight, targets):
    half = len(targets) // 2
    return liger(weight, hidden.view(2, half, -1), targets.view(2, half))[0]


version = f"PyTorch {torch.__version__.split('+')[0]}"
if peer == "trl":
    import trl
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction

    name, step = f"TRL {trl.__version__}, chunked_logprob", trl_step
elif peer == "torch":
    name, step = f"{version}, linear_cross_entropy", torch_step(torch.nn.LinearCrossEntropyOptions())
elif peer == "torch128":
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=128)
    name, step = f"{version}, the same by 128 rows", torch_step(options)
elif peer == "logits":
    name, step = f"{version}, all logits", torch_step(None)
elif peer == "liger":
    from importlib.metadata import version as version_of

    from liger_kernel.chunked_loss import LigerFusedLinearDPOLoss

    # Compiled, as by default.
    liger = LigerFusedLinearDPOLoss(beta=BETA, use_ref_model=False)
    name, step = f"Liger {version_of('liger-kernel')}, fused DPO", liger_step
else:
    sys.exit(f"{peer}: no such peer")


def run(hidden, weight, targets, is_trained):
    hidden.grad = weight.grad = None
    weight.requires_grad_(is_trained)
    start = time.thread_time_ns()
    loss = step(hidden, weight, targets)
    loss.backward()
    return time.thread_time_ns() - start, loss


def write(what, tensor):
    tensor.detach().float().numpy().tofile(os.path.join(folder, f"{peer}-{what}"))


def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


hidden = read("states", np.float32).to(dtype).view(rows, size).requires_grad_()
weight = read("weights", np.float32).to(dtype).view(vocab, size)
targets = read("targets", np.int32).long()
# Rows of the weights' gradient that are compared.
some = torch.cat([torch.tensor([0, vocab - 1]), targets[[0, -1]]])

for line in sys.stdin:
    what = line.strip()
    if what == "name":
        print(f"{name}, {torch.backends.cpu.get_cpu_capability()}", flush=True)
    elif what == "end":
        break
    elif what == "products":
        with torch.no_grad():
            start = time.thread_time_ns()
            back = torch.zeros(rows, size, dtype=dtype)
            for first in range(0, vocab, 4096):
                part = weight[first : first + 4096]
                back.addmm_(torch.mm(hidden, part.t()), part)
            elapsed = time.thread_time_ns() - start
        print(elapsed, flush=True)
    elif what.startswith("memory "):
        # Once before: libraries load, and compile, what they need.
        run(hidden, weight, targets, what.endswith("trained"))
        hidden.grad = weight.grad = None
        # What is free goes back to the system, and counts again when it is taken.
        ctypes.CDLL(None).malloc_trim(0)
        before = status("VmRSS")
        # The peak begins anew.
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
        run(hidden, weight, targets, what.endswith("trained"))
        print(status("VmHWM") - before, flush=True)
        hidden.grad = weight.grad = None
    else:
        elapsed, loss = run(hidden, weight, targets, what == "trained")
        write("loss", loss.view(1))
        write("hidden", hidden.grad)
        if what == "trained":
            write("weights", weight.grad[some])
        print(elapsed, flush=True)
