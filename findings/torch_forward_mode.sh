#!/bin/sh
# PyTorch 2.15.0: forward-mode derivatives through an operator of torch.library.custom_op.
#
# An operator whose backward was registered (register_autograd) and that knows nothing of forward mode is thought to be
# refused there, as an autograd.Function without a jvp is: NotImplementedError says what is missing. The operator is not
# refused. It gives a tangent of zeros, or none, and no word: whoever takes a directional derivative of a loss this way
# (torch.func.jvp, hessian-vector products by forward over reverse) has 0 for it. torch.func.grad of the same operator,
# in reverse, raises a RuntimeError.
#
# Seen (an operator that doubles, and a Function that does; at ones, along ones: the derivative is 2):
#   backward()                     2, 2, 2
#   operator, torch.func.jvp       0, 0, 0
#   operator, dual numbers         no tangent
#   Function, dual numbers         NotImplementedError
# Here adapters/torch refuses forward mode with a NotImplementedError.
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
import torch.autograd.forward_ad as forward

assert torch.__version__.split("+")[0] == "2.15.0", torch.__version__


@torch.library.custom_op("seen::double", mutates_args=())
def operator(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


operator.register_fake(torch.empty_like)
operator.register_autograd(lambda _, grad: 2 * grad)


class Function(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return 2 * x

    @staticmethod
    def backward(_, grad):
        return 2 * grad


def dual(of):
    try:
        with forward.dual_level():
            return forward.unpack_dual(of(forward.make_dual(torch.ones(3), torch.ones(3)))).tangent
    except NotImplementedError:
        return "NotImplementedError"


x = torch.ones(3, requires_grad=True)
operator(x).sum().backward()
print("backward:", x.grad.tolist())
print("operator, jvp:", torch.func.jvp(operator, (torch.ones(3),), (torch.ones(3),))[1].tolist())
print("operator, dual numbers:", dual(operator))
print("Function, dual numbers:", dual(Function.apply))
PYTHON
"$PYTHON" seen.py > out 2>err || { tail -n 20 err; exit 1; }
cat out
cat > expected <<'OUT'
backward: [2.0, 2.0, 2.0]
operator, jvp: [0.0, 0.0, 0.0]
operator, dual numbers: None
Function, dual numbers: NotImplementedError
OUT
cmp out expected
