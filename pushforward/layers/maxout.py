"""Maxout: a unit is the largest of several linear pieces. Goodfellow et al. 2013, arXiv:1302.4389, Section 2."""

from torch import Tensor, nn


class Maxout(nn.Module):
    """x: [B, D] -> [B, units], each the largest of `pieces` affine functions of x. Raises ValueError for no pieces."""

    def __init__(self, features: int, units: int, pieces: int = 5) -> None:
        super().__init__()
        if pieces < 1:
            raise ValueError(f"a maxout unit is the largest of 1 or more pieces, got {pieces}; 5 are usual")
        self.pieces = pieces
        self.linear = nn.Linear(features, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, self.pieces)).amax(2)
