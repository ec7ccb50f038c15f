"""ONNX Runtime on the CPU: LogSoftmax, ReduceLogSumExp, MatMul, Softplus and Sigmoid of ONNX.

ONNX leaves the precision to the runtime, and its documentation says nothing of it. Held to: sums in f32, one rounding
to the format. An engine of inference: no gradients.
"""

import onnxruntime

import kit
from onnx_graphs import Engine


class OnnxRuntime(Engine):
    """A session with the defaults, for each graph."""

    name = f"onnxruntime {onnxruntime.__version__}"
    formats = ("f32", "f16")

    def load(self, model):
        """A session of the CPU's provider."""
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda given: dict(zip(names, session.run(None, given)))


if __name__ == "__main__":
    onnxruntime.set_default_logger_severity(3)
    kit.main(OnnxRuntime)
