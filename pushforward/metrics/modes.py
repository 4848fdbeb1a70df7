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
    c = np.asarray(counts)
    if c.ndim != 1 or len(c) < 2 or c.min() < 0 or c.sum() == 0:
        raise ValueError(f"counts must be at least 2 numbers >= 0, not all 0; got the shape {c.shape}; count again")
    n, k = int(c.sum()), len(c)
    p = c[c > 0] / n
    logs = np.log(p * k)
    value = float((p * logs).sum())
    first_order = (float((p * logs**2).sum()) - value**2) / n
    least = (k - 1) / (2 * n * n)
    stderr = float(np.sqrt(max(first_order - least, least)))
    return Interval(value, stderr, max(value - Z * stderr, 0.0), value + Z * stderr)
