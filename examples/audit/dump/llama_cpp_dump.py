"""A dump for `audit`: log-probs or logits of llama.cpp, for the tokens of another dump.

    python llama_cpp_dump.py MODEL.gguf TOKENS.safetensors OUT.safetensors [--log-probs]

TOKENS.safetensors is a dump with `tokens` and `spans`, such as that of transformers_dump.py. Each sequence is
run behind the start token, as there, by itself: nothing is kept from the one before. The file has `logits`
[T, V] in f32, or with --log-probs `log_probs` [T], and the tokens, positions and spans that it was given.

llama-cpp-python 0.3.36, built on the machine that runs it; numpy 2.4.6, safetensors 0.8.0.
"""

import argparse

import numpy
from llama_cpp import Llama
from safetensors.numpy import load_file, save_file


def main():
    of = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    of.add_argument("model")
    of.add_argument("tokens")
    of.add_argument("out")
    of.add_argument("--log-probs", action="store_true")
    of = of.parse_args()
    given = load_file(of.tokens)
    tokens, spans = given["tokens"], given["spans"]
    longest = int((spans[:, 1] - spans[:, 0]).max()) + 1
    model = Llama(of.model, n_ctx=longest, n_batch=longest, logits_all=True, verbose=False)
    logits = numpy.zeros((len(tokens), model.n_vocab()), numpy.float32)
    for start, end in spans.tolist():
        ids = [model.token_bos(), *tokens[start : end - 1].tolist()]
        model.reset()
        model.eval(ids)
        assert model.n_tokens == len(ids) == end - start, (model.n_tokens, start, end)
        logits[start:end] = model.scores[: len(ids)]
    found = {key: given[key] for key in ("tokens", "positions", "spans")}
    if of.log_probs:
        x = logits.astype(numpy.float64)
        x -= x.max(1, keepdims=True)
        x -= numpy.log(numpy.exp(x).sum(1, keepdims=True))
        found["log_probs"] = numpy.take_along_axis(x, tokens[:, None], 1)[:, 0].astype(numpy.float32)
    else:
        found["logits"] = logits
    save_file(found, of.out)
    print(f"{of.out}: {len(tokens)} tokens of {len(spans)} texts")


if __name__ == "__main__":
    main()
