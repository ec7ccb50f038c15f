#!/bin/sh
# TensorFlow 2.21.0: means of f16 on a CPU, and a loss of bf16.
#
# A mean of numbers is thought to lie between the least and the largest of them, whatever the format: bf16 is summed in
# f32. f16 is summed in f16, where 65,520 is infinity, and divided by a number of terms that is rounded to f16 too: the
# mean of 131,072 ones is inf/inf. And the fused cross-entropy, which in f16 is right where log_softmax is not, has its
# sum in the format of the logits in bf16, as log_softmax has.
#
# Seen:
#   mean of 65,504 ones, of 131,072       f16 1, nan      bf16 1, 1
#   mean of 1,500 times -20,000           f16 -inf        bf16 -19,968
#   cross-entropy, 17 logits of 0 but     f16 0.03888     bf16 0.03076     (log_softmax of f16: -0.04019)
#   the target's, which leads by 6: 0.03889
# Here the means of a row are f64, and so are sums of losses.
#
# Needs python3 and, for the first run, network and some GB; or PYTHON names an interpreter that has tensorflow 2.21.0.
# Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet tensorflow==2.21.0 numpy
    PYTHON=$folder/venv/bin/python
fi
cat > seen.py <<'PYTHON'
import tensorflow as tf

assert tf.__version__ == "2.21.0", tf.__version__
for dtype in (tf.float16, tf.bfloat16):
    means = [tf.ones([1, 65504], dtype), tf.ones([1, 131072], dtype), tf.fill([1, 1500], tf.constant(-20000, dtype))]
    means = [float(tf.reduce_mean(x, axis=-1)[0]) for x in means]
    logits = tf.constant([[0, 0, 0, 6] + [0] * 13], dtype)
    loss = float(tf.nn.sparse_softmax_cross_entropy_with_logits([3], logits)[0])
    print(f"{dtype.name}: means {means}, loss {loss:.5f}, log p {float(tf.nn.log_softmax(logits)[0, 3]):.5f}")
PYTHON
"$PYTHON" seen.py > out 2> err || { tail -n 20 err; exit 1; }
cat out
cat > expected <<'OUT'
float16: means [1.0, nan, -inf], loss 0.03888, log p -0.04019
bfloat16: means [1.0, 1.0, -19968.0], loss 0.03076, log p -0.03076
OUT
cmp -s out expected || { echo "TensorFlow no longer does what this says" >&2; exit 1; }
