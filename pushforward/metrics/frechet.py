"""The Fréchet distance between two samples' Gaussians: the plug-in, exact to rounding, and what it says of the laws."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.features import Features, Matrix, as_matrix, same_width
from pushforward.metrics.influence import first_order_variances
from pushforward.metrics.intervals import Interval, student
from pushforward.metrics.moments import Floats, Gaussian, Moments, check_symmetric, from_moments, gaussian, triangle

Gaussians = tuple[Gaussian | None, Gaussian | None]

TOLERANCE = 1e-9  # of the covariances' traces: the largest rounding error that is let pass
INFINITY_RATIO = 2.5  # rows a feature: below, halves of the sample are too small for a bias that falls as 1/N
PANEL = 128  # columns of a triangle that are multiplied at once
HALVES_RATIO = 5  # rows a feature: below, the halves' variance says too little of the whole's


@dataclass(frozen=True)
class FrechetEstimate:
    """What two samples say of the distance between their laws.

    value: the plug-in, the number that is published. plug_in: the same with its interval, as `frechet_interval`. bias:
    how far that lies above the laws' distance on average, by the jackknife. corrected: their difference with its
    interval, or None where no sample of 1 − 1/blocks of the rows has more rows than features: there the bias is more
    than is told here. n: rows of the smaller sample.
    """

    value: float
    plug_in: Interval
    bias: float
    corrected: Interval | None
    n: int

    @property
    def bias_dominates(self) -> bool:
        """Over half of the plug-in value is bias, or the bias cannot be told: it says more of N than of the laws."""
        return self.corrected is None or self.bias > self.value - self.bias

    @property
    def bias_shows(self) -> bool:
        """The bias is more than the interval's half-width: values at different N cannot be compared."""
        return self.corrected is None or self.bias > _half(self.corrected)

    def rows_needed(self, share: float = 0.1) -> float:
        """About how many rows a sample bring the bias to `share` of the distance, or of its error if that is more.

        Takes the bias as falling as 1/N; infinite where it cannot be told.
        """
        if self.corrected is None:
            return float("inf")
        scale = share * max(self.corrected.value, _half(self.corrected))
        return self.n * max(self.bias, 0.0) / scale if scale > 0 else 0.0


@dataclass(frozen=True)
class PerClass:
    """The Fréchet distance within each class, by its label, and the mean over classes."""

    values: dict[int | str, float]
    mean: float


def frechet_distance(x: Features, y: Features) -> float:
    """|μx − μy|² + tr(Σx + Σy − 2 (Σx Σy)^½), the squared 2-Wasserstein distance of two Gaussians.

    x: [N, D], y: [M, D], N, M >= 2, any mean, any rank, D >= 1. Identical samples give 0, the same rows in another
    order 0 to 1e-9 of the traces; never negative. Right to 1e-9 of the traces, 1e-7 where float32 is multiplied fast.
    The plug-in value: biased upwards by an amount that depends on N and M, so compare only at equal sizes.
    Raises ValueError for a value that is not finite, one row, or unequal D.
    Dowson & Landau 1982, J. Multivariate Anal. 12, Eq. 4; Heusel et al. 2017, arXiv:1706.08500, Eq. 6.
    """
    a, b = _pair(x, y, 2)
    return frechet_between(gaussian(a, "x"), gaussian(b, "y"))


def frechet_from_moments(mu1: Features, cov1: Features, mu2: Features, cov2: Features) -> float:
    """The same from two means [D] and covariances [D, D]; symmetric and semidefinite, else ValueError.

    With Σ1 = L Lᵀ, tr (Σ1 Σ2)^½ is the sum of the square roots of the eigenvalues of Lᵀ Σ2 L, which is made in place.
    A Σ2 that is not semidefinite is found out as far as Σ1's range sees it.
    """
    (m1, c1), (m2, c2) = _given(mu1, cov1, 1), _given(mu2, cov2, 2)
    _same_size(m1, m2)
    shift = m1 - m2
    if np.array_equal(c1, c2):
        return float(shift @ shift)
    traces = float(np.trace(c1) + np.trace(c2))
    inner = _between(c1, c2)
    if len(inner) == 0:
        return float(shift @ shift) + traces
    sigma, error = _square_roots(inner)
    if error > TOLERANCE * traces:
        return frechet_between(from_moments(0, m1, c1), from_moments(0, m2, c2))
    return float(shift @ shift) + max(traces - 2 * float(sigma.sum()), 0.0)


def frechet_between(a: Gaussian, b: Gaussian) -> float:
    """The same from two Gaussians, so that the real data's is made once."""
    _same_size(a.mean, b.mean)
    shift = a.mean - b.mean
    if np.array_equal(a.root, b.root):
        return float(shift @ shift)
    traces = sum(float(np.einsum("dr,dr->", g.root, g.root)) for g in (a, b))  # np.vdot would copy them
    # Rounding must not take from the means' part.
    return float(shift @ shift) + max(traces - 2 * _nuclear_norm(a.root, b.root, TOLERANCE * traces), 0.0)


def frechet_interval(x: Features, y: Features, *, known: Gaussians = (None, None)) -> Interval:
    """The Fréchet distance with a 95 % interval from the examples' influence on it.

    The interval covers the *expected plug-in value at these sample sizes*: it tells how far another draw of N and M
    examples would move the number, and leaves the bias in, as the sampling floor beside it does. It does not cover the
    distance between the two laws: see `frechet_corrected`. First order (one decomposition, whatever N) covers as often
    as a block jackknife of 20 distances, at N < D too; where the laws are equal it is too wide, by 1.4 at most.
    Student's t by Welch–Satterthwaite. known: the samples' Gaussians, where they are at hand. Raises ValueError as
    `frechet_distance` does.
    """
    a, b = _pair(x, y, 2)
    ga, gb = known[0] or gaussian(a), known[1] or gaussian(b)
    value, variances = frechet_between(ga, gb), first_order_variances(a, b, ga, gb)
    return _interval(value, sum(variances), _freedom(variances, (len(a), len(b))))


def frechet_estimate(x: Features, y: Features, blocks: int = 10, *, known: Gaussians = (None, None)) -> FrechetEstimate:
    """The plug-in value, its bias and the distance between the laws with a 95 % interval, from x [N, D] and y [M, D].

    The bias is b/N + c/M + …, b and c the curvature in either law. Leaving the i-th block out of x *and* y makes both
    terms larger by the same factor, so one jackknife of `blocks` distances takes both away; left out one sample at a
    time it would take twice as many. Which block a row is in is drawn from a stream of its own, the same at each call:
    blocks of neighbours would be classes where rows are sorted, and every tenth row would be spread over classes more
    evenly than chance spreads a sample.
    The error is first order in the examples' influence, all N + M of which a jackknife of 10 values would waste. An
    estimated influence carries noise of its own, which counts the second-order part B twice (4B for 2B, or
    2B blocks/(blocks − 1) once corrected): from 5 D rows on, halves of the samples, where B is 4 times as large, tell
    how much that is. Without it the interval is up to 1.4 times too wide, where the laws are equal.
    known: the samples' Gaussians, where they are at hand.
    Quenouille 1956, Biometrika 43, p. 353; Efron & Stein 1981, The Annals of Statistics 9, p. 586.
    Raises ValueError as `frechet_distance` does, with fewer than 2 blocks, or fewer than 2 rows a block.
    """
    if blocks < 2:
        raise ValueError(f"a jackknife needs at least 2 blocks, got {blocks}; take 10")
    a, b = _pair(x, y, 2 * blocks)
    n, d = min(len(a), len(b)), a.shape[1]
    ga, gb = known[0] or gaussian(a), known[1] or gaussian(b)
    value = frechet_between(ga, gb)
    orders = _order(len(a), "x"), _order(len(b), "y")
    gaussians = (_left_out(s, order % blocks, blocks) for s, order in zip((a, b), orders, strict=True))
    left_out = [frechet_between(*pair) for pair in zip(*gaussians, strict=True)]
    bias = (blocks - 1) * (float(np.mean(left_out)) - value)
    variances = first_order_variances(a, b, ga, gb)
    variance, freedom = sum(variances), _freedom(variances, (len(a), len(b)))
    plug_in = _interval(value, variance, freedom)
    if n - -(-n // blocks) <= d:
        return FrechetEstimate(value, plug_in, bias, None, n)
    if n >= HALVES_RATIO * d:
        halves = [(a[orders[0] % 2 == i], b[orders[1] % 2 == i]) for i in (0, 1)]
        of_halves = sum(sum(first_order_variances(p, q, gaussian(p), gaussian(q))) for p, q in halves) / 2
        # A/N + 4B/N² against 2A/N + 16B/N².
        second = min(max(of_halves - 2 * variance, 0.0) / 8, variance / 4)
        variance -= (4 - 2 * blocks / (blocks - 1)) * second
    return FrechetEstimate(value, plug_in, bias, _interval(value - bias, variance, freedom), n)


def frechet_corrected(x: Features, y: Features, blocks: int = 10) -> Interval:
    """The Fréchet distance between the two *laws*, free of the bias of order 1/N, with a 95 % interval.

    Its value may lie a little below 0 where the laws are equal, the interval's ends never. As `frechet_estimate`, which
    has the reasons; raises ValueError also where no more rows than features remain without a block: there the bias does
    not fall as 1/N yet, and an interval would not cover.
    """
    found = frechet_estimate(x, y, blocks)
    if found.corrected is None:
        d = as_matrix(x, "x").shape[1]
        raise ValueError(
            f"the bias can be told from more than {d} rows without a block, got {found.n} in {blocks} blocks; "
            "give more samples, or take frechet_interval"
        )
    return found.corrected


def frechet_infinity(x: Features, y: Features) -> Interval:
    """FID∞: the Fréchet distance extrapolated linearly in 1/N to endless samples, with a 95 % interval.

    x: [N, D], y: [M, D], N, M >= 20 and 2.5 D. Least squares through the mean distances at N, 0.8 N, 0.6 N and N/2 of
    both samples. Differs from the paper: parts in which each row appears equally often, for independent ones, so that
    the first-order error is the whole sample's (here too wide where the laws are equal, which makes
    up for the extrapolation's own noise). `frechet_corrected` varies less.
    Chong & Forsyth 2020, arXiv:1911.07023. Raises ValueError as `frechet_distance` does, and for fewer rows.
    """
    a, b = _pair(x, y, 20)
    n, d = min(len(a), len(b)), a.shape[1]
    if n < INFINITY_RATIO * d:
        raise ValueError(f"an extrapolation needs {INFINITY_RATIO} rows a feature, got {n} for {d}; give more samples")
    ga, gb = gaussian(a), gaussian(b)
    tenths = [_order(len(a), "x") % 10, _order(len(b), "y") % 10]
    means = [frechet_between(ga, gb)]
    for size, starts in ((8, range(0, 10, 2)), (6, range(0, 10, 2)), (5, (0, 5))):
        values = []
        for start in starts:
            p, q = (s[(t - start) % 10 < size] for s, t in zip((a, b), tenths, strict=True))
            values.append(frechet_between(gaussian(p), gaussian(q)))
        means.append(float(np.mean(values)))
    value = float(np.polyfit(1 / np.array([1.0, 0.8, 0.6, 0.5]), means, 1)[1])
    variances = first_order_variances(a, b, ga, gb)
    return _interval(value, sum(variances), _freedom(variances, (len(a), len(b))))


def frechet_per_class(
    x: Features, y: Features, x_labels: Features | list[str], y_labels: Features | list[str]
) -> PerClass:
    """The Fréchet distance within each class, and its mean over classes ("intra-FID").

    x: [N, D], y: [M, D]; labels [N] and [M], integers or words, each class with 2 rows at least in both.
    A class's plug-in is biased by its own, smaller size. Miyato & Koyama 2018, arXiv:1802.05637.
    Raises ValueError as `frechet_distance` does, and naming the classes that have too few rows.
    """
    a, b = _pair(x, y, 2)
    classes = [_labels(x_labels, len(a), "x_labels"), _labels(y_labels, len(b), "y_labels")]
    names = np.unique(np.concatenate([np.unique(c) for c in classes])).tolist()
    counts = {name: tuple(int((c == name).sum()) for c in classes) for name in names}
    short = [f"{name!r} ({n} and {m})" for name, (n, m) in counts.items() if min(n, m) < 2]
    if short:
        shown = ", ".join(short[:5]) + (f" and {len(short) - 5} more" if len(short) > 5 else "")
        raise ValueError(f"a class must have at least 2 rows in x and in y, got {shown}; give more, or leave them out")
    values = {
        name: frechet_between(gaussian(a[classes[0] == name], "x"), gaussian(b[classes[1] == name], "y"))
        for name in names
    }
    return PerClass(values, float(np.mean(list(values.values()))))


def _pair(x: Features, y: Features, least: int) -> tuple[Matrix, Matrix]:
    a, b = as_matrix(x, "x", least), as_matrix(y, "y", least)
    same_width(a, b)
    return a, b


def _labels(labels: Features | list[str], n: int, name: str) -> NDArray[np.generic]:
    found = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
    if found.shape != (n,) or found.dtype.kind not in "iuU":
        got = f"{found.dtype} of shape {found.shape}"
        raise ValueError(f"{name} must be {n} integers or words, one a row, got {got}; index the classes")
    return found


def _order(n: int, which: str) -> NDArray[np.int64]:
    """0 to n − 1 in an order of chance that depends on nothing else."""
    return numpy_generator("frechet", "blocks", which, n).permutation(n)


def _left_out(a: Matrix, block: NDArray[np.int64], blocks: int) -> Iterator[Gaussian]:
    """The Gaussians of the sample without each of its blocks."""
    if len(a) - -(-len(a) // blocks) <= a.shape[1]:
        yield from (gaussian(a[block != i]) for i in range(blocks))
        return
    # Taking a block's moments from the whole's costs a block's products, not all the others'.
    whole = Moments().add(a)
    yield from (whole.without(Moments().add(a[block == i])).gaussian() for i in range(blocks))


def _freedom(variances: tuple[float, float], sizes: tuple[int, int]) -> float:
    total = sum(variances)
    return total**2 / sum(v * v / (n - 1) for v, n in zip(variances, sizes, strict=True)) if total > 0 else 1.0


def _interval(value: float, variance: float, freedom: float) -> Interval:
    """No distance is below 0, so neither are the ends."""
    stderr = float(np.sqrt(variance))
    half = student(freedom) * stderr
    return Interval(value, stderr, max(value - half, 0.0), max(value + half, 0.0))


def _half(interval: Interval) -> float:
    """The half-width before the lower end met 0."""
    return interval.high - interval.value


def _nuclear_norm(a: Floats, b: Floats, tolerance: float) -> float:
    """tr (K Kᵀ)^½, K = aᵀ b: the sum of K's singular values, with an error of at most about `tolerance`.

    The eigenvalues of the smaller Gram matrix cost a quarter of a singular value decomposition, but an error ε λmax
    becomes ε λmax / 2σ in a singular value σ; where those add up to more than allowed, the decomposition is made.
    """
    if a.shape[1] > b.shape[1]:
        a, b = b, a
    k = a.T @ b
    if k.size == 0 or (largest := max(float(k.max()), -float(k.min()))) == 0.0:
        return 0.0
    k /= largest
    gram = k @ k.T
    del k  # one matrix less while the eigenvalues are found
    sigma, error = _square_roots(gram)
    if error * largest > tolerance:
        sigma = np.linalg.svd(a.T @ b / largest, compute_uv=False)
    return float(sigma.sum()) * largest


def _square_roots(squares: Floats) -> tuple[Floats, float]:
    """Square roots of a semidefinite matrix's eigenvalues, and what rounding may make of their sum.

    squares: of which the lower half is read, and which is overwritten.
    Raises ValueError for an eigenvalue below 0 by more than rounding.
    """
    # The transpose is in LAPACK's own order, so that no copy is made.
    found = eigh(squares.T, lower=False, eigvals_only=True, overwrite_a=True, check_finite=False, driver="evd")
    if found[0] < -1e-6 * found[-1]:
        raise ValueError("a covariance has no negative eigenvalue, got one; compute it in float64")
    sigma = np.sqrt(found.clip(min=0.0))
    if sigma[-1] == 0:
        return sigma, 0.0
    epsilon = float(np.finfo(np.float64).eps) * float(sigma[-1])
    # σ below √ε σmax are lost in the rounding: each may be wrong by that much.
    errors = epsilon * float(sigma[-1]) / np.maximum(sigma, np.sqrt(epsilon * sigma[-1]))
    return sigma, float(errors.sum())


def _between(c1: Floats, c2: Floats) -> Floats:
    """Lᵀ c2 L [R, R], L [D, R] a root of c1, of which the lower half is right; one and a half matrices at once."""
    found = triangle(c1)
    rank, lower, order = found.rank, found.lower, found.order
    trace = float(np.trace(c1))
    if not np.isclose(float(np.einsum("dr,dr->", lower, lower)), trace, rtol=1e-6, atol=1e-300):
        raise ValueError(f"a covariance has no negative eigenvalue, got one (trace {trace:.6g}); compute it in float64")
    panels = [(slice(i, i + PANEL), lower[i:, i : i + PANEL].copy()) for i in range(0, len(lower), PANEL)]
    del found, lower  # the panels hold half of it
    own = len(order) == len(c2) and bool((order == np.arange(len(order))).all())
    inner = c2.copy() if own else c2[np.ix_(order, order)]
    # A product reads what no product before it has overwritten.
    for at, panel in panels:
        inner[:, at] = inner[:, at.start :] @ panel
    for at, panel in panels:
        inner[at, : at.stop] = panel.T @ inner[at.start :, : at.stop]
    if rank == len(inner):
        return inner
    packed = inner.reshape(-1)
    for i in range(rank):  # rows move up, so that what LAPACK is given is not copied
        packed[i * rank : (i + 1) * rank] = inner[i, :rank]
    return packed[: rank * rank].reshape(rank, rank)


def _same_size(a: Floats, b: Floats) -> None:
    if len(a) != len(b):
        raise ValueError(f"two Gaussians must have the same D, got {len(a)} and {len(b)}; use one extractor")


def _given(mu: Features, cov: Features, which: int) -> tuple[Floats, Floats]:
    row = mu.detach().reshape(1, -1) if isinstance(mu, torch.Tensor) else np.reshape(np.asarray(mu), (1, -1))
    mean = as_matrix(row, f"mu{which}")[0].astype(np.float64)
    c = as_matrix(cov, f"cov{which}").astype(np.float64, copy=False)
    if c.shape != (len(mean), len(mean)):
        raise ValueError(f"cov{which} must be [{len(mean)}, {len(mean)}] as mu{which} has {len(mean)}, got {c.shape}")
    check_symmetric(c)
    return mean, c
