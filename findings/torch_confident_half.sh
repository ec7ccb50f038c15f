#!/bin/sh
# PyTorch 2.15.0: log_softmax and cross_entropy of a confident token, in bf16 and f16 on a CPU.
#
# Sums are thought to be made in f32 and log-probs rounded once, so that a log-prob of -0.00197 is one of bf16, off by
# 1/256 of itself at most: near 0 bf16 has as many digits as anywhere. The sum of a row's exponentials is rounded to the
# format of the logits before its logarithm is taken. In bf16 it is a multiple of 1/128 between 1 and 2, so that every
# log-prob above -0.0039 is 0, and the next one -0.0078; the gradient is made from it.
#
# Seen (17 logits of 0 but the target's, which leads by 8 and by 9; p is 0.9947 and 0.9980):
#            by 8: log p      gradient at the target      by 9: log p      gradient at the target
#   f32      -0.00535         -0.00534                    -0.00197         -0.00197
#   bf16     -0.00778         -0.00775                     0                0
#   f16      -0.00487         -0.00486                    -0.00195         -0.00195
# At 9 the other 16 columns are pushed down as they should be, by 0.000123 each, and nothing pushes the target up: the
# row's gradient sums to 0.002. Here the sum is f32 and f64, and the target is kept apart from it.
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
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    for lead in (8, 9):
        logits = torch.zeros(1, 17, dtype=dtype)
        logits[0, 3] = lead
        logits.requires_grad_()
        log_p = F.log_softmax(logits, dim=-1)[0, 3].item()
        F.cross_entropy(logits, torch.tensor([3])).backward()
        target, other = logits.grad[0, 3].item(), logits.grad[0, 0].item()
        print(f"{dtype}, lead {lead}: log p {log_p:.5f}, gradient {target:.5f}, of another {other:.6f}")
PYTHON
"$PYTHON" seen.py > out
cat out
cat > expected <<'OUT'
torch.float32, lead 8: log p -0.00535, gradient -0.00534, of another 0.000334
torch.float32, lead 9: log p -0.00197, gradient -0.00197, of another 0.000123
torch.bfloat16, lead 8: log p -0.00778, gradient -0.00775, of another 0.000336
torch.bfloat16, lead 9: log p 0.00000, gradient 0.00000, of another 0.000123
torch.float16, lead 8: log p -0.00487, gradient -0.00486, of another 0.000333
torch.float16, lead 9: log p -0.00195, gradient -0.00195, of another 0.000123
OUT
cmp -s out expected || { echo "PyTorch no longer does what this says" >&2; exit 1; }
