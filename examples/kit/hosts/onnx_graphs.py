"""Graphs of ONNX for inference engines: log-softmax of rows, of a head, and the loss of a pair."""

import numpy as np
import onnx
from onnx import TensorProto, helper

import kit

TYPES = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
OPSET = 18
PAIR = ["loss", "reward_chosen", "reward_rejected", "margin", "d_chosen", "d_rejected"]


def transformed(name, form, transform):
    """Nodes of y of x, and y's name. A transform is made in f32, as 16 bits would round each of its operations."""
    if transform.plain:
        return [], name
    steps = [("Mul", "scale")]
    if transform.softcap is not None:
        steps += [("Div", "softcap"), ("Tanh", None), ("Mul", "softcap")]
    steps.append(("Div", "temperature"))
    nodes = [helper.make_node("Cast", [name], ["x0"], to=TensorProto.FLOAT)]
    for count, (operation, by) in enumerate(steps):
        nodes.append(helper.make_node(operation, [f"x{count}"] + ([by] if by else []), [f"x{count + 1}"]))
    last = f"x{len(steps)}"
    if transform.softcap is None:
        return nodes, last
    # What is masked stays so.
    nodes.append(helper.make_node("Equal", ["x0", "masked"], ["is_masked"]))
    nodes.append(helper.make_node("Where", ["is_masked", "masked", last], ["y"]))
    return nodes, "y"


def scalars(transform):
    """The transform's numbers as initialisers."""
    numbers = {"scale": transform.scale, "softcap": transform.softcap, "temperature": transform.temperature}
    numbers["masked"] = None if transform.softcap is None else -np.inf
    kept = {} if transform.plain else {name: x for name, x in numbers.items() if x is not None}
    return [helper.make_tensor(name, TensorProto.FLOAT, [], [x]) for name, x in kept.items()]


def softmax(y, form, plain):
    """Nodes from y to log p of targets and log Z, in the format of the logits."""
    to = {"to": TYPES[form]}
    ends = ["log_probs", "log_z"] if plain else ["wide_log_probs", "wide_log_z"]
    nodes = [
        helper.make_node("LogSoftmax", [y], ["log_p"], axis=-1),
        helper.make_node("GatherElements", ["log_p", "targets"], [ends[0]], axis=1),
        helper.make_node("ReduceLogSumExp", [y, "last"], [ends[1]], keepdims=0),
    ]
    casts = [helper.make_node("Cast", [f"wide_{end}"], [end], **to) for end in ("log_probs", "log_z")]
    return nodes + ([] if plain else casts)


def model(nodes, inputs, outputs, constants):
    """A checked model; shapes are names of dimensions."""
    values = [[helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs)]
    last = helper.make_tensor("last", TensorProto.INT64, [1], [-1])
    graph = helper.make_graph(nodes, "kit", *values, initializer=[last, *constants])
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(built)
    return built


def rows(form, transform):
    """x, targets (R × 1) → log_probs (R × 1), log_z, argmax, mean_logit."""
    nodes, y = transformed("x", form, transform)
    nodes += softmax(y, form, transform.plain)
    nodes.append(helper.make_node("ArgMax", [y], ["argmax"], axis=-1, keepdims=0))
    nodes.append(helper.make_node("ReduceMean", [y, "last"], ["wide_mean"], keepdims=0))
    nodes.append(helper.make_node("Cast", ["wide_mean"], ["mean_logit"], to=TYPES[form]))
    inputs = [("x", TYPES[form], ["R", "V"]), ("targets", TensorProto.INT64, ["R", 1])]
    outputs = [("log_probs", TYPES[form], ["R", 1]), ("log_z", TYPES[form], ["R"])]
    outputs += [("argmax", TensorProto.INT64, ["R"]), ("mean_logit", TYPES[form], ["R"])]
    return model(nodes, inputs, outputs, scalars(transform))


def head(form, transform, biased):
    """hidden, weight (H × V), bias, targets → log_probs (R × 1), log_z."""
    nodes = [helper.make_node("MatMul", ["hidden", "weight"], ["product"])]
    inputs = [("hidden", TYPES[form], ["R", "H"]), ("weight", TYPES[form], ["H", "V"])]
    if biased:
        nodes.append(helper.make_node("Add", ["product", "bias"], ["x"]))
        inputs.append(("bias", TYPES[form], ["V"]))
    more, y = transformed("x" if biased else "product", form, transform)
    nodes += more + softmax(y, form, transform.plain)
    inputs.append(("targets", TensorProto.INT64, ["R", 1]))
    outputs = [("log_probs", TYPES[form], ["R", 1]), ("log_z", TYPES[form], ["R"])]
    return model(nodes, inputs, outputs, scalars(transform))


def pairs():
    """Six rows of P numbers, β, ε → loss, rewards, margin, derivatives, in f32. log σ(z) is −softplus(−z)."""
    names = ["chosen", "rejected", "ref_chosen", "ref_rejected", "weight", "offset", "beta", "epsilon"]
    steps = [
        ("Sub", "chosen ref_chosen", "of_chosen"),
        ("Sub", "rejected ref_rejected", "of_rejected"),
        ("Sub", "of_chosen of_rejected", "of_both"),
        ("Mul", "beta of_chosen", "reward_chosen"),
        ("Mul", "beta of_rejected", "reward_rejected"),
        ("Mul", "beta of_both", "margin"),
        ("Sub", "margin offset", "z"),
        ("Neg", "z", "minus_z"),
        ("Softplus", "minus_z", "plus"),
        ("Mul", "epsilon z", "smoothing"),
        ("Add", "plus smoothing", "curve"),
        ("Mul", "weight curve", "loss"),
        ("Sigmoid", "minus_z", "sigma"),
        ("Sub", "epsilon sigma", "slope"),
        ("Mul", "weight beta", "steepness"),
        ("Mul", "steepness slope", "d_chosen"),
        ("Neg", "d_chosen", "d_rejected"),
    ]
    nodes = [helper.make_node(operation, given.split(), [found]) for operation, given, found in steps]
    shapes = [["P"]] * 6 + [[], []]
    inputs = [(name, TensorProto.FLOAT, shape) for name, shape in zip(names, shapes)]
    return model(nodes, inputs, [(name, TensorProto.FLOAT, ["P"]) for name in PAIR], [])


class Engine:
    """A host of an engine that runs these graphs: a subclass has `formats`, `name` and `load(model)`, which gives a
    function of a dict of arrays that gives a dict of arrays; bf16 is uint16."""

    unscored = "untouched"
    offers = ["log_prob", "log_z", "argmax", "mean_logit", "pair_loss", "head_log_prob", "head_log_z"]

    def precision(self, form):
        """f32, and one rounding to the format."""
        return kit.single(form)

    def scored(self, found, case):
        """Answers of scored rows."""
        found["log_probs"] = found["log_probs"][:, 0]
        return {key: case.spread(value[case.scored]) for key, value in found.items() if key != "argmax"}

    def rows(self, case):
        """Rows of logits."""
        given = {"x": case.logits.copy(), "targets": case.safe[:, None]}
        found = self.load(rows(case.format, case.transform))(given)
        return self.scored(found, case) | {"argmax": found["argmax"]}

    def pairs(self, case):
        """DPO by Softplus and Sigmoid."""
        names = ["chosen", "rejected", "ref_chosen", "ref_rejected", "weight", "offset"]
        given = dict(zip(names, case.columns)) | {"beta": case.beta, "epsilon": case.label_smoothing}
        found = self.load(pairs())({name: np.asarray(value, np.float32) for name, value in given.items()})
        return [
            found[name] for name in ("loss", "reward_chosen", "reward_rejected", "margin", "d_chosen", "d_rejected")
        ]

    def head(self, case):
        """A product of matrices, then as rows."""
        given = {"hidden": case.hidden, "weight": case.weight.T.copy(), "targets": case.safe[:, None]}
        if case.bias is not None:
            given["bias"] = case.bias
        return self.scored(self.load(head(case.format, case.transform, case.bias is not None))(given), case)
