"""Leaky ReLU whose second derivative is nothing, rather than a tensor of zeros.

It is piecewise linear, so differentiating its gradient with respect to the input gives zero almost everywhere. The
stock one returns that zero as a tensor, and a gradient penalty then drags it backwards through the whole network.
Saying "no gradient" leaves that path out of the graph; the gradients that remain are the same.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


class _LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        y = nn.functional.leaky_relu(x, slope)
        ctx.slope = slope
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y)  # the sign of y is that of x
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        (gradient,) = gradients
        if gradient is None:  # a convolution's second derivative says "none" to its input: pass it on, make no zeros
            return None, None
        (y,) = ctx.saved_tensors
        return _Slope.apply(gradient, y.detach(), ctx.slope), None


class _Slope(Function):
    """The gradient times the slope at each place: linear in the gradient, and constant in y almost everywhere."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, y: Tensor, slope: float) -> Tensor:
        ctx.slope = slope
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y)
        if gradient.stride() != y.stride():  # the operator walks over mixed layouts tens of times more slowly
            gradient = torch.empty_like(y, dtype=gradient.dtype).copy_(gradient)
        return torch.ops.aten.leaky_relu_backward(gradient, y, slope, True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        (gradient,) = gradients
        if gradient is None:
            return None, None, None
        (y,) = ctx.saved_tensors
        return _Slope.apply(gradient, y, ctx.slope), None, None


def leaky_relu(x: Tensor, slope: float = 0.2) -> Tensor:
    """max(x, 0) + slope · min(x, 0), for 0 ≤ slope; x and the result have the same shape."""
    return _LeakyReLU.apply(x, slope)


class LeakyReLU(nn.Module):
    """`leaky_relu` as a layer."""

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__()
        if slope < 0:
            raise ValueError(f"the slope must not be negative, got {slope}; 0.2 is usual, 0 makes it a ReLU")
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.slope)

    def extra_repr(self) -> str:
        return f"slope={self.slope}"
