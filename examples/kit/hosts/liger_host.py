"""Liger-Kernel on the CPU: those of its losses that are plain PyTorch, uncompiled.

Log-probs of a head come from the base of its PPO and GRPO losses, which reads the vocabulary in chunks and has a
backward of its own; pairs from LigerFusedLinearDPOLoss. The first computes in f32 from the product on, as its source
says. It has a temperature, but no scale and no softcap.
"""

from importlib.metadata import version

import torch
from liger_kernel.chunked_loss.dpo_loss import LigerFusedLinearDPOFunction
from liger_kernel.chunked_loss.fused_linear_ppo import LigerFusedLinearPPOBase

import kit
from torch_host import array, tensor


class Liger:
    """chunk_forward of LigerFusedLinearPPOBase, preference_loss_fn of LigerFusedLinearDPOFunction."""

    name = f"liger-kernel {version('liger-kernel')} on torch {torch.__version__}"
    formats = ("f32", "bf16", "f16")
    unscored = "zero"
    offers = ["pair_loss", "head_log_prob", "hidden_grads"]

    def precision(self, form):
        """f32, and log-probs leave as they are."""
        return kit.single(form, output="f32")

    def head(self, case):
        """R answers of one token; those that are not scored are masked by a factor 0, as GRPO masks them."""
        if case.transform.scale != 1 or case.transform.softcap is not None:
            raise kit.NotOffered("no scale and no softcap")
        hidden = tensor(case.hidden).requires_grad_()
        bias = None if case.bias is None else tensor(case.bias)
        log_probs = LigerFusedLinearPPOBase.chunk_forward(
            hidden[:, None], tensor(case.weight), torch.from_numpy(case.safe)[:, None], bias, case.transform.temperature
        )[:, 0]
        coefficients = torch.from_numpy(case.coefficients * case.scored)
        d_hidden = torch.autograd.grad((coefficients * log_probs).sum(), hidden)[0]
        return {"log_probs": case.spread(array(log_probs)[case.scored]), "d_hidden": array(d_hidden)}

    def pairs(self, case):
        """One call a pair, as it has the mean over pairs; no weight, no offset, and smoothing under another name."""
        chosen, rejected, ref_chosen, ref_rejected, weight, offset = torch.from_numpy(case.columns).float()
        if case.label_smoothing != 0 or (weight != 1).any() or (offset != 0).any():
            raise kit.NotOffered("no weights and no offsets; label smoothing of cDPO is missing")
        found = []
        for values in zip(chosen, rejected, ref_chosen, ref_rejected):
            policy = [x[None].requires_grad_() for x in values[:2]]
            reference = [x[None] for x in values[2:]]
            loss, *rewards = LigerFusedLinearDPOFunction.preference_loss_fn(
                *policy, torch.zeros(2, 1), *reference, beta=case.beta
            )
            rewards = [x[0] for x in rewards]
            grads = [x[0] for x in torch.autograd.grad(loss, policy)]
            found.append([x.item() for x in (loss, *rewards, rewards[0] - rewards[1], *grads)])
        return zip(*found)


if __name__ == "__main__":
    kit.main(Liger)
