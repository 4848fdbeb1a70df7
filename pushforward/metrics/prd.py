"""Precision against recall as a curve: how much of each of two laws the other can account for."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pushforward.core.seeding import numpy_generator, seed_of
from pushforward.metrics.features import Features, as_matrix, same_width

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """points: [angles, 2] of (recall, precision), from all recall to all precision.

    f8: the largest F-score that weighs recall 8 times as much as precision; f1_8: precision 8 times as much as recall.
    """

    points: Floats
    f8: float
    f1_8: float


def prd(fake: Features, real: Features, clusters: int = 20, angles: int = 1001, runs: int = 10, seed: int = 0) -> Curve:
    """The curve of `fake` [N, D] against `real` [M, D]: k-means on their union, then histograms over the clusters.

    Averaged over `runs` of k-means, curve and F-scores alike. F8 falls with dropped modes, F1/8 with invented ones. The
    larger sample is thinned at random to the smaller's size, so that the clusters know both equally well. Two samples
    of one law score a little under 1: their histograms differ by about √(clusters / N).
    Differs from the paper: F-scores are averaged over runs, as the curve is, not read off the averaged curve.
    Raises ValueError for a value that is not finite, unequal D, fewer rows than clusters, or clusters or runs < 1.
    Sajjadi et al. 2018, arXiv:1806.00035, Algorithm 1.
    """
    if clusters < 1 or runs < 1:
        raise ValueError(f"clusters and runs must be at least 1, got {clusters} and {runs}")
    f, r = as_matrix(fake, "fake", clusters), as_matrix(real, "real", clusters)
    same_width(f, r, ("fake", "real"))
    n = min(len(f), len(r))
    curves = []
    for run in range(runs):
        rng = numpy_generator("prd", seed, run)
        parts = [a if len(a) == n else a[np.sort(rng.permutation(len(a))[:n])] for a in (f, r)]
        labels = _clustered(np.concatenate(parts), clusters, seed_of("prd", seed, run, "clusters") % 2**32)
        shares = (np.bincount(part, minlength=clusters) for part in (labels[:n], labels[n:]))
        curves.append(prd_from_histograms(*shares, angles=angles))
    mean = np.mean([c.points for c in curves], axis=0)
    return Curve(mean, float(np.mean([c.f8 for c in curves])), float(np.mean([c.f1_8 for c in curves])))


def prd_from_histograms(fake: Features, real: Features, angles: int = 1001) -> Curve:
    """The curve of two laws on K states, given as counts or weights [K]: α = Σ min(λ p, q), β = α / λ, λ = tan θ.

    Precision α, recall β, p the real and q the fake law, θ at even steps strictly between 0 and π/2. The F-scores are
    the largest over all λ, not the grid's: between the λ = q/p the scores are monotone, so that those suffice.
    Raises ValueError for negative weights, none at all, unequal K, or fewer than 2 angles.
    Sajjadi et al. 2018, arXiv:1806.00035, Eq. 7 and §4.1; F-scores: §4.3.
    """
    q, p = _law(fake, "fake"), _law(real, "real")
    if len(q) != len(p):
        raise ValueError(f"fake and real must have as many states, got {len(q)} and {len(p)}; count the same ones")
    if angles < 2:
        raise ValueError(f"angles must be at least 2, got {angles}")
    theta = np.arange(1, angles + 1) * (np.pi / 2 / (angles + 1))
    both = (p > 0) & (q > 0)
    kinks = np.unique(q[both] / p[both])
    return Curve(_points(p, q, np.tan(theta)), _best(_points(p, q, kinks), 8.0), _best(_points(p, q, kinks), 1 / 8))


def _points(p: Floats, q: Floats, slopes: Floats) -> Floats:
    """(recall, precision) [L, 2] at slopes [L]: both sums are at most 1 but for rounding."""
    precision = np.minimum(slopes[:, None] * p, q).sum(axis=1)
    return np.stack([precision / slopes, precision], axis=1).clip(0.0, 1.0)


def _best(points: Floats, beta: float) -> float:
    """The largest F-score, with recall weighing `beta` times as much as precision; 0 on an empty curve."""
    recall, precision = points.T
    weighed = beta * beta * precision + recall
    return float(np.max((1 + beta * beta) * precision * recall / np.where(weighed > 0, weighed, 1.0), initial=0.0))


def _law(weights: Features, name: str) -> Floats:
    w = as_matrix(np.reshape(np.asarray(weights), (1, -1)), name)[0].astype(np.float64)
    if w.min() < 0 or w.sum() == 0:
        raise ValueError(f"{name} must have weights >= 0, not all 0; got a sum of {w.sum():g}, least {w.min():g}")
    return w / w.sum()


def _clustered(x: NDArray[np.floating], clusters: int, seed: int) -> NDArray[np.int64]:
    """Clusters [N] of rows [N, D], which are overwritten."""
    from sklearn.cluster import MiniBatchKMeans  # a second to import
    from sklearn.exceptions import ConvergenceWarning

    x -= x.mean(axis=0, dtype=np.float64).astype(x.dtype)  # its distances are products too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters leave some empty
        return MiniBatchKMeans(clusters, random_state=seed).fit_predict(x).astype(np.int64)
