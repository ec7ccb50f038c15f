#!/bin/sh
# onnxruntime 1.32.0 on a CPU: Sigmoid and Softplus of the same f32 numbers.
#
# The slope of a preference loss is sigmoid(-beta * margin), and its value Softplus of the same number: two operators of
# one library are thought to agree to f32's digits, since each is the other's derivative. Softplus does keep them. Sigmoid
# comes from a rational function that has absolute digits alone: 17 % off at -15, twice too large at -17, where it is
# also larger than at -16, and exactly 0 from -18 on, where sigmoid is 1.5e-8 and f32 goes on to 1e-38. So the loss of a
# pair still falls with its margin where its gradient is nothing.
#
# Seen, and what is right:
#   x        -10         -15         -16         -17         -18        -20        -30
#   Sigmoid  4.5389e-05  3.5763e-07  5.9605e-08  8.9407e-08  0          0          0
#   right    4.5398e-05  3.0590e-07  1.1254e-07  4.1399e-08  1.5230e-08 2.0612e-09 9.3576e-14
#   Softplus 4.5399e-05  3.0590e-07                          1.5230e-08 2.0612e-09 9.3576e-14
# Here sigmoid and log-sigmoid keep relative digits as far as f32 does.
#
# Needs python3 and, for the first run, network; or PYTHON names an interpreter that has onnxruntime 1.32.0 and onnx.
# Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy
    PYTHON=$folder/venv/bin/python
fi
cat > seen.py <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

assert onnxruntime.__version__ == "1.32.0", onnxruntime.__version__
onnxruntime.set_default_logger_severity(3)


def run(operator, x):
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "seen", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array(x, np.float32)})[0]


x = (-10, -15, -16, -17, -18, -20, -30)
sigmoid, softplus, right = run("Sigmoid", x), run("Softplus", x), 1 / (1 + np.exp(-np.array(x, np.float64)))
# The last digits of a polynomial may differ between machines; these do not.
assert abs(sigmoid[1] / right[1] - 1) > 0.1 and abs(softplus[1] / right[1] - 1) < 1e-5
print("Sigmoid, off by more than 1 part in 100:", " ".join(f"{a}" for a, s, r in zip(x, sigmoid, right) if abs(s / r - 1) > 0.01))
print("Softplus, the same:", " ".join(f"{a}" for a, s, r in zip(x, softplus, np.log1p(right)) if abs(s / r - 1) > 0.01) or "none")
print("Sigmoid, exactly 0:", " ".join(f"{a}" for a, s in zip(x, sigmoid) if s == 0))
print("all:", " ".join(f"{s:.4e}" for s in sigmoid))
PYTHON
"$PYTHON" seen.py > out
cat out
cat > expected <<'OUT'
Sigmoid, off by more than 1 part in 100: -15 -16 -17 -18 -20 -30
Softplus, the same: none
Sigmoid, exactly 0: -18 -20 -30
OUT
grep -v '^all:' out | cmp -s - expected || { echo "onnxruntime no longer does what this says" >&2; exit 1; }
