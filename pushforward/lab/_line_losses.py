"""Closed forms of losses between two parallel lines, uniform on {0} × [0, 1] and {θ} × [0, 1], plain or noised."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pushforward.estimation import quadrature
from pushforward.objectives.adversarial import minimax, non_saturating
from pushforward.objectives.divergence import jensen_shannon


def mmd2_of_lines(theta: np.ndarray, h: float) -> np.ndarray:
    """MMD² of P and Q_θ under exp(−|x − y|²/2h²), which is a product: 2 E k(u, u′) (1 − exp(−θ²/2h²))."""
    along = math.sqrt(2 * math.pi) * h * math.erf(1 / (math.sqrt(2) * h)) - 2 * h * h * -math.expm1(-0.5 / h**2)
    return 2 * along * -np.expm1(-(theta**2) / (2 * h * h))


def mmd_slope(theta: float, h: float) -> float:
    """Its derivative in θ."""
    depth = float(mmd2_of_lines(np.array(1e3), h))
    return depth * theta / h**2 * math.exp(-(theta**2) / (2 * h * h))


def noised_js(theta: float, sigma: float) -> float:
    """JS of P and Q_θ after N(0, σ²I) is added to both: that of N(0, σ²) and N(θ, σ²), as the other factor is one."""

    def log_density(middle: float) -> Callable[[Tensor], Tensor]:
        return lambda x: -((x - middle) ** 2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))

    ends = sorted((0.0, theta))
    return quadrature(jensen_shannon, log_density(0), log_density(theta), ends[0] - 7 * sigma, ends[1] + 7 * sigma)


def noised_gradients(theta: float, sigma: float, n: int = 4001) -> tuple[float, float]:
    """d/dθ of the generator's minimax and −log D losses on noised lines, the critic D* = p/(p + q) held fixed.

    The mean over the noise is taken at the middles of n equally likely intervals.
    """
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    place = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    x = place + sigma * math.sqrt(2) * torch.erfinv(2 * levels - 1)
    logits = (theta**2 - 2 * theta * x) / (2 * sigma**2)  # log p/q
    grads = (
        torch.autograd.grad(g.generator(None, logits), place, retain_graph=True) for g in (minimax, non_saturating)
    )
    saturating, other = (g.item() for (g,) in grads)
    return saturating, other


def noised_theory(theta: float, sigma: float) -> tuple[float, float]:
    """What those derivatives are: d/dθ of 2 JS, and of KL(Q‖P) − 2 JS with KL = θ²/2σ² (Theorem 2.5)."""
    h = sigma / 250
    js = (noised_js(theta + h, sigma) - noised_js(theta - h, sigma)) / (2 * h)
    return 2 * js, theta / sigma**2 - 2 * js
