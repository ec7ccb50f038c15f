"""What tensors the library can work on, and how their rows lie in memory."""

from typing import NamedTuple

import torch
from torch.autograd import forward_ad

from .native import lib

TYPES = {torch.float32: lib.DPO_TYPE_F32, torch.float16: lib.DPO_TYPE_F16, torch.bfloat16: lib.DPO_TYPE_BF16}


class Block(NamedTuple):
    """Rows of a tensor at one stride: row i of them is row `first` + i of all rows."""

    data: torch.Tensor  # rows x columns
    first: int
    rows: int
    stride: int


def check_tensor(name, tensor):
    """A strided tensor in the memory of the CPU."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}: give a torch.Tensor")
    if tensor.layout != torch.strided:
        raise TypeError(f"{name} has layout {tensor.layout}: give a dense tensor, {name}.to_dense()")
    if tensor.device.type not in ("cpu", "meta"):
        raise TypeError(
            f"{name} is on {tensor.device}: dpo_kernel works on the CPU alone; move it with {name}.cpu(), or use "
            "PyTorch's own operators there"
        )


def check_float(name, tensor):
    """f32, f16 or bf16."""
    check_tensor(name, tensor)
    if tensor.dtype not in TYPES:
        known = ", ".join(str(dtype) for dtype in TYPES)
        raise TypeError(f"{name} is {tensor.dtype}: give one of {known}, as {name}.float() does")


def check_matrix(name, tensor):
    """Rows of one or more columns, of a type that the library has."""
    check_float(name, tensor)
    if tensor.ndim < 1 or tensor.shape[-1] < 1:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: give (..., columns) with columns >= 1")


def check_shape(name, tensor, shape, of):
    """The shape that another argument asks for."""
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: {of} asks for {tuple(shape)}")


def check_integers(name, tensor):
    """int64, as PyTorch keeps labels and indices."""
    check_tensor(name, tensor)
    if tensor.dtype != torch.int64:
        raise TypeError(f"{name} is {tensor.dtype}: give torch.int64, as {name}.long() does")


def check_tangent(**tensors):
    """No derivatives in forward mode: the operators have none, and PyTorch would go on with 0."""
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and forward_ad.unpack_dual(tensor).tangent is not None:
            raise NotImplementedError(
                f"{name} has a tangent, and dpo_kernel has no derivatives in forward mode: take backward(), or "
                "PyTorch's own operators"
            )


def check_constant(name, value):
    """A number or numbers without a gradient, as none would be given."""
    check_tangent(**{name: value})
    if isinstance(value, torch.Tensor) and value.requires_grad and torch.is_grad_enabled():
        raise ValueError(f"{name} requires grad, and a loss has no gradient for it: give {name}.detach()")


def blocks(name, tensor):
    """The rows of a tensor (..., columns) without a copy: as few parts as there are strides.

    Logits of all positions but the last, `logits[:, :-1]`, are one block a sequence.
    """
    columns = tensor.shape[-1]
    if tensor.stride(-1) != 1 and columns > 1:
        raise ValueError(
            f"the last dimension of {name} has stride {tensor.stride(-1)}: rows must lie in one piece; copy it with "
            f"{name}.contiguous()"
        )
    parts, first = [], 0
    for part in _parts(tensor):
        rows = part.shape[0]
        # 0 would be read as rows without padding, so rows that share their memory are refused here.
        stride = part.stride(0) if rows > 1 else columns
        if stride < columns:
            raise ValueError(
                f"rows of {name} have stride {stride} and {columns} columns: they share memory; copy it with "
                f"{name}.contiguous()"
            )
        if rows:
            parts.append(Block(part, first, rows, stride))
            first += rows
    return parts


def _parts(tensor):
    if tensor.ndim == 1:
        return [tensor.unsqueeze(0)]
    if tensor.ndim == 2:
        return [tensor]
    outer, inner = tensor.shape[:-1], tensor.stride()[:-1]
    if all(inner[i] == inner[i + 1] * outer[i + 1] or outer[i] == 1 for i in range(len(outer) - 1)):
        return [tensor.flatten(0, -2)]
    return [part for one in tensor.unbind(0) for part in _parts(one)]


def flat(name, tensor, dtype, shape, of):
    """A tensor of this shape as a contiguous one of the type, or None. Numbers are few: one a row or pair."""
    if tensor is None:
        return None
    check_tensor(name, tensor)
    # Numbers of another shape would be read in another order.
    check_shape(name, tensor, shape, of)
    if tensor.dtype == dtype and tensor.is_contiguous():
        return tensor
    if tensor.is_complex() or tensor.dtype == torch.bool:
        raise TypeError(f"{name} is {tensor.dtype}: give real numbers")
    return tensor.detach().to(dtype).contiguous()
