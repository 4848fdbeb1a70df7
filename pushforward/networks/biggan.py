"""BigGAN: residual networks that are told the class by one shared embedding, and z in every block. Brock et al. 2019,
arXiv:1809.11096, Appendix B, Figure 15 and Tables 4 to 6; sizes below 128×128 are those of the authors' code.

Nothing here is normalised: `layers.spectral` does that, for both networks. It passes over the shared embedding, as the
authors do.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from pushforward.layers.attention import SelfAttention, halvings_to
from pushforward.layers.conditioning import ClassBias, Conditioning, Head
from pushforward.networks.resnet import DownBlock, FlatBlock, UpBlock, rectify
from pushforward.networks.sngan import Form
from pushforward.networks.stages import doublings

FORMS = {
    128: Form(4, (16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16), (16,)),
    256: Form(4, (16, 16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16), (16,)),
    512: Form(4, (16, 16, 8, 8, 4, 2, 1, 1), (1, 1, 2, 4, 8, 8, 16), (16,)),
}
"""By side; smaller ones follow a rule, see `form`."""


def form(shape: tuple[int, ...], pyramid: bool = False) -> Form:
    """Channels for images [C, R, R] of 8, 16 … 512, as multiples of the width; raises ValueError for others.

    At 64×64 they double from the image down. Up to 32×32 they do so for a `pyramid`, whose critic ends in 2 (8×8) to 8
    (32×32) times the width; otherwise they are 4 everywhere, as in the authors' code for CIFAR-10.
    """
    k, side = doublings(shape, least=1), shape[-1]
    if side == 64 or (side < 64 and pyramid):
        widths = tuple(2**i for i in range(k + 1))
        return Form(4, (widths[-1], *widths[:0:-1]), widths[:-1], widths[-1:])
    if side < 64:
        return Form(4, (4,) * (k + 1), (4,) * max(1, k - 1), (4, 4))
    if side not in FORMS:
        raise ValueError(f"BigGAN's largest images are 512×512, got {side}×{side}; choose one with --resolution")
    return FORMS[side]


def init(net: nn.Module) -> None:
    """Orthogonal weights, those of conditional normalisation and embeddings too; biases 0. Saxe et al. 2014."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(layer.weight)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


class Generator(nn.Module):
    """z: [B, latent] (and y: [B]) -> images [B, C, R, R] in [-1, 1], R = 8, 16 … 512.

    z is cut into a part for the first layer and one for each block, as equal as can be, the earlier ones larger. A
    block's BatchNorms have scales and shifts linear in its part and in the embedding of the class, which all share.

    width, pyramid: the paper's ch, and how `form` multiplies it. classes: 0 without labels, and then without the
    embedding. shared: numbers in it. attention: the largest side of maps that attend to themselves, at most R/2; None
    for none.
    """

    def __init__(
        self,
        latent: int,
        shape: tuple[int, ...],
        width: int = 96,
        classes: int = 0,
        shared: int = 128,
        attention: int | None = 64,
        pyramid: bool = False,
    ) -> None:
        super().__init__()
        channels = [width * multiple for multiple in form(shape, pyramid).up]
        self.parts = len(channels)  # of z: the first layer's, and one a block
        if latent < self.parts:
            raise ValueError(
                f"z must have a number for each of {self.parts} layers, got {latent}; "
                f"give a latent of {self.parts} or more"
            )
        sizes = [latent // self.parts + (i < latent % self.parts) for i in range(self.parts)]
        self.embed = nn.Embedding(classes, shared) if classes else None
        told = shared if classes else 0
        self.first = nn.Linear(sizes[0], 16 * channels[0])
        self.blocks = nn.ModuleList(
            [UpBlock(a, b, told + size) for (a, b), size in zip(pairwise(channels), sizes[1:], strict=True)]
        )
        halvings = halvings_to(shape[-1], attention, len(self.blocks))
        self.attends = None if halvings is None else len(self.blocks) - halvings
        self.attention = None if self.attends is None else SelfAttention(channels[self.attends])
        self.norm = nn.BatchNorm2d(channels[-1])
        self.last = nn.Conv2d(channels[-1], shape[0], 3, padding=1)
        init(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        first, *parts = z.tensor_split(self.parts, dim=1)
        told = self._embedded(y)
        h = self.first(first).view(len(z), -1, 4, 4)
        for i, (block, part) in enumerate(zip(self.blocks, parts, strict=True)):
            if self.attention is not None and i == self.attends:
                h = self.attention(h)
            h = block(h, torch.cat([*told, part], dim=1))
        return self.last(self.norm(h).relu()).tanh()

    def _embedded(self, y: Tensor | None) -> list[Tensor]:
        if self.embed is None:
            return []
        if y is None:
            raise ValueError(
                f"a network of {self.embed.num_embeddings} classes needs the labels y [B], got None; "
                "give one class per example"
            )
        return [self.embed(y)]


class Critic(nn.Module):
    """Images [B, C, R, R] (and y: [B]) -> logits [B]; the last maps are summed.

    width, attention, pyramid: as in `Generator`. classes, conditioning: "projection" at the head, or "concatenation"
    after the first block.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 96,
        classes: int = 0,
        conditioning: Conditioning = "projection",
        attention: int | None = 64,
        pyramid: bool = False,
    ) -> None:
        super().__init__()
        plan = form(shape, pyramid)
        channels = [shape[0], *[width * multiple for multiple in plan.down + plan.flat]]
        blocks: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(channels)):
            blocks.append(DownBlock(a, b, first=i == 0) if i < len(plan.down) else FlatBlock(a, b))
        self.blocks = nn.ModuleList(blocks)
        self.told = ClassBias(channels[1], classes if conditioning == "concatenation" else 0)
        self.attends = halvings_to(shape[-1], attention, len(plan.down))
        self.attention = None if self.attends is None else SelfAttention(channels[self.attends])
        self.last = Head(channels[-1], classes if conditioning == "projection" else 0)
        init(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = x
        for i, block in enumerate(self.blocks, start=1):
            h = block(h)
            if i == 1:
                h = self.told(h, y)
            if self.attention is not None and i == self.attends:
                h = self.attention(h)
        return self.last(rectify(h).sum((2, 3)), y)
