#!/bin/sh
# transformers 5.24.0, trl 1.16.0: what becomes of a model that was read from a GGUF file, once it is to be trained.
#
# from_pretrained(..., gguf_file=...) makes plain float32 parameters of the file's blocks, so the model is thought to
# be like any other: Trainer takes it, and with an adapter of PEFT all the more. But the model keeps the mark of a
# quantized one, and the quantizer behind the mark says that it can train nothing. Trainer refuses the model and asks
# for an adapter; with the adapter it refuses it again. So does every trainer above it (TRL's DPOTrainer), whatever the
# file holds: here it holds float32, nothing was ever quantized. Nor can the model be saved: save_pretrained refuses it alike.
#
# Seen (a Llama of one block, all tensors float32):
#   parameters float32; a step by hand (loss.backward(), AdamW) works and lowers the loss
#   Trainer: ValueError, please attach trainable adapters
#   Trainer of the model with LoRA: ValueError, quantized with a method that does not support training
#   save_pretrained: ValueError
#   without the mark (is_quantized, hf_quantizer, config.quantization_config): Trainer takes it
# Here examples/smollm2/compare/trl_run.py takes the mark off.
#
# Needs python3 and, for the first run, network and some GB; or PYTHON names an interpreter that has torch, transformers
# 5.24.0, peft, accelerate and gguf. Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if [ -z "${PYTHON:-}" ]; then
    python3 -m venv venv
    venv/bin/pip install --quiet torch==2.15.0 transformers==5.24.0 peft==0.21.2 accelerate==1.15.0 gguf==0.19.0
    PYTHON=$folder/venv/bin/python
fi
cat > seen.py <<'PYTHON'
import os

os.environ["HF_HUB_OFFLINE"] = "1"
import gguf
import numpy
import torch
import transformers
from peft import LoraConfig, get_peft_model

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
assert transformers.__version__ == "5.24.0", transformers.__version__
SIZE, VOCAB = 32, 48
draw = numpy.random.default_rng(1)


def write(path):
    to = gguf.GGUFWriter(path, "llama")
    to.add_context_length(64)
    to.add_embedding_length(SIZE)
    to.add_block_count(1)
    to.add_feed_forward_length(2 * SIZE)
    to.add_head_count(2)
    to.add_head_count_kv(2)
    to.add_layer_norm_rms_eps(1e-5)
    to.add_rope_freq_base(1e4)
    to.add_vocab_size(VOCAB)
    shapes = {"token_embd": (VOCAB, SIZE), "output_norm": (SIZE,)}
    shapes |= {"blk.0.attn_norm": (SIZE,), "blk.0.ffn_norm": (SIZE,)}
    shapes |= {f"blk.0.attn_{name}": (SIZE, SIZE) for name in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": (2 * SIZE, SIZE), "blk.0.ffn_up": (2 * SIZE, SIZE), "blk.0.ffn_down": (SIZE, 2 * SIZE)}
    for name, shape in shapes.items():
        ones = numpy.ones(shape, numpy.float32)
        to.add_tensor(f"{name}.weight", ones if len(shape) == 1 else draw.normal(0, 0.1, shape).astype(numpy.float32))
    to.write_header_to_file()
    to.write_kv_data_to_file()
    to.write_tensors_to_file()
    to.close()


def read():
    return transformers.AutoModelForCausalLM.from_pretrained(".", gguf_file="tiny.gguf", dtype=torch.float32)


def refused(call, why):
    try:
        call()
        return "done"
    except ValueError as error:
        return "ValueError" if why in str(error) else str(error)


def trainer(model):
    arguments = transformers.TrainingArguments(output_dir="runs", use_cpu=True, report_to=[])
    why = "do not support training" if hasattr(model, "peft_config") else "attach trainable adapters"
    return refused(lambda: transformers.Trainer(model=model, args=arguments), why)


write("tiny.gguf")
model = read()
print("parameters:", sorted({str(of.dtype) for of in model.parameters()}))
tokens = torch.arange(12).reshape(1, 12)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
losses = []
for _ in range(3):
    loss = model(input_ids=tokens, labels=tokens).loss
    losses.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("by hand: the loss falls,", losses[0] > losses[1] > losses[2])
print("Trainer:", trainer(model))
lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
print("Trainer, with LoRA:", trainer(get_peft_model(read(), lora)))
print("save_pretrained:", refused(lambda: model.save_pretrained("saved"), "quantized with gguf"))
model.is_quantized, model.hf_quantizer = False, None
del model.config.quantization_config
print("Trainer, without the mark:", trainer(model))
PYTHON
"$PYTHON" seen.py > out 2>err || { tail -n 20 err; exit 1; }
cat out
cat > expected <<'OUT'
parameters: ['torch.float32']
by hand: the loss falls, True
Trainer: ValueError
Trainer, with LoRA: ValueError
save_pretrained: ValueError
Trainer, without the mark: done
OUT
cmp out expected
