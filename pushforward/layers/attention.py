"""Self-attention over the places of an image. Zhang et al. 2019, arXiv:1805.08318 (SAGAN), Section 3."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x + γ · W_o softmax(q kᵀ) v over all places. [B, C, H, W] -> the same, for even H and W.

    q and k have C/8 numbers a place (at least one) and v C/2, each linear in x without bias; k and v are max-pooled
    2×2, a quarter of the places for a quarter of the work: so the authors' code (and BigGAN's), where the paper has
    C/8 for v too and does not pool. γ starts at 0, so that the layer begins as the identity. Without the scale 1/√d of
    transformers. The four are `nn.Linear`, 1×1 convolutions as matrix products, so that `spectral` and an initialiser
    reach them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        keys, values = max(channels // 8, 1), max(channels // 2, 1)
        self.query, self.key = nn.Linear(channels, keys, bias=False), nn.Linear(channels, keys, bias=False)
        self.value, self.out = nn.Linear(channels, values, bias=False), nn.Linear(values, channels, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            raise ValueError(
                f"keys and values are pooled 2×2, got maps of {height}×{width}; put attention at a stage of even sides"
            )
        places = x.movedim(1, -1)  # [B, H, W, C]
        queries = self.query(places).flatten(1, 2)  # [B, HW, C/8]
        keys, values = _pooled(self.key(places)), _pooled(self.value(places))  # [B, HW/4, C/8], [B, HW/4, C/2]
        # Not `scaled_dot_product_attention`, whose fast forms can't be differentiated twice, as penalties must.
        attended = (queries @ keys.mT).softmax(2) @ values  # [B, HW, C/2]
        return x + self.gamma * self.out(attended).unflatten(1, (height, width)).movedim(-1, 1)


def _pooled(maps: Tensor) -> Tensor:
    """The largest of each 2×2. [B, H, W, C] -> [B, HW/4, C]."""
    return F.max_pool2d(maps.movedim(-1, 1), 2).movedim(1, -1).flatten(1, 2)


def halvings_to(side: int, largest: int | None, most: int) -> int | None:
    """How often to halve `side` to come to the maps that attend: the largest of side/2 or less, and of `largest`.

    most: how often the network halves. None for `largest` None. Raises ValueError where no maps are small enough.
    """
    if largest is None:
        return None
    found = next((n for n in range(1, most + 1) if side >> n <= largest), None)
    if found is None:
        smallest = side >> most
        raise ValueError(
            f"attention needs maps to attend to, got a side of {largest} or less where the smallest is "
            f"{smallest}; choose {smallest} or more, or None"
        )
    return found
