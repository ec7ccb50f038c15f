"""Tokens of this example beside those of transformers, both from the same GGUF file.

    python compare/tokens.py MODEL.gguf PAIRS.jsonl TOKENS.json

TOKENS.json is what `--dump-tokens` wrote of PAIRS.jsonl with `--hold-out 0`. transformers does not read
`tokenizer.ggml.pre`: it is given the cut of digits that the file asks for, and what it does without is
counted.
"""

import json
import re
import sys

from tokenizers import pre_tokenizers

import weights

TAGS = {"Human": "user", "Assistant": "assistant", "System": "system"}


def messages(prompt):
    parts = re.split(r"\n\n(Human|Assistant|System):", prompt)
    found = [("user", parts[0])] if parts[0].strip() else []
    found += [(TAGS[tag], text) for tag, text in zip(parts[1::2], parts[2::2])]
    if found[-1][0] == "assistant" and not found[-1][1].strip():
        found.pop()
    return [{"role": role, "content": text.strip()} for role, text in found]


def tokens(tokenizer, pair):
    prompt = messages(pair["prompt"])
    start = tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"]
    out = {"prompt": start}
    for side in ("chosen", "rejected"):
        answer = {"role": "assistant", "content": pair[side].strip()}
        whole = tokenizer.apply_chat_template(prompt + [answer])["input_ids"]
        assert whole[: len(start)] == start, pair
        out[side] = whole[len(start) :]
    return out


def main(path, pairs, dumped):
    tokenizer = weights.tokenizer(path)
    pairs = [json.loads(line) for line in open(pairs)]
    ours = [json.loads(line) for line in open(dumped)]
    assert len(pairs) == len(ours), (len(pairs), len(ours))
    as_is = sum(tokens(tokenizer, pair) != found for pair, found in zip(pairs, ours))
    backend = tokenizer.backend_tokenizer
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    different = [pair for pair, found in zip(pairs, ours) if tokens(tokenizer, pair) != found]
    count = sum(len(part) for found in ours for part in found.values())
    print(f"{len(pairs)} pairs, {count} tokens: {len(different)} pairs differ"
          f" ({as_is} from transformers without the cut of digits)")
    for pair in different[:3]:
        print(pair)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
