"""The Kernel Inception Distance on whole samples, with an interval that holds near zero too."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.features import Features, as_matrix, same_width
from pushforward.metrics.intervals import Interval, Z

Floats = NDArray[np.float64]

BLOCK = 1024  # rows a side of one product
SINGLE, LARGEST = 1e15, 1e150  # kernel values whose squares, summed, still fit into float32 and float64


@dataclass(frozen=True)
class Within:
    """One sample's kernel over pairs of different rows, k(x_i, x_j) = mean + e_i + e_j + rest_ij, by least squares.

    effects: e [N], adding up to 0. rest: unbiased variance of rest_ij. diagonal: mean of k(x_i, x_i).
    """

    mean: float
    effects: Floats
    rest: float
    diagonal: float


@dataclass(frozen=True)
class Between:
    """Two samples' kernel, k(x_i, y_j) = mean + rows_i + columns_j + rest_ij; rows [N], columns [M]; as `Within`."""

    mean: float
    rows: Floats
    columns: Floats
    rest: float


@dataclass(frozen=True)
class Subsets:
    """KID over random subsets of `size` rows. mean: estimates KID. spread: standard deviation of one subset's value.

    The spread is what papers print after ±. It tells how a subset of `size` rows moves, not how sure the mean is.
    """

    mean: float
    spread: float
    subsets: int
    size: int


def kid(x: Features, y: Features) -> Interval:
    """MMD² under (⟨x, y⟩/D + 1)³, unbiased, over all pairs, with a 95 % interval of the two laws' own MMD².

    x: [N, D], y: [M, D], N, M >= 4. The value is a U-statistic: 0 on average for equal laws, so below 0 as often as
    not. Identical sets give less than 0, by 2/N of what k(x_i, x_i) has over the other pairs: rows that both samples
    hold break the independence that the value and the interval rest on. An interval all below 0 tells of that.

    The standard error is by Hoeffding's decomposition, each part unbiased: the rows' own effects, less the noise that
    they are measured with, and what pairs have beyond them, which is all where the laws agree. There the value follows
    a mixture of χ², and its variance grows with MMD² itself. So the interval is not value ± 1.96 standard errors but,
    as Wilson's for a share, every θ that is within 1.96 of its own standard errors of the value: the rows' part is
    taken as proportional to θ. At θ = 0 the pairs' part remains, which is right by normality for a mixture of many
    and, as P(|χ²₁ − 1| <= 1.96 √2) = 0.948, for one. Coverage: benchmarks/coverage_kernel.py.

    Products run in the features' type, in 60 MiB beside the inputs; half precision and what could overflow are widened.
    Raises ValueError for a value that is not finite, fewer than 4 rows, unequal D, or features too large to be cubed.
    Bińkowski et al. 2018, arXiv:1801.01401, Section 4; variance: Sutherland & Deka 2019, arXiv:1906.02104.
    """
    a, b = samples((x, "x"), (y, "y"), least=4)
    shift = level(a, b)
    xx, yy, xy = within(a, shift), within(b, shift), between(a, b, shift)
    n, m = len(a), len(b)
    value = xx.mean + yy.mean - 2 * xy.mean
    noisy = 4 * float(np.var(xx.effects - xy.rows, ddof=1)) / n + 4 * float(np.var(yy.effects - xy.columns, ddof=1)) / m
    noise = 4 * (xx.rest / (n - 2) + xy.rest / m) / n + 4 * (yy.rest / (m - 2) + xy.rest / n) / m
    pairs = 2 * xx.rest / (n * (n - 1)) + 2 * yy.rest / (m * (m - 1)) + 4 * xy.rest / (n * m)
    own = max(noisy - noise, 0.0)
    # The rows' part over MMD²: own/value far from 0; near it, where both are noise, that of noise alone: noise/offset.
    offset, doubt = (xx.diagonal - xx.mean) / n + (yy.diagonal - yy.mean) / m, float(np.sqrt(pairs))
    slope = (own + doubt * noise / offset) / (max(value, 0.0) + doubt) if doubt > 0 and offset > 0 else 0.0
    low, high = _ends(value, pairs, slope)
    return Interval(value, float(np.sqrt(own + pairs)), low, high)


def _ends(value: float, pairs: float, slope: float) -> tuple[float, float]:
    """All θ with (value − θ)² <= 1.96² (pairs + slope max(θ, 0))."""
    middle = value + Z * Z * slope / 2
    half = Z * float(np.sqrt(max(pairs + slope * value + (Z * slope) ** 2 / 4, 0.0)))
    flat = Z * float(np.sqrt(pairs))
    low = value - flat if value <= flat else middle - half
    high = value + flat if value < -flat else middle + half
    return low, high


def kid_subsets(x: Features, y: Features, subsets: int = 100, size: int = 1000, seed: int = 0) -> Subsets:
    """KID as the literature prints it: mean and spread over random subsets of `size` rows of x [N, D] and y [M, D].

    A subset's rows are different ones. `kid` uses all pairs of rows in less time, and says how sure it is.
    Raises ValueError as `kid`, and where a sample has fewer than `size` rows.
    Bińkowski et al. 2018, arXiv:1801.01401, Section 4.
    """
    if subsets < 2 or size < 4:
        raise ValueError(f"subsets must be at least 2 and of size 4, got {subsets} of size {size}; use 100 of 1,000")
    a, b = samples((x, "x"), (y, "y"), least=4)
    if min(len(a), len(b)) < size:
        raise ValueError(
            f"a subset's size must be at most the samples' {len(a)} and {len(b)} rows, got {size}; "
            f"give size={min(len(a), len(b))} and say so, or use kid on all rows"
        )
    shift, rng, values = level(a, b), numpy_generator("kid subsets", seed), []
    for _ in range(subsets):
        p, q = (t[torch.from_numpy(rng.choice(len(t), size, replace=False))] for t in (a, b))
        values.append(within(p, shift).mean + within(q, shift).mean - 2 * between(p, q, shift).mean)
    return Subsets(float(np.mean(values)), float(np.std(values)), subsets, size)


def samples(*given: tuple[Features, str], least: int) -> list[Tensor]:
    """Named samples as matrices of one width and type, in which no kernel value overflows."""
    matrices = [as_matrix(x, name, least) for x, name in given]
    for a, (_, name) in zip(matrices, given, strict=True):
        same_width(matrices[0], a, (given[0][1], name))
    largest = max(max(float(a.max()), -float(a.min())) for a in matrices)
    t = largest * largest + 1
    if not t * t * t < LARGEST:
        raise ValueError(f"features must be at most 1e25 to be cubed, got {largest:.3g}; give them in larger units")
    single = t * t * t < SINGLE and all(a.dtype == np.float32 for a in matrices)
    kind = np.float32 if single else np.float64
    # A copy only where torch would refuse the memory: read-only, or strides below 0.
    return [torch.from_numpy(np.require(a, kind, ["C", "W"])) for a in matrices]


def level(x: Tensor, y: Tensor) -> float:
    """About the kernel's mean: what is summed is the kernel less this, so that fewer digits cancel."""
    # NumPy's means: torch would make a float64 copy of the whole.
    means = [t.numpy().mean(axis=0, dtype=np.float64) for t in (x, y)]
    t = float(means[0] @ means[1]) / x.shape[1] + 1
    return t * t * t


def within(x: Tensor, shift: float) -> Within:
    """The kernel less `shift` within a sample [N, D], N >= 4; a block of the triangle serves its rows and columns."""
    n = len(x)
    rows, squares, diagonal, room = torch.zeros(n, dtype=torch.float64), 0.0, 0.0, _room(x)
    for i in _slices(n):
        for j in _slices(n, i.start):
            part = _kernel(x[i], x[j], shift, room)
            if i == j:
                diagonal += float(part.diagonal().sum())
                part.fill_diagonal_(0)
                squares += _square(part) / 2
            else:
                rows[j] += part.sum(0)
                squares += _square(part)
            rows[i] += part.sum(1)
    means = rows.numpy() / (n - 1)
    mean = float(means.mean())
    effects = (means - mean) * ((n - 1) / (n - 2))
    # Squares of what the fit leaves, over its degrees of freedom: N(N − 1)/2 pairs less N.
    left = squares - n * (n - 1) / 2 * mean**2 - (n - 2) * float(effects @ effects)
    return Within(mean, effects, max(left, 0.0) / (n * (n - 3) / 2), diagonal / n)


def between(x: Tensor, y: Tensor, shift: float) -> Between:
    """The kernel less `shift` between two samples [N, D] and [M, D], N, M >= 2."""
    n, m = len(x), len(y)
    rows, columns = torch.zeros(n, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    squares, room = 0.0, _room(x)
    for i in _slices(n):
        for j in _slices(m):
            part = _kernel(x[i], y[j], shift, room)
            rows[i] += part.sum(1)
            columns[j] += part.sum(0)
            squares += _square(part)
    mean = float(rows.sum()) / (n * m)
    of_rows, of_columns = rows.numpy() / m - mean, columns.numpy() / n - mean
    left = squares - n * m * mean**2 - m * float(of_rows @ of_rows) - n * float(of_columns @ of_columns)
    return Between(mean, of_rows, of_columns, max(left, 0.0) / ((n - 1) * (m - 1)))


def _room(x: Tensor) -> Tensor:
    """Where the blocks are made, one after the other: fresh memory for each costs more than it looks, as it is kept."""
    return torch.empty(2, BLOCK * BLOCK, dtype=x.dtype)


def _kernel(x: Tensor, y: Tensor, shift: float, room: Tensor) -> Tensor:
    """(⟨x, y⟩/D + 1)³ − shift [rows, columns], in the samples' type: of one block, whose sums keep their digits.

    It lies in `room`, and is gone at the next call.
    """
    t, kernel = room[:, : len(x) * len(y)].view(2, len(x), len(y))
    # NumPy's product: it is a quarter faster than torch's on these shapes, and does half of the work where x is y.
    np.matmul(x.numpy(), y.numpy().T, out=t.numpy())
    t.mul_(1 / x.shape[1]).add_(1)
    # Products: `pow` takes many times as long.
    return torch.addcmul(x.new_tensor(-shift), torch.mul(t, t, out=kernel), t, out=kernel)


def _square(part: Tensor) -> float:
    return float(part.view(-1).dot(part.view(-1)))


def _slices(n: int, start: int = 0) -> Iterator[slice]:
    for i in range(start, n, BLOCK):
        yield slice(i, i + BLOCK)
