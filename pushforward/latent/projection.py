"""Projection: the code whose image comes nearest to a given one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.game import Generate
from pushforward.latent.generators import BATCH, root_mean_square

Distance = Callable[[Tensor, Tensor], Tensor]
"""(images [N, C, H, W], target [1, C, H, W]) -> [N], differentiable in the images, 0 for equal ones."""


@dataclass(frozen=True)
class Projection:
    """The best code [...] found, its label or None, and its image [C, H, W].

    distance: of the image to the target; start: the least of the codes that the search began with. rms: root mean
    square difference of pixels, which go from -1 to 1. restarts: final distances [R], each from a start of its own.
    """

    code: Tensor
    label: int | None
    image: Tensor
    distance: float
    start: float
    rms: float
    restarts: Tensor


def pixels(x: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of pixels, [N]."""
    return (x - target).square().flatten(1).mean(1)


@dataclass(frozen=True)
class Perceptual:
    """Mean squared difference of pixels, and of activations after each of the stages that are applied in turn.

    Activations are brought to length 1 over channels at each place; squares are summed over channels, averaged over
    places, and summed over stages. Zhang et al. 2018, arXiv:1801.03924, Eq. 1, all weights 1.
    stages: of a frozen network on images [N, C, H, W]; side: larger images are averaged down to it before.
    """

    stages: Sequence[nn.Module]
    side: int

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        total = pixels(x, target)
        for a, b in zip(self._activations(x), self._activations(target), strict=True):
            total = total + (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean((1, 2))
        return total

    def _activations(self, x: Tensor) -> list[Tensor]:
        h, w = x.shape[2:]
        if max(h, w) > self.side:
            x = F.adaptive_avg_pool2d(x, (min(h, self.side), min(w, self.side)))
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


@torch.no_grad()
def nearest(
    generate: Generate,
    target: Tensor,
    codes: Tensor,
    y: Tensor | None = None,
    *,
    n: int = 8,
    distance: Distance = pixels,
    batch: int = BATCH,
) -> Tensor:
    """Places [n] of the codes [N, ...] (with labels y [N]) whose images are nearest to target [C, H, W], in order."""
    parts = []
    for i in range(0, len(codes), batch):
        images = generate(codes[i : i + batch], None if y is None else y[i : i + batch])
        parts.append(distance(images, target[None]))
    return torch.cat(parts).argsort()[:n]


def project(
    generate: Generate,
    target: Tensor,
    starts: Tensor,
    y: Tensor | None = None,
    *,
    distance: Distance = pixels,
    steps: int = 300,
    lr: float = 0.1,
) -> Projection:
    """Adam on the codes starts [R, ...] (with labels y [R]) at once, towards target [C, H, W]; the best of all.

    generate: differentiable. The rate rises over the first twentieth and falls over the last quarter, along a cosine,
    as StyleGAN2's projector has it (Karras et al. 2020, arXiv:1912.04958, Appendix D).
    Differs from the paper: several starts; no noise on the codes, and noise inputs stay as they are.
    Raises ValueError for a target of another shape, or no steps.
    """
    if steps < 1 or lr <= 0:
        raise ValueError(f"a search takes 1 step at least and a positive rate, got {steps} and {lr}")
    codes = starts.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([codes], lr=lr)
    first = torch.empty(0)
    with torch.enable_grad():
        for step in range(steps):
            images = generate(codes, y)
            if images.shape[1:] != target.shape:
                own, got = tuple(images.shape[1:]), tuple(target.shape)
                raise ValueError(f"the generator makes images {own}, got a target {got}; resize it")
            values = distance(images, target[None])
            first = values.detach() if step == 0 else first
            optimizer.param_groups[0]["lr"] = lr * _ramp(step / steps)
            (codes.grad,) = torch.autograd.grad(values.sum(), codes)
            optimizer.step()
    with torch.no_grad():
        images = generate(codes, y)
        last = distance(images, target[None])
    best = int(last.argmin())
    return Projection(
        codes[best].detach().cpu(),
        None if y is None else int(y[best]),
        images[best].float().cpu(),
        float(last[best]),
        float(first.min()),
        float(root_mean_square(images[best] - target)),
        last.cpu(),
    )


def _ramp(t: float) -> float:
    return min(1.0, t / 0.05) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / 0.25))) if t else 1 / 50
