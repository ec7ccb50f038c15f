"""Steps of two runs side by side: what `--dump` wrote, and what `trl_run.py` did.

    python compare/steps.py OURS.json TRL.json

Fails where the first step's loss or log-probs differ by more than 1e-4 relative.
"""

import json
import math
import sys

BOUND = 1e-4


def steps(path):
    found = [json.loads(line) for line in open(path)]
    return [step for step in found if "step" in step]


def apart(ours, theirs):
    # `max` drops what is no number.
    assert math.isfinite(ours) and math.isfinite(theirs), (ours, theirs)
    return abs(ours - theirs) / max(abs(theirs), 1e-30)


def log_probs(ours, theirs):
    both = [zip(ours[side], theirs[side], strict=True) for side in ("chosen", "rejected")]
    return max(apart(a, b) for pairs in both for a, b in pairs)


def mean(all, key):
    # The first step finds nothing warm.
    return sum(step[key] for step in all[1:]) / max(len(all) - 1, 1)


def main(ours, theirs):
    ours, theirs = steps(ours), steps(theirs)
    print("| step | loss | TRL | margin | TRL | log-probs differ by |\n|---|---|---|---|---|---|")
    for a, b in zip(ours, theirs, strict=True):
        assert a["step"] == b["step"] and a["tokens"] == b["tokens"], (a["step"], b["step"])
        print(
            f"| {a['step']} | {a['loss']:.6f} | {b['loss']:.6f} | {a['margin']:+.6f} | {b['margin']:+.6f}"
            f" | {log_probs(a, b):.1e} |"
        )
    for key in ("seconds", "loss_seconds"):
        a, b = mean(ours, key), mean(theirs, key)
        print(f"{key} of a step: {a:.3f}, TRL {b:.3f}: {b / a:.2f} times")
    first = max(apart(ours[0]["loss"], theirs[0]["loss"]), log_probs(ours[0], theirs[0]))
    return 0 if first <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
