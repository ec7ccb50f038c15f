#!/bin/sh
# PyTorch 2.15.0: losses and gradients that torch.nn.functional.linear_cross_entropy gives of bf16 on a CPU.
#
# Sums are thought to be made in f32 and rounded once: a mean in bf16 is then off by 1/256 at most. The policy that is
# chosen on a CPU is called "accurate", its accumulation type is float32. The chunked form takes a few rows at a time
# and adds the loss of each chunk, and its gradient of the weights, to sums that are kept in bf16: from some size on,
# adding a chunk changes nothing.
#
# Seen (hidden states of ones, weights of zeros, all targets 0, H = 2, V = 1,024: every loss is ln 1,024 = 6.93, and the
# gradient of the target's weights is -1023/1024 a row; 4,096 rows):
#   options=None                          mean 6.97, gradient -1.00; sum 28,544, gradient -4,096
#   options=LinearCrossEntropyOptions()   mean 4.00, gradient -0.50; sum 16,384, gradient -2,048
#   the same, 16,384 rows                 mean 4.00, gradient -0.50; sum 65,536, gradient -8,192
#   the same in f32, 4,096 rows           mean 6.93, gradient -1.00; sum 28,391, gradient -4,092
# Where a chunk is more of the sum, less is lost: of 4,096 rows of V = 32,000 with H = 64 the mean is 10.19, where it is ln 32,000 = 10.37.
# Here log-probs are f32, tokens are summed in f64, and a gradient of the head in f32 over all rows, rounded once.
#
# Needs python3 and, for the first run, network and some GB; or PYTHON names an interpreter that has torch 2.15.0.
# Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet torch==2.15.0 numpy
    PYTHON=$folder/venv/bin/python
fi
cat > seen.py <<'PYTHON'
import torch
import torch.nn.functional as F

assert torch.__version__.split("+")[0] == "2.15.0", torch.__version__
options = torch.nn.LinearCrossEntropyOptions()


def show(name, rows, dtype, options):
    found = []
    for reduction in ("mean", "sum"):
        hidden = torch.ones(rows, 2, dtype=dtype, requires_grad=True)
        weight = torch.zeros(1024, 2, dtype=dtype, requires_grad=True)
        targets = torch.zeros(rows, dtype=torch.long)
        loss = F.linear_cross_entropy(hidden, weight, targets, reduction=reduction, options=options)
        loss.backward()
        found.append(f"{reduction} {loss.item():.2f}, gradient {weight.grad[0, 0].item():.2f}")
    print(f"{name}, {rows} rows: {'; '.join(found)}")


show("bf16, options=None", 4096, torch.bfloat16, None)
show("bf16, options", 4096, torch.bfloat16, options)
show("bf16, options", 16384, torch.bfloat16, options)
show("f32, options", 4096, torch.float32, options)
PYTHON
"$PYTHON" seen.py > out
cat out
cat > expected <<'OUT'
bf16, options=None, 4096 rows: mean 6.97, gradient -1.00; sum 28544.00, gradient -4096.00
bf16, options, 4096 rows: mean 4.00, gradient -0.50; sum 16384.00, gradient -2048.00
bf16, options, 16384 rows: mean 4.00, gradient -0.50; sum 65536.00, gradient -8192.00
f32, options, 4096 rows: mean 6.93, gradient -1.00; sum 28391.22, gradient -4092.00
OUT
cmp -s out expected || { echo "PyTorch no longer does what this says" >&2; exit 1; }
