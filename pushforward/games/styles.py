"""Mixing regularisation: styles of two latents in one image. Karras et al. 2019, arXiv:1812.04948, Section 3.1."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pushforward.core.game import Batch, Clock


class Styled(Protocol):
    """A generator in two parts, of whose layers the first `used` make its images, with `numbers` of noise each."""

    @property
    def used(self) -> int: ...

    @property
    def numbers(self) -> int: ...

    def mapping(self, z: Tensor, y: Tensor | None = None) -> Tensor: ...

    @property
    def synthesis(self) -> Callable[[Tensor, Tensor], Tensor]: ...


def mixed(w: Tensor, other: Tensor, crossover: Tensor) -> Tensor:
    """Styles [B, L, W]: those of `w` in the layers before each example's crossover [B], those of `other` from it on."""
    layers = torch.arange(w.shape[1], device=w.device)
    return torch.where((layers < crossover[:, None])[:, :, None], w, other)


@dataclass
class Mixing:
    """What fakes are made of, and how: G's latents of `latent` numbers, mixed with probability `probability`.

    Its two methods are the `draws` and `make` of a `Duel`.
    """

    G: Styled
    latent: int
    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(
                f"styles are mixed with a probability from 0 to 1, got {self.probability}; the paper has 0.9, 0 is off"
            )

    def draws(self, clock: Clock, n: int) -> Batch:
        """z [n, latent], maps [n, numbers], the noise; other [n, latent], crossover [n], its first layer, from 1 on."""
        z = {"z": clock.normal(n, self.latent), "maps": clock.normal(n, self.G.numbers)}
        if not self.probability:
            return z
        crossover = 1 + clock.integers(n, self.G.used - 1)
        mixes = clock.uniform(n) < self.probability
        return {**z, "other": clock.normal(n, self.latent), "crossover": crossover.where(mixes, self.G.used)}

    def styles(self, batch: Batch) -> Tensor:
        """Styles [B, L, W] of a batch of draws, and labels where it has some."""
        z, y = batch["z"], batch.get("y")
        if "other" not in batch:
            return self.G.mapping(z, y)
        w = self.G.mapping(torch.cat([z, batch["other"]]), None if y is None else torch.cat([y, y]))
        return mixed(w[: len(z)], w[len(z) :], batch["crossover"])

    def make(self, batch: Batch) -> Tensor:
        """Their images [B, C, R, R]."""
        return self.G.synthesis(self.styles(batch), batch["maps"])
