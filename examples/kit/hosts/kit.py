"""Cases and answers of the conformance kit, for hosts in Python.

The kit writes a folder of cases (`cargo run --release --features verify,alloc --example kit -- write CASES`). A host is
a class with functions of a framework behind them; `main(Host)` reads the cases, calls it, and writes a folder of
answers, which the kit checks (`... --example kit -- check CASES ANSWERS`). This module needs numpy alone.

A host has
- `name`: framework and version.
- `formats`: the formats of logits that it takes, of "f32", "bf16", "f16".
- `offers`: names of outputs: log_prob, log_z, entropy, argmax, mean_logit, log_sum_sq_probs, logit_grads, pair_loss,
  head_log_prob, head_log_z, hidden_grads.
- `unscored`: "zero" or "untouched", what becomes of gradients of rows that are not scored.
- `precision(format)`: what the framework says of its arithmetic, a dict for answers.json.
- `rows(case)`, `pairs(case)`, `head(case)`: as many of them as it offers. `rows` gives a dict of `log_probs`, `log_z`,
  `entropy`, `argmax`, `mean_logit`, `log_sum_sq_probs` (R numbers each) and `grads` (R × V); `head` gives `log_probs`,
  `log_z`, `d_hidden` (R × H); `pairs` gives six lists of P numbers.
  Rows with `case.scored` false are not scored: answers hold NaN there, which stands for what was left alone
  (`case.spread` does that), and `case.safe` has ids of all rows that may index. A logit of -inf is masked and stays so,
  under a softcap too.

Arrays are those of numpy. bf16 is uint16, its bits, or a type of that name (`ml_dtypes`). What a host cannot take
raises `NotOffered` with the reason; any other exception is a failed call, which is reported as such.
"""

import json
import pathlib
import sys
from dataclasses import dataclass

import numpy as np

FORMATS = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "bf16": np.uint16, "u32": np.uint32}
NAMES = {"float64": "f64", "float32": "f32", "float16": "f16", "uint16": "bf16", "bfloat16": "bf16", "uint32": "u32"}


def checked(case, key, values, shape, formats):
    """Ends the host with what is wrong with an answer's type or shape."""
    kind = getattr(values, "dtype", type(values)).__str__()
    if NAMES.get(kind) not in formats:
        sys.exit(f"{case.name}: {key} is {kind} where {' or '.join(formats)} is needed")
    if values.shape != shape:
        sys.exit(f"{case.name}: {key} has shape {values.shape} where {shape} is needed")


class NotOffered(Exception):
    """A case that a host does not claim to do, with the reason."""


def single(form, output=None):
    """The precision of a framework in f32: one rounding to the format, or another for log-probs; a head's logits and
    their gradients are rounded to the format on the way."""
    wide = dict.fromkeys(("arithmetic", "pair", "product"), "f32")
    return wide | {"output": output or form} | dict.fromkeys(("head_logits", "head_grads", "hidden_grads"), form)


def widened(x):
    """Numbers of a format in f64, exactly; bits of bf16 are uint16."""
    if x.dtype == np.uint16:
        x = (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float64)


def rounded(x, form):
    """f64 rounded to a format, ties to even; bf16 by way of f32."""
    with np.errstate(over="ignore"):
        if form != "bf16":
            return x.astype(FORMATS[form])
        bits = x.astype(np.float32).view(np.uint32)
    up = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(x), 0x7FC0, up).astype(np.uint16)


@dataclass
class Transform:
    """y = softcap(scale · x)/temperature, softcap(v) = c · tanh(v/c)."""

    scale: float
    softcap: float | None
    temperature: float

    @property
    def plain(self):
        """Whether y is x."""
        return self.scale == 1 and self.softcap is None and self.temperature == 1


class Labels:
    """Targets of rows, and the rows' coefficients."""

    def __init__(self, case):
        self.transform = Transform(**case["transform"])
        self.targets = np.array(case["targets"], np.int64)
        self.ignore = case["ignore_index"]
        self.name = case["name"]
        self.scored = self.targets != self.ignore
        self.safe = np.where(self.scored, self.targets, 0)  # ids that may index a row
        self.coefficients = np.array(case["coefficients"], np.float32)

    def spread(self, values):
        """R values, NaN where a row is not scored, of the scored rows' values."""
        nan = rounded(np.array(np.nan), NAMES[values.dtype.name]).view(values.dtype)
        out = np.full((len(self.targets), *values.shape[1:]), nan, values.dtype)
        out[self.scored] = values
        return out


class Rows(Labels):
    """R rows of V logits, `padded` with S columns."""

    def __init__(self, case, form, read):
        super().__init__(case)
        self.format = form
        self.vocab = case["vocab"]
        self.padded = read(case["file"], form).reshape(case["rows"], case["stride"])
        self.logits = self.padded[:, : self.vocab]

    def answers(self, found):
        """As the kit takes them: gradients are laid out as the logits are."""
        if "grads" in found:
            checked(self, "grads", found["grads"], (len(self.targets), self.vocab), (self.format,))
            grads = rounded(np.full(self.padded.shape, np.nan), self.format)
            grads[:, : self.vocab] = found["grads"].view(grads.dtype)
            found["grads"] = grads
        if "argmax" in found:
            found["argmax"] = found["argmax"].astype(np.uint32)
        return found


class Pairs:
    """P pairs of answers: columns of f64, and β and ε."""

    def __init__(self, case, _, read):
        self.name = case["name"]
        self.beta = case["beta"]
        self.label_smoothing = case["label_smoothing"]
        self.columns = read(case["file"], "f64").reshape(case["pairs"], 6).T.copy()

    def answers(self, found):
        """loss, reward_chosen, reward_rejected, margin, d_chosen, d_rejected of each pair, in f64."""
        found = [np.asarray(column, np.float64) for column in found]
        if [column.shape for column in found] != [self.columns[0].shape] * 6:
            shapes = [column.shape for column in found]
            sys.exit(f"{self.name}: pairs has shapes {shapes} where six of {self.columns[0].shape} are needed")
        found = np.stack(found, axis=1)
        # By the kit's convention a pair of weight 0 is not there: its rewards and margin are not asked for.
        found[self.columns[4] == 0, 1:4] = 0
        return {"pairs": found}


class Head(Labels):
    """R hidden states of H numbers, V × H weights, V biases or none."""

    def __init__(self, case, form, read):
        super().__init__(case)
        self.format = form
        self.vocab = case["vocab"]
        self.hidden = read(case["hidden"], form).reshape(case["rows"], case["hidden_size"])
        self.weight = read(case["weight"], form).reshape(case["vocab"], case["hidden_size"])
        self.bias = read(case["bias"], form) if case["bias"] else None

    def answers(self, found):
        """As they are."""
        return found


KINDS = {"rows": Rows, "pairs": Pairs, "head": Head}


def run(host, cases, answers):
    """Asks a host all cases of a folder and writes its answers to another."""
    cases, answers = pathlib.Path(cases), pathlib.Path(answers)
    answers.mkdir(parents=True, exist_ok=True)
    # The last to be written: without it, what lies there is not taken for answers.
    (answers / "answers.json").unlink(missing_ok=True)
    manifest = json.loads((cases / "manifest.json").read_text())
    if manifest["format"] != "dpo-kernel-kit 1":
        sys.exit(f"the manifest's format is {manifest['format']!r}, not 'dpo-kernel-kit 1'")
    form = manifest["dtype"]
    if form not in host.formats:
        sys.exit(f"{host.name} does not take {form}: {', '.join(host.formats)} alone")
    types, skipped, errors = {}, {}, {}

    def read(name, of):
        return np.fromfile(cases / name, FORMATS[of])

    for case in manifest["cases"]:
        if not hasattr(host, case["operation"]):
            continue
        given = KINDS[case["operation"]](case, form, read)
        try:
            found = given.answers(getattr(host, case["operation"])(given))
        except NotOffered as reason:
            skipped[case["name"]] = str(reason)
            continue
        except Exception as error:  # whatever a framework raises is its answer to the case
            errors[case["name"]] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        for key, values in found.items():
            if key not in case["answers"]:
                sys.exit(f"{case['name']}: {key} is none of {', '.join(case['answers'])}")
            if key not in ("grads", "pairs"):
                rows = len(given.targets)
                shape = (rows, given.hidden.shape[1]) if key == "d_hidden" else (rows,)
                checked(given, key, values, shape, ("u32",) if key == "argmax" else ("f64", "f32", "f16", "bf16"))
            values = np.ascontiguousarray(values)
            kind = NAMES[values.dtype.name]
            if types.setdefault(key, kind) != kind:
                sys.exit(f"{case['name']}: {key} is {kind}, and {types[key]} in cases before")
            values.tofile(answers / case["answers"][key])
    report = {
        "digest": manifest["digest"],
        "backend": host.name,
        "offers": host.offers,
        "unscored": host.unscored,
        "types": types,
        "precision": host.precision(form),
        "skipped": skipped,
        "errors": errors,
    }
    (answers / "answers.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"{host.name}, {form}: {len(manifest['cases'])} cases, {len(skipped)} skipped, {len(errors)} failed")


def main(host):
    """The command line of a host: CASES ANSWERS."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} CASES ANSWERS")
    run(host(), *sys.argv[1:])
