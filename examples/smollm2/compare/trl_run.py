#!/usr/bin/env python3
"""The steps of the example, by TRL and PEFT: the same weights, tokens, first adapter and order.

    python3 -m pip install torch transformers trl peft gguf datasets
    trl_run.py --model FILE.gguf --tokens TOKENS.jsonl --init DIR --steps 20 --out trl.jsonl

TOKENS and DIR are what the example writes with --dump-tokens and --save-init. One line a step goes to
--out: loss, margin (of log-ratios times beta), log-probs of both answers of each pair, seconds, and
seconds of the loss: from the last norm's output to its gradient. The last line has the peak of memory,
of training alone (counted anew after the model was loaded, Linux) and of the whole process.

Threads: those of --threads. In float32, without dropout, shuffling, warmup and weight decay, with
reference log-probs computed once: as the example does it.
"""

import argparse
import json
import os
import pathlib
import resource
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import datasets  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from peft import LoraConfig, set_peft_model_state_dict  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from trl import DPOConfig, DPOTrainer  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=pathlib.Path, required=True)
    parser.add_argument("--init", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--save", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--micro", type=int, help="pairs that go through the model at once; all of the batch")
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float64"], default="float32")
    parser.add_argument("--operator", action="store_true", help="with dpo_kernel_torch in TRL's place of the head")
    given = parser.parse_args()
    given.micro = given.micro or given.batch
    if given.batch % given.micro:
        # TRL would take fewer pairs a step than asked for.
        parser.error(f"--micro {given.micro} does not divide --batch {given.batch}")
    return given


class Tokens(DPOTrainer):
    """A trainer of pairs that are tokens already, in their order, which writes down its steps."""

    def _prepare_dataset(self, dataset, *_args, **_kwargs):
        return dataset

    def _get_train_sampler(self, *_args, **_kwargs):
        return torch.utils.data.SequentialSampler(self.train_dataset)


class Clock:
    """Seconds from the last norm's output to its gradient, and log-probs of the micro-batches of a step."""

    def __init__(self, model, trainer):
        self.loss_seconds, self.chosen, self.rejected, self.losses, self.margins = 0.0, [], [], [], []
        self.started, self.tokens = None, 0
        norm = model.get_base_model().model.norm
        norm.register_forward_hook(self.forward)
        compute = trainer._compute_loss
        log = trainer._metrics

        def counted(model, inputs, return_outputs):
            found = compute(model, inputs, return_outputs)
            self.losses.append(float((found[0] if return_outputs else found).detach()))
            self.margins.append(log["train"]["rewards/margins"][-1])
            self.tokens += int(inputs["attention_mask"].sum())
            return found

        trainer._compute_loss = counted

    def forward(self, _module, _inputs, output):
        if output.requires_grad:
            began = time.perf_counter()

            def ended(grad):
                self.loss_seconds += time.perf_counter() - began
                return grad

            output.register_hook(ended)
        return output

    def take(self):
        found = (self.losses, self.margins, self.loss_seconds, self.tokens)
        self.losses, self.margins, self.loss_seconds, self.tokens = [], [], 0.0, 0
        return found


class Report(transformers.TrainerCallback):
    def __init__(self, clock, probe, out):
        self.clock, self.probe, self.out, self.began = clock, probe, out, None

    def on_step_begin(self, *_args, **_kwargs):
        self.began = time.perf_counter()

    def on_step_end(self, _args, state, _control, **_kwargs):
        seconds = time.perf_counter() - self.began
        losses, margins, loss_seconds, tokens = self.clock.take()
        chosen, rejected = self.probe.take()
        line = {
            "step": state.global_step,
            "loss": sum(losses) / len(losses),
            "margin": sum(margins) / len(margins),
            "chosen": chosen,
            "rejected": rejected,
            "seconds": seconds,
            "loss_seconds": loss_seconds,
            "tokens": tokens,
        }
        print(json.dumps(line), file=self.out, flush=True)
        print(f"step {line['step']}: loss {line['loss']:.6f}, {seconds:.2f} s, of the loss {loss_seconds:.2f} s",
              flush=True)


class Probe:
    """Sums of the log-probs that the model's own answer holds, as TRL sums them."""

    def __init__(self, model):
        self.chosen, self.rejected = [], []
        model.register_forward_hook(self.forward)

    def forward(self, _module, _inputs, output):
        log_probs = getattr(output, "log_probs", None)
        if log_probs is not None and log_probs.requires_grad:
            sums = log_probs.detach().double().sum(dim=1).tolist()
            half = len(sums) // 2
            self.chosen += sums[:half]
            self.rejected += sums[half:]

    def take(self):
        found = (self.chosen, self.rejected)
        self.chosen, self.rejected = [], []
        return found


def peak():
    """Peak resident memory since the last reset, in MiB."""
    status = pathlib.Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def plain(model):
    """Forgets that the weights, which are plain numbers by now, came out of a quantized file: a Trainer refuses that."""
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config


def main(given, folder):
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, given.dtype)
    of = dict(gguf_file=given.model.name, dtype=torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(given.model.parent, **of).to(dtype)
    plain(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(given.model.parent, gguf_file=given.model.name)
    pairs = [json.loads(line) for line in given.tokens.read_text().splitlines()]
    # No more than the steps take: reference log-probs are of all of them.
    pairs = pairs[: given.steps * given.batch]
    rows = [{f"{name}_ids": pair[name] for name in ("prompt", "chosen", "rejected")} for pair in pairs]
    config = json.loads((given.init / "adapter_config.json").read_text())
    lora = LoraConfig(
        r=config["r"], lora_alpha=config["lora_alpha"], lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
        target_modules=config["target_modules"],
    )
    settings = DPOConfig(
        output_dir=folder, per_device_train_batch_size=given.micro,
        gradient_accumulation_steps=given.batch // given.micro, max_steps=given.steps, learning_rate=given.lr,
        lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, beta=given.beta, max_length=None,
        logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, bf16=False, disable_dropout=True,
        precompute_ref_log_probs=True, gradient_checkpointing=False, dataloader_pin_memory=False,
    )
    if given.operator:
        import dpo_kernel_torch.trl

        dpo_kernel_torch.trl.patch()
    trainer = Tokens(model=model, args=settings, train_dataset=datasets.Dataset.from_list(rows),
                     processing_class=tokenizer, peft_config=lora)
    first = {name: tensor.to(dtype) for name, tensor in load_file(given.init / "adapter_model.safetensors").items()}
    found = set_peft_model_state_dict(trainer.model, first)
    assert not found.unexpected_keys, found.unexpected_keys
    for tensor in trainer.model.parameters():
        if tensor.requires_grad:
            tensor.data = tensor.data.to(dtype)
    probe, clock = Probe(trainer.model), Clock(trainer.model, trainer)
    with given.out.open("w") as out:
        trainer.add_callback(Report(clock, probe, out))
        before = peak()
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        trainer.train()
        line = {"peak_mib": peak(), "peak_before_mib": before,
                "peak_process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "torch": torch.__version__, "threads": given.threads}
        print(json.dumps(line), file=out)
        print(line)
    if given.save:
        trainer.save_model(given.save)


with tempfile.TemporaryDirectory() as folder:
    main(arguments(), folder)
