"""Preference losses of dpo-kernel as operators of PyTorch, on the CPU. The README has the table of them."""

from .errors import KernelError, NonFiniteError
from .head import head_token_log_probs
from .logits import TokenLogProbs, token_log_probs
from .losses import Loss, Mixture
from .native import VERSION as __version__
from .preference import (
    Nll,
    PreferenceLoss,
    head_preference_loss,
    log_probs_preference_loss,
    preference_loss,
)

__all__ = [
    "KernelError",
    "Loss",
    "Mixture",
    "Nll",
    "NonFiniteError",
    "PreferenceLoss",
    "TokenLogProbs",
    "__version__",
    "head_preference_loss",
    "head_token_log_probs",
    "log_probs_preference_loss",
    "preference_loss",
    "token_log_probs",
]
