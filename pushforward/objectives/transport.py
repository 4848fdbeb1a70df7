"""Optimal transport between samples: exact distances and plans, points on a line, slices, and Gaussians.

Exact: `exact_wasserstein`, `transport_plan`, `line_cost` (points on a line), `gaussian_wasserstein2` (Gaussians).
An approximation: `sliced_cost`, the mean over projections on lines; another is in `sinkhorn`. A *cost* is W_p^p: the
p-th root has no derivative where two samples meet, so that losses are costs and *distances* are for reading.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from pushforward.core.seeding import torch_generator
from pushforward.objectives.matching import cheapest_matching

Floats = NDArray[np.float64]
Points = Tensor | NDArray[Any]

PIVOTS = 1 << 40  # of the network simplex: a bound that no problem which fits in memory reaches
TOLERANCE = 1e-10  # of the largest mass, and of the largest cost
SHARE = 1e-9  # of the plan's own cost: what its duals may miss it by
ROUNDING = 1e-6  # of that cost too: what the proof may miss it by, where the duals are much larger
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Plan:
    """`mass[k]` goes from x[rows[k]] to y[columns[k]]; the masses add up to 1. Sparse: at most N + M − 1 are not 0.

    cost: Σ mass |x − y|^p, which is W_p^p.
    """

    rows: NDArray[np.integer]
    columns: NDArray[np.integer]
    mass: Floats
    cost: float
    p: float
    shape: tuple[int, int]

    @property
    def distance(self) -> float:
        """W_p."""
        return self.cost ** (1 / self.p)

    def dense(self) -> Floats:
        """The plan as a matrix [N, M]."""
        matrix = np.zeros(self.shape)
        np.add.at(matrix, (self.rows, self.columns), self.mass)
        return matrix

    def marginals(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The masses that leave each x [N] and that reach each y [M]."""
        n, m = self.shape
        return np.bincount(self.rows, self.mass, n), np.bincount(self.columns, self.mass, m)


def exact_wasserstein(
    x: Points, y: Points, p: float = 2.0, *, a: Points | None = None, b: Points | None = None
) -> float:
    """W_p = (min over plans of Σ mass |x_i − y_j|^p)^(1/p), Euclidean; see `transport_plan` for what may be given.

    W_p between samples depends on their sizes even for equal laws: give N, and real against real beside it.
    """
    return transport_plan(x, y, p, a=a, b=b).distance


def transport_plan(x: Points, y: Points, p: float = 2.0, *, a: Points | None = None, b: Points | None = None) -> Plan:
    """A cheapest way to move the sample x [N, D] onto the sample y [M, D], p >= 1; masses a [N], b [M] or equal ones.

    In float64; but for rounding at most 1e-9 above the least, relative to that cost: a matching where N = M without
    masses (2 to 6 s for 5,000 points, Gaussian or in clusters, under 250 MiB), the monotone plan where D = 1, and else
    POT's network simplex on the matrix of costs (six matrices [N, M] of memory). Marginals are checked, and duals prove
    the simplex's cost, with rounding of 1e-6 of it at most: a solver that stopped early is an error, and so are groups
    so far apart that rounding would be more (p = 2, equal masses: 1e5 times as far as wide). Masses are scaled to add
    up to 1.
    Raises ValueError for other shapes, values that are not finite, costs of 1e300 and more, p < 1 or masses that are no
    masses; RuntimeError where no optimum is proved.
    Peyré & Cuturi 2019, arXiv:1803.00567, Section 3; Bonneel et al. 2011, ACM Trans. Graph. 30, p. 158.
    """
    u, v = _points(x, "x"), _points(y, "y")
    if u.shape[1] != v.shape[1]:
        raise ValueError(f"x and y must have as many coordinates, got {u.shape[1]} and {v.shape[1]}")
    _checked_power(p)
    _checked_reach(u, v, p)
    mu, nu = _masses(a, len(u), "a"), _masses(b, len(v), "b")
    if len(u) == len(v) and a is None and b is None:
        rows = np.arange(len(u))
        columns, mass = cheapest_matching(u, v, p) if u.shape[1] > 1 else _ranked(u[:, 0], v[:, 0]), mu
    elif u.shape[1] == 1:
        rows, columns, mass = _monotone(u[:, 0], v[:, 0], mu, nu)
    else:
        rows, columns, mass = _simplex(u, v, p, mu, nu)
    cost = float(mass @ np.linalg.norm(u[rows] - v[columns], axis=1) ** p)
    plan = Plan(rows, columns, mass, cost, p, (len(u), len(v)))
    wrong = max(float(np.abs(m - w).max()) for m, w in zip(plan.marginals(), (mu, nu), strict=True))
    if not wrong <= TOLERANCE * max(mu.max(), nu.max()) or mass.min() < 0:
        raise RuntimeError(f"the plan's marginals must be the masses given, got them wrong by {wrong:.3g}; report this")
    return plan


def line_cost(x: Tensor, y: Tensor, p: float = 2.0) -> Tensor:
    """W_p^p = ∫ |F⁻¹(t) − G⁻¹(t)|^p dt of samples on a line, exact for any sizes, differentiable.

    x: [..., N], y: [..., M], floating point, p >= 1. Returns [...]. ValueError for integers, empty samples or p < 1.
    Peyré & Cuturi 2019, arXiv:1803.00567, Section 2.6 (one dimension).
    """
    _checked_power(p)
    if not (x.is_floating_point() and y.is_floating_point()):
        raise ValueError(f"samples on a line must be floating point, got {x.dtype} and {y.dtype}; use .double()")
    n, m = x.shape[-1], y.shape[-1]
    if n == 0 or m == 0:
        raise ValueError(f"both samples need at least 1 point, got {n} and {m}")
    x, y = x.sort(-1).values, y.sort(-1).values
    if n == m:
        return _power(x - y, p).mean(-1)
    # Both quantile functions are constant between multiples of 1/n and 1/m: in units of 1/nm all of them are whole.
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    width = torch.from_numpy(np.diff(ends, prepend=0) / (n * m)).to(x)
    i, j = (torch.from_numpy((ends - 1) // k).to(x.device) for k in (m, n))
    return (_power(x[..., i] - y[..., j], p) * width).sum(-1)


def unit_directions(d: int, count: int, *key: int | str, device: torch.device | str = "cpu") -> Tensor:
    """Directions [count, d] uniform on the sphere; the same for the same key."""
    theta = torch.randn(count, d, generator=torch_generator("directions", *key, device=device), device=device)
    return theta / torch.linalg.vector_norm(theta, dim=1, keepdim=True)


def sliced_costs(x: Tensor, y: Tensor, directions: Tensor, p: float = 2.0) -> Tensor:
    """W_p^p of the two samples' projections on each direction, differentiable.

    x: [N, D], y: [M, D], directions: [K, D] of length 1. Returns [K]. Their mean estimates `sliced_cost`'s integral
    without bias, and their standard deviation over √K is its standard error. In float32 at least, under autocast too.
    """
    same_width(x, y)
    if directions.ndim != 2 or directions.shape[1] != x.shape[1] or len(directions) == 0:
        raise ValueError(f"directions must be [K, {x.shape[1]}], K >= 1, got {tuple(directions.shape)}")
    precise = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    x, y, theta = x.to(precise), y.to(precise), directions.to(x.device, precise)
    with torch.autocast(x.device.type, enabled=False):
        return line_cost(theta @ x.T, theta @ y.T, p)


def sliced_cost(x: Tensor, y: Tensor, p: float = 2.0, *, directions: int = 128, seed: int = 0) -> Tensor:
    """SW_p^p, the mean over directions θ of W_p^p between the projections ⟨θ, x⟩ and ⟨θ, y⟩: a scalar, differentiable.

    Not W_p^p but a lower bound of it, a metric of its own: a shift by s costs E|⟨θ, s⟩|^p, which is |s|²/D for p = 2.
    x: [N, D], y: [M, D]. Monte Carlo over as many directions as asked, drawn from the seed: another seed for each
    step where it is a loss; `sliced_costs` gives the standard error.
    Bonneel et al. 2015, J. Math. Imaging Vis. 51, p. 22; Rabin et al. 2011.
    """
    same_width(x, y)
    if directions < 1:
        raise ValueError(f"directions must be at least 1, got {directions}; 128 are usual")
    return sliced_costs(x, y, unit_directions(x.shape[1], directions, seed, device=x.device), p).mean()


def gaussian_wasserstein2(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """W_2² = |m₁ − m₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½) of two Gaussians: a scalar in float64, differentiable.

    Means: [D]; covariances: [D, D], symmetric and positive definite, as its gradient needs; else ValueError. The last
    trace is the sum of the singular values of L₁ᵀL₂, Σ = L Lᵀ, whose gradient exists where eigenvalues meet too.
    Dowson & Landau 1982, J. Multivariate Anal. 12, Eq. 4; Peyré & Cuturi 2019, arXiv:1803.00567, Section 2.6.
    """
    d = len(mean1)
    shapes = [tuple(t.shape) for t in (mean1, cov1, mean2, cov2)]
    if shapes != [(d,), (d, d), (d,), (d, d)]:
        raise ValueError(f"Gaussians need means [D] and covariances [D, D], got the shapes {shapes}")
    for name, given in zip(("mean1", "cov1", "mean2", "cov2"), (mean1, cov1, mean2, cov2), strict=True):
        if not bool(torch.isfinite(given).all()):
            raise ValueError(f"{name} must be finite, got NaN or inf; look at where it was estimated")
    factors = []
    for name, cov in (("cov1", cov1.double()), ("cov2", cov2.double())):
        if not torch.allclose(cov, cov.T, rtol=1e-6, atol=1e-9 * float(cov.detach().abs().max())):
            raise ValueError(f"{name} must be symmetric, got entries unlike their mirror images; average them")
        factor, failed = torch.linalg.cholesky_ex((cov + cov.T) / 2)
        if int(failed):
            raise ValueError(f"{name} must be positive definite, got an eigenvalue <= 0; add a little to its diagonal")
        factors.append(factor)
    traces = sum(f.square().sum() for f in factors)
    overlap = torch.linalg.svdvals(factors[0].T @ factors[1]).sum()
    return (mean1.double() - mean2.double()).square().sum() + traces - 2 * overlap


def _power(difference: Tensor, p: float) -> Tensor:
    return difference.square() if p == 2 else difference.abs() if p == 1 else difference.abs() ** p


def same_width(x: Tensor, y: Tensor) -> None:
    """Raises ValueError unless x is [N, D] and y [M, D], neither empty."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in (*x.shape, *y.shape):
        raise ValueError(f"x and y must be [N, D] and [M, D], got {tuple(x.shape)} and {tuple(y.shape)}; flatten them")


def _checked_power(p: float) -> None:
    if not (p >= 1 and math.isfinite(p)):
        raise ValueError(f"W_p is a distance for finite p >= 1, got p = {p}; use 1 or 2")


def _checked_reach(x: Floats, y: Floats, p: float) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        span = np.maximum(x.max(0), y.max(0)) - np.minimum(x.min(0), y.min(0))
        square = (span * span).sum()
        largest = max(square, square ** (p / 2))  # squared distances are on the way to any cost
    if not largest <= 1e300:
        raise ValueError(
            f"costs |x − y|^p must stay below 1e300, got points {span.max():.3g} apart, p = {p}; scale them"
        )


def _points(x: Points, name: str) -> Floats:
    values = x.detach().cpu().double().numpy() if isinstance(x, Tensor) else np.asarray(x, np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name} must be points [N, D], N and D >= 1, got the shape {values.shape}; flatten the rows")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or inf in {(~np.isfinite(values)).any(1).sum()} rows")
    return values


def _masses(given: Points | None, n: int, name: str) -> Floats:
    """Masses [n] that add up to 1."""
    if given is None:
        return np.full(n, 1 / n)
    mass = given.detach().cpu().double().numpy() if isinstance(given, Tensor) else np.asarray(given, np.float64)
    if mass.shape != (n,):
        raise ValueError(f"{name} must be one mass for each of {n} points, got the shape {mass.shape}")
    total = float(mass.sum())
    if not (math.isfinite(total) and total > 0 and mass.min() >= 0):
        raise ValueError(f"{name} must be masses >= 0, finite and not all 0, got a least of {mass.min()}")
    return mass / total


def _ranked(x: Floats, y: Floats) -> NDArray[np.integer]:
    """On a line, the matching that keeps the order is cheapest for every p >= 1."""
    columns = np.empty(len(x), np.int64)
    columns[np.argsort(x, kind="stable")] = np.argsort(y, kind="stable")
    return columns


def _monotone(x: Floats, y: Floats, a: Floats, b: Floats) -> tuple[NDArray[np.integer], NDArray[np.integer], Floats]:
    """The plan that keeps the order on a line: mass t of the one goes to mass t of the other."""
    i, j = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    i, j = i[a[i] > 0], j[b[j] > 0]  # a point without mass ends where the one before it does, but for rounding
    ends_a, ends_b = np.minimum(np.cumsum(a[i]), 1), np.minimum(np.cumsum(b[j]), 1)  # the sum may round to above 1
    ends_a[-1] = ends_b[-1] = 1.0
    ends = np.union1d(ends_a, ends_b)
    middle = ends - np.diff(ends, prepend=0) / 2
    return i[np.searchsorted(ends_a, middle)], j[np.searchsorted(ends_b, middle)], np.diff(ends, prepend=0)


def _simplex(
    x: Floats, y: Floats, p: float, a: Floats, b: Floats
) -> tuple[NDArray[np.integer], NDArray[np.integer], Floats]:
    """POT's network simplex, whose answer counts when its duals prove it."""
    import ot  # takes a second

    own, other = np.flatnonzero(a), np.flatnonzero(b)  # points without mass have no duals
    a, b, x, y = a[own], b[other], x[own], y[other]
    unit = float(cdist(x, y).max()) or 1.0  # POT's own tolerances are absolute; the plan is the same
    x, y = x / unit, y / unit
    u, v = np.zeros(len(a)), np.zeros(len(b))
    gap = cost = rounding = math.nan
    warning = None
    # It rounds as its largest cost does: where that is too much, once more on what the duals left of the small costs.
    for cap in (1.0, 1e-8):
        costs = _reduced(x, y, p, u, v)
        lift = costs.min(1)
        u, costs = u + lift, np.minimum(costs - lift[:, None], cap) / cap
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it warns of is asked for below
            plan, log = ot.emd(a, b, costs, numItermax=PIVOTS, log=True)
        u, v, warning = u + cap * log["u"], v + cap * log["v"], log["warning"]
        rows, columns = np.nonzero(plan)
        # What is left over where masses that are equal rounded apart must not travel far.
        held = plan[rows, columns] > (len(a) + len(b)) * EPS * np.minimum(a[rows], b[columns])
        rows, columns = rows[held], columns[held]
        mass = plan[rows, columns]
        cost = float(mass @ np.linalg.norm(x[rows] - y[columns], axis=1) ** p)
        costs = _reduced(x, y, p, u, v)
        gap = abs(float(mass @ costs[rows, columns])) + max(0.0, -float(costs.min()))
        slack = min(TOLERANCE, SHARE * cost) if cost else TOLERANCE  # no plan costs less than 0
        rounding = EPS * max(float(np.abs(u).max()), float(np.abs(v).max()))
        if warning is None and gap <= slack and (rounding <= ROUNDING * cost or not cost):
            return own[rows], other[columns], mass
    raise RuntimeError(
        f"the network simplex must reach an optimum that its duals prove, got a gap of {gap:.3g} and rounding of "
        f"{rounding:.3g} for a cost of {cost:.3g}, the largest being 1 ({warning or 'no warning'}); give equally many "
        "points without masses, fewer points, or groups far apart on their own"
    )


def _reduced(x: Floats, y: Floats, p: float, u: Floats, v: Floats) -> Floats:
    """|x_i − y_j|^p − u_i − v_j."""
    costs = np.asarray(cdist(x, y), np.float64)
    if p != 1:
        np.power(costs, p, out=costs)
    costs -= u[:, None]
    costs -= v
    return costs
