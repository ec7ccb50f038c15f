"""PyTorch with TRL's `selective_log_softmax`, as a peer of the driver in src/main.rs.

    python3 -m venv peers && peers/bin/pip install torch trl

The driver starts it with a folder, a shape and a type, and asks for one turn at a time: `forward` and `step`
(forward and backward) answer in nanoseconds and leave their results in the folder. One thread.
"""

import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np  # noqa: E402
import torch  # noqa: E402
import trl  # noqa: E402
from trl.trainer.utils import selective_log_softmax  # noqa: E402

torch.set_num_threads(1)
torch.set_num_interop_threads(1)

folder, rows, vocab = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dtype = getattr(torch, sys.argv[4])


def read(name, kind):
    return torch.from_numpy(np.fromfile(os.path.join(folder, name), dtype=kind))


# As a trainer has it: a chosen and a rejected sequence.
logits = read("logits", np.float32).to(dtype).view(2, rows // 2, vocab)
targets = read("targets", np.int32).long().view(2, rows // 2)
coefficients = read("coefficients", np.float32).to(dtype).view(2, rows // 2)
tracked = logits.clone().requires_grad_()


def forward():
    with torch.no_grad():
        return selective_log_softmax(logits, targets)


def step():
    tracked.grad = None
    selective_log_softmax(tracked, targets).backward(coefficients)
    return tracked.grad


for line in sys.stdin:
    what = line.strip()
    if what == "name":
        names = f"PyTorch {torch.__version__.split('+')[0]}, TRL {trl.__version__}"
        print(f"{names}, {torch.backends.cpu.get_cpu_capability()}", flush=True)
    elif what == "end":
        break
    else:
        start = time.perf_counter_ns()
        found = {"forward": forward, "step": step}[what]()
        elapsed = time.perf_counter_ns() - start
        found.detach().float().numpy().tofile(os.path.join(folder, what))
        print(elapsed, flush=True)
