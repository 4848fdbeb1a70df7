"""DCGAN: strided convolutions, BatchNorm, no pooling. Radford et al. 2016, arXiv:1511.06434, Section 3 and Figure 1.

The first transposed convolution, on a 1×1 map, and the critic's last convolution, on a 4×4 one, are matrix products;
they are written as such. Filters are 4×4 for the paper's 5×5, as they cover each place as often as any other, unless
the layers are the published ones.
"""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from pushforward.layers.activation import LeakyReLU
from pushforward.layers.conditioning import ClassBias, Conditioning, Head
from pushforward.layers.spectral import spectral
from pushforward.networks.mlp import with_class
from pushforward.networks.stages import doublings

Norm = Literal["batch", "spectral"]
Layers = Literal["usual", "published"]


def init(net: nn.Module) -> None:
    """Weights N(0, 0.02²) (Section 4); BatchNorm scales N(1, 0.02²), biases 0 (the authors' code)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def layers_between(shape: tuple[int, ...]) -> tuple[int, int]:
    """(strided layers, side of the smallest map) for images [C, R, R]: to 4×4, or to 2×2 where R is 8.

    Raises ValueError for other than squares of 8, 16, 32 …
    """
    if shape[1:] == (8, 8):
        return 2, 2
    return doublings(shape, 4, least=1), 4


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> images [B, C, R, R] in [-1, 1], R = 8, 16, 32 …

    width: channels before the last layer; they double towards the 4×4 map, up to 8 × width. layers: `published` are the
    authors' code's: filters of 5×5, the first BatchNorm of units and not of channels, no bias in the last layer.
    """

    def __init__(
        self, latent: int, shape: tuple[int, ...], width: int = 64, classes: int = 0, layers: Layers = "usual"
    ) -> None:
        super().__init__()
        stages, self.bottom = layers_between(shape)
        channels = [min(width * 2 ** (stages - 1 - i), 8 * width) for i in range(stages)]
        self.classes, self.channels = classes, channels
        published, units = layers == "published", channels[0] * self.bottom**2
        doubling = (5, 2, 2, 1) if published else (4, 2, 1, 0)
        self.first = nn.Linear(latent + classes, units, bias=False)
        self.norm = nn.BatchNorm1d(units) if published else None
        above: list[nn.Module] = [nn.ReLU()] if published else [nn.BatchNorm2d(channels[0]), nn.ReLU()]
        for fan_in, fan_out in pairwise(channels):
            above += [nn.ConvTranspose2d(fan_in, fan_out, *doubling, bias=False), nn.BatchNorm2d(fan_out), nn.ReLU()]
        above += [nn.ConvTranspose2d(channels[-1], shape[0], *doubling, bias=not published), nn.Tanh()]
        self.layers = nn.Sequential(*above)
        init(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.first(with_class(z, y, self.classes))
        if self.norm is not None:
            if self.training and len(z) == 1:
                raise ValueError(
                    "DCGAN's published layers normalise each unit over the batch, got a part of 1 example; give larger "
                    "batches, or fewer micro-batches, or --layers usual"
                )
            h = self.norm(h)
        return self.layers(h.view(len(z), self.channels[0], self.bottom, self.bottom))


class Critic(nn.Module):
    """Images [B, C, R, R] (and y: [B]) -> logits [B].

    width: channels after the first layer; they double towards the 4×4 map, up to 8 × width. conditioning: how the
    class enters, where there are `classes`. norm: BatchNorm, spectral normalisation of all layers in its place
    (Miyato et al. 2018, arXiv:1802.05957), or None for neither. layers: `published` are the authors' code's: filters of
    5×5, no biases in the first and the last layer.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 64,
        classes: int = 0,
        conditioning: Conditioning = "concatenation",
        norm: Norm | None = "batch",
        layers: Layers = "usual",
    ) -> None:
        super().__init__()
        stages, bottom = layers_between(shape)
        channels = [min(width * 2**i, 8 * width) for i in range(stages)]
        published = layers == "published"
        halving = (5, 2, 2) if published else (4, 2, 1)
        self.first = nn.Conv2d(shape[0], channels[0], *halving, bias=not published)
        self.told = ClassBias(channels[0], classes if conditioning == "concatenation" else 0)
        below: list[nn.Module] = [LeakyReLU(0.2)]
        for fan_in, fan_out in pairwise(channels):
            below.append(nn.Conv2d(fan_in, fan_out, *halving, bias=norm != "batch"))
            below += [nn.BatchNorm2d(fan_out), LeakyReLU(0.2)] if norm == "batch" else [LeakyReLU(0.2)]
        self.layers = nn.Sequential(*below)
        self.last = Head(channels[-1] * bottom**2, classes if conditioning == "projection" else 0, bias=not published)
        init(self)
        if self.told.embed is not None:  # a plane's sum over a kernel of N(0, 0.02²)
            nn.init.normal_(self.told.embed.weight, 0.0, 0.02 * halving[0])
        if norm == "spectral":
            spectral(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.last(self.layers(self.told(self.first(x), y)).flatten(1), y)
