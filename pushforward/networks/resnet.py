"""The residual networks of WGAN-GP: nearest upsampling, mean pooling. Gulrajani et al. 2017, arXiv:1704.00028, App. C.

Exact rewritings save a third of the work: a 3×3 convolution followed by a 2×2 mean is one 4×4 convolution of stride 2;
a 1×1 convolution commutes with resampling, so it runs on the smaller map, and with the mean it is one 2×2 convolution.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.layers.activation import leaky_relu
from pushforward.layers.conditioning import ConditionalBatchNorm
from pushforward.networks.stages import doublings


def _conv(fan_in: int, fan_out: int, kernel: int, gain: float = math.sqrt(2)) -> nn.Conv2d:
    conv = nn.Conv2d(fan_in, fan_out, kernel, padding=kernel // 2)
    # Uniform with He's variance, as the authors initialise before a rectifier; gain 1 before an addition.
    bound = gain * math.sqrt(3 / (fan_in * kernel * kernel))
    nn.init.uniform_(conv.weight, -bound, bound)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def conv_then_mean(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """mean₂ₓ₂(conv₃ₓ₃(x)) as one 4×4 convolution of stride 2. [B, C, 2H, 2W] -> [B, C', H, W]."""
    w = F.pad(conv.weight, (1, 1, 1, 1))  # [C', C, 5, 5]; sums of its four shifts make the 4×4 kernel
    w = (w[:, :, 1:, 1:] + w[:, :, :-1, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, :-1]) / 4
    return F.conv2d(x, w, conv.bias, stride=2, padding=1)


def mean_then_conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv₁ₓ₁(mean₂ₓ₂(x)) as one 2×2 convolution of stride 2. [B, C, 2H, 2W] -> [B, C', H, W].

    Not by `avg_pool2d`: its second derivative is zeros, which a gradient penalty would drag through the network.
    """
    return F.conv2d(x, conv.weight.expand(-1, -1, 2, 2) / 4, conv.bias, stride=2)


class UpBlock(nn.Module):
    """BatchNorm, ReLU, nearest ×2, 3×3, BatchNorm, ReLU, 3×3, plus a 1×1 shortcut. [B, C, H, W] -> [B, C', 2H, 2W].

    condition: numbers in the vectors c [B, condition] that BatchNorm's scales and shifts are linear in; 0 without.
    """

    def __init__(self, fan_in: int, fan_out: int, condition: int = 0) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(fan_in, condition), _norm(fan_out, condition)
        self.conv1, self.conv2 = _conv(fan_in, fan_out, 3), _conv(fan_out, fan_out, 3)
        self.shortcut = _conv(fan_in, fan_out, 1, gain=1.0)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        told = () if c is None else (c,)
        h = self.conv1(F.interpolate(self.norm1(x, *told).relu(), scale_factor=2.0, mode="nearest"))
        h = self.conv2(self.norm2(h, *told).relu())
        return h + F.interpolate(self.shortcut(x), scale_factor=2.0, mode="nearest")


def _norm(channels: int, condition: int) -> nn.Module:
    return ConditionalBatchNorm(channels, condition) if condition else nn.BatchNorm2d(channels)


class DownBlock(nn.Module):
    """(ReLU,) 3×3, ReLU, 3×3, mean ÷2, plus a 1×1 shortcut. [B, C, 2H, 2W] -> [B, C', H, W]; no normalisation.

    first: of images, without the ReLU at the start. hidden: channels between the 3×3s; None for C'.
    """

    def __init__(self, fan_in: int, fan_out: int, first: bool = False, hidden: int | None = None) -> None:
        super().__init__()
        self.first = first
        hidden = hidden or fan_out
        self.conv1, self.conv2 = _conv(fan_in, hidden, 3), _conv(hidden, fan_out, 3)
        self.shortcut = _conv(fan_in, fan_out, 1, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.first else rectify(x)
        h = conv_then_mean(rectify(self.conv1(h)), self.conv2)
        return h + mean_then_conv(x, self.shortcut)


class FlatBlock(nn.Module):
    """ReLU, 3×3, ReLU, 3×3, plus the input, by a 1×1 where the channels change. [B, C, H, W] -> [B, C', H, W].

    fan_out: C'; None for C. hidden: channels between the 3×3s; None for C'.
    """

    def __init__(self, fan_in: int, fan_out: int | None = None, hidden: int | None = None) -> None:
        super().__init__()
        fan_out = fan_out or fan_in
        hidden = hidden or fan_out
        self.conv1, self.conv2 = _conv(fan_in, hidden, 3), _conv(hidden, fan_out, 3)
        self.shortcut = None if fan_in == fan_out else _conv(fan_in, fan_out, 1, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(rectify(self.conv1(rectify(x))))
        return h + (x if self.shortcut is None else self.shortcut(x))


def rectify(x: Tensor) -> Tensor:
    """ReLU, whose second derivative is no gradient rather than a tensor of zeros (see layers/activation.py)."""
    return leaky_relu(x, 0.0)


class Generator(nn.Module):
    """z: [B, latent] -> images [B, C, R, R] in [-1, 1], R = 4·2^k; `width` channels in each of the k blocks."""

    def __init__(self, latent: int, shape: tuple[int, ...], width: int = 128) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(latent, 16 * width)
        self.blocks = nn.Sequential(*[UpBlock(width, width) for _ in range(doublings(shape))])
        self.norm = nn.BatchNorm2d(width)
        self.last = _conv(width, shape[0], 3, gain=1.0)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.first(z).view(len(z), self.width, 4, 4)
        return self.last(self.norm(self.blocks(h)).relu()).tanh()


class Critic(nn.Module):
    """Images [B, C, R, R] -> logits [B]: halvings to 8×8 (8×8 images to 4×4), two flat blocks, a mean over the map.

    outputs: where more than 1, features [B, outputs] in place of logits.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 128, outputs: int = 1) -> None:
        super().__init__()
        halvings = max(1, doublings(shape) - 1)
        downs = [DownBlock(shape[0] if i == 0 else width, width, first=i == 0) for i in range(halvings)]
        self.blocks = nn.Sequential(*downs, FlatBlock(width), FlatBlock(width))
        self.last = nn.Linear(width, outputs)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.last(rectify(self.blocks(x)).mean((2, 3))).squeeze(1)
