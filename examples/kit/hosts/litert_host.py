"""LiteRT on the CPU: functions of TensorFlow, converted, and run by `ai_edge_litert` with its default delegate.

Its documentation says nothing of the precision. Held to: sums in f32, in f32 alone, which its float kernels take.
An engine of inference: no gradients.
"""

from importlib.metadata import version

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import kit
from tensorflow_host import transformed


def run(function, *given):
    """Converts a function for the shapes of its arrays, and runs it."""
    specs = [tf.TensorSpec(x.shape, x.dtype, name=f"x{place}") for place, x in enumerate(given)]
    module = tf.Module()
    module.function = tf.function(function, input_signature=specs)
    traced = module.function.get_concrete_function()
    model = tf.lite.TFLiteConverter.from_concrete_functions([traced], module).convert()
    signature = Interpreter(model_content=model).get_signature_runner()
    return signature(**{f"x{place}": x for place, x in enumerate(given)})


def softmax(y, targets):
    """log p of targets and log Z."""
    log_probs = tf.gather(tf.nn.log_softmax(y), targets, batch_dims=1)
    return {"log_probs": log_probs, "log_z": tf.reduce_logsumexp(y, axis=-1)}


class LiteRt:
    """log_softmax, reduce_logsumexp, log_sigmoid, sigmoid, matmul of TensorFlow."""

    name = f"ai-edge-litert {version('ai-edge-litert')}, converted by tensorflow {tf.__version__}"
    formats = ("f32",)
    unscored = "untouched"
    offers = ["log_prob", "log_z", "argmax", "mean_logit", "pair_loss", "head_log_prob", "head_log_z"]

    def precision(self, _):
        """f32."""
        return kit.single("f32")

    def rows(self, case):
        """Rows of logits."""

        def function(x, targets):
            y = transformed(x, case.transform)
            more = {"argmax": tf.argmax(y, axis=-1), "mean_logit": tf.reduce_mean(y, axis=-1)}
            return softmax(y, targets) | more

        found = run(function, case.logits.copy(), case.safe.astype(np.int32))
        spread = {key: case.spread(value[case.scored]) for key, value in found.items() if key != "argmax"}
        return spread | {"argmax": found["argmax"]}

    def pairs(self, case):
        """DPO by log_sigmoid and sigmoid."""
        beta, epsilon = case.beta, case.label_smoothing

        def function(columns):
            chosen, rejected, ref_chosen, ref_rejected, weight, offset = tf.unstack(columns)
            margin = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
            z = margin - offset
            loss = weight * (-tf.math.log_sigmoid(z) * (1 - epsilon) - tf.math.log_sigmoid(-z) * epsilon)
            d = weight * beta * (epsilon - tf.sigmoid(-z))
            rewards = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
            return dict(zip("abcdef", (loss, *rewards, margin, d, -d)))

        found = run(function, case.columns.astype(np.float32))
        return [found[key] for key in "abcdef"]

    def head(self, case):
        """A product of matrices, then as rows."""

        def function(hidden, weight, bias, targets):
            x = tf.matmul(hidden, weight, transpose_b=True)
            return softmax(transformed(x if case.bias is None else x + bias, case.transform), targets)

        bias = np.zeros(1, np.float32) if case.bias is None else case.bias
        found = run(function, case.hidden, case.weight, bias, case.safe.astype(np.int32))
        return {key: case.spread(value[case.scored]) for key, value in found.items()}


if __name__ == "__main__":
    kit.main(LiteRt)
