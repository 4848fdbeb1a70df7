"""Separable filters with a few taps, for blurring and for resampling by two.

Zeros between the numbers (up), zeros around them, the filter, every second number (down). Karras et al. 2020,
arXiv:1912.04958, with the padding of the authors' code.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

Taps = tuple[float, ...]
TAPS: Taps = (1.0, 3.0, 3.0, 1.0)
DENSE = 64  # up to this side a product with a whole matrix is as fast as a convolution, or faster


def blur(x: Tensor, taps: Taps = TAPS, pad: tuple[int, int] | None = None) -> Tensor:
    """x [B, C, H, W] filtered by `taps` over their sum in each direction.

    pad: zeros before and after; by default so many that the size stays, one more before than after an even filter.
    """
    return _filtered(x, _scaled(taps, 1), pad or (len(taps) // 2, (len(taps) - 1) // 2), 1, 1)


def upsample(x: Tensor, taps: Taps = TAPS) -> Tensor:
    """[B, C, H, W] -> [B, C, 2H, 2W], of the same mean (but at the borders). By default bilinear."""
    return _filtered(x, _scaled(taps, 2), ((len(taps) + 1) // 2, len(taps) // 2 - 1), 2, 1)


def downsample(x: Tensor, taps: Taps = TAPS) -> Tensor:
    """[B, C, H, W] -> [B, C, H/2, W/2], of the same mean (but at the borders). By default bilinear."""
    return _filtered(x, _scaled(taps, 1), ((len(taps) - 1) // 2, len(taps) // 2 - 1), 1, 2)


class Resample(nn.Module):
    """`upsample` or `downsample` by [1, 3, 3, 1] of maps with this side, by a matrix made once."""

    matrix: Tensor

    def __init__(self, side: int, up: bool) -> None:
        super().__init__()
        pad = (2, 1) if up else (1, 1)
        factors = (2, 1) if up else (1, 2)
        self.register_buffer("matrix", _matrix(side, _scaled(TAPS, factors[0]), pad, *factors), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return _both_ways(x, self.matrix.to(x.dtype))


def _scaled(taps: Taps, gain: float) -> Taps:
    return tuple(tap * gain / sum(taps) for tap in taps)


def _filtered(x: Tensor, taps: Taps, pad: tuple[int, int], up: int, down: int) -> Tensor:
    if max(x.shape[2:]) * up > DENSE:
        return _Filter.apply(x, taps, pad, up, down)
    rows = _matrix(x.shape[2], taps, pad, up, down, x.device).to(x.dtype)
    square = x.shape[2] == x.shape[3]
    return _both_ways(x, rows, rows if square else _matrix(x.shape[3], taps, pad, up, down, x.device).to(x.dtype))


def _matrix(
    side: int, taps: Taps, pad: tuple[int, int], up: int, down: int, device: torch.device | None = None
) -> Tensor:
    """The filter along one direction: [out, side]. Made on the device, so that nobody waits for a copy."""
    out = _length(side, len(taps), pad, up, down)
    places = torch.arange(side, device=device) * up + pad[0] - torch.arange(out, device=device)[:, None] * down
    return sum(((places == i) * tap for i, tap in enumerate(reversed(taps))), torch.zeros(out, side, device=device))


def _length(side: int, taps: int, pad: tuple[int, int], up: int, down: int) -> int:
    return (side * up + sum(pad) - taps) // down + 1


def _both_ways(x: Tensor, rows: Tensor, columns: Tensor | None = None) -> Tensor:
    """[B, C, H, W] -> R x Cᵀ by two matrix products: differentiable as often as one likes, fastest channels-last."""
    columns = rows if columns is None else columns
    h = rows @ x.permute(0, 2, 3, 1).flatten(2)  # [B, H', W·C]
    h = columns @ h.unflatten(2, (x.shape[3], x.shape[1])).flatten(0, 1)  # [B·H', W', C]
    return h.unflatten(0, (len(x), len(rows))).permute(0, 3, 1, 2)


class _Filter(Function):
    """The filter as a convolution of each channel. Its derivative is a filter too, where the stock one's second
    derivative is several times slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Taps, pad: tuple[int, int], up: int, down: int) -> Tensor:
        ctx.taps, ctx.pad, ctx.up, ctx.down, ctx.shape = taps, pad, up, down, x.shape
        line = torch.cat([x.new_full((1,), tap) for tap in reversed(taps)])
        kernel = (line[:, None] * line).expand(x.shape[1], 1, -1, -1)
        if up == 1:
            return F.conv2d(F.pad(x, (*pad, *pad)), kernel, stride=down, groups=x.shape[1])
        y = F.conv_transpose2d(x, kernel.flip(2, 3), stride=up, groups=x.shape[1])
        before = pad[0] + 1 - len(taps)
        after = [_length(x.shape[i], len(taps), pad, up, 1) - before - y.shape[i] for i in (2, 3)]
        return F.pad(y, (before, after[1], before, after[0]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = gradients
        before = len(ctx.taps) - 1 - ctx.pad[0]
        after = (ctx.shape[2] - 1) * ctx.up + len(ctx.taps) - before - gradient.shape[2] * ctx.down
        back = _Filter.apply(gradient, ctx.taps[::-1], (before, after), ctx.down, ctx.up)
        return back, None, None, None, None
