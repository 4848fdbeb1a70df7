"""What a critic may know of its batch as a whole."""

import torch
from torch import Tensor


def minibatch_std(x: Tensor, group: int = 4, features: int = 1) -> Tensor:
    """Adds maps that hold how much examples differ: [B, C, H, W] -> [B, C + features, H, W].

    Within each group, the standard deviation of each number over examples (biased, + 1e-8 under the root), averaged
    over places and over each of `features` equal parts of the channels. A group is `group` examples that follow one
    another, so that micro-batches of a multiple of `group` see what one batch would; where `group` does not divide B,
    the largest divisor below it, which of a prime B is 1, and tells nothing. Karras et al. 2018, arXiv:1710.10196,
    Section 3; groups of the authors' code's size, whose members there lie M apart in M groups.
    """
    batch, channels, height, width = x.shape
    if group < 1 or channels % features:
        raise ValueError(
            f"groups have 1 or more examples and {features} parts divide the channels, got groups of {group} and "
            f"{channels} channels; the paper has group=4, features=1"
        )
    size = next(n for n in range(min(group, batch), 0, -1) if batch % n == 0)
    grouped = x.float().reshape(-1, size, features, channels // features, height, width)
    deviation = (grouped.var(1, correction=0) + 1e-8).sqrt().mean((2, 3, 4))  # [B/size, features]
    maps = deviation.repeat_interleave(size, 0)[:, :, None, None].expand(-1, -1, height, width)
    return torch.cat([x, maps.to(x.dtype)], dim=1)
