"""Logits of this example beside Hugging Face's, and with an adapter beside PEFT's.

    python compare/logits.py MODEL.gguf TOKENS.json LOGITS.safetensors [ADAPTER]

TOKENS.json is what `--dump-tokens` wrote, LOGITS.safetensors what `--bin logits` made of it. Fails where
a logit differs by more than the bound.
"""

import json
import sys

import torch
from safetensors import safe_open

import weights

# A logit near 45 is known to 45 * 2**-24 = 2.7e-6, and thirty blocks round some two hundred times, in another
# order than theirs: 3.8e-5 by the root of their number. Measured 9.1e-5; about twice that.
BOUND = 2e-4


def main(path, tokens, logits, adapter=None):
    model = weights.model(path)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    lines = [json.loads(line) for line in open(tokens)]
    worst, largest, worst_sum, rows = 0.0, 0.0, 0.0, 0
    with safe_open(logits, "pt") as found:
        for name in found.keys():
            pair, side = name.split(".")
            prompt, answer = lines[int(pair)]["prompt"], lines[int(pair)][side]
            with torch.no_grad():
                theirs = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
            ours = found.get_tensor(name)
            # `max` drops what is no number.
            assert ours.shape == theirs.shape and ours.isfinite().all() and theirs.isfinite().all(), name
            worst = max(worst, (ours - theirs).abs().max().item())
            largest = max(largest, theirs.abs().max().item())
            index = torch.tensor(answer)[:, None]
            sums = [x.double().log_softmax(-1).gather(1, index).sum().item() for x in (ours, theirs)]
            worst_sum = max(worst_sum, abs(sums[0] / sums[1] - 1))
            rows += len(answer)
    print(f"{rows} rows: logits up to {largest:.1f}, max |difference| {worst:.2e};"
          f" log-probs of answers differ by {worst_sum:.1e} relative at most")
    return 0 if worst <= BOUND and rows else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
