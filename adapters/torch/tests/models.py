"""A small Llama, a tokenizer and preferences, made on the spot: no hub, no files."""

import copy

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

WORDS = [f"w{i}" for i in range(160)]


def tokenizer():
    vocab = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    made = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def llama(dtype=torch.float32, seed=1, tied=False, **config):
    torch.manual_seed(seed)
    made = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(WORDS) + 4,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            tie_word_embeddings=tied,
            # Logits of a trained model's spread: log-probs of fresh weights are all alike.
            initializer_range=0.2,
            **config,
        )
    )
    return made.to(dtype)


def preferences(count=40):
    """Prompts and answers of 2 to 9 words; which is chosen can be learnt from its words."""
    draw = torch.Generator().manual_seed(5)

    def words(low, high):
        length = int(torch.randint(2, 10, (), generator=draw))
        return " ".join(WORDS[i] for i in torch.randint(low, high, (length,), generator=draw).tolist())

    def row():
        return {"prompt": words(0, 160), "chosen": " " + words(0, 100), "rejected": " " + words(60, 160)}

    return Dataset.from_list([row() for _ in range(count)])


def trainer(model, folder, steps=20, reference=None, peft_config=None, **options):
    """DPO with a frozen copy as the reference. The optimizer is the same for all, and its state in f32."""
    defaults = {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "save_strategy": "no",
        "gradient_checkpointing": False,
        "bf16": False,
        "seed": 7,
        "disable_tqdm": True,
        "max_length": 32,
    }
    return DPOTrainer(
        model=model,
        ref_model=copy.deepcopy(model) if reference is None and peft_config is None else reference,
        peft_config=peft_config,
        args=DPOConfig(**(defaults | options)),
        train_dataset=preferences(),
        processing_class=tokenizer(),
    )


def figures(trainer, name):
    """A figure of each step, as the trainer has logged it."""
    return [entry[name] for entry in trainer.state.log_history if name in entry]
