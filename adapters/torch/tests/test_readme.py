"""What the README says runs, and what the bench times is right."""

import re
from pathlib import Path

import dpo_kernel_torch as kernel
import pytest
import torch
from dpo_kernel_torch import bench

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_runs():
    example, patch = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    grads = names["logits"].grad
    assert (grads[:, :5] == 0).all() and (grads[:, 5:] != 0).any()
    assert "dpo_kernel_torch.trl.patch()" in patch


def test_every_function_and_operator_is_named():
    for name in kernel.__all__:
        assert name.startswith("__") or name in README, name
    from dpo_kernel_torch import head, logits, preference

    sources = "".join(Path(module.__file__).read_text() for module in (head, logits, preference))
    operators = re.findall(r'"dpo_kernel::(\w+)"', sources)
    assert len(operators) == 8
    for name in operators:
        assert name in README, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_bench_compares_before_it_times(dtype, monkeypatch, capsys):
    assert bench.measure(dtype, 8, 300, 1) > 0
    assert "operator: loss off by" in capsys.readouterr().out
    original = bench.by_operator
    monkeypatch.setattr(bench, "by_operator", lambda *given: (original(*given)[0], 1.1 * original(*given)[1]))
    with pytest.raises(SystemExit, match="operator does other work"):
        bench.measure(dtype, 8, 300, 1)
