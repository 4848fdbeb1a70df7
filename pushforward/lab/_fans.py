"""Figures of one divergence: f above its tangents, and f* above the lines that touch it, with maxima found."""

import math

import numpy as np
import torch
from torch import Tensor

from pushforward.lab._suprema import sup_over_ratios
from pushforward.objectives.divergence import Divergence
from pushforward.report.charts import Figure, axes, curve


def window(d: Divergence) -> tuple[Tensor, Tensor]:
    """Ratios and slopes to be shown: u [301] from 0 to 3, t [301] from below f′(0.2) to f′(3), or the domain's end."""
    u = torch.linspace(0, 3, 301, dtype=torch.float64)
    low, high = d.derivative(torch.tensor([0.2, 3.0], dtype=torch.float64)).tolist()
    room = 0.15 * (high - low)
    return u, torch.linspace(low - room, min(high + room, d.high), 301, dtype=torch.float64)


def finite(y: Tensor, below: float) -> np.ndarray:
    """For a curve: a gap where it is not finite, or above what is shown."""
    return torch.where(y.isfinite() & (y <= below), y, math.nan).numpy()


def fan_traces(d: Divergence, n: int) -> tuple[list[Figure], tuple[float, float]]:
    """f over n tangents; and what of the vertical axis to show."""
    u, _ = window(d)
    at = torch.linspace(0.2, 2.8, n, dtype=torch.float64)
    t = d.derivative(at)
    lines = at.new_tensor([0.0, 3.0])[:, None] * t - d.conjugate(t)  # [2, n]
    y = d.f(u)
    inner = y[(u > 0.1) & y.isfinite()]
    spread = (inner.max() - inner.min()).item()
    low, high = inner.min().item() - 0.6 * spread, inner.max().item() + 0.08 * spread
    x = [v for _ in range(n) for v in (0, 3, None)]
    fan = [v for a, b in lines.T.tolist() for v in (a, b, None)]
    return [
        curve(x, fan, "tangents", "@c1/0.55", width=1.2),
        curve(u.numpy(), finite(y, high + spread), "f(u)", "@c0", width=2.6),
    ], (low, high)


def dual(d: Divergence, tangents: int) -> Figure:
    """f* over lines of as many ratios, with maxima found by search."""
    _, t = window(d)
    at = torch.linspace(0.2, 2.8, tangents, dtype=torch.float64)
    ends = t[[0, -1]]
    lines = ends[:, None] * at - d.f(at)
    y = d.conjugate(t)
    inner = y[y.isfinite()]
    low, high = inner.min().item(), min(inner.max().item(), d.conjugate(d.derivative(at[-1:])).item() * 1.6 + 0.3)
    found = t[:-1:12]  # not the domain's end, where the supremum may be at u = ∞
    layout = axes("slope t", "f*(t)")
    layout["yaxis"]["range"] = [low - 0.5 * (high - low), high + 0.05 * (high - low)]
    x = [v for _ in range(len(at)) for v in (*ends.tolist(), None)]
    fan = [v for a, b in lines.T.tolist() for v in (a, b, None)]
    u0 = torch.tensor(2.0, dtype=torch.float64)
    return {
        "data": [
            curve(x, fan, "lines ut − f(u)", "@c1/0.55", width=1.2),
            curve(t.numpy(), finite(y, high * 2 + 1), "f*(t)", "@c0", width=2.6),
            crosses(found, sup_over_ratios(d, found), "by maximisation"),
            curve(ends.numpy(), (ends * u0 - d.f(u0)).numpy(), "the one of u = 2", "@c3", width=2),
        ],
        "layout": layout,
    }


def crosses(x: Tensor, y: Tensor, name: str, size: float = 7) -> Figure:
    """Thin crosses at x [n], y [n]; none where y is not finite."""
    place = {"x": x.numpy(), "y": torch.where(y.isfinite(), y, math.nan).numpy()}
    return {
        "type": "scatter",
        "mode": "markers",
        **place,
        "name": name,
        "marker": {"color": "@ink", "size": size, "symbol": "x-thin", "line": {"color": "@ink", "width": 1.4}},
        "hoverinfo": "skip",
    }
