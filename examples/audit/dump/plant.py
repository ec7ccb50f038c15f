"""Plants causes in real dumps, and counts how often `audit` names them.

    cargo build --release --example audit
    python plant.py AUDIT A.safetensors B.safetensors [--seeds N]

AUDIT is the built program. A and B are dumps of the same tokens with logits, of two engines. For each cause and
seed 48 to 80 rows in a row are taken, and the cause is planted in A's own log-probs, and in B's: A's
differ from the logits by rounding alone, B's by all that the engines differ by. A line a cause: how many of the
verdicts name it, alone, and how many name another. `none` plants nothing, and is right where nothing is named.

torch 2.15.0, safetensors 0.8.0.
"""

import argparse
import json
import os
import random
import subprocess
import tempfile

import torch
from safetensors.torch import load_file, save_file


def log_probs(logits, tokens):
    return logits.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def cap(x, c):
    return c * (x / c).tanh()


def near(found, expected, part):
    return abs(found / expected - 1) <= part


# Name, kind of the verdict, log-probs with the cause out of logits and tokens, whether the numbers are right.
# `t` is a random temperature, `c` a cap, `fine` how near a fitted number has to be.
CAUSES = [
    ("none", None, lambda x, y, t, c: log_probs(x, y), None),
    ("temperature", "temperature", lambda x, y, t, c: log_probs(x / t, y),
     lambda of, t, c, fine: near(of["value"], t, fine)),
    ("softcap", "softcap", lambda x, y, t, c: log_probs(cap(x, c), y),
     lambda of, t, c, fine: near(of["value"], c, 10 * fine)),
    ("scale 1/16", "temperature", lambda x, y, t, c: log_probs(x / 16, y),
     lambda of, t, c, fine: near(of["value"], 16, fine)),
    ("row before", "shifted_rows", lambda x, y, t, c: log_probs(x.roll(1, 0), y),
     lambda of, t, c, fine: of["by"] == -1),
    ("row after", "shifted_rows", lambda x, y, t, c: log_probs(x.roll(-1, 0), y),
     lambda of, t, c, fine: of["by"] == 1),
    ("one row later", "shifted_log_probs", lambda x, y, t, c: log_probs(x, y).roll(1, 0),
     lambda of, t, c, fine: of["by"] == 1),
    ("base 2", "log_base", lambda x, y, t, c: log_probs(x, y) / torch.tensor(2.0).log(),
     lambda of, t, c, fine: of["base"] == 2),
    ("sign", "sign", lambda x, y, t, c: -log_probs(x, y), lambda of, t, c, fine: of["side"] == "B"),
    ("bf16 logits", "rounded_logits", lambda x, y, t, c: log_probs(x.bfloat16(), y),
     lambda of, t, c, fine: of["type"] == "bf16"),
    ("f16 logits", "rounded_logits", lambda x, y, t, c: log_probs(x.half(), y),
     lambda of, t, c, fine: of["type"] == "f16"),
    ("bf16 log-probs", "rounded_log_probs", lambda x, y, t, c: log_probs(x, y).bfloat16().float(),
     lambda of, t, c, fine: of["type"] == "bf16"),
]
# What is lost among the differences of two engines: there, nothing can be named.
ROUNDINGS = {"bf16 logits", "f16 logits", "bf16 log-probs"}


def right(verdict, kind, good, t, c, fine):
    causes = verdict["causes"]
    if kind is None:
        return causes == []
    return len(causes) == 1 and causes[0]["kind"] == kind and causes[0]["as_good"] is None and good(causes[0], t, c, fine)


def main():
    of = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    of.add_argument("audit")
    of.add_argument("a")
    of.add_argument("b")
    of.add_argument("--seeds", type=int, default=5)
    of = of.parse_args()
    a, b = load_file(of.a), load_file(of.b)
    assert torch.equal(a["tokens"], b["tokens"])
    with tempfile.TemporaryDirectory() as folder:
        x, y, out = (os.path.join(folder, name) for name in ("x.safetensors", "y.safetensors", "out.json"))
        for name, kind, plant, good in CAUSES:
            counts, others = [0, 0], [0, 0]
            for seed in range(of.seeds):
                draw = random.Random(f"{name} {seed}")
                count = draw.randint(48, 80)
                start = draw.randint(0, len(a["tokens"]) - count)
                rows = slice(start, start + count)
                t = draw.choice([0.5, 0.6, 0.7, 0.8, 1.2, 1.5, 2.0]) * draw.uniform(0.95, 1.05)
                c = draw.uniform(8, 40)
                tokens = a["tokens"][rows].clone()
                save_file({"logits": a["logits"][rows].clone(), "tokens": tokens}, x)
                for place, (source, fine) in enumerate([(a, 1e-4), (b, 0.1)]):
                    if place == 1 and name in ROUNDINGS:
                        continue
                    found = plant(source["logits"][rows].float(), tokens, t, c).contiguous()
                    save_file({"log_probs": found, "tokens": tokens}, y)
                    subprocess.run([of.audit, x, y, "--json", out], stdout=subprocess.DEVNULL, timeout=600)
                    verdict = json.load(open(out))["verdict"]
                    os.remove(out)
                    named = right(verdict, kind, good, t, c, fine)
                    counts[place] += named
                    others[place] += not named and verdict["causes"] != []
            told = [f"{named} of {of.seeds} ({other} others)" for named, other in zip(counts, others)]
            engines = "" if name in ROUNDINGS else f", two engines {told[1]}"
            print(f"{name}: one engine {told[0]}{engines}", flush=True)


if __name__ == "__main__":
    main()
