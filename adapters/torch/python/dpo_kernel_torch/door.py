"""How a function reaches its operator: by PyTorch's dispatcher where something looks on, directly where nothing does.

A step on the CPU is so short that the dispatcher's way through an operator of Python, which packs and unpacks its
arguments several times, is a tenth of it. Without a compiler, a transform, a mode or a subclass of tensors to be told
of the call, an `autograd.Function` around the operator's own functions gives the same results.
"""

import torch

PLAIN = (torch.Tensor, torch.nn.Parameter)


def door(operator, forward, setup, backward):
    """A call of the operator that is made of these functions."""

    class Direct(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            output = forward(*inputs)
            setup(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx, *grads):
            return backward(ctx, *grads)

    def call(*inputs):
        if not alone(inputs):
            return operator(*inputs)
        return Direct.apply(*inputs) if torch.is_grad_enabled() else forward(*inputs)

    return call


def backward_door(operator, function):
    """A call of an operator without derivatives: where one is asked for, the operator refuses it."""

    def call(*inputs):
        return function(*inputs) if not torch.is_grad_enabled() and alone(inputs) else operator(*inputs)

    return call


def alone(inputs):
    """Whether nothing but autograd is to know of a call."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._len_torch_function_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and all(type(one) in PLAIN and one.is_cpu for one in inputs if isinstance(one, torch.Tensor))
    )
