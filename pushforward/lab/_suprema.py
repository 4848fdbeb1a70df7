"""Conjugates by plain maximisation: suprema over ratios and over slopes, found without their closed forms."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pushforward.objectives.divergence import Divergence


def _supremum(g: Callable[[Tensor], Tensor], low: float, high: float, n: int) -> tuple[Tensor, Tensor]:
    """The largest values [n] of n functions on [low, high], each rising, then falling, and their places [n].

    g: [n, points] -> [n, points]. A grid is laid over the interval, then over the best point's neighbours, and so on.
    """
    a, b = torch.full((n, 1), low, dtype=torch.float64), torch.full((n, 1), high, dtype=torch.float64)
    share = torch.linspace(0, 1, 121, dtype=torch.float64)
    best = torch.full((n, 1), -math.inf, dtype=torch.float64)
    place = a
    for _ in range(8):
        points = a + (b - a) * share
        values = g(points)
        top, at = values.max(1, keepdim=True)
        place = torch.where(top > best, points.gather(1, at), place)
        best = torch.maximum(best, top)
        step = (b - a) / 120
        a, b = (place - step).clamp(min=low), (place + step).clamp(max=high)
    return best[:, 0], place[:, 0]


def sup_over_ratios(d: Divergence, t: Tensor) -> Tensor:
    """sup over u of ut − f(u), without the closed form: t [n] -> [n]. u runs over e^−60 … e^60, and 0."""
    inside, _ = _supremum(lambda s: s.exp() * t[:, None] - d.f(s.exp()), -60, 60, len(t))
    at_zero = -d.f(torch.zeros((), dtype=torch.float64))
    return torch.maximum(inside, at_zero)


def sup_over_slopes(d: Divergence, u: Tensor) -> Tensor:
    """sup over t of ut − f*(t), from f* alone: u [n] -> [n]. t runs over all scales of the domain."""

    def slope(s: Tensor) -> Tensor:
        return d.high - (-s).exp() if math.isfinite(d.high) else s.sinh()

    return _supremum(lambda s: u[:, None] * slope(s) - d.conjugate(slope(s)), -30, 30, len(u))[0]
