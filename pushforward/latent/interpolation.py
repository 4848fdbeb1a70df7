"""Paths between codes, and how evenly the images change along them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.core.game import Generate
from pushforward.latent.generators import over_paths, root_mean_square

Path = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(a [N, ...], b [N, ...], t [T] in [0, 1]) -> codes [N, T, ...] from a to b."""


@dataclass(frozen=True)
class Interpolation:
    """images: [N, T, C, H, W]. steps: root mean square difference of each image to the next [N, T − 1]."""

    images: Tensor
    steps: Tensor

    @property
    def jump(self) -> Tensor:
        """The largest step over the mean one, [N]: 1 for even changes, T − 1 where all changes at once."""
        return self.steps.amax(1) / self.steps.mean(1).clamp_min(1e-12)


def linear(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 − t) a + t b: [N, ...], [N, ...], [T] -> [N, T, ...].

    The middle of two normal latents in many dimensions is shorter than either by √2, as hardly a latent is.
    """
    t = _beside(t, a)
    return torch.lerp(a[:, None], b[:, None], t)


def spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(sin((1 − t) Ω) a + sin(t Ω) b) / sin Ω, Ω the angle of a and b: [N, ...], [N, ...], [T] -> [N, T, ...].

    Of codes of equal length, an arc that keeps it. Codes on one line through 0 have no arc: they go straight.
    Shoemake 1985, SIGGRAPH '85, p. 245; for latents: White 2016, arXiv:1609.04468, Section 2.1.
    """
    angle = torch.acos(torch.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1))
    angle, t_ = angle.view(-1, 1, *[1] * (a.dim() - 1)), _beside(t, a)
    arc = (torch.sin((1 - t_) * angle) * a[:, None] + torch.sin(t_ * angle) * b[:, None]) / torch.sin(angle)
    return torch.where(torch.sin(angle) > 1e-3, arc, linear(a, b, t))


def interpolate(
    generate: Generate, a: Tensor, b: Tensor, y: Tensor | None = None, *, steps: int = 9, path: Path = spherical
) -> Interpolation:
    """Images along a path from each code a [N, ...] to b [N, ...], both ends among them; y: [N] labels or None."""
    if steps < 2:
        raise ValueError(f"a path needs 2 steps at least, its ends, got {steps}; give more")
    images = over_paths(generate, path(a, b, torch.linspace(0, 1, steps, device=a.device)), y)
    return Interpolation(images, root_mean_square(images.diff(dim=1)))


def _beside(t: Tensor, a: Tensor) -> Tensor:
    """t [T] as [1, T, 1, ...], to go with codes [N, T, ...]."""
    return t.to(a).view(1, -1, *[1] * (a.dim() - 1))
