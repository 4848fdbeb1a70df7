"""LAPGAN's levels: each adds the detail that doubles an image's side. Denton et al. 2015, arXiv:1506.05751.

Layers as in the authors' CIFAR-10 code: 7×7, 7×7, 5×5 in the generator; 5×5, 5×5 of stride 2, dropout and a linear
layer in the critic, without padding (with it below 16×16, which would leave nothing).

Differs from the code: the class is a bias of the first layer's, the same at each place, where it is a learned map of a
fixed size there; so generators take maps of any size.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.layers.activation import leaky_relu
from pushforward.layers.conditioning import ClassBias, Conditioning, Head


def coarser(x: Tensor) -> Tensor:
    """d: [B, C, 2H, 2W] -> [B, C, H, W], means of 2×2."""
    return F.avg_pool2d(x, 2)


def smoother(x: Tensor) -> Tensor:
    """u: [B, C, H, W] -> [B, C, 2H, 2W], bilinear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def sides_between(shape: tuple[int, ...], coarsest: int) -> list[int]:
    """Sides of the levels for images [C, R, R], from the coarsest up: R halved until it is at most `coarsest`.

    Raises ValueError for what is not square, and where a side that must be halved is odd.
    """
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(f"a pyramid is of square images [C, R, R], got examples of shape {shape}; choose --resolution")
    sides = [shape[1]]
    while sides[0] > coarsest or len(sides) == 1:
        if sides[0] % 2 or sides[0] < 4:
            raise ValueError(
                f"images of {shape[1]}×{shape[1]} can't be halved to {coarsest}×{coarsest}; choose --resolution, e.g. "
                f"{2 * coarsest} or {4 * coarsest}, or another --coarsest"
            )
        sides.insert(0, sides[0] // 2)
    return sides


class Detail(nn.Module):
    """A generator: noise and the smoothed coarse image, [B, 1 + C, H, W] (and y: [B]) -> detail [B, C, H, W]."""

    def __init__(self, channels: int, width: int = 128, classes: int = 0) -> None:
        super().__init__()
        self.told = ClassBias(width, classes)
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(1 + channels, width, 7, padding=3),
                nn.Conv2d(width, width, 7, padding=3),
                nn.Conv2d(width, channels, 5, padding=2),
            ]
        )

    def forward(self, given: Tensor, y: Tensor | None = None) -> Tensor:
        first, second, third = self.layers
        return third(second(self.told(first(given), y).relu()).relu())


class Critic(nn.Module):
    """Images [B, C, R, R] (and y: [B]) -> logits [B]; R even.

    Sees a level's image, detail and coarse one added up, as the authors' does. dropout: share of the last maps.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 128,
        classes: int = 0,
        conditioning: Conditioning = "concatenation",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        projected = classes if conditioning == "projection" else 0
        self.told = ClassBias(width, classes - projected)
        pad = 0 if shape[1] >= 16 else 2
        self.first = nn.Conv2d(shape[0], width, 5, padding=pad)
        self.second = nn.Conv2d(width, width, 5, stride=2, padding=pad)
        self.dropout = nn.Dropout(dropout)
        side = (shape[1] + 4 * pad - 9) // 2 + 1
        self.last = Head(width * side**2, projected)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = leaky_relu(self.told(self.first(x), y), 0.0)
        return self.last(self.dropout(leaky_relu(self.second(h), 0.0)).flatten(1), y)
