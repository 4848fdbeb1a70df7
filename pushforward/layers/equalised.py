"""Layers with an equalised learning rate: weights start at N(0, 1) and are scaled where they are used, so that Adam's
steps are as large for each of them. Karras et al. 2018, arXiv:1710.10196, Section 4.1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EqualLinear(nn.Module):
    """[..., fan_in] -> [..., fan_out], by weights of deviation gain / √fan_in at the start.

    gain: √2 before a leaky ReLU. lr_mul: by how much it learns faster than others, at the same start (mapping networks
    take 0.01; Karras et al. 2019, arXiv:1812.04948, Appendix C). bias_start: of all biases.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        bias: bool = True,
        gain: float = 1.0,
        lr_mul: float = 1.0,
        bias_start: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale, self.lr_mul = gain / math.sqrt(fan_in) * lr_mul, lr_mul
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / lr_mul)
        self.bias = nn.Parameter(torch.full((fan_out,), bias_start / lr_mul)) if bias else None

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """gain: of all that comes out, bias included."""
        bias = None if self.bias is None else self.bias * (self.lr_mul * gain)
        return F.linear(x, self.weight * (self.scale * gain), bias)

    def extra_repr(self) -> str:
        fan_out, fan_in = self.weight.shape
        return f"{fan_in}, {fan_out}, bias={self.bias is not None}, lr_mul={self.lr_mul:g}"


class EqualConv2d(nn.Module):
    """[B, fan_in, H, W] -> [B, fan_out, H, W], by weights of deviation gain / √(fan_in · kernel²) at the start.

    kernel: odd; zeros outside. gain: √2 before a leaky ReLU.
    """

    def __init__(self, fan_in: int, fan_out: int, kernel: int, bias: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.scale, self.padding = gain / math.sqrt(fan_in * kernel**2), kernel // 2
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None

    def forward(self, x: Tensor, gain: float = 1.0, stride: int = 1, padding: int | None = None) -> Tensor:
        """gain: of all that comes out, bias included. padding: kernel // 2 when None."""
        bias = self.bias if self.bias is None or gain == 1 else self.bias * gain
        padding = self.padding if padding is None else padding
        return F.conv2d(x, self.weight * (self.scale * gain), bias, stride, padding)

    def extra_repr(self) -> str:
        fan_out, fan_in, kernel, _ = self.weight.shape
        return f"{fan_in}, {fan_out}, {kernel}, bias={self.bias is not None}"


def pixel_norm(x: Tensor, dim: int = 1) -> Tensor:
    """x / √(mean of x² over `dim` + 1e-8): root mean square 1. Karras et al. 2018, arXiv:1710.10196, Section 4.2."""
    return x * (x.square().mean(dim, keepdim=True) + 1e-8).rsqrt()
