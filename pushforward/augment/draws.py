"""Where an augmentation's random numbers come from."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Numbers(Protocol):
    """A stream of random numbers, such as a game's clock; the first dimension is the batch."""

    def uniform(self, n: int, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), [n, *shape]."""
        ...

    def normal(self, n: int, *shape: int) -> Tensor:
        """Standard normal numbers [n, *shape]."""
        ...


@dataclass(frozen=True)
class GlobalNumbers:
    """Numbers from torch's global generator of a device."""

    device: torch.device

    def uniform(self, n: int, *shape: int) -> Tensor:
        return torch.rand(n, *shape, device=self.device)

    def normal(self, n: int, *shape: int) -> Tensor:
        return torch.randn(n, *shape, device=self.device)


def whole(u: Tensor, low: int, high: int) -> Tensor:
    """Uniform u in [0, 1) -> uniform whole numbers from low to high, both included, int64."""
    return (u * (high - low + 1)).floor().long() + low


def checked(draws: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    """Draws in the precision of x [B, C, H, W]. Raises ValueError where they are for another number of images."""
    for name, value in draws.items():
        if len(value) != len(x):
            raise ValueError(
                f"each image needs its own draws, got {name!r} for {len(value)} images and {len(x)} images; "
                "cut both alike"
            )
    return {name: value.to(x.dtype) for name, value in draws.items()}
