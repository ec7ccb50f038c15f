#!/bin/sh
# paddlepaddle 3.3.1 on a CPU: log-probs of tokens that are more than 64 nats below the largest.
#
# A log-softmax is thought to go as far down as its logits do: taking the logarithm last is what it is for. Here the
# distance from the row's maximum is cut at -64 before the exponentials, in f32 and in f64, by log_softmax, softmax and
# cross_entropy alike. So a token 100 or 1,000 nats below has log p = -64 - ln(sum), a masked column of -inf has p =
# 1.6e-28 and not 0, and two answers of which one is far less likely are equally likely. The gradient is that of the uncut
# function: the loss does not move, its gradient says that it should. A sum of log-probs over an answer, as preference
# losses take it, is wrong by the rest of each such token.
#
# Seen (rows [0, -d]; d = 60, 64, 65, 100, 1000, inf):
#   log_softmax f32    -60 -64 -64 -64 -64 -64
#   log_softmax f64    -60 -64 -64 -64 -64 -64
#   cross_entropy f32   60  64  64  64  64  64
#   softmax f32        8.76e-27 1.60e-28 1.60e-28 1.60e-28 1.60e-28 1.60e-28
#   d log p / d logits at d = 100: [-1, 1]
# Here log p of a target 1,000 below is -1,000, and p of a masked column is 0.
#
# Needs python3 and, for the first run, network; or PYTHON names an interpreter that has paddlepaddle 3.3.1. Leaves
# nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet paddlepaddle==3.3.1 numpy==2.4.6
    PYTHON=$folder/venv/bin/python
fi
cat > seen.py <<'PYTHON'
import math

import paddle
from paddle.nn import functional

assert paddle.__version__ == "3.3.1", paddle.__version__
paddle.device.set_device("cpu")
DISTANCES = (60.0, 64.0, 65.0, 100.0, 1000.0, math.inf)


def row(distance, dtype):
    return paddle.to_tensor([[0.0, -distance]], dtype=dtype, stop_gradient=False)


for dtype in ("float32", "float64"):
    found = [float(functional.log_softmax(row(d, dtype))[0, 1]) for d in DISTANCES]
    print(f"log_softmax {dtype}:", " ".join(f"{x:.0f}" for x in found))
target = paddle.to_tensor([1])
found = [float(functional.cross_entropy(row(d, "float32"), target)) for d in DISTANCES]
print("cross_entropy:", " ".join(f"{x:.0f}" for x in found))
found = [float(functional.softmax(row(d, "float32"))[0, 1]) for d in DISTANCES]
print("softmax:", " ".join(f"{x:.2e}" for x in found))
x = row(100.0, "float32")
functional.log_softmax(x)[0, 1].backward()
print("gradient:", " ".join(f"{float(d):.0f}" for d in x.grad[0]))
PYTHON
"$PYTHON" seen.py 2>/dev/null > out
cat out
cat > expected <<'OUT'
log_softmax float32: -60 -64 -64 -64 -64 -64
log_softmax float64: -60 -64 -64 -64 -64 -64
cross_entropy: 60 64 64 64 64 64
softmax: 8.76e-27 1.60e-28 1.60e-28 1.60e-28 1.60e-28 1.60e-28
gradient: -1 1
OUT
cmp -s out expected || { echo "paddlepaddle no longer does what this says" >&2; exit 1; }
