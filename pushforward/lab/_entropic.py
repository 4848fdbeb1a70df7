"""Entropic transport where theory knows it: plans between histograms and between Gaussians, Sinkhorn divergences."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pushforward.lab._finding import Number
from pushforward.lab._laws import LineMixture
from pushforward.objectives.sinkhorn import entropic_plan, sinkhorn_divergence

Floats = NDArray[np.float64]
SHOWN_EPSILONS = (100.0, 3.0, 0.3, 0.03)
EPSILONS = tuple(np.geomspace(0.05, 500, 13).tolist())
FIRST, SECOND = (-0.5, 0.5), (0.5, 1.5)  # means and deviations of the two Gaussians whose entropic plan is known
POINTS = 128  # equal masses that stand for each of them


@dataclass(frozen=True)
class Blurred:
    """What was computed. plans: between two histograms on x [N], [N, N] for each of `SHOWN_EPSILONS`.

    Between the two Gaussians, for each of `EPSILONS`: the covariance of the plan, and the Sinkhorn divergence for
    p = 1 and 2.
    """

    x: Floats
    plans: list[Floats]
    covariances: list[float]
    divergences: dict[int, list[float]]


def blurred(x: Floats, p: Floats, q: Floats) -> tuple[Blurred, list[Number]]:
    """Plans between the masses p and q on the grid x [N], and between the two Gaussians; and what must hold."""
    plans = [_plan(x, p, q, e) for e in SHOWN_EPSILONS]
    grid = np.linspace(-9, 9, 145)
    laws = [LineMixture((m,), (s,)).prob(torch.from_numpy(grid)).numpy() for m, s in (FIRST, SECOND)]
    moved = []
    for e in EPSILONS:
        plan = _plan(grid, laws[0], laws[1], e)
        moved.append(float((grid - FIRST[0]) @ plan @ (grid - SECOND[0])))
    a, b = _points(FIRST), _points(SECOND)
    divergences = {p: [float(sinkhorn_divergence(a, b, e, p)) for e in EPSILONS] for p in (1, 2)}
    known = [gaussian_covariance(FIRST[1], SECOND[1], e) for e in EPSILONS]
    closed = [gaussian_sinkhorn(FIRST, SECOND, e) for e in EPSILONS]
    wrong = max(abs(m - k) for m, k in zip(moved, known, strict=True))
    apart = max(abs(m / k - 1) for m, k in zip(divergences[2], closed, strict=True))
    numbers = [
        Number(
            "covariance of entropic plans: largest error over all ε",
            wrong,
            0.0,
            1e-5,
            why="√(s₁²s₂² + ε²/16) − ε/4 between Gaussians; slack: the grid's ends, at 5.7 deviations",
        ),
        Number(
            "Sinkhorn divergence, p = 2: largest relative error over all ε",
            apart,
            0.0,
            1e-3,
            why=f"closed form between Gaussians; slack: {POINTS} points stand for each, and have no tails",
        ),
        Number(
            f"Sinkhorn divergence, p = 1, at ε = {EPSILONS[-1]:.0f}",
            divergences[1][-1],
            half_energy(),
            2e-3 * half_energy(),
            why="half the energy distance of two Gaussians; slack: the same points",
        ),
    ]
    return Blurred(x, plans, moved, divergences), numbers


def _plan(x: Floats, p: Floats, q: Floats, epsilon: float) -> Floats:
    """Of least Σ mass |x − y|² + ε KL between two histograms on one grid, to nine digits."""
    costs, a, b = (torch.from_numpy(v) for v in ((x[:, None] - x) ** 2, p, q))
    return entropic_plan(costs, epsilon, a, b, tolerance=1e-9, limit=20_000).numpy()


def gaussian_covariance(s1: float, s2: float, epsilon: float) -> float:
    """Of the entropic plan between two Gaussians on a line: √(s₁²s₂² + ε²/16) − ε/4.

    The plan is exp((u(x) + v(y) − (x − y)²)/ε), a Gaussian whose inverse covariance has −2/ε off its diagonal, so
    that C/(s₁²s₂² − C²) = 2/ε. Janati et al. 2020, arXiv:2006.02572, Theorem 1.
    """
    return math.sqrt((s1 * s2) ** 2 + epsilon**2 / 16) - epsilon / 4


def gaussian_sinkhorn(first: tuple[float, float], second: tuple[float, float], epsilon: float) -> float:
    """S_ε for |x − y|² between two Gaussians on a line, (mean, deviation) each, in closed form."""

    def cost(a: tuple[float, float], b: tuple[float, float]) -> float:
        c = gaussian_covariance(a[1], b[1], epsilon)
        entropy = -math.log1p(-((c / (a[1] * b[1])) ** 2)) / 2  # KL(plan ‖ product)
        return (a[0] - b[0]) ** 2 + a[1] ** 2 + b[1] ** 2 - 2 * c + epsilon * entropy

    return cost(first, second) - (cost(first, first) + cost(second, second)) / 2


def _points(law: tuple[float, float]) -> torch.Tensor:
    """POINTS equal masses [POINTS, 1] with the law's mean and deviation."""
    z = LineMixture((0.0,), (1.0,)).quantiles(POINTS)
    return (law[0] + law[1] * z / z.std(correction=0))[:, None]


def folded(mean: float, deviation: float) -> float:
    """E|X| of a Gaussian X."""
    t = mean / (deviation * math.sqrt(2))
    return deviation * math.sqrt(2 / math.pi) * math.exp(-t * t) + mean * math.erf(t)


def half_energy() -> float:
    """E|X − Y| − ½ E|X − X′| − ½ E|Y − Y′| of the two Gaussians."""
    (m1, s1), (m2, s2) = FIRST, SECOND
    return folded(m1 - m2, math.hypot(s1, s2)) - (s1 + s2) / math.sqrt(math.pi)
