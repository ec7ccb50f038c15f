"""TRL's trainers with the kernels of dpo-kernel on the CPU: `dpo_kernel_torch.trl.patch()`.

TRL 1.16 gives models a head that makes token log-probs out of hidden states, by one function, and computes losses,
weights and metrics from these. `patch` replaces that function, so every `loss_type`, weighting and metric goes on as
it was. TRL scores prompts and padding too on a CPU, and drops the results; here its own way for GPUs is taken, which
hands over the scored positions alone.

What is on another device goes to TRL's own function, as if nothing were patched. On the CPU a type that the library
does not have is a `TypeError`, and a gradient of the entropy, which it does not have either, an `EntropyGradientError`.
"""

import threading
from importlib.metadata import version

import torch

from .head import head_token_log_probs

KNOWN = "1.16."


class EntropyGradientError(RuntimeError):
    """A loss has asked for the gradient of the entropy."""


class _Entropy(torch.autograd.Function):
    """The entropy as a result of the model, as TRL has it: a gradient that arrives here is refused, not dropped."""

    @staticmethod
    def forward(ctx, entropy, _log_probs):
        ctx.set_materialize_grads(False)
        return entropy.clone()

    @staticmethod
    def backward(ctx, of_entropy):
        if of_entropy is not None:
            raise EntropyGradientError(
                "a loss differentiates the entropy, of which dpo_kernel has no gradient: detach it, or train without "
                "dpo_kernel_torch.trl.patch()"
            )
        return None, None


class Patch:
    """What `patch` returns: a context manager that undoes it, or `undo()`. The last patch is undone first."""

    def __init__(self, threads):
        self.threads = threads
        self.lock = threading.Lock()
        self.before = self.own = None

    def apply(self):
        found = version("trl")
        if not found.startswith(KNOWN):
            raise ImportError(f"dpo_kernel_torch.trl is for TRL {KNOWN}x, found {found}: pip install 'trl>=1.16,<1.17'")
        from trl.trainer import utils

        with self.lock:
            self.before = utils._ChunkedLogProbFunction, utils._use_triton
            self.own = _function(self.before[0], self.threads), _compact(self.before[1])
            utils._ChunkedLogProbFunction, utils._use_triton = self.own
        return self

    def undo(self):
        """TRL as it was before. A second call does nothing; `RuntimeError` where a later patch is still there."""
        from trl.trainer import utils

        with self.lock:
            if self.before is not None:
                if (utils._ChunkedLogProbFunction, utils._use_triton) != self.own:
                    raise RuntimeError(
                        "TRL's function has been replaced again since this patch: undo the later one first"
                    )
                utils._ChunkedLogProbFunction, utils._use_triton = self.before
                self.before = None

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.undo()


def patch(*, threads=0):
    """TRL's trainers take token log-probs from dpo-kernel on the CPU, from now on.

    `patch()` lasts until its `undo()`; `with patch():` until the end of the block. Models that have their head
    already, in trainers that were made before, take it too. threads: 0 for `torch.get_num_threads()`.
    """
    return Patch(threads).apply()


def _compact(before):
    """TRL asks whether it shall hand over scored positions alone."""
    return lambda device: device.type == "cpu" or before(device)


def _function(before, threads):
    class LogProbs:
        """In the place of TRL's `ChunkedLogProbFunction`, of which trainers call `apply` alone."""

        @staticmethod
        def apply(
            hidden,
            weight,
            bias,
            targets,
            temperature,
            chunk_size,
            final_logit_softcapping=None,
            logit_scale=1.0,
            outputs=("entropy", "log_sum_sq_probs", "mean_logits", "is_top1"),
        ):
            if hidden.device.type != "cpu":
                return before.apply(
                    hidden,
                    weight,
                    bias,
                    targets,
                    temperature,
                    chunk_size,
                    final_logit_softcapping,
                    logit_scale,
                    outputs,
                )
            found = head_token_log_probs(
                hidden,
                weight,
                targets,
                bias=bias,
                scale=logit_scale,
                softcap=final_logit_softcapping,
                temperature=temperature,
                details=any(name != "log_probs" for name in outputs),
                threads=threads,
            )
            entropy = found.entropy if "entropy" in outputs else None
            if entropy is not None and found.log_probs.requires_grad:
                entropy = _Entropy.apply(entropy, found.log_probs)
            return (
                found.log_probs,
                entropy,
                found.log_sum_sq_probs if "log_sum_sq_probs" in outputs else None,
                found.mean_logits if "mean_logits" in outputs else None,
                found.is_top1 if "is_top1" in outputs else None,
            )

    return LogProbs
