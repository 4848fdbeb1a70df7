"""The residual networks of spectral normalisation. Miyato et al. 2018, arXiv:1802.05957, Appendix B.4; with conditional
BatchNorm and a projection, Miyato & Koyama 2018, arXiv:1802.05637; with self-attention, Zhang et al. 2019,
arXiv:1805.08318. Sizes are those of the authors' code where the papers are silent, initial weights those of
spectral normalisation's (see `init`).

Nothing here is normalised: `layers.spectral` does that, for the critic or for both.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from pushforward.layers.activation import LeakyReLU
from pushforward.layers.attention import SelfAttention, halvings_to
from pushforward.layers.conditioning import ClassBias, ConditionalBatchNorm, Conditioning, Head, one_hot
from pushforward.networks import mlp
from pushforward.networks.resnet import DownBlock, FlatBlock, UpBlock, rectify
from pushforward.networks.stages import doublings


@dataclass(frozen=True)
class Form:
    """Channels for images of one side, as multiples of the width.

    smallest: side of the generator's first maps; up: of its maps, from the smallest up; down: of the critic's blocks
    that halve; flat: of those that follow and keep the side.
    """

    smallest: int
    up: tuple[int, ...]
    down: tuple[int, ...]
    flat: tuple[int, ...]


def form(shape: tuple[int, ...], pyramid: bool = False) -> Form:
    """The papers' forms for images [C, R, R]: R = 4·2^k or 6·2^k, k = 1, 2 …; raises ValueError for others.

    Up to 32×32 CIFAR-10's: all maps alike, the critic's last ones 8×8 (4×4 for 8×8 images). Beyond, channels double
    from the image down to 16 times; 48×48 is STL-10's, 64×64 and 128×128 are ImageNet's, and other sides follow that.
    pyramid: whether those up to 32×32 do too.
    """
    side = shape[-1]
    smallest = 6 if side % 3 == 0 else 4
    k = doublings(shape, smallest, least=1)
    if side <= 32 and not pyramid:
        return Form(smallest, (1,) * (k + 1), (1,) * max(1, k - 1), (1, 1))
    widths = tuple(min(2**i, 16) for i in range(k + 1))  # from the image down
    published = {48: ((1, 2, 4, 8), (16,)), 64: ((1, 2, 4, 8, 16), ())}
    down, flat = published.get(side, (widths[:k], widths[k:]))
    return Form(smallest, widths[::-1], down, flat)


def layers_of(net: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    """The convolutions and linear layers, but not those of conditional normalisation, which start at 0."""
    for child in net.children():
        if isinstance(child, nn.Conv2d | nn.Linear):
            yield child
        elif not isinstance(child, ConditionalBatchNorm):
            yield from layers_of(child)


def init(net: nn.Module, gain: float = math.sqrt(2)) -> None:
    """Weights uniform as of Glorot & Bengio 2010, `gain` times as large in 3×3 convolutions; biases 0."""
    for layer in layers_of(net):
        wide = isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
        nn.init.xavier_uniform_(layer.weight, gain if wide else 1.0)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> images [B, C, R, R] in [-1, 1].

    width, pyramid: channels of the last maps, and of those before (see `form`). classes: each has its own scales and
    shifts after the blocks' BatchNorms. attention: the largest side of maps that may attend to themselves, at most R/2;
    None for no attention.
    """

    def __init__(
        self,
        latent: int,
        shape: tuple[int, ...],
        width: int = 64,
        classes: int = 0,
        attention: int | None = None,
        pyramid: bool = False,
    ) -> None:
        super().__init__()
        plan = form(shape, pyramid)
        channels = [width * multiple for multiple in plan.up]
        self.classes, self.bottom = classes, plan.smallest
        self.first = nn.Linear(latent, channels[0] * plan.smallest**2)
        self.blocks = nn.ModuleList([UpBlock(a, b, classes) for a, b in pairwise(channels)])
        halvings = halvings_to(shape[-1], attention, len(self.blocks))
        self.attends = None if halvings is None else len(self.blocks) - halvings
        self.attention = None if self.attends is None else SelfAttention(channels[self.attends])
        self.norm = nn.BatchNorm2d(channels[-1])
        self.last = nn.Conv2d(channels[-1], shape[0], 3, padding=1)
        init(self)
        nn.init.xavier_uniform_(self.last.weight)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        c = one_hot(y, self.classes, z) if self.classes else None
        h = self.first(z).view(len(z), -1, self.bottom, self.bottom)
        for i, block in enumerate(self.blocks):
            if self.attention is not None and i == self.attends:
                h = self.attention(h)
            h = block(h, c)
        return self.last(self.norm(h).relu()).tanh()


class Critic(nn.Module):
    """Images [B, C, R, R] (and y: [B]) -> logits [B]; the last maps are summed.

    width, pyramid: channels of the first maps, and of those after (see `form`). classes, conditioning: "projection" at
    the head, or "concatenation" to the first maps of 16×16 or less. attention: as in `Generator`. wide: between a
    block's two convolutions there are as many channels as after them, as in SAGAN, and not as before. The logit has a
    bias at all sizes, in the authors' code but at 32×32.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 64,
        classes: int = 0,
        conditioning: Conditioning = "projection",
        attention: int | None = None,
        wide: bool = False,
        pyramid: bool = False,
    ) -> None:
        super().__init__()
        plan, side = form(shape, pyramid), shape[-1]
        channels = [shape[0], *[width * multiple for multiple in plan.down + plan.flat]]
        blocks: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(channels)):
            hidden = b if wide or i == 0 else a
            blocks.append(DownBlock(a, b, i == 0, hidden) if i < len(plan.down) else FlatBlock(a, b, hidden))
        self.blocks = nn.ModuleList(blocks)
        self.is_told = next((i for i in range(len(plan.down)) if side >> (i + 1) <= 16), len(plan.down) - 1)
        self.told = ClassBias(channels[self.is_told + 1], classes if conditioning == "concatenation" else 0)
        halvings = halvings_to(side, attention, len(plan.down))
        self.attends = None if halvings is None else halvings - 1
        self.attention = None if halvings is None else SelfAttention(channels[halvings])
        self.last = Head(channels[-1], classes if conditioning == "projection" else 0)
        init(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = x
        for i, block in enumerate(self.blocks):
            h = block(h)
            if self.attention is not None and i == self.attends:
                h = self.attention(h)
            if i == self.is_told:
                h = self.told(h, y)
        return self.last(rectify(h).sum((2, 3)), y)


class PointCritic(nn.Module):
    """x: [B, *shape], y: [B] -> logits [B]: a perceptron of three hidden layers of `width` units, projected."""

    def __init__(self, shape: tuple[int, ...], width: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(mlp.Critic(shape, width, depth=2, outputs=width), LeakyReLU(0.2))
        self.last = Head(width, classes)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.last(self.features(x).view(len(x), -1), y)  # one unit's come without their dimension


def pair(
    kind: str,
    latent: int,
    shape: tuple[int, ...],
    width: int,
    factor: int = 1,
    classes: int = 0,
    conditioning: Conditioning | None = None,
    pyramid: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """(G, D), as above for images [C, R, R], else perceptrons; `factor`: how much wider G for images is."""
    if kind == "images":
        D = Critic(shape, width, classes, conditioning or "projection", pyramid=pyramid)
        return Generator(latent, shape, factor * width, classes, pyramid=pyramid), D
    G = mlp.Generator(latent, shape, width, classes=classes)
    if conditioning == "projection":
        return G, PointCritic(shape, width, classes)
    return G, mlp.Critic(shape, width, classes=classes)
