"""How much each example moves the Fréchet distance: its error to first order."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from pushforward.metrics.features import Matrix
from pushforward.metrics.moments import ROWS, Floats, Gaussian

NEGLIGIBLE = 1e-7  # of the largest singular value: smaller ones come from rounding


def first_order_variances(x: Matrix, y: Matrix, a: Gaussian, b: Gaussian) -> tuple[float, float]:
    """The parts of the variance of the Fréchet distance of x [N, D] and y [M, D] that come from x and from y.

    As `influences`, whose variance over N each is. Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans,
    ch. 6 (infinitesimal jackknife).
    """
    own, other = influences(x, y, a, b)
    return float(np.var(own, ddof=1)) / len(own), float(np.var(other, ddof=1)) / len(other)


def influences(x: Matrix, y: Matrix, a: Gaussian, b: Gaussian) -> tuple[Floats, Floats]:
    """How much each row of x [N, D], and each of y [M, D], moves the Fréchet distance: N and M times its derivative.

    a, b: the samples' Gaussians, with any roots. ψ(x) = 2 (μx − μy)·c + |c|² − cᵀ T c, up to a constant, c = x − μx, T
    the optimal map from a to b. At N <= D this is the derivative in the examples' weights. Takes one decomposition with
    eigenvectors, whatever N. The derivative of tr (Σa Σb)^½: Rippl, Munk & Sturm 2016, arXiv:1507.04090.
    """
    k = a.root.T @ b.root
    squares, vectors = (t.numpy() for t in torch.linalg.eigh(torch.from_numpy(k @ k.T)))
    sigma = np.sqrt(squares.clip(min=0.0))
    kept = sigma > NEGLIGIBLE * sigma.max(initial=0.0)
    s, u = np.sqrt(sigma[kept]), vectors[:, kept]
    # (K Kᵀ)^½ = F Fᵀ and (Kᵀ K)^½ = G Gᵀ; cᵀ T c is the first's form in c's coordinates with respect to a's root.
    moved = (_moved(x, a, u * s), _moved(y, b, k.T @ u / s))
    shift = a.mean - b.mean
    return _influence(x, a.mean, shift, moved[0]), _influence(y, b.mean, -shift, moved[1])


def _influence(x: Matrix, mean: Floats, shift: Floats, moved: Floats) -> Floats:
    unbiased = len(x) / (len(x) - 1)  # the covariance divides by N − 1
    parts = []
    for i in range(0, len(x), ROWS):
        c = x[i : i + ROWS] - mean
        own = np.einsum("nd,nd->n", c, c) - moved[i : i + ROWS]
        parts.append(2 * (c @ shift) + unbiased * own)
    return np.concatenate(parts)


def _moved(x: Matrix, g: Gaussian, factor: Floats) -> NDArray[np.float64]:
    """|factorᵀ v|² of each row's coordinates v [R] with respect to the root, x − μ = root v. factor: [R, K]."""
    n = len(x)
    q, r = np.linalg.qr(g.root)
    forms = q @ solve_triangular(r.T, factor, lower=True)
    rows = ((x[i : i + ROWS] - g.mean) @ forms for i in range(0, n, ROWS))
    return np.concatenate([np.einsum("nk,nk->n", part, part) for part in rows])
