"""Images to the size that a network takes, in the three ways by which published numbers were made."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Mode = Literal["clean", "legacy-pytorch", "legacy-tf"]
MODES: tuple[Mode, ...] = get_args(Mode)

PIXELS = 1 << 20  # resized at once in float64: 24 MiB of colour


def resized(images: Tensor, size: tuple[int, int], mode: Mode) -> Tensor:
    """Images [N, C, H, W] of 0 to 255, any dtype, at `size` (height, width): float32, 0 to 255, never rounded to bytes.

    `clean`: bicubic (a = −½) over the area that a new pixel covers, clipped to 0–255; Pillow's filter on float
    channels. Parmar et al. 2022, arXiv:2104.11222, §3.
    `legacy-pytorch`: bilinear between the two nearest pixel centres, however much the image shrinks, so it aliases.
    `legacy-tf`: bilinear as TensorFlow 1 had it: new pixel i reads at i · H / h, half a pixel off, and aliases.
    At its own size an image stays as it is, in every mode. Raises ValueError for another mode or an empty image.
    """
    if mode not in MODES:
        raise ValueError(f"a resize is one of {', '.join(MODES)}, got {mode!r}")
    if images.ndim != 4 or min(images.shape[1:]) < 1 or min(size) < 1:
        raise ValueError(f"resizing needs images [N, C, H, W] and a size, got {tuple(images.shape)} and {size}")
    if tuple(images.shape[2:]) == tuple(size):
        return images.to(torch.float32, copy=True)
    if len(images) == 0:
        return torch.zeros(0, images.shape[1], *size, device=images.device)
    if mode == "clean":
        return _clean(images, size)
    x = images.to(torch.float32)
    if mode == "legacy-pytorch":
        return F.interpolate(x, size, mode="bilinear", align_corners=False)
    return _between(_between(x, size[1], 3), size[0], 2)


def _clean(images: Tensor, size: tuple[int, int]) -> Tensor:
    """In float64: torch places the filter in the images' precision, and float32 is 0.006 off at 600 pixels."""
    rows = max(PIXELS // (images.shape[2] * images.shape[3]), 1)
    parts = [
        F.interpolate(part.to(torch.float64), size, mode="bicubic", align_corners=False, antialias=True)
        for part in images.split(rows)
    ]
    return torch.cat([part.clamp_(0, 255).to(torch.float32) for part in parts])


def _between(x: Tensor, length: int, axis: int) -> Tensor:
    """One axis read at i · old / new, linearly between neighbours, the last repeated; positions in float32, as TF's."""
    old = x.shape[axis]
    step = torch.tensor(old / length, dtype=torch.float32, device=x.device)
    at = torch.arange(length, dtype=torch.float32, device=x.device) * step
    low = at.long().clamp_max_(old - 1)
    share = (at - low).view([-1 if d == axis else 1 for d in range(x.ndim)])
    left, right = x.index_select(axis, low), x.index_select(axis, (low + 1).clamp_max_(old - 1))
    return left + (right - left) * share
