"""A dump for `audit`: logits of Hugging Face's model, from the weights of a GGUF file.

    python transformers_dump.py MODEL.gguf TEXTS.jsonl OUT.safetensors
        [--dtype float32|bfloat16] [--texts N] [--log-probs] [--temperature T] [--shift]

Each line of TEXTS.jsonl is an object with `prompt` and `chosen`, which are joined. The model runs in the type
that --dtype says, all of it. The file has `logits` [T, V] in that type, `tokens` [T], `positions` [T] and
`spans` [N, 2]: a sequence of n + 1 tokens, the first of which is the start token, has n rows, and row t scores
the token behind it. With --log-probs it has `log_probs` [T] in the place of logits, by log_softmax in f32.

--temperature divides the logits and --shift moves them down by a row: faults, planted for `audit` to name.

torch 2.15.0, transformers 5.24.0, accelerate 1.15.0, gguf 0.19.0, safetensors 0.8.0.
"""

import argparse
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer


def sequences(path, texts, count):
    """Token ids of the first texts, each behind the start token."""
    folder, name = os.path.split(os.path.abspath(path))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    # transformers does not read how the file says that numbers are taken apart: digit by digit.
    backend = tokenizer.backend_tokenizer
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    lines = [json.loads(line) for line in open(texts)][:count]
    texts = [line["prompt"] + line["chosen"] for line in lines]
    start = tokenizer.bos_token_id
    return [[start, *tokenizer(text, add_special_tokens=False)["input_ids"]] for text in texts]


def main():
    of = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    of.add_argument("model")
    of.add_argument("texts")
    of.add_argument("out")
    of.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    of.add_argument("--texts", dest="count", type=int, default=8)
    of.add_argument("--log-probs", action="store_true")
    of.add_argument("--temperature", type=float, default=1.0)
    of.add_argument("--shift", action="store_true")
    of = of.parse_args()
    folder, name = os.path.split(os.path.abspath(of.model))
    dtype = getattr(torch, of.dtype)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=dtype).eval()
    logits, tokens, positions, spans = [], [], [], []
    for ids in sequences(of.model, of.texts, of.count):
        ids = torch.tensor(ids)
        with torch.no_grad():
            rows = model(ids[None]).logits[0, :-1]
        assert rows.dtype == dtype and len(rows) == len(ids) - 1, (rows.dtype, rows.shape, len(ids))
        start = sum(map(len, tokens))
        logits.append(rows)
        tokens.append(ids[1:])
        positions.append(torch.arange(len(rows)))
        spans.append([start, start + len(rows)])
    logits, tokens, positions = map(torch.cat, (logits, tokens, positions))
    if of.temperature != 1.0:
        logits = logits / of.temperature
    if of.shift:
        logits = logits.roll(1, 0)
    if of.log_probs:
        found = {"log_probs": logits.float().log_softmax(-1).gather(1, tokens[:, None])[:, 0]}
    else:
        found = {"logits": logits}
    found |= {"tokens": tokens, "positions": positions, "spans": torch.tensor(spans)}
    save_file({key: value.contiguous() for key, value in found.items()}, of.out)
    print(f"{of.out}: {len(tokens)} tokens of {len(spans)} texts, {of.dtype}")


if __name__ == "__main__":
    main()
