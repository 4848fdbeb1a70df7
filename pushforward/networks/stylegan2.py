"""StyleGAN2: a mapping of latents to styles, a generator whose convolutions the styles modulate, a residual critic.
Karras et al. 2020, arXiv:1912.04958 (configuration F), in the form of the authors' PyTorch code
(NVlabs/stylegan2-ada-pytorch, training/networks.py; Karras et al. 2020, arXiv:2006.06676).
"""

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.layers.activation import leaky_relu
from pushforward.layers.conditioning import ClassBias, Conditioning, one_hot
from pushforward.layers.equalised import EqualConv2d, EqualLinear, pixel_norm
from pushforward.layers.filters import blur, downsample, upsample
from pushforward.layers.minibatch import minibatch_std
from pushforward.layers.style_mean import StyleMean
from pushforward.networks.stages import doublings

GAIN = math.sqrt(2)  # of each leaky ReLU


def widths(shape: tuple[int, ...], width: int, base: int) -> list[int]:
    """Channels of each stage from the 4×4 map up to images of `shape`: base / side, but `width` at most."""
    return [max(1, min(width, base // (4 * 2**i))) for i in range(doublings(shape) + 1)]


class Mapping(nn.Module):
    """Latents z [B, latent] (and y: [B]) -> styles w [B, size], by `depth` layers that learn 100 times more slowly.

    latent: 0 for a mapping of the class alone.
    """

    def __init__(self, latent: int, size: int, depth: int = 8, classes: int = 0) -> None:
        super().__init__()
        self.classes = classes
        self.embed = EqualLinear(classes, size) if classes else None
        sizes = [latent + (size if classes else 0)] + [size] * depth
        self.layers = nn.ModuleList(EqualLinear(a, b, lr_mul=0.01) for a, b in pairwise(sizes))

    def forward(self, z: Tensor | None, y: Tensor | None = None) -> Tensor:
        parts = [] if z is None else [pixel_norm(z)]
        if self.embed is not None:
            parts.append(pixel_norm(self.embed(one_hot(y, self.classes, self.embed.weight))))
        h = torch.cat(parts, dim=1)
        for layer in self.layers:
            h = leaky_relu(layer(h, GAIN))
        return h


def modulated(
    x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool = True, up: bool = False, gain: float = 1.0
) -> Tensor:
    """Each example's own convolution: weight · style of the input's channels, over its norm for each output channel.

    x: [B, I, H, W]; weight: [O, I, k, k]; style: [B, I]. up: to [B, O, 2H, 2W], by the transposed convolution and the
    filter [1, 3, 3, 1]. gain: of what comes out. Karras et al. 2020, arXiv:1912.04958, Eq. 1 and 3. It scales the
    channels of what goes in and of what comes out, which is the same as scaling weights; on small maps it is several
    times faster than a convolution for each example.
    """
    x = x * style[:, :, None, None]
    if up:
        x = blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), pad=(1, 1))
        gain *= 4  # three of four numbers under the filter are zeros
    else:
        x = F.conv2d(x, weight, padding=weight.shape[2] // 2)
    if not demodulate:
        return x * gain if gain != 1 else x
    norm = F.linear(style.square(), weight.square().sum((2, 3)))  # [B, O]
    return x * (gain * (norm + 1e-8).rsqrt())[:, :, None, None]


class Styled(nn.Module):
    """A modulated 3×3 convolution, noise, a leaky ReLU: [B, I, H, W], w [B, size] -> [B, O, side, side]."""

    fixed: Tensor

    def __init__(self, fan_in: int, fan_out: int, size: int, side: int, up: bool) -> None:
        super().__init__()
        self.up, self.side = up, side
        self.style = EqualLinear(size, fan_in, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, 3, 3))
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        # In no checkpoint: the same for every network, from a seed of its own.
        noise = torch.randn(side**2, generator=torch.Generator().manual_seed(2 * side + up), device="cpu")
        self.register_buffer("fixed", noise.to(self.bias.device), persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """noise: [B, side²], or None for the fixed one."""
        x = modulated(x, self.weight, self.style(w), up=self.up, gain=GAIN)
        noise = (self.fixed if noise is None else noise).view(-1, 1, self.side, self.side)
        return leaky_relu(x + (noise * (self.strength * GAIN) + (self.bias * GAIN)[:, None, None]))


class ToImage(nn.Module):
    """A modulated 1×1 convolution to the image's channels, without demodulation."""

    def __init__(self, fan_in: int, channels: int, size: int) -> None:
        super().__init__()
        self.style = EqualLinear(size, fan_in, bias_start=1.0)
        self.weight = nn.Parameter(torch.randn(channels, fan_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.style(w, gain=1 / math.sqrt(self.weight.shape[1]))
        return modulated(x, self.weight, style, demodulate=False) + self.bias[:, None, None]


class Synthesis(nn.Module):
    """Styles w [B, layers, size] (and noise: [B, numbers]) -> images [B, C, R, R], not squashed.

    Each stage's image is added to the last one's, upsampled. Without noise it draws some when training, and has the
    same for all images otherwise. layers: styles an image takes; numbers: noise an image takes.
    """

    def __init__(self, shape: tuple[int, ...], size: int, width: int = 512, base: int = 32768) -> None:
        super().__init__()
        stages = widths(shape, width, base)
        self.const = nn.Parameter(torch.randn(stages[0], 4, 4))
        convolutions, images = [], []
        for i, (below, channels) in enumerate(pairwise([stages[0], *stages])):
            if i:
                convolutions.append(Styled(below, channels, size, 4 * 2**i, up=True))
            convolutions.append(Styled(channels, channels, size, 4 * 2**i, up=False))
            images.append(ToImage(channels, shape[0], size))
        self.convolutions, self.images = nn.ModuleList(convolutions), nn.ModuleList(images)
        self.layers = len(convolutions) + 1
        self.sizes = [layer.side**2 for layer in convolutions]
        self.numbers = sum(self.sizes)

    def forward(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        if noise is None and self.training:
            noise = torch.randn(len(w), self.numbers, device=w.device)
        maps = [None] * len(self.sizes) if noise is None else noise.split(self.sizes, dim=1)
        x, image = self.const.expand(len(w), -1, -1, -1), None
        for i, layer in enumerate(self.convolutions):
            x = layer(x, w[:, i], maps[i])
            if i % 2 == 0:  # the last one of a stage
                shown = self.images[i // 2](x, w[:, i + 1])
                image = shown if image is None else upsample(image) + shown
        assert image is not None
        return image


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> images [B, C, R, R], not squashed.

    Styles w [B, used, latent] have a row for each layer, from the coarsest. width, base: as in `widths`; depth: layers
    of the mapping. In training, `average` follows the styles, and `synthesis` draws noise where it is given none.
    """

    def __init__(
        self,
        latent: int,
        shape: tuple[int, ...],
        width: int = 512,
        base: int = 32768,
        depth: int = 8,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.styles = Mapping(latent, latent, depth, classes)
        self.synthesis = Synthesis(shape, latent, width, base)
        self.average = StyleMean(latent, classes)
        self.used = self.synthesis.layers

    def forward(self, z: Tensor, y: Tensor | None = None, psi: float | None = None) -> Tensor:
        """psi: truncation (see `StyleMean.truncated`); None for the styles as they are."""
        w = self.mapping(z, y)
        return self.synthesis(w if psi is None else self.average.truncated(w, y, psi))

    def compile(self, *given: Any, **named: Any) -> None:
        """Its two parts, which games call apart: by itself it would run uncompiled there."""
        for part in (self.styles, self.synthesis):
            part.compile(*given, **named)

    @property
    def numbers(self) -> int:
        """Numbers of noise that an image takes."""
        return self.synthesis.numbers

    def mapping(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z [B, latent] (and y [B]) -> w [B, used, latent], the same for all layers."""
        w = self.styles(z, y)
        if self.training:
            self.average.follow(w, y)
        return w[:, None].expand(-1, self.used, -1)


class Halving(nn.Module):
    """Two 3×3 convolutions, the second of which halves the side; and (x skipped + that) / √2 when residual."""

    def __init__(self, fan_in: int, fan_out: int, residual: bool) -> None:
        super().__init__()
        self.first, self.second = EqualConv2d(fan_in, fan_in, 3), EqualConv2d(fan_in, fan_out, 3)
        self.skip = EqualConv2d(fan_in, fan_out, 1, bias=False) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        h = blur(leaky_relu(self.first(x, GAIN)), pad=(2, 2))
        if self.skip is None:
            return leaky_relu(self.second(h, GAIN, stride=2, padding=0))
        h = leaky_relu(self.second(h, GAIN * math.sqrt(0.5), stride=2, padding=0))
        return self.skip(downsample(x), math.sqrt(0.5)) + h


class Critic(nn.Module):
    """Images [B, C, R, R] (and y: [B]) -> logits [B].

    width, base: as in `widths`. group: examples among which the last 4×4 map is told the deviation, None for none.
    residual: whether blocks have skips. conditioning: "projection" is the product of the features with the label's
    mapping (of `depth` layers) over √features, as in the authors' code; "concatenation" a bias after the first layer.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 512,
        base: int = 32768,
        classes: int = 0,
        conditioning: Conditioning = "projection",
        group: int | None = 4,
        residual: bool = True,
        depth: int = 8,
    ) -> None:
        super().__init__()
        stages = widths(shape, width, base)
        projected, bottom = classes if conditioning == "projection" else 0, stages[0]
        self.first, self.told = EqualConv2d(shape[0], stages[-1], 1), ClassBias(stages[-1], classes - projected)
        self.blocks = nn.Sequential(*(Halving(high, low, residual) for high, low in pairwise(stages[::-1])))
        self.group = group
        self.conv = EqualConv2d(bottom + (group is not None), bottom, 3)
        self.linear = EqualLinear(bottom * 16, bottom)
        self.last = EqualLinear(bottom, bottom if projected else 1)
        self.label = Mapping(0, bottom, depth, projected) if projected else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.blocks(leaky_relu(self.told(self.first(x, GAIN), y)))
        h = h if self.group is None else minibatch_std(h, self.group)
        h = leaky_relu(self.conv(h, GAIN))
        h = self.last(leaky_relu(self.linear(h.flatten(1), GAIN)))
        if self.label is None:
            return h.squeeze(1)
        return (h * self.label(None, y)).sum(1) / math.sqrt(h.shape[1])
