"""The kit before its hosts: the control passes, and planted faults are named. Needs numpy, and cargo or a built kit.

python3 selfcheck.py            # builds the example `kit` of the crate that this file is in
python3 selfcheck.py KIT        # a kit that is built
"""

import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import kit
from numpy_host import Numpy


class CountsPadding(Numpy):
    """Columns past the vocabulary are counted in log Z."""

    name = "numpy, padding counted"
    offers = ["log_prob", "log_z"]

    def rows(self, case):
        """As if the stride were the vocabulary."""
        case.logits = case.padded
        found = super().rows(case)
        return {key: found[key] for key in ("log_probs", "log_z")}


class NoMaximum(Numpy):
    """Exponentials of the logits as they are."""

    name = "numpy, no maximum subtracted"
    offers = ["log_z"]

    def precision(self, form):
        """f32, so that exponentials end at 88."""
        return kit.single(form, output="f32")

    def rows(self, case):
        """The logarithm of a sum that overflows, and underflows."""
        x = kit.widened(case.logits[case.scored])
        with np.errstate(all="ignore"):
            y, *_ = self.softmax(x, case)
            return {"log_z": case.spread(np.log(np.exp(y.astype(np.float32)).sum(axis=1)).astype(np.float64))}


class SignOfPair(Numpy):
    """The derivative of the rejected answer has the sign of the chosen one's."""

    name = "numpy, both derivatives of one sign"
    offers = ["pair_loss"]

    def pairs(self, case):
        """The last column is not negated."""
        *found, d_chosen, _ = super().pairs(case)
        return *found, d_chosen, d_chosen


# What the report is to say of each: nothing, or a cause.
EXPECTED = [
    (Numpy, None),
    (CountsPadding, "past the vocabulary"),
    (NoMaximum, "exponentials without subtracting the maximum"),
    (SignOfPair, "sign"),
]


def command():
    """How the kit is called."""
    if len(sys.argv) > 1:
        return [sys.argv[1]]
    manifest = next(p / "Cargo.toml" for p in pathlib.Path(__file__).resolve().parents if (p / "Cargo.toml").exists())
    how = ["--release", "--quiet", "--manifest-path", str(manifest), "--features", "verify,alloc", "--example", "kit"]
    return ["cargo", "run", *how, "--"]


def main():
    """Each host in each format."""
    program, wrong = command(), 0
    with tempfile.TemporaryDirectory() as folder:
        for form in ("f32", "bf16", "f16"):
            cases = f"{folder}/{form}"
            subprocess.run([*program, "write", cases, "--dtype", form], check=True, stdout=subprocess.DEVNULL)
            for place, (host, cause) in enumerate(EXPECTED):
                answers = f"{folder}/{form}-{place}"
                with contextlib.redirect_stdout(io.StringIO()):
                    kit.run(host(), cases, answers)
                done = subprocess.run([*program, "check", cases, answers], capture_output=True, text=True)
                causes = [line for line in done.stdout.splitlines() if line.startswith("likely cause")]
                named = cause is not None and any(cause in line for line in causes[:1])
                right = done.returncode == 0 if cause is None else done.returncode == 1 and named
                wrong += not right
                said = causes[0] if causes else f"exit {done.returncode}"
                print(f"{'ok' if right else 'WRONG'}: {host.name}, {form}: {said}")
                if not right:
                    print("\n".join(done.stdout.splitlines()[:20]), done.stderr, sep="\n")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
