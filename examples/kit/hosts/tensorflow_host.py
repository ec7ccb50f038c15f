"""TensorFlow on the CPU: `tf.nn` and GradientTape, in the format of the logits, eagerly.

Its documentation says nothing of the precision of log_softmax in 16 bits. Held to: sums in f32, one rounding to the
format. A transform is made in f32. Rows that are not scored are left out by indexing: there is no ignored target.
"""

import ml_dtypes
import numpy as np
import tensorflow as tf

import kit


def tensor(x):
    """An array as a tensor of its format."""
    return tf.constant(x.view(ml_dtypes.bfloat16) if x.dtype == np.uint16 else x)


def transformed(x, transform):
    """y of x; what is masked stays so."""
    if transform.plain:
        return x
    y = tf.cast(x, tf.float32) * transform.scale
    if transform.softcap is not None:
        y = transform.softcap * tf.tanh(y / transform.softcap)
        y = tf.where(x < x.dtype.min, tf.constant(-np.inf, tf.float32), y)
    return y / transform.temperature


class TensorFlow:
    """log_softmax, reduce_logsumexp, sparse_softmax_cross_entropy_with_logits, log_sigmoid, matmul."""

    name = f"tensorflow {tf.__version__}"
    formats = ("f32", "bf16", "f16")
    unscored = "zero"
    offers = [
        "log_prob", "log_z", "argmax", "mean_logit", "logit_grads", "pair_loss", "head_log_prob", "head_log_z",
        "hidden_grads",
    ]  # fmt: skip

    def precision(self, form):
        """f32, and one rounding to the format."""
        return kit.single(form)

    def forward(self, y, case, dtype):
        """log p of targets and log Z, of scored rows y."""
        targets = tf.constant(case.targets[case.scored])
        log_probs = tf.gather(tf.nn.log_softmax(y), targets, batch_dims=1)
        found = {"log_probs": log_probs, "log_z": tf.reduce_logsumexp(y, axis=-1)}
        return {key: case.spread(tf.cast(value, dtype).numpy()) for key, value in found.items()}

    def backward(self, tape, y, case, x):
        """Of Σ c log p, by the fused cross-entropy of scored rows y."""
        with tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(case.targets[case.scored], y)
        grads = tape.gradient(losses, x, tf.cast(-case.coefficients[case.scored], losses.dtype))
        return tf.convert_to_tensor(grads).numpy()

    def rows(self, case):
        """Rows of logits."""
        x = tensor(case.logits)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = transformed(tf.boolean_mask(x, case.scored), case.transform)
        found = self.forward(y, case, x.dtype) | {"grads": self.backward(tape, y, case, x)}
        found["mean_logit"] = case.spread(tf.cast(tf.reduce_mean(y, axis=-1), x.dtype).numpy())
        argmax = tf.argmax(transformed(x, case.transform), axis=-1).numpy()
        return found | {"argmax": argmax}

    def pairs(self, case):
        """DPO by log_sigmoid, in f32; derivatives by GradientTape."""
        chosen, rejected, ref_chosen, ref_rejected, weight, offset = tf.unstack(tf.cast(case.columns, tf.float32))
        beta, epsilon = case.beta, case.label_smoothing
        with tf.GradientTape() as tape:
            tape.watch([chosen, rejected])
            margin = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
            z = margin - offset
            loss = weight * (-tf.math.log_sigmoid(z) * (1 - epsilon) - tf.math.log_sigmoid(-z) * epsilon)
        rewards = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
        return loss, *rewards, margin, *tape.gradient(loss, [chosen, rejected])

    def head(self, case):
        """A product of matrices, then as rows."""
        hidden = tensor(case.hidden)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(hidden)
            x = tf.matmul(tf.boolean_mask(hidden, case.scored), tensor(case.weight), transpose_b=True)
            if case.bias is not None:
                x = tf.nn.bias_add(x, tensor(case.bias))
            y = transformed(x, case.transform)
        return self.forward(y, case, hidden.dtype) | {"d_hidden": self.backward(tape, y, case, hidden)}


if __name__ == "__main__":
    kit.main(TensorFlow)
