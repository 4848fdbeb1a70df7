"""Modes found, samples of high quality, and how evenly the modes are visited."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pushforward.metrics.features import Features, as_matrix, same_width
from pushforward.metrics.intervals import Interval, Z, wilson

RADIUS = 3.0  # standard deviations within which a sample is of high quality


@dataclass(frozen=True)
class Modes:
    """found: modes with at least one sample of high quality nearest to them. high_quality: share, Wilson's interval.

    counts: samples [K] nearest to each mode, of whatever quality.
    """

    found: int
    high_quality: Interval
    counts: NDArray[np.int64]


def modes(points: Features, centres: Features, sigma: float, radius: float = RADIUS) -> Modes:
    """Samples [N, D] against a mixture with K centres [K, D] and standard deviation `sigma`, in the mixture's units.

    A sample is of high quality within `radius` standard deviations of the nearest centre; 98.9 % of a mixture in the
    plane are within 3. Raises ValueError for a value that is not finite, unequal D, or sigma <= 0.
    Lin et al. 2018, arXiv:1712.04086, §4.1; Srivastava et al. 2017, arXiv:1705.07761, §4.1.
    """
    x, c = as_matrix(points, "points"), as_matrix(centres, "centres")
    same_width(x, c, ("points", "centres"))
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    distance, nearest = (np.asarray(found) for found in KDTree(c).query(x))
    good = distance <= radius * sigma
    found = len(np.unique(nearest[good]))
    return Modes(found, wilson(int(good.sum()), len(x)), np.bincount(nearest, minlength=len(c)).astype(np.int64))


def high_quality(distances: NDArray[np.float64], sigma: float, radius: float = RADIUS) -> Interval:
    """Share of samples whose distance [N] to a law without its noise is within `radius` sigma; Wilson's interval."""
    d = np.asarray(distances, np.float64)
    if d.ndim != 1 or len(d) == 0 or not np.isfinite(d).all():
        raise ValueError(f"distances must be a list of finite numbers, got the shape {d.shape}, NaN or infinity")
    return wilson(int((d <= radius * sigma).sum()), len(d))


def kl_to_uniform(counts: NDArray[np.integer]) -> Interval:
    """KL(p‖uniform) in nats of the shares p of K modes [K]: Σ p log(K p), the plug-in.

    n samples of the uniform itself score about (K − 1)/2n. The 95 % interval covers the expected plug-in value at n:
    the delta method less the noise of its own estimate, at least the variance at the uniform, both (K − 1)/2n² by χ².
    Raises ValueError for negative counts, none at all, or fewer than two modes.
    """
    c = _checked(counts, "counts")
    return _kl(c, np.full(len(c), 1 / len(c)), np.inf)


def kl_to(counts: NDArray[np.integer], reference: NDArray[np.integer]) -> Interval:
    """KL(p‖q) in nats of the shares p and q that two samples' counts [K] give K modes: Σ p log(p/q), the plug-in.

    n and m samples of one law score about (K − 1)/2 (1/n + 1/m). The 95 % interval covers the expected plug-in value at
    n and m, as that of `kl_to_uniform` does: the delta method in p and q, at least the χ² variance for equal laws.
    Raises ValueError as `kl_to_uniform` does, and where a sample is in a mode that the reference has none in.
    """
    c, r = _checked(counts, "counts"), _checked(reference, "reference")
    if len(c) != len(r):
        raise ValueError(f"counts and reference must be of as many modes, got {len(c)} and {len(r)}; count anew")
    lost = np.flatnonzero((c > 0) & (r == 0))
    if len(lost):
        raise ValueError(
            f"reference must have each mode of counts, got none in mode {lost[0]}; add reals or merge modes"
        )
    return _kl(c, r / r.sum(), float(r.sum()))


@dataclass(frozen=True)
class Coverage:
    """found: modes with at least one sample. expected: how many as many samples of the real law find on average.

    kl: in nats, of the samples' modes from the reference's, or from uniform. counts: samples [K] in each mode.
    """

    found: int
    expected: float
    kl: Interval
    counts: NDArray[np.int64]


def mode_coverage(classes: NDArray[np.integer], modes: int, reference: NDArray[np.integer] | None = None) -> Coverage:
    """Modes found by samples whose predicted classes [N] are 0 to `modes` − 1, and their KL from the real ones [M].

    Without `reference`, the real law is uniform; with it, its shares stand for the law's in `expected`. A classifier's
    errors find modes too: look at held-out reals beside it. Metz et al. 2017, arXiv:1611.02163, §3.3.
    Raises ValueError for classes out of range or no integers, and as `kl_to` does.
    """
    counts = _counted(classes, modes, "classes")
    if reference is None:
        shares, kl = np.full(modes, 1 / modes), kl_to_uniform(counts)
    else:
        real = _counted(reference, modes, "reference")
        shares, kl = real / real.sum(), kl_to(counts, real)
    expected = float(-np.expm1(int(counts.sum()) * np.log1p(-np.minimum(shares, 1 - 1e-16))).sum())
    return Coverage(int((counts > 0).sum()), expected, kl, counts)


def _counted(classes: NDArray[np.integer], modes: int, name: str) -> NDArray[np.int64]:
    c = np.asarray(classes)
    if c.ndim != 1 or c.dtype.kind not in "iu" or len(c) == 0:
        raise ValueError(f"{name} must be a list of integers, got {c.dtype} of the shape {c.shape}")
    if c.min() < 0 or c.max() >= modes:
        raise ValueError(f"{name} must be 0 to {modes - 1}, got {c.min()} to {c.max()}; renumber them")
    return np.bincount(c, minlength=modes).astype(np.int64)


def _checked(counts: NDArray[np.integer], name: str) -> NDArray[np.integer]:
    c = np.asarray(counts)
    if c.ndim != 1 or len(c) < 2 or c.min() < 0 or c.sum() == 0:
        raise ValueError(f"{name} must be at least 2 numbers >= 0, not all 0; got the shape {c.shape}; count again")
    return c


def _kl(counts: NDArray[np.integer], q: NDArray[np.float64], m: float) -> Interval:
    """Σ p log(p/q) with its interval; q: the shares of m samples, m infinite for a known law."""
    seen, n = counts > 0, int(counts.sum())
    p = counts[seen] / n
    logs = np.log(p / q[seen])
    value = float((p * logs).sum())
    least = (int((q > 0).sum()) - 1) / 2 * (1 / n + 1 / m) ** 2
    first_order = (float((p * logs**2).sum()) - value**2) / n + (float((p * p / q[seen]).sum()) - 1) / m
    stderr = float(np.sqrt(max(first_order - least, least)))
    return Interval(value, stderr, max(value - Z * stderr, 0.0), value + Z * stderr)
