"""What the tools ask of a generator: codes in, images out; and the style space of those that have one."""

from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn

from pushforward.core.game import Generate

BATCH = 250


@runtime_checkable
class Styled(Protocol):
    """A generator in two parts: z to styles w, a row a layer, and styles to images. Karras et al. 2019, Figure 1b."""

    def mapping(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z [B, Z] (and y [B]) -> w [B, L, W]."""
        ...

    def synthesis(self, w: Tensor) -> Tensor:
        """w [B, L, W] -> images [B, C, R, R]."""
        ...


def is_styled(network: nn.Module | None) -> TypeGuard[Styled]:
    """Whether the network has a style space."""
    return isinstance(network, Styled)


@torch.no_grad()
def made(generate: Generate, codes: Tensor, y: Tensor | None = None, batch: int = BATCH) -> Tensor:
    """Images of codes [N, ...] (and labels y [N]), a part at a time: float32 [N, C, H, W] on the CPU."""
    parts = []
    for i in range(0, len(codes), batch):
        labels = None if y is None else y[i : i + batch]
        parts.append(generate(codes[i : i + batch], labels).float().cpu())
    return torch.cat(parts).contiguous()


@torch.no_grad()
def styles(G: Styled, z: Tensor, y: Tensor | None = None, batch: int = BATCH) -> Tensor:
    """Styles [N, L, W] of latents z [N, Z] (and labels y [N]), a part at a time."""
    return torch.cat([G.mapping(z[i : i + batch], None if y is None else y[i : i + batch]) for i in _steps(z, batch)])


def from_styles(G: Styled) -> Generate:
    """What makes images of styles; labels have done their part in the mapping."""

    def generate(z: Tensor, y: Tensor | None = None) -> Tensor:
        return G.synthesis(z)

    return generate


def depth_of(G: Styled, styles: Tensor) -> int:
    """How many of the styles [N, L, Z] an image takes: a generator that has not grown to its end leaves some out."""
    return int(getattr(G, "used", styles.shape[1]))


def broadcast(generate: Generate, layers: int) -> Generate:
    """What takes one style for all layers, [N, 1, W], where `generate` takes [N, layers, W]."""

    def once(z: Tensor, y: Tensor | None = None) -> Tensor:
        return generate(z.expand(-1, layers, -1), y)

    return once


def over_paths(generate: Generate, codes: Tensor, y: Tensor | None = None) -> Tensor:
    """Images [N, T, C, H, W] of codes [N, T, ...], those of one row with one label y [N]."""
    n, t = codes.shape[:2]
    labels = None if y is None else y.repeat_interleave(t)
    return made(generate, codes.flatten(0, 1), labels).unflatten(0, (n, t))


def root_mean_square(x: Tensor) -> Tensor:
    """√ of the mean square over a picture: [..., C, H, W] -> [...]; images go from -1 to 1, so that 2 is the most."""
    return x.flatten(-3).square().mean(-1).sqrt()


def _steps(x: Tensor, batch: int) -> range:
    return range(0, len(x), batch)
