"""OpenVINO on the CPU: the graphs of ONNX, converted by it.

Its documentation says that f32 is asked for by the hint `inference_precision`: without it, a CPU that has instructions
for bf16 computes in bf16. The hint is given. Held to: sums in f32, one rounding to the format. An engine of inference:
no gradients.
"""

import io

import numpy as np
import openvino as ov

import kit
from onnx_graphs import Engine


def tensor(x):
    """An array as a tensor; bits of bf16 are uint16."""
    x = np.asarray(x, order="C")
    return ov.Tensor(x, shape=ov.Shape(x.shape), type=ov.Type.bf16) if x.dtype == np.uint16 else ov.Tensor(x)


class OpenVino(Engine):
    """A model of the CPU plugin, for each graph."""

    name = f"openvino {ov.__version__.split('-')[0]}"
    formats = ("f32", "f16", "bf16")
    core = ov.Core()

    def load(self, model):
        """Converted and compiled."""
        hint = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = self.core.compile_model(ov.convert_model(io.BytesIO(model.SerializeToString())), "CPU", hint)
        outputs = [(output, output.get_any_name()) for output in compiled.outputs]

        def answer(given):
            found = compiled({name: tensor(x) for name, x in given.items()})
            bits = {name: output.get_element_type() == ov.Type.bf16 for output, name in outputs}
            return {name: found[out].view(np.uint16) if bits[name] else found[out] for out, name in outputs}

        return answer


if __name__ == "__main__":
    kit.main(OpenVino)
