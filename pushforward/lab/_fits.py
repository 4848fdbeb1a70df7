"""A Gaussian fitted to a law of the line under an f-divergence: exact, by quadrature, with minima that are followed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, root_scalar
from torch import Tensor

from pushforward.objectives.divergence import Divergence, weighted_jensen_shannon

Floats = NDArray[np.float64]
Loss = Callable[[Tensor, Tensor], Tensor]
STEP = 0.1  # the trapezium rule is exact to rounding on analytic laws that are several steps wide
GRID = torch.arange(-260, 261, dtype=torch.float64) * STEP
FLOOR = 1e-90  # of densities: below it their ratio, and the gradient of it, would overflow
WEIGHTS = tuple((1 / (1 + np.exp(-np.linspace(-5, 5, 41)))).tolist())
HALVES = tuple(np.linspace(0.6, 5.4, 49).tolist())  # half the distance of two equal bumps, in their deviations
NODES = 1001  # of the integral over z: half as many give the same root to 1e-6


@dataclass(frozen=True)
class Fit:
    """A local minimum over (m, s), and its value."""

    m: float
    s: float
    value: float


@dataclass(frozen=True)
class Branch:
    """Minima followed along a parameter; NaN where the branch is gone."""

    m: Floats
    s: Floats
    value: Floats


def normal(x: Tensor, m: Tensor | float, s: Tensor | float) -> Tensor:
    """The density of N(m, s²), of the shape of x."""
    return torch.exp(-(((x - m) / s) ** 2) / 2) / (s * math.sqrt(2 * math.pi))


def density(x: Tensor, bumps: tuple[tuple[float, float, float], ...]) -> Tensor:
    """Of a mixture of (weight, mean, deviation), of the shape of x."""
    return sum((w * normal(x, m, s) for w, m, s in bumps), torch.zeros_like(x))


def exact(p: Tensor, divergence: Divergence, m: Tensor | float, s: Tensor | float) -> Tensor:
    """D(P‖N(m, s²)) by quadrature; p: P's density on `GRID`."""
    return divergence.between((p + FLOOR) * STEP, (normal(GRID, m, s) + FLOOR) * STEP)


def loss_of(p: Tensor, divergence: Divergence) -> Loss:
    """D(P‖N(m, s²)) of (m, s)."""
    return lambda m, s: exact(p, divergence, m, s)


def fit(loss: Loss, m: float, s: float) -> Fit:
    """The local minimum of loss(m, s) that quasi-Newton steps reach from (m, s)."""

    def value(v: Floats) -> tuple[float, Floats]:
        place = torch.tensor(v, dtype=torch.float64, requires_grad=True)
        found = loss(place[0], place[1].exp())
        if not found.isfinite():
            return 1e3, np.zeros(2)
        return found.item(), torch.autograd.grad(found, place)[0].numpy()

    limits = [(-8, 8), (math.log(0.25), math.log(8))]
    settings = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 200}
    found = minimize(value, [m, math.log(s)], jac=True, method="L-BFGS-B", bounds=limits, options=settings)
    return Fit(float(found.x[0]), math.exp(found.x[1]), float(found.fun))


def nearest(fits: list[Fit], place: Fit) -> Fit:
    """The exact local minimum that is closest in (m, log s)."""
    return min(fits, key=lambda f: math.hypot(f.m - place.m, math.log(f.s / place.s)))


def gradient(p: Tensor, divergence: Divergence, at: Fit) -> Floats:
    """Of D in (m, s)."""
    place = torch.tensor([at.m, at.s], dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(exact(p, divergence, place[0], place[1]), place)[0].numpy()


def _follow(losses: list[Loss], start: Fit, jump: float = 0.5) -> Branch:
    """A minimum from loss to loss, each started from the last; NaN from where it is lost on."""
    rows, last = [], start
    for loss in losses:
        found = fit(loss, last.m, last.s)
        if abs(found.m - last.m) > jump:
            break
        rows.append((found.m, found.s, found.value))
        last = found
    rows += [(math.nan,) * 3] * (len(losses) - len(rows))
    return Branch(*np.array(rows).T)


def _backwards(branch: Branch) -> Branch:
    return Branch(branch.m[::-1], branch.s[::-1], branch.value[::-1])


def weighted(p: Tensor, pi: float) -> Loss:
    """The weighted JS of (m, s), which goes to KL(P‖Q) as π goes to 0 and to KL(Q‖P) as it goes to 1."""
    # Divided by π(1 − π), so that both limits are divergences and not 0.
    return lambda m, s: exact(p, weighted_jensen_shannon(pi), m, s) / (pi * (1 - pi))


def along_weights(p: Tensor, covering: Fit, seeking: Fit) -> dict[str, Branch]:
    """Minima of the weighted JS from KL's fit (covering) upwards in π, and from reverse KL's (seeking) downwards."""
    losses = [weighted(p, pi) for pi in WEIGHTS]
    return {"covering": _follow(losses, covering), "seeking": _backwards(_follow(losses[::-1], seeking))}


def equal(half: float) -> Tensor:
    """On `GRID`, the density of two equal bumps of deviation 1 at −half and half."""
    return density(GRID, ((0.5, -half, 1.0), (0.5, half, 1.0)))


def along_halves(divergence: Divergence) -> dict[str, Branch]:
    """For two equal bumps of deviation 1 ever further apart: the fit in the middle, and the one on the right bump."""
    losses = [loss_of(equal(a), divergence) for a in HALVES]
    middle = _follow(losses, Fit(0.0, 1.2, 0.0))
    on_bump = _follow(losses[::-1], Fit(HALVES[-1], 1.0, 0.0))
    return {"covering": middle, "seeking": _backwards(on_bump)}


def breaks_at(branches: dict[str, Branch]) -> float:
    """Half the distance at which the bump's fit becomes the better one; NaN where it never does."""
    lead = branches["seeking"].value - branches["covering"].value
    worse = np.flatnonzero(~(lead < 0))
    k = int(worse[-1]) if len(worse) else 0
    if k + 1 >= len(lead) or not np.isfinite(lead[k]):
        return math.nan
    return float(HALVES[k] + (HALVES[k + 1] - HALVES[k]) * lead[k] / (lead[k] - lead[k + 1]))


def reverse_kl_breaks() -> float:
    """Where `breaks_at` must lie for reverse KL: the root of both fits' difference, on nodes that move with Q.

    −½ log 2πe s² − Σ w log p(m + s z) needs neither `GRID`, nor `Divergence`, nor a branch that is followed.
    """
    z = np.linspace(-9, 9, NODES)
    w = np.exp(-(z**2) / 2)
    w /= w.sum()

    def value(half: float, m: float, s: float) -> float:
        x = m + s * z
        log_p = np.logaddexp(-((x - half) ** 2) / 2, -((x + half) ** 2) / 2) - math.log(2 * math.sqrt(2 * math.pi))
        return float(-0.5 * math.log(2 * math.pi * math.e * s**2) - w @ log_p)

    def lead(half: float) -> float:
        middle = minimize(lambda v: value(half, 0, v[0]), [half], method="Nelder-Mead").fun
        aside = minimize(lambda v: value(half, v[0], v[1]), [half, 1.0], method="Nelder-Mead").fun
        return float(middle - aside)

    return float(root_scalar(lead, bracket=(2.6, 3.5), xtol=1e-6).root)
