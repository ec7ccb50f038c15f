#!/bin/sh
# onnxruntime 1.32.0: ReduceLogSumExp of f16 on a CPU, at two versions of the operator.
#
# An operator that exists for the sake of not overflowing is thought to subtract the maximum, and a newer version of
# ONNX's opset, which moves the axes from an attribute to an input, to change no figure. At opset 13 the maximum is
# subtracted, in f16 as in f32. At opset 18 it is in f32 and is not in f16: exponentials are taken of the logits as they
# are, in f64, which ends at 709.8 and -745. A model of f16 whose logits are shifted has log Z of infinity then.
#
# Seen (four equal logits; log Z is the logit + 1.386):
#   logit          700        710        1000       -740       -750
#   f16, opset 13  701.5      711.5      1001.5     -738.5     -748.5
#   f16, opset 18  701.5      inf        inf        -738.5     -inf
#   f32, both      701.386    711.386    1001.386   -738.614   -748.614
# Here the maximum is subtracted whatever the format.
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


def log_z(opset, kind, logits):
    inputs, attributes, constants = ["x"], {"axes": [1]}, []
    if opset == 18:
        inputs, attributes = ["x", "axes"], {}
        constants = [helper.make_tensor("axes", TensorProto.INT64, [1], [1])]
    node = helper.make_node("ReduceLogSumExp", inputs, ["z"], keepdims=0, **attributes)
    x = helper.make_tensor_value_info("x", kind, ["R", "V"])
    z = helper.make_tensor_value_info("z", kind, ["R"])
    graph = helper.make_graph([node], "seen", [x], [z], initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return float(session.run(None, {"x": logits})[0][0])


for name, kind, dtype in (("f16", TensorProto.FLOAT16, np.float16), ("f32", TensorProto.FLOAT, np.float32)):
    for opset in (13, 18):
        found = [log_z(opset, kind, np.full((1, 4), x, dtype)) for x in (700, 710, 1000, -740, -750)]
        print(f"{name}, opset {opset}:", " ".join(f"{x:.3f}" for x in found))
PYTHON
"$PYTHON" seen.py > out
cat out
cat > expected <<'OUT'
f16, opset 13: 701.500 711.500 1001.500 -738.500 -748.500
f16, opset 18: 701.500 inf inf -738.500 -inf
f32, opset 13: 701.386 711.386 1001.386 -738.614 -748.614
f32, opset 18: 701.386 711.386 1001.386 -738.614 -748.614
OUT
cmp -s out expected || { echo "onnxruntime no longer does what this says" >&2; exit 1; }
