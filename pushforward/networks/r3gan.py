"""R3GAN: residual blocks with grouped convolutions, no normalisation, bilinear resampling. Huang et al. 2025,
arXiv:2501.05441, Section 4 (configuration E): inverted bottleneck blocks 1×1 → grouped 3×3 → 1×1 whose last layer
starts at zero (Fixup; Zhang et al. 2019, arXiv:1901.09321), biases only before the leaky ReLUs, and a learned 4×4 basis
at the bottom.

`PointGenerator` and `PointCritic` are the same blocks on vectors, where every convolution is a linear layer.
"""

import math
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from pushforward.layers.activation import leaky_relu
from pushforward.layers.conditioning import ClassBias, Conditioning, one_hot
from pushforward.layers.filters import Resample

Layer = TypeVar("Layer", bound=nn.Conv2d | nn.Linear)
SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))


def _scaled(layer: Layer, gain: float) -> Layer:
    """Weights N(0, gain² / fan-in)."""
    with torch.no_grad():
        layer.weight.normal_(0, gain / math.sqrt(layer.weight[0].numel()))
    return layer


class Pointwise(nn.Linear):
    """A 1×1 convolution without bias, [B, C, ...] -> [B, C', ...], as a matrix product over channels-last memory.

    Its derivatives of every order are matrix products too; a convolution's second one is several times slower.
    """

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__(fan_in, fan_out, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class Residual(nn.Module):
    """x + W₃ φ(W₂ φ(W₁ x + b₁) + b₂), with `expansion` × the channels inside. [B, C, ...] -> the same.

    blocks: the number of blocks in the network, by which the inner layers start smaller.
    groups: of the 3×3 convolution in the middle; None for vectors, where it is linear.
    """

    def __init__(self, channels: int, blocks: int, groups: int | None, expansion: int = 2) -> None:
        super().__init__()
        inside, gain = channels * expansion, GAIN * blocks**-0.25
        self.first = _scaled(Pointwise(channels, inside), gain)
        if groups is None:
            self.second: nn.Module = _scaled(Pointwise(inside, inside), gain)
        else:
            self.second = _scaled(nn.Conv2d(inside, inside, 3, padding=1, groups=groups, bias=False), gain)
        self.third = _scaled(Pointwise(inside, channels), 0.0)
        shape = (inside,) if groups is None else (inside, 1, 1)
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        h = leaky_relu(self.first(x) + self.bias1, SLOPE)
        h = leaky_relu(self.second(h) + self.bias2, SLOPE)
        return x + self.third(h)


def _residuals(channels: int, count: int, blocks: int, group: int) -> list[nn.Module]:
    inside = 2 * channels
    groups = next(n for n in range(max(1, inside // group), 0, -1) if inside % n == 0)
    return [Residual(channels, blocks, groups) for _ in range(count)]


def _change(fan_in: int, fan_out: int) -> list[nn.Module]:
    """A 1×1 convolution where the channels change."""
    return [] if fan_in == fan_out else [_scaled(Pointwise(fan_in, fan_out), 1.0)]


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> images [B, C, R, R], R = 4·2^(stages − 1), not squashed.

    widths: channels of each stage, from the 4×4 map up; blocks: residual blocks a stage; group: channels in a group
    of the 3×3 convolutions.
    """

    def __init__(
        self, latent: int, channels: int, widths: tuple[int, ...], blocks: int = 2, group: int = 16, classes: int = 0
    ) -> None:
        super().__init__()
        total = blocks * len(widths)
        self.embed = _scaled(nn.Linear(classes, latent, bias=False), 1.0) if classes else None
        self.linear = _scaled(nn.Linear(latent * (2 if classes else 1), widths[0], bias=False), 1.0)
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        layers = _residuals(widths[0], blocks, total, group)
        for i, (low, high) in enumerate(pairwise(widths)):
            up = Resample(4 * 2**i, up=True)
            layers += [*_change(low, high), up, *_residuals(high, blocks, total, group)]
        self.layers = nn.Sequential(*layers, _scaled(Pointwise(widths[-1], channels), 1.0))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.linear(torch.cat([z, embedded(self.embed, y, z)], dim=1))
        return self.layers(h[:, :, None, None] * self.basis)


class Critic(nn.Module):
    """Images [B, C, R, R] (and y: [B]) -> logits [B]; with classes, the features' product with the class's embedding.

    widths, blocks, group: as the generator's; widths from the 4×4 map up. conditioning: "concatenation" for a bias of
    the class's own after the first layer instead.
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        blocks: int = 2,
        group: int = 16,
        classes: int = 0,
        conditioning: Conditioning = "projection",
    ) -> None:
        super().__init__()
        total, bottom = blocks * len(widths), widths[0]
        projected = classes if conditioning == "projection" else 0
        self.first = _scaled(Pointwise(channels, widths[-1]), 1.0)
        self.told = ClassBias(widths[-1], classes - projected)
        if self.told.embed is not None:
            _scaled(self.told.embed, 1.0)
        layers: list[nn.Module] = []
        for i, (high, low) in enumerate(pairwise(reversed(widths))):
            down = Resample(2 ** (len(widths) + 1 - i), up=False)
            layers += [*_residuals(high, blocks, total, group), down, *_change(high, low)]
        self.layers = nn.Sequential(*layers, *_residuals(bottom, blocks, total, group))
        self.basis = nn.Parameter(torch.randn(bottom, 4, 4) / 4)
        self.linear = _scaled(nn.Linear(bottom, bottom if projected else 1, bias=False), 1.0)
        self.embed = _scaled(nn.Linear(projected, bottom, bias=False), 1 / math.sqrt(bottom)) if projected else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = (self.layers(self.told(self.first(x), y)) * self.basis).sum((2, 3))
        return project(self.linear(features), self.embed, y)


class PointGenerator(nn.Module):
    """z: [B, latent] (and y: [B]) -> points [B, D]: `blocks` residual blocks on vectors of `width` numbers."""

    def __init__(self, latent: int, size: int, width: int = 64, blocks: int = 2, classes: int = 0) -> None:
        super().__init__()
        self.embed = _scaled(nn.Linear(classes, latent, bias=False), 1.0) if classes else None
        first = _scaled(nn.Linear(latent * (2 if classes else 1), width), 1.0)
        residuals = [Residual(width, blocks, None) for _ in range(blocks)]
        self.layers = nn.Sequential(first, *residuals, _scaled(nn.Linear(width, size), 1.0))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.layers(torch.cat([z, embedded(self.embed, y, z)], dim=1))


class PointCritic(nn.Module):
    """Points [B, D] (and y: [B]) -> logits [B]: `blocks` residual blocks on vectors of `width` numbers."""

    def __init__(self, size: int, width: int = 64, blocks: int = 2, classes: int = 0) -> None:
        super().__init__()
        residuals = [Residual(width, blocks, None) for _ in range(blocks)]
        self.layers = nn.Sequential(_scaled(nn.Linear(size, width), 1.0), *residuals)
        self.linear = _scaled(nn.Linear(width, width if classes else 1, bias=False), 1.0)
        self.embed = _scaled(nn.Linear(classes, width, bias=False), 1 / math.sqrt(width)) if classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return project(self.linear(self.layers(x)), self.embed, y)


def embedded(embed: nn.Linear | None, y: Tensor | None, like: Tensor) -> Tensor:
    """The embedding of the labels y [B], [B, E]; [B, 0] without classes. Raises ValueError when labels are missing."""
    if embed is None:
        return like.new_empty(len(like), 0)
    return embed(one_hot(y, embed.in_features, like))


def project(features: Tensor, embed: nn.Linear | None, y: Tensor | None) -> Tensor:
    """features: [B, 1] -> logits [B]; with classes, features [B, E] times the class's embedding, summed."""
    if embed is None:
        return features.squeeze(1)
    return (features * embedded(embed, y, features)).sum(1)
