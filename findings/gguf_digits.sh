#!/bin/sh
# transformers 5.24.0: the tokenizer of a GGUF file, and how the file says that text is taken apart before its merges.
#
# A GGUF file of a byte-level vocabulary names its pre-tokenizer (tokenizer.ggml.pre): smollm takes numbers apart digit by
# digit, llama-bpe in threes, gpt-2 not at all. AutoTokenizer.from_pretrained(..., gguf_file=...) is thought to read it,
# for it changes the tokens of every text with a number. It does not: whatever the name, numbers are taken apart as GPT-2
# has it, so a merge of two digits that the vocabulary happens to hold is applied. Nothing is said, and decoding gives the
# text back. Log-probs are then of other tokens than the ones that the model was trained on.
#
# Seen (a vocabulary of 256 bytes with one merge, of the digits 4 and 2; the text is 42):
#   smollm, llama-bpe, gpt-2: one token, 42
#   the same vocabulary, told to take digits apart (tokenizers' Digits): two tokens
# Here examples/smollm2 reads the name and refuses those that it does not know; compare/tokens.py tells transformers.
#
# Needs python3 and, for the first run, network and some GB; or PYTHON names an interpreter that has torch, transformers
# 5.24.0 and gguf. Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet torch==2.15.0 transformers==5.24.0 gguf==0.19.0
    PYTHON=$folder/venv/bin/python
fi
cat > seen.py <<'PYTHON'
import os

os.environ["HF_HUB_OFFLINE"] = "1"
import gguf
import numpy
import transformers
from tokenizers import pre_tokenizers

assert transformers.__version__ == "5.24.0", transformers.__version__
letters = sorted(pre_tokenizers.ByteLevel.alphabet())


def tokenizer(pre):
    to = gguf.GGUFWriter(f"{pre}.gguf", "llama")
    to.add_block_count(1)
    to.add_context_length(64)
    to.add_embedding_length(32)
    to.add_feed_forward_length(32)
    to.add_head_count(2)
    to.add_head_count_kv(2)
    to.add_tokenizer_model("gpt2")
    to.add_tokenizer_pre(pre)
    to.add_token_list([*letters, "42", "<end>"])
    to.add_token_types([1] * (len(letters) + 1) + [3])
    to.add_token_merges(["4 2"])
    to.add_bos_token_id(len(letters) + 1)
    to.add_eos_token_id(len(letters) + 1)
    to.add_tensor("token_embd.weight", numpy.zeros((len(letters) + 2, 32), numpy.float32))
    to.write_header_to_file()
    to.write_kv_data_to_file()
    to.write_tensors_to_file()
    to.close()
    return transformers.AutoTokenizer.from_pretrained(".", gguf_file=f"{pre}.gguf")


def tokens(of):
    return of.convert_ids_to_tokens(of("42", add_special_tokens=False)["input_ids"])


for pre in ("smollm", "llama-bpe", "gpt-2"):
    print(f"{pre}:", tokens(tokenizer(pre)))
told = tokenizer("smollm")
inner = told.backend_tokenizer
inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)])
print("smollm, told:", tokens(told))
PYTHON
"$PYTHON" seen.py > out 2>err || { tail -n 20 err; exit 1; }
cat out
cat > expected <<'OUT'
smollm: ['42']
llama-bpe: ['42']
gpt-2: ['42']
smollm, told: ['4', '2']
OUT
cmp out expected
