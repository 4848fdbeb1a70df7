"""Images moved by whole pixels exactly, or by any affine map through a resampling that keeps what is not moved.

All as linear maps of the image that can be differentiated as often as one likes. Images are mirrored at their outermost
pixels, for ever. A position is (x, y) in pixels from the image's centre, x to the right and y down.
"""

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.4910559419267466,
    0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578,
    0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
"""Symlet of 6 vanishing moments, low-pass, of unit energy. Daubechies 1992, Ten Lectures on Wavelets, Table 6.3."""
MARGIN = len(SYM6) // 2 - 1  # upsampled pixels that the filter reaches beyond a pixel's own two
PHASE = sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6) - MARGIN  # where upsampling puts pixel 0


def reflect(index: Tensor, side: int) -> Tensor:
    """Which of `side` pixels shows at `index`, any whole numbers, when they are mirrored for ever, as int64."""
    last, period = side - 1, _period(side)
    ahead = index - (index / period).floor() * period  # several times as fast as `remainder`
    return (last - (ahead - last).abs()).long()


def take(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of x [B, C, H, W] at rows and columns, int64, that broadcast to [B, R, S]. Returns [B, C, R, S]."""
    index = rows * x.shape[3] + columns
    found = x.flatten(2).gather(2, index.flatten(1).unsqueeze(1).expand(-1, x.shape[1], -1))
    return found.unflatten(2, index.shape[1:])


def centred(side: int, like: Tensor) -> Tensor:
    """Positions of `side` pixels in a row, from their centre."""
    return torch.arange(side, device=like.device, dtype=like.dtype) - (side - 1) / 2


def position(row: Tensor, shift: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """One coordinate of A q + t for all q = (column, row). row: of A, [B, 2]; shift: of t, [B]. Returns [B, R, S]."""
    along = row[:, 0, None] * columns
    return along.unsqueeze(1) + (row[:, 1, None] * rows + shift[:, None]).unsqueeze(2)


def blit(x: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """Copies to each pixel q of x [B, C, H, W] the pixel at A q + t, where that is a pixel's position.

    linear: A [B, 2, 2], flips and quarter turns; shift: t [B, 2], whole numbers.
    """
    height, width = x.shape[2:]
    at = []
    for i, side in enumerate((width, height)):
        found = position(linear[:, i], shift[:, i], centred(width, x), centred(height, x))
        at.append(reflect((found + (side - 1) / 2).round(), side))
    return take(x, at[1], at[0])


def resample(x: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """Gives each pixel q of x [B, C, H, W] the image's value at A q + t: upsampled ×2, interpolated, downsampled.

    linear: A [B, 2, 2]; shift: t [B, 2]. Up and down go through the orthogonal filter sym6 and its mirror image, which
    undo each other: the identity returns x to rounding. Karras et al. 2020, arXiv:2006.06676, Appendix B.
    Differs from the authors' code: positions follow the filter's true centre, which lies 0.2 pixels beside the middle
    of its taps, and mirroring goes on for ever, where theirs ends after one image in black.
    """
    height, width = x.shape[2:]
    up_x, up_y = (upsampling(side, x.dtype, x.device) for side in (width, height))
    down_x, down_y = (downsampling(side, x.dtype, x.device) for side in (width, height))
    finer = up_y @ (x @ up_x.T)
    return down_y @ (_Interpolate.apply(finer, _grid(linear, shift, width, height)) @ down_x.T)


@torch.no_grad()
def _grid(linear: Tensor, shift: Tensor, width: int, height: int) -> Tensor:
    """Where the upsampled pixels that `downsampling` reads come from, [B, 2 H + 2 MARGIN, 2 W + 2 MARGIN, 2].

    In a period of the upsampled image, from -1 at its start to 1 at its end.
    """
    fine = [(centred(2 * side + 2 * MARGIN, linear) + 0.5 - PHASE) / 2 for side in (width, height)]
    parts = []
    for i, side in enumerate((width, height)):
        period = _period(side)
        start = shift[:, i] + (side - 1 + PHASE) / 2
        parts.append(position(linear[:, i] / period, start / period, *fine))
    grid = torch.stack(parts, dim=3)
    return grid.sub_(grid.floor()).mul_(2).sub_(1)


def _period(side: int) -> int:
    """Pixels after which a mirrored row of `side` pixels repeats itself."""
    return max(2 * (side - 1), 1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def upsampling(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[2 P + 1, side]: a row of pixels -> its period P twice as finely, and the first number once more."""
    fine = torch.arange(2 * _period(side) + 1).unsqueeze(1)
    tap = torch.arange(len(SYM6))
    twice = fine + MARGIN - tap  # twice the pixel that this tap meets, where even
    weight = math.sqrt(2) * torch.tensor(SYM6, dtype=torch.float64) * (twice % 2 == 0)
    matrix = torch.zeros(len(fine), side, dtype=torch.float64)
    matrix.index_put_((fine.expand_as(twice), reflect(twice // 2, side)), weight, accumulate=True)
    return matrix.to(device, dtype)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def downsampling(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[side, 2 side + 2 MARGIN]: upsampled numbers from -MARGIN on -> a row of pixels."""
    tap = torch.arange(len(SYM6))
    pixel = torch.arange(side).unsqueeze(1)
    matrix = torch.zeros(side, 2 * side + 2 * MARGIN, dtype=torch.float64)
    matrix[pixel, 2 * pixel + tap] = torch.tensor(SYM6, dtype=torch.float64) / math.sqrt(2)
    return matrix.to(device, dtype)


class _Interpolate(torch.autograd.Function):
    """maps [B, C, H, W] at grid [B, R, S, 2], bilinear; linear in the maps and constant in the grid.

    `F.grid_sample` has no second derivative; as a linear map it needs but its transpose.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = maps.shape
        return F.grid_sample(maps, grid, align_corners=True)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Spread.apply(grads[0], *ctx.saved_tensors, ctx.shape), None


class _Spread(torch.autograd.Function):
    """The transpose of `_Interpolate`: values [B, C, R, S] at grid [B, R, S, 2] -> maps of `shape`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        maps = values.new_zeros(()).expand(shape)  # only the gradient with respect to the grid depends on them
        both = torch.ops.aten.grid_sampler_2d_backward(values, maps, grid, 0, 0, True, [True, False])
        return both[0]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Interpolate.apply(grads[0], *ctx.saved_tensors), None, None
