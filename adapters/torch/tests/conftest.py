"""No hub, no graphs of earlier code, and as many threads as two: what a test machine has."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Graphs on disk have the backwards of the code that they were made of: PyTorch does not see that it has changed.
os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"

import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20)


@pytest.fixture(params=[torch.float32, torch.float16, torch.bfloat16], ids=lambda dtype: str(dtype)[6:])
def dtype(request):
    return request.param
