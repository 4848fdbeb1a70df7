"""StyleGAN's generator: a mapping network gives styles, which a synthesis network takes in at each of its layers.

Karras et al. 2019, arXiv:1812.04948, Figure 1b and Appendix C. The critic is ProGAN's, with a blur before each halving.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.layers.activation import leaky_relu
from pushforward.layers.equalised import EqualConv2d, EqualLinear
from pushforward.layers.filters import blur
from pushforward.layers.growth import Growth
from pushforward.layers.style_mean import StyleMean
from pushforward.networks.progan import BLUR, GAIN, Embedding, grown, image_layers, up_conv, widths_of


def adaptive_instance_norm(x: Tensor, style: Tensor) -> Tensor:
    """(1 + s) (x − mean) / std + b, with mean and std of each map of each example. x: [B, C, H, W], (s, b): [B, 2C].

    Huang & Belongie 2017, arXiv:1703.06868; Karras et al. 2019, Eq. 1.
    """
    scale, shift = style[:, :, None, None].chunk(2, 1)
    return torch.addcmul(shift, F.instance_norm(x, eps=1e-8), 1 + scale)


class Layer(nn.Module):
    """Doubling, 3×3 and blur, or 3×3 alone, or nothing; noise, bias, leaky ReLU, AdaIN. maps, w [B, W] -> maps.

    number: the layer's, from the coarsest: 0 has no convolution, even ones beyond double. The noise is a plane, of
    which each map takes in a learned share, 0 at first.
    """

    noise: Tensor

    def __init__(self, styles: int, fan_in: int, fan_out: int, number: int) -> None:
        super().__init__()
        self.side = side = 4 * 2 ** (number // 2)
        self.up = number > 1 and number % 2 == 0
        self.conv = EqualConv2d(fan_in, fan_out, 3, bias=False, gain=GAIN) if number else None
        self.strength = nn.Parameter(torch.zeros(fan_out, 1, 1))
        self.bias = nn.Parameter(torch.zeros(fan_out, 1, 1))
        self.style = EqualLinear(styles, 2 * fan_out)
        # The same in every network, so that no checkpoint need hold it.
        noise = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(number), device="cpu")
        self.register_buffer("noise", noise.to(self.bias.device), persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """noise: [B, side²], or None for the fixed one."""
        if self.conv is not None:
            x = blur(up_conv(x, self.conv), BLUR) if self.up else self.conv(x)
        plane = (self.noise if noise is None else noise).to(x.dtype).view(-1, 1, self.side, self.side)
        return adaptive_instance_norm(leaky_relu(x + self.strength * plane + self.bias), self.style(w))


class Mapping(nn.Module):
    """z: [B, latent] (and y: [B]) -> styles [B, latent]: `depth` layers, whose learning rate is `lr_mul` of others'."""

    def __init__(self, latent: int, depth: int = 8, classes: int = 0, lr_mul: float = 0.01) -> None:
        super().__init__()
        self.embed = Embedding(latent, classes)
        sizes = (self.embed.size, *[latent] * depth)
        self.layers = nn.ModuleList(EqualLinear(a, b, gain=GAIN, lr_mul=lr_mul) for a, b in pairwise(sizes))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.embed(z, y)
        for layer in self.layers:
            h = leaky_relu(layer(h))
        return h


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> images [B, C, R, R], R = 4·2^k, not squashed; in squares while not full-grown.

    Styles w [B, L, latent] have a row for each of the L = 2(k + 1) layers, from the coarsest. depth: layers of the
    mapping. width, full, growing: as ProGAN's.
    """

    def __init__(
        self,
        latent: int,
        shape: tuple[int, ...],
        width: int = 512,
        full: int = 32,
        depth: int = 8,
        classes: int = 0,
        growing: bool = True,
    ) -> None:
        super().__init__()
        widths = widths_of(shape, width, full)
        self.mapping_network = Mapping(latent, depth, classes)
        self.constant = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        twice = [width for width in widths for _ in range(2)]
        ends = zip([widths[0], *twice], twice, strict=False)
        self.layers = nn.ModuleList(Layer(latent, low, high, number) for number, (low, high) in enumerate(ends))
        self.to_rgb = image_layers(shape[0], widths, growing)
        self.growth = Growth(len(widths) - 1)
        self.average = StyleMean(latent, classes)

    def forward(self, z: Tensor, y: Tensor | None = None, psi: float | None = None) -> Tensor:
        """psi: see `StyleMean.truncated`; None for the styles as they are."""
        w = self.mapping(z, y)
        return self.synthesis(w if psi is None else self.average.truncated(w, y, psi))

    def compile(self, *given: Any, **named: Any) -> None:
        """The modules of its two parts, which games call apart: by itself it would run uncompiled there."""
        for part in (self.mapping_network, *self.layers):
            part.compile(*given, **named)

    @property
    def used(self) -> int:
        """Layers in use at this stage of growth."""
        return 2 * (self.growth.level + 1)

    @property
    def _planes(self) -> list[int]:
        return [(4 * 2 ** (i // 2)) ** 2 for i in range(self.used)]

    def mapping(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z [B, latent] (and y [B]) -> w [B, L, latent], the same for all layers; in training, `average` follows it."""
        w = self.mapping_network(z, y)
        if self.training:
            self.average.follow(w, y)
        return w[:, None].expand(-1, len(self.layers), -1)

    @property
    def numbers(self) -> int:
        """Numbers of noise that an image takes at this stage of growth."""
        return sum(self._planes)

    def synthesis(self, w: Tensor, noise: Tensor | None = None) -> Tensor:
        """Styles w [B, L, latent] (and noise: [B, numbers]) -> images [B, C, R, R].

        Rows of layers beyond the stage of growth are not used. Without noise it draws some when training, and has the
        same for all images otherwise.
        """
        if noise is None and self.training:
            noise = torch.randn(len(w), self.numbers, device=w.device)
        planes = [None] * self.used if noise is None else noise.split(self._planes, dim=1)
        h = before = self.constant.expand(len(w), -1, -1, -1)
        for i in range(self.used):
            if i % 2 == 0:
                before = h
            h = self.layers[i](h, w[:, i], planes[i])
        return grown(self.growth, self.to_rgb, before, h)
