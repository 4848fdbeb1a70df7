"""Improved precision and recall: how much of one sample lies within the other's nearest-neighbour balls."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.metrics.features import Features, as_matrix, same_width

BLOCK = 2048  # rows a side of one product


@dataclass(frozen=True)
class PrecisionRecall:
    """precision: share of fakes in the real manifold. recall: share of reals in the fakes' manifold."""

    precision: float
    recall: float


@dataclass(frozen=True)
class Manifold:
    """Balls around points [N, D], each reaching to the k-th nearest of the others; radii are squared [N].

    centre: what was subtracted from the points, for two manifolds to be compared.
    """

    points: Tensor
    radii: Tensor
    centre: Tensor


def precision_recall(fake: Features, real: Features, k: int = 3) -> PrecisionRecall:
    """Precision and recall of `fake` [N, D] against `real` [M, D], N, M > k.

    Precision falls with noise and artefacts, recall with dropped modes. A point on a ball's edge is inside, and so is
    its duplicate: identical sets give 1 and 1. Products run in the features' type: float32 resolves squared distances
    to 4e-6 of the squared norms about the real mean; give float64 for clusters tighter than that.
    Raises ValueError for a value that is not finite, N or M <= k, or unequal D.
    Kynkäänniemi et al. 2019, arXiv:1904.06991, Eq. 1 and 2.
    """
    f, r = as_matrix(fake, "fake"), as_matrix(real, "real")
    same_width(f, r, ("fake", "real"))
    reals = manifold(r, k, name="real")
    return compare(manifold(f, k, reals.centre, name="fake"), reals)


def manifold(x: Features, k: int = 3, centre: Tensor | None = None, name: str = "x") -> Manifold:
    """The balls of a sample [N, D], N > k; about `centre` [D], by default its own mean."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    a = as_matrix(x, name)
    if len(a) <= k:
        raise ValueError(f"{name} must have more than k = {k} rows, got {len(a)}; give more samples")
    middle = torch.from_numpy(a.mean(axis=0, dtype=np.float64)) if centre is None else centre
    # Distances come from products: without centring, a common offset would swallow them.
    points = torch.from_numpy((a - middle.numpy()).astype(a.dtype))
    return Manifold(points, _radii(points, k), middle)


def compare(fake: Manifold, real: Manifold) -> PrecisionRecall:
    """Precision and recall of two manifolds about the same centre."""
    if not torch.equal(fake.centre, real.centre):
        raise ValueError("two manifolds must have one centre, got two; build the second with the first's centre")
    kind = torch.promote_types(fake.points.dtype, real.points.dtype)
    x, y = real.points.to(kind), fake.points.to(kind)
    x_radii, y_radii = real.radii.to(kind), fake.radii.to(kind)
    # |x|² + |y|² − 2x·y <= r² + τ (|x|² + |y|²): τ is what rounding may do to the distance of two equal points.
    keep = 1 - 32 * torch.finfo(kind).eps
    xx, yy = keep * (x * x).sum(1), keep * (y * y).sum(1)
    in_real, in_fake = torch.zeros(len(y), dtype=torch.bool), torch.zeros(len(x), dtype=torch.bool)
    for i in range(0, len(x), BLOCK):
        rows = slice(i, i + BLOCK)
        for j in range(0, len(y), BLOCK):
            columns = slice(j, j + BLOCK)
            part = torch.addmm(yy[columns], x[rows], y[columns].T, alpha=-2)  # [rows, columns]
            in_real[columns] |= (part <= (x_radii[rows] - xx[rows])[:, None]).any(0)
            in_fake[rows] |= (part.add_(xx[rows, None]) <= y_radii[columns]).any(1)
    return PrecisionRecall(in_real.double().mean().item(), in_fake.double().mean().item())


def _radii(x: Tensor, k: int) -> Tensor:
    """Squared distances [N] to the k-th nearest other point; each block of the triangle serves its rows and columns."""
    squares = (x * x).sum(1)
    nearest = torch.full((len(x), k), torch.inf, dtype=x.dtype)
    for i in range(0, len(x), BLOCK):
        rows = slice(i, i + BLOCK)
        for j in range(i, len(x), BLOCK):
            columns = slice(j, j + BLOCK)
            part = torch.addmm(squares[columns], x[rows], x[columns].T, alpha=-2).add_(squares[rows, None])
            if i == j:
                part.fill_diagonal_(torch.inf)
            else:
                _keep_smallest(nearest, columns, part.T.contiguous(), k)
            _keep_smallest(nearest, rows, part, k)
    return nearest.amax(1).clamp_(min=0)


def _keep_smallest(nearest: Tensor, rows: slice, part: Tensor, k: int) -> None:
    found = part.topk(min(k, part.shape[1]), largest=False, sorted=False).values
    nearest[rows] = torch.cat([nearest[rows], found], 1).topk(k, largest=False, sorted=False).values
