"""The vision transformer that DINOv2 and CLIP share, up to where it normalises and how its neurons bend."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 64  # features of one attention head, in every published size


@dataclass(frozen=True)
class Shape:
    """What tells one vision transformer from another. outputs: of the projection at the end; None: there is none."""

    width: int
    depth: int
    patch: int
    grid: int  # patches along a side
    hidden: int
    eps: float
    outputs: int | None = None
    normalised_first: bool = False  # CLIP: a layer norm before the first block
    quick: bool = False  # CLIP: x σ(1.702 x) for GELU


class Block(nn.Module):
    """x [B, T, W] + attention, then + a two-layer network, each of the normalised x."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        w = shape.width
        self.quick = shape.quick
        self.norm1, self.norm2 = nn.LayerNorm(w, shape.eps), nn.LayerNorm(w, shape.eps)
        self.qkv, self.out = nn.Linear(w, 3 * w), nn.Linear(w, w)
        self.up, self.down = nn.Linear(w, shape.hidden), nn.Linear(shape.hidden, w)

    def forward(self, x: Tensor) -> Tensor:
        b, t, w = x.shape
        # [B, T, 3W] -> 3 × [B, heads, T, 64]
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, w // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, w))
        h = self.up(self.norm2(x))
        return x + self.down(h * torch.sigmoid(1.702 * h) if self.quick else F.gelu(h))


class ViT(nn.Module):
    """x [B, 3, S, S], S = grid · patch, to the normalised, and if asked projected, class token [B, W]; no logits.

    Dosovitskiy et al. 2020, arXiv:2010.11929, §3.1.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, w = shape, shape.width
        self.patches = nn.Conv2d(3, w, shape.patch, shape.patch)
        self.token = nn.Parameter(torch.empty(w))
        self.position = nn.Parameter(torch.empty(1 + shape.grid**2, w))
        self.first = nn.LayerNorm(w, shape.eps) if shape.normalised_first else nn.Identity()
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.depth)))
        self.norm = nn.LayerNorm(w, shape.eps)
        self.project = nn.Identity() if shape.outputs is None else nn.Linear(w, shape.outputs, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        tokens = self.patches(x).flatten(2).mT  # [B, W, g, g] -> [B, g², W]
        tokens = torch.cat([self.token.expand(len(x), 1, -1), tokens], 1) + self.position
        return self.project(self.norm(self.blocks(self.first(tokens))[:, 0])), None


def built(shape: Shape, tensors: dict[str, Tensor]) -> ViT:
    """The network of this shape with these values, by the names of this file, in eval mode; nothing is drawn."""
    with torch.device("meta"):
        network = ViT(shape)
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def depth_of(tensors: dict[str, Tensor], prefix: str) -> int:
    """How many blocks there are: one more than the largest number after `prefix`; 0 if there is none."""
    numbers = [name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)]
    return max((int(number) + 1 for number in numbers if number.isdigit()), default=0)
