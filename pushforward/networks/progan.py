"""ProGAN's networks, which grow from 4×4 by doublings. Karras et al. 2018, arXiv:1710.10196, Section 4 and Table 2.

Exact rewritings save more than half of the work, as in the authors' code: doubling by repetition before a 3×3
convolution is one transposed 4×4 convolution of stride 2; the mean of 2×2 after it one 4×4 convolution of stride 2.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.layers.activation import leaky_relu
from pushforward.layers.conditioning import Conditioning, one_hot
from pushforward.layers.equalised import EqualConv2d, EqualLinear, pixel_norm
from pushforward.layers.filters import blur
from pushforward.layers.growth import Growth, shrunk
from pushforward.layers.minibatch import minibatch_std
from pushforward.networks.stages import doublings

GAIN = math.sqrt(2)  # before a leaky ReLU
BLUR = (1.0, 2.0, 1.0)  # StyleGAN's filter


def widths_of(shape: tuple[int, ...], width: int, full: int) -> tuple[int, ...]:
    """Channels of each stage, from the 4×4 map up: `width` to sides of `full`, then halved with each doubling.

    Raises ValueError unless the images [C, R, R] have sides of 4, 8, 16 …
    """
    return tuple(max(width * min(full, 4 * 2**i) // (4 * 2**i), 1) for i in range(doublings(shape) + 1))


def up_conv(x: Tensor, conv: EqualConv2d) -> Tensor:
    """conv₃ₓ₃(x doubled by repetition), as one transposed convolution. [B, C, H, W] -> [B, C', 2H, 2W]."""
    return F.conv_transpose2d(x, _spread(conv).flip(2, 3).transpose(0, 1), conv.bias, stride=2, padding=1)


def conv_down(x: Tensor, conv: EqualConv2d) -> Tensor:
    """mean₂ₓ₂(conv₃ₓ₃(x)), as one convolution. [B, C, 2H, 2W] -> [B, C', H, W]."""
    return F.conv2d(x, _spread(conv) / 4, conv.bias, stride=2, padding=1)


def _spread(conv: EqualConv2d) -> Tensor:
    """The 4×4 kernel that is the sum of the four shifts of a 3×3 one. [C', C, 4, 4]."""
    w = F.pad(conv.weight * conv.scale, (1, 1, 1, 1))
    return w[:, :, 1:, 1:] + w[:, :, :-1, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, :-1]


class Embedding(nn.Module):
    """z: [B, latent] (and y: [B]) -> z, beside N(0, 1) numbers that stand for the class, of root mean square 1."""

    def __init__(self, latent: int, classes: int = 0) -> None:
        super().__init__()
        self.size = latent * (2 if classes else 1)
        self.table = EqualLinear(classes, latent, bias=False, gain=math.sqrt(classes)) if classes else None

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        if self.table is None:
            return pixel_norm(z)
        return pixel_norm(torch.cat([z, self.table(one_hot(y, self.table.weight.shape[1], z))], dim=1))


def grown(growth: Growth, to_rgb: nn.ModuleList, before: Tensor, last: Tensor) -> Tensor:
    """Images at full size of the maps of the last two stages in use (`before` counts only while the last fades in)."""
    # From the end, as networks that don't grow have only the last of these layers.
    at = growth.level - growth.levels - 1
    images = to_rgb[at](last)
    if growth.fading:
        images = growth.fade(F.interpolate(to_rgb[at - 1](before), scale_factor=2.0, mode="nearest"), images)
    return growth.shown(images)


def image_layers(channels: int, widths: tuple[int, ...], growing: bool) -> nn.ModuleList:
    """1×1 convolutions from maps to images, one a stage, or only the last's for networks that don't grow."""
    return nn.ModuleList(EqualConv2d(width, channels, 1) for width in (widths if growing else widths[-1:]))


class UpBlock(nn.Module):
    """Doubling, 3×3, 3×3, each with leaky ReLU and pixel norm. [B, C, H, W] -> [B, C', 2H, 2W]."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = EqualConv2d(fan_in, fan_out, 3, gain=GAIN), EqualConv2d(fan_out, fan_out, 3, gain=GAIN)

    def forward(self, x: Tensor) -> Tensor:
        h = pixel_norm(leaky_relu(up_conv(x, self.conv1)))
        return pixel_norm(leaky_relu(self.conv2(h)))


class DownBlock(nn.Module):
    """3×3, (blur,) 3×3, mean of 2×2, with leaky ReLUs. [B, C, 2H, 2W] -> [B, C', H, W]."""

    def __init__(self, fan_in: int, fan_out: int, blurred: bool) -> None:
        super().__init__()
        self.blurred = blurred
        self.conv1, self.conv2 = EqualConv2d(fan_in, fan_in, 3, gain=GAIN), EqualConv2d(fan_in, fan_out, 3, gain=GAIN)

    def forward(self, x: Tensor) -> Tensor:
        h = leaky_relu(self.conv1(x))
        return leaky_relu(conv_down(blur(h, BLUR) if self.blurred else h, self.conv2))


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> images [B, C, R, R], R = 4·2^k, not squashed; in squares while not full-grown.

    width: channels of the stages up to a side of `full`; they halve with each doubling beyond (512 and 32 in the
    paper). growing: whether it has the layers to stop at lower stages, which `growth` then sets.
    """

    def __init__(
        self,
        latent: int,
        shape: tuple[int, ...],
        width: int = 512,
        full: int = 32,
        classes: int = 0,
        growing: bool = True,
    ) -> None:
        super().__init__()
        widths = widths_of(shape, width, full)
        self.embed = Embedding(latent, classes)
        # The authors' gain: as if 16 units shared their inputs, like a convolution's.
        self.first = EqualLinear(self.embed.size, 16 * widths[0], bias=False, gain=GAIN / 4)
        self.bias = nn.Parameter(torch.zeros(widths[0], 1, 1))
        self.conv = EqualConv2d(widths[0], widths[0], 3, gain=GAIN)
        self.blocks = nn.ModuleList(UpBlock(low, high) for low, high in pairwise(widths))
        self.to_rgb = image_layers(shape[0], widths, growing)
        self.growth = Growth(len(widths) - 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.first(self.embed(z, y)).view(len(z), -1, 4, 4) + self.bias
        h = before = pixel_norm(leaky_relu(self.conv(pixel_norm(leaky_relu(h)))))
        for block in self.blocks[: self.growth.level]:
            before, h = h, block(h)
        return grown(self.growth, self.to_rgb, before, h)


class Critic(nn.Module):
    """Images [B, C, R, R] (and y: [B]) -> logits [B], with the deviation within groups as a map of the last stage.

    width, full, growing: as the generator's. blurred: StyleGAN's low-pass filter before each halving. conditioning: how
    the class enters, where there are `classes`: at the 4×4 map, which all stages share, or at the output. group: see
    `minibatch_std`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 512,
        full: int = 32,
        classes: int = 0,
        conditioning: Conditioning = "projection",
        growing: bool = True,
        blurred: bool = False,
        group: int = 4,
    ) -> None:
        super().__init__()
        widths = widths_of(shape, width, full)
        self.group = group
        stages = widths if growing else widths[-1:]
        self.from_rgb = nn.ModuleList(EqualConv2d(shape[0], width, 1, gain=GAIN) for width in stages)
        self.blocks = nn.ModuleList(DownBlock(high, low, blurred) for low, high in pairwise(widths))
        self.conv = EqualConv2d(widths[0] + 1, widths[0], 3, gain=GAIN)
        told, asked = (classes, 0) if conditioning == "concatenation" else (0, classes)
        self.told = EqualLinear(told, widths[0], bias=False, gain=math.sqrt(told)) if told else None
        self.hidden = EqualLinear(16 * widths[0], widths[0], gain=GAIN)
        self.last = EqualHead(widths[0], asked)
        self.growth = Growth(len(widths) - 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        growth, level = self.growth, self.growth.level
        at = level - growth.levels - 1
        x = growth.seen(x)
        h = leaky_relu(self.from_rgb[at](x))
        for i in reversed(range(level)):
            h = self.blocks[i](h)
            if growth.fading and i == level - 1:
                h = growth.fade(leaky_relu(self.from_rgb[at - 1](shrunk(x))), h)
        h = self.conv(minibatch_std(h, self.group))
        if self.told is not None:
            h = h + self.told(one_hot(y, self.told.weight.shape[1], h))[:, :, None, None]
        return self.last(leaky_relu(self.hidden(leaky_relu(h).flatten(1))), y)


class EqualHead(nn.Module):
    """Features h [B, F] (and y [B]) -> logits [B]: b + ⟨v, h⟩, and with classes + ⟨v_y, h⟩, with equalised rates.

    Miyato & Koyama 2018, arXiv:1802.05637, Eq. 9.
    """

    def __init__(self, features: int, classes: int = 0) -> None:
        super().__init__()
        self.linear = EqualLinear(features, 1)
        self.embed = EqualLinear(classes, features, False, gain=math.sqrt(classes / features)) if classes else None

    def forward(self, h: Tensor, y: Tensor | None = None) -> Tensor:
        logits = self.linear(h).squeeze(1)
        if self.embed is None:
            return logits
        return logits + (self.embed(one_hot(y, self.embed.weight.shape[1], h)) * h).sum(1)
