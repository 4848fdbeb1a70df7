"""Mean and covariance of features, in float64 whatever the features are in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs, get_lapack_funcs

from pushforward.metrics.features import Features, Matrix, as_matrix

Floats = NDArray[np.float64]

ROWS = 2048  # rows centred at once: the float64 copy stays this small


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian with mean [D] and covariance `root @ root.T`, root [D, R]; of n examples, 0 if not a sample's.

    R is at most the rank: a thin root costs less, and leaves no null directions whose rounding errors would count.
    """

    n: int
    mean: Floats
    root: Floats


def moments(x: Features) -> tuple[Floats, Floats]:
    """Mean [D] and covariance [D, D] of features [N, D], N >= 2, divided by N − 1.

    Two passes, the second about the mean, both in float64: no cancellation at a mean of 1e4 in float32.
    """
    a = as_matrix(x, "the features", least=2)
    mean = a.mean(axis=0, dtype=np.float64)
    return mean, _covariance(a, mean)


def gaussian(x: Features, name: str = "the features") -> Gaussian:
    """The Gaussian of a sample [N, D], N >= 2. Raises ValueError, naming `name`, for NaN, infinity or one row."""
    a = as_matrix(x, name, least=2)
    n, d = a.shape
    mean = a.mean(axis=0, dtype=np.float64)
    if n <= d:
        # The centred sample is itself a root. A reflection that takes (1, …, 1) to the first axis makes its first row
        # 0, so that n − 1 remain, and no direction is null by construction.
        centred = a - mean
        return Gaussian(n, mean, (centred[1:] + centred[0] / (np.sqrt(n) - 1)).T / np.sqrt(n - 1))
    return Gaussian(n, mean, root(_covariance(a, mean)))


def root(covariance: Floats) -> Floats:
    """`L` [D, R] with L Lᵀ = covariance [D, D], by Cholesky with pivots, which stops at the numerical rank R.

    Higham 2002, Accuracy and Stability of Numerical Algorithms, §10.3. Raises ValueError if it isn't semidefinite.
    """
    (cholesky,) = get_lapack_funcs(["pstrf"], dtype=np.float64)
    factor, pivots, rank, _ = cholesky(covariance, lower=1)
    thin = np.empty((len(covariance), rank))
    thin[pivots - 1] = np.tril(factor)[:, :rank]
    trace = float(np.trace(covariance))
    if not np.isclose(float((thin * thin).sum()), trace, rtol=1e-6, atol=1e-300):
        raise ValueError(f"a covariance has no negative eigenvalue, got one (trace {trace:.6g}); compute it in float64")
    return thin


def _covariance(a: Matrix, mean: Floats) -> Floats:
    (product,) = get_blas_funcs(["syrk"], dtype=np.float64)
    total = np.zeros((a.shape[1], a.shape[1]), order="F")
    for i in range(0, len(a), ROWS):
        part = a[i : i + ROWS] - mean
        # Half the work of a product: BLAS fills one triangle, in place.
        total = product(1.0, part.T, beta=1.0, c=total, lower=1, overwrite_c=1)
    total = np.tril(total)
    return (total + np.tril(total, -1).T) / (len(a) - 1)
