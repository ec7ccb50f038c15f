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


@pytest.mark.parametrize("ratio, said", [(1.01, "reached"), (1.2, "missed")])
def test_the_bench_says_whether_the_bar_is_reached(ratio, said, monkeypatch, capsys):
    """Times are not what it fails for."""
    monkeypatch.setattr(bench, "measure", lambda *_given: ratio)
    monkeypatch.setattr("sys.argv", ["bench"])
    # Both would stay for the tests after this one, and one of them can be set but once.
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(torch, "set_num_interop_threads", lambda count: None)
    assert not bench.main()
    assert f"{ratio:.3f} of the bare call; the bar, 1.05, is {said}" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_bench_compares_before_it_times(dtype, monkeypatch, capsys):
    assert bench.measure(dtype, 8, 300, 1) > 0
    assert "operator: loss off by" in capsys.readouterr().out
    original = bench.by_operator
    monkeypatch.setattr(bench, "by_operator", lambda *given: (original(*given)[0], 1.1 * original(*given)[1]))
    with pytest.raises(SystemExit, match="operator does other work"):
        bench.measure(dtype, 8, 300, 1)
