#!/bin/sh
# OpenVINO 2026.4.1 on an x86-64 CPU, f32: Softplus, Exp and LogSoftmax, with the precision hint at f32.
#
# Softplus, the loss of a pair by its margin, is thought to be above 0 and to keep f32's digits where it is small, and
# functions of NaN to be NaN, so that a broken row is seen. Neither holds in operators that the plugin compiles itself:
#   1. Softplus has absolute digits, of some 2^-19: 27 % too large at -13, 0 at -15 and -17, and below 0 at -18 and -20. A
#      loss that is negative is taken for a mistake of the data, and its mean ends at 0 early. Sigmoid, its derivative,
#      keeps relative digits to 1e-35.
#   2. Exp of NaN is infinity. LogSoftmax of [1, NaN, 2, 3] is [-inf, NaN, -inf, -inf], Softmax [0, NaN, 0, 0]: a row with a
#      NaN that is not the target's says that its target is impossible, as a mask does.
#
# Seen:
#   x         -10          -13          -15          -17          -18           -20
#   Softplus  4.482e-05    2.861e-06    0            0            -1.907e-06    -1.907e-06
#   right     4.540e-05    2.260e-06    3.059e-07    4.140e-08    1.523e-08     2.061e-09
# Here log-sigmoid keeps relative digits, and a row that holds NaN is NaN as a whole and named.
#
# Needs python3 and, for the first run, network; or PYTHON names an interpreter that has openvino 2026.4.1. Leaves nothing
# behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet openvino==2026.4.1 numpy==2.4.6
    PYTHON=$folder/venv/bin/python
fi
cat > seen.py <<'PYTHON'
import numpy as np
import openvino
from openvino import opset13 as operators

assert openvino.__version__.startswith("2026.4.1"), openvino.__version__
core = openvino.Core()


def run(operator, row):
    x = operators.parameter([1, -1], np.float32)
    model = openvino.Model([operator(x)], [x])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([np.array([row], np.float32)])[0][0]


x = (-10.0, -13.0, -15.0, -17.0, -18.0, -20.0)
softplus, sigmoid = run(operators.softplus, x), run(operators.sigmoid, x)
right = 1 / (1 + np.exp(-np.array(x)))
assert abs(softplus / np.log1p(right) - 1).max() > 1 and abs(sigmoid / right - 1).max() < 1e-5
print("Softplus:", " ".join(f"{y:.3e}" for y in softplus))
row = [1.0, np.nan, 2.0, 3.0]
print("Exp:", " ".join(f"{y:.2f}" for y in run(operators.exp, row)))
print("LogSoftmax:", " ".join(str(y) for y in run(lambda x: operators.log_softmax(x, 1), row)))
print("Softmax:", " ".join(str(y) for y in run(lambda x: operators.softmax(x, 1), row)))
PYTHON
"$PYTHON" seen.py > out
cat out
cat > expected <<'OUT'
Softplus: 4.482e-05 2.861e-06 0.000e+00 0.000e+00 -1.907e-06 -1.907e-06
Exp: 2.72 inf 7.39 20.09
LogSoftmax: -inf nan -inf -inf
Softmax: 0.0 nan 0.0 0.0
OUT
cmp -s out expected || { echo "OpenVINO no longer does what this says" >&2; exit 1; }
