from .errors import KernelError, NonFiniteError
from .logits import TokenLogProbs, token_log_probs
