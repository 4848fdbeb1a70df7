"""How a network is told the class: at a critic's input, at its output, or through normalisation."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Conditioning = Literal["concatenation", "projection"]


def one_hot(y: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """Labels y [B] as [B, classes], of the type of `like`. Raises ValueError when labels are missing."""
    if y is None:
        raise ValueError(f"a network of {classes} classes needs the labels y [B], got None; give one class per example")
    return F.one_hot(y, classes).to(like.dtype)


class ClassBias(nn.Module):
    """maps [B, C, ...] + a bias of the class's own: "concatenation" of one-hot planes before a convolution.

    That is what constant planes beside the channels that the convolution before reads amount to (but at the borders),
    at no cost for their number. Mirza & Osindero 2014, arXiv:1411.1784. Without classes it returns the maps as they
    are.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(classes, channels, bias=False) if classes else None

    def forward(self, maps: Tensor, y: Tensor | None) -> Tensor:
        if self.embed is None:
            return maps
        bias = self.embed(one_hot(y, self.embed.in_features, maps))
        return maps + bias.view(*bias.shape, *[1] * (maps.dim() - 2))


class Head(nn.Module):
    """Features h [B, F] (and y [B]) -> logits [B]: b + ⟨v, h⟩, and with classes + ⟨v_y, h⟩.

    The projection of Miyato & Koyama 2018, arXiv:1802.05637, Eq. 9. Both are `nn.Linear`, so that `spectral` and an
    initialiser reach them; the class's matrix is [F, classes].
    """

    def __init__(self, features: int, classes: int = 0, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1, bias=bias)
        self.embed = nn.Linear(classes, features, bias=False) if classes else None

    def forward(self, h: Tensor, y: Tensor | None = None) -> Tensor:
        logits = self.linear(h).squeeze(1)
        if self.embed is None:
            return logits
        return logits + (self.embed(one_hot(y, self.embed.in_features, h)) * h).sum(1)


class ConditionalBatchNorm(nn.Module):
    """BatchNorm whose scale and shift are linear in c: x̂ · (1 + W c) + V c. [B, C, H, W], [B, S] -> [B, C, H, W].

    c: the class as one-hot (one scale and shift a class: Dumoulin et al. 2017, arXiv:1610.07629; Miyato & Koyama 2018),
    or any vector (BigGAN: a shared embedding and a part of z; Brock et al. 2019, arXiv:1809.11096, Appendix C). W and V
    start at 0.
    """

    def __init__(self, channels: int, size: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=eps, momentum=momentum, affine=False)
        self.scale, self.shift = nn.Linear(size, channels, bias=False), nn.Linear(size, channels, bias=False)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scale, shift = self.scale(c)[:, :, None, None], self.shift(c)[:, :, None, None]
        return self.norm(x) * (1 + scale) + shift
