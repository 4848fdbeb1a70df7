"""The Fréchet distance between two samples' Gaussians, exact to rounding, with an error bar."""

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.features import Features, as_matrix, same_width
from pushforward.metrics.intervals import Interval, student
from pushforward.metrics.moments import Floats, Gaussian, gaussian, root

TOLERANCE = 1e-9  # of the covariances' traces: the largest rounding error that is let pass


def frechet_distance(x: Features, y: Features) -> float:
    """|μx − μy|² + tr(Σx + Σy − 2 (Σx Σy)^½), the squared 2-Wasserstein distance of two Gaussians.

    x: [N, D], y: [M, D], N, M >= 2, any mean, any rank, D >= 1. Identical samples give 0 to 1e-9 of the traces.
    The plug-in value: biased upwards by an amount that depends on N and M, so compare only at equal sizes.
    Raises ValueError for a value that is not finite, one row, or unequal D.
    Dowson & Landau 1982, J. Multivariate Anal. 12, Eq. 4; Heusel et al. 2017, arXiv:1706.08500, Eq. 6.
    """
    a, b = as_matrix(x, "x", least=2), as_matrix(y, "y", least=2)
    same_width(a, b)
    return frechet_between(gaussian(a, "x"), gaussian(b, "y"))


def frechet_from_moments(mu1: Features, cov1: Features, mu2: Features, cov2: Features) -> float:
    """The same from two means [D] and covariances [D, D]; those must be symmetric and semidefinite, else ValueError."""
    return frechet_between(_given(mu1, cov1, 1), _given(mu2, cov2, 2))


def frechet_between(a: Gaussian, b: Gaussian) -> float:
    """The same from two Gaussians, so that the real data's is made once."""
    if len(a.mean) != len(b.mean):
        raise ValueError(f"two Gaussians must have the same D, got {len(a.mean)} and {len(b.mean)}; use one extractor")
    shift = a.mean - b.mean
    traces = float((a.root * a.root).sum() + (b.root * b.root).sum())
    return max(float(shift @ shift) + traces - 2 * _nuclear_norm(a.root.T @ b.root, TOLERANCE * traces), 0.0)


def frechet_interval(x: Features, y: Features, blocks: int = 10) -> Interval:
    """The Fréchet distance with a 95 % interval from the block jackknife over x and over y.

    The interval covers the *expected plug-in value at these sample sizes*: it tells how far another draw of N and M
    examples would move the number, and leaves the bias in, as the sampling floor beside it does. It does not cover the
    distance between the two laws. Row i is in block i mod `blocks`, so that rows sorted by class do no harm.
    Busing et al. 1999, Statistics and Computing 9, p. 3 (delete-m jackknife); t by Welch–Satterthwaite.
    Raises ValueError as `frechet_distance` does, and with fewer than 2 rows a block.
    """
    if blocks < 2:
        raise ValueError(f"a jackknife needs at least 2 blocks, got {blocks}")
    a, b = as_matrix(x, "x", least=2 * blocks), as_matrix(y, "y", least=2 * blocks)
    same_width(a, b)
    ga, gb = gaussian(a), gaussian(b)
    value = frechet_between(ga, gb)
    variances = [
        _jackknife_variance([frechet_between(gaussian(rest), other) for rest in _without_each_block(own, blocks)])
        for own, other in ((a, gb), (b, ga))
    ]
    total = sum(variances)
    freedom = (blocks - 1) * total**2 / sum(v * v for v in variances) if total > 0 else blocks - 1
    half = student(freedom) * float(np.sqrt(total))
    return Interval(value, float(np.sqrt(total)), max(value - half, 0.0), value + half)


def _without_each_block(a: NDArray[np.floating], blocks: int) -> list[NDArray[np.floating]]:
    block = np.arange(len(a)) % blocks
    return [a[block != i] for i in range(blocks)]


def _jackknife_variance(left_out: list[float]) -> float:
    g = len(left_out)
    return (g - 1) * float(np.var(left_out))


def _nuclear_norm(k: Floats, tolerance: float) -> float:
    """tr (K Kᵀ)^½: the sum of K's singular values, with an error of at most about `tolerance`.

    The eigenvalues of the smaller Gram matrix cost a quarter of a singular value decomposition, but an error ε λmax
    becomes ε λmax / 2σ in a singular value σ; where those add up to more than allowed, the decomposition is made.
    """
    if k.size == 0 or (largest := float(np.abs(k).max())) == 0.0:
        return 0.0
    k = (k if k.shape[0] <= k.shape[1] else k.T) / largest
    eigenvalues = np.linalg.eigvalsh(k @ k.T).clip(min=0.0)
    sigma = np.sqrt(eigenvalues)
    epsilon = float(np.finfo(np.float64).eps) * float(sigma[-1])
    # σ below √ε σmax are lost in the rounding: each may be wrong by that much.
    errors = epsilon * float(sigma[-1]) / np.maximum(sigma, np.sqrt(epsilon * sigma[-1]))
    if float(errors.sum()) * largest > tolerance:
        sigma = np.linalg.svd(k, compute_uv=False)
    return float(sigma.sum()) * largest


def _given(mu: Features, cov: Features, which: int) -> Gaussian:
    c = as_matrix(cov, f"cov{which}").astype(np.float64)
    mean = as_matrix(np.reshape(np.asarray(mu), (1, -1)), f"mu{which}")[0].astype(np.float64)
    if c.shape != (len(mean), len(mean)):
        raise ValueError(f"cov{which} must be [{len(mean)}, {len(mean)}] as mu{which} has {len(mean)}, got {c.shape}")
    if not np.allclose(c, c.T, rtol=1e-6, atol=1e-9 * float(np.abs(c).max())):
        raise ValueError(f"cov{which} must be symmetric, got entries unlike their mirror images; average them")
    return Gaussian(0, mean, root((c + c.T) / 2))
