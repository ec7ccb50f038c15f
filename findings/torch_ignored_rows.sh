#!/bin/sh
# PyTorch 2.15.0: what torch.nn.functional.linear_cross_entropy gives of a batch whose tokens are all ignored.
#
# Its page calls it equivalent to cross_entropy(linear(input, weight), target). Of a batch of which every target is
# ignore_index, the mean of cross_entropy is NaN (0/0) and its gradients are 0: a micro-batch of nothing but prompts and
# padding spoils the number that is printed, and no weight. One thinks so of the chunked form too, which computes the
# gradients in its forward.
#
# Seen (CPU, f32; cross_entropy and `options=None` agree):
#   options=None                             loss nan, gradients of input, weight and bias all 0
#   options=LinearCrossEntropyOptions()      loss nan, gradients all nan
#   the same with reduction="sum"            loss 0, gradients all 0
# One such micro-batch makes every weight NaN. Here a row that is not scored is never read, and its gradient is 0.
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


def show(name, loss_of):
    tensors = [t.requires_grad_() for t in (torch.ones(2, 3), torch.ones(5, 3), torch.zeros(5))]
    loss = loss_of(*tensors)
    loss.backward()
    grads = {value for tensor in tensors for value in map(str, tensor.grad.flatten().tolist())}
    print(f"{name}: loss {loss.item()}, gradients {sorted(grads)}")


ignored = torch.full((2,), -100)
options = torch.nn.LinearCrossEntropyOptions()


def fused(**how):
    return lambda x, w, b: F.linear_cross_entropy(x, w, ignored, linear_bias=b, **how)


show("cross_entropy", lambda x, w, b: F.cross_entropy(F.linear(x, w, b), ignored))
show("options=None", fused())
show("options", fused(options=options))
show("options, sum", fused(options=options, reduction="sum"))
PYTHON
"$PYTHON" seen.py > out
cat out
cat > expected <<'OUT'
cross_entropy: loss nan, gradients ['0.0']
options=None: loss nan, gradients ['0.0']
options: loss nan, gradients ['nan']
options, sum: loss 0.0, gradients ['0.0']
OUT
cmp -s out expected || { echo "PyTorch no longer does what this says" >&2; exit 1; }
