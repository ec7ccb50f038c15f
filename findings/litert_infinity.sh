#!/bin/sh
# ai-edge-litert 2.3.0, models converted by TensorFlow 2.21.0: what becomes of infinities and NaN on a CPU.
#
# A comparison with -inf, as masks of a vocabulary are written, is thought to be true of -inf; a sum with NaN in it, and
# its logarithm, to be NaN, which is how training and serving find out. In a converted model -inf == -inf is false, so
# that a mask that is made by it masks nothing, and the log-sum-exp leaves NaN out. TensorFlow itself does neither.
#
# Seen (x = [1, -inf, 2, NaN], TensorFlow first, then the same function converted):
#   x == -inf                      False, True, False, False     False, False, False, False
#   log-sum-exp of [1, NaN, 2, 3]  nan                           3.4076
#   log sigmoid(20)                -2.06e-9                      0
# Here NaN makes its row NaN, and the row is named.
#
# Needs python3 and, for the first run, network and some GB; or PYTHON names an interpreter that has both packages.
# Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet tensorflow==2.21.0 ai-edge-litert==2.3.0 numpy
    PYTHON=$folder/venv/bin/python
fi
cat > seen.py <<'PYTHON'
from importlib.metadata import version

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

assert (tf.__version__, version("ai-edge-litert")) == ("2.21.0", "2.3.0")
inf = np.float32(np.inf)


def both(function, x):
    module = tf.Module()
    module.function = tf.function(function, input_signature=[tf.TensorSpec(x.shape, tf.float32, name="x")])
    traced = module.function.get_concrete_function()
    model = tf.lite.TFLiteConverter.from_concrete_functions([traced], module).convert()
    runner = Interpreter(model_content=model).get_signature_runner()
    return [found["y"].tolist() for found in ({"y": function(tf.constant(x))["y"].numpy()}, runner(x=x))]


x = np.array([1, -inf, 2, np.nan], np.float32)
print("x == -inf:", *both(lambda x: {"y": tf.equal(x, -inf)}, x))
row = np.array([1, np.nan, 2, 3], np.float32)
print("log-sum-exp:", *("%.4f" % y for y in both(lambda x: {"y": tf.reduce_logsumexp(x)}, row)))
one = np.array([20], np.float32)
print("log sigmoid(20):", *("%.2e" % abs(y[0]) for y in both(lambda x: {"y": tf.math.log_sigmoid(x)}, one)))
PYTHON
"$PYTHON" seen.py > out 2> err || { tail -n 20 err; exit 1; }
cat out
cat > expected <<'OUT'
x == -inf: [False, True, False, False] [False, False, False, False]
log-sum-exp: nan 3.4076
log sigmoid(20): 2.06e-09 0.00e+00
OUT
cmp -s out expected || { echo "LiteRT no longer does what this says" >&2; exit 1; }
