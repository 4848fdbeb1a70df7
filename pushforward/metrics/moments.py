"""Mean and covariance of features, in float64 whatever the features are in, from one array or from chunks."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs, get_lapack_funcs

from pushforward.metrics.features import Features, Matrix, as_matrix

Floats = NDArray[np.float64]

ROWS = 2048  # rows multiplied at once, or one more than there are features
EPSILON = float(np.finfo(np.float64).eps)
WIDE = 256  # features from which float32 products save time worth a few digits
# A pivot is the share of a feature's variance that the features before it leave unexplained.
STEADY = 1e-4  # rounding of float32 products, 1e-7, moves a distance by less than 1e-8 of the trace above this pivot
FULL_RANK = 1e-10  # below this pivot a covariance may have a null space, and only pivoting finds its rank
SANE = (1e-20, 1e30)  # traces whose products neither vanish nor overflow in float32


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The Gaussian with mean [D] and covariance `root @ root.T`, root [D, R]; of n examples, 0 if not a sample's.

    R is at most the rank: a thin root costs less, and leaves no null directions whose rounding errors would count.
    """

    n: int
    mean: Floats
    root: Floats

    @property
    def covariance(self) -> Floats:
        """[D, D], made anew at each call."""
        return self.root @ self.root.T


class Moments:
    """Mean and covariance of rows that come in chunks of any sizes, in any order, in one pass.

    Rows are gathered into blocks of `ROWS` (one more than D where that is more), each centred about its own mean, and
    the blocks' means and scatters joined exactly: neither a large mean nor a drift costs digits, and chunks change
    nothing but rounding. Holds one block and one [D, D] matrix; up to D rows are kept as they came, for an exact root.
    fast: products of float32 rows in float32, summed over blocks in float64: twice as fast, covariances to 1e-7 of the
    standard deviations. That is too coarse for features that nearly determine each other, which are refused.
    Chan, Golub & LeVeque 1983, The American Statistician 37, p. 242.
    """

    def __init__(self, fast: bool = False) -> None:
        self.fast = fast
        self._joined = 0  # rows in the mean and the scatter below
        self._mean = np.zeros(0)
        self._scatter = np.zeros((0, 0))  # Σ (x − mean)(x − mean)ᵀ, lower triangle, columns first as BLAS wants it
        self._held = np.zeros((0, 0))
        self._waiting = 0  # rows of `_held` in use

    @property
    def n(self) -> int:
        """Rows seen."""
        return self._joined + self._waiting

    def add(self, x: Features, name: str = "the features") -> Self:
        """Takes in a chunk [B, D], B >= 0, and keeps no reference to it.

        Raises ValueError, naming `name` and the row counted from the chunk's first, for NaN or infinity, or another D.
        """
        a = as_matrix(x, name, least=0)
        known = self._held.shape[1]
        if known and a.shape[1] != known:
            raise ValueError(f"{name} must have {known} features as before, got {a.shape[1]}; use one extractor")
        if not known:
            self._held = np.empty((0, a.shape[1]), a.dtype)
        size = max(ROWS, a.shape[1] + 1)
        while len(a):
            if not self._waiting and len(a) >= size:
                self._join(a[:size])
                a = a[size:]
            else:
                taken = min(size - self._waiting, len(a))
                self._hold(a[:taken], size)
                a = a[taken:]
                if self._waiting == size:
                    self._flush()
        return self

    def merge(self, other: "Moments") -> Self:
        """Takes in all that another, which is left as it was, has seen."""
        if other._joined:
            self._check(other)
            if self._joined:
                n, shift = self._joined + other._joined, other._mean - self._mean
                self._scatter += other._scatter
                self._scatter += self._joined * other._joined / n * np.outer(shift, shift)
                self._mean = self._mean + other._joined / n * shift
                self._joined = n
            else:
                self._joined, self._mean, self._scatter = other._joined, other._mean, other._scatter.copy(order="F")
                self._held = self._held if self._held.shape[1] else np.empty((0, len(self._mean)), other._held.dtype)
        return self.add(other._held[: other._waiting]) if other._waiting else self

    def without(self, other: "Moments") -> "Moments":
        """The moments of the rows that `other` has not seen, at least one; both are left as they were."""
        whole, part = Moments(self.fast).merge(self), Moments(other.fast).merge(other)
        whole._flush()
        part._flush()
        whole._check(part)
        n = whole._joined - part._joined
        if n < 1 or part._joined < 1:
            raise ValueError(f"a part must have some of the rows but not all, got {part.n} of {whole.n}")
        shift = (part._mean - whole._mean) * (part._joined / n)
        whole._mean = whole._mean - shift
        whole._scatter -= part._scatter
        whole._scatter -= n * whole._joined / part._joined * np.outer(shift, shift)
        whole._joined = n
        return whole

    def gaussian(self, name: str = "the features") -> Gaussian:
        """The Gaussian of all rows so far. Raises ValueError for fewer than 2, or where `fast` is too coarse."""
        if self.n < 2:
            raise ValueError(f"{name} must have at least 2 rows, got {self.n}; give more samples")
        if not self._joined and self._waiting <= self._held.shape[1]:
            return _thin(self._held[: self._waiting])
        self._flush()
        found = self._factored()
        if found is None:
            raise ValueError(
                f"{name} must not nearly determine each other where fast=True, got a pivot below {STEADY:g}; "
                "use Moments()"
            )
        return found

    def _factored(self) -> Gaussian | None:
        """The Gaussian of the joined rows; None where float32 products are too coarse for it."""
        covariance = self._scatter / (self._joined - 1)  # of which the lower half is filled in
        trace = float(np.trace(covariance))
        if self.fast and not SANE[0] < trace < SANE[1]:
            return None
        found = triangle(covariance)
        if self.fast and found.pivot < STEADY:
            return None
        return Gaussian(self._joined, self._mean, found.root(len(covariance)))

    def _hold(self, rows: Matrix, size: int) -> None:
        kind = np.promote_types(self._held.dtype, rows.dtype) if self._waiting else rows.dtype
        if len(self._held) < size or self._held.dtype != kind:
            grown = np.empty((size, rows.shape[1]), kind)
            grown[: self._waiting] = self._held[: self._waiting]
            self._held = grown
        self._held[self._waiting : self._waiting + len(rows)] = rows
        self._waiting += len(rows)

    def _flush(self) -> None:
        if self._waiting:
            self._join(self._held[: self._waiting])
            self._waiting = 0

    def _join(self, block: Matrix) -> None:
        """Joins a block of rows: the difference of the two means is one more row of its scatter."""
        rows, width = block.shape
        mean = block.mean(axis=0, dtype=np.float64)
        single = self.fast and block.dtype == np.float32
        centred = np.empty((rows + 1, width), np.float32 if single else np.float64)
        if single:
            # In two steps, as a float32 mean alone would be wrong by more than the rows differ.
            coarse = mean.astype(np.float32)
            np.subtract(block, coarse, out=centred[:rows])
            centred[:rows] -= (mean - coarse).astype(np.float32)
        else:
            np.subtract(block, mean, out=centred[:rows])
        if not self._joined:
            self._mean, self._scatter = mean, np.zeros((width, width), order="F")
        n, shift = self._joined + rows, mean - self._mean
        centred[rows] = np.sqrt(self._joined * rows / n) * shift
        (product,) = get_blas_funcs(["syrk"], dtype=centred.dtype)
        # Half the work of a product: BLAS fills one triangle.
        if single:
            self._scatter += product(1.0, centred.T, lower=1)
        else:
            self._scatter = product(1.0, centred.T, beta=1.0, c=self._scatter, lower=1, overwrite_c=1)
        self._mean = self._mean + rows / n * shift
        self._joined = n

    def _check(self, other: "Moments") -> None:
        widths = self._held.shape[1], other._held.shape[1]
        if all(widths) and widths[0] != widths[1]:
            raise ValueError(f"two moments must have the same D, got {widths[0]} and {widths[1]}; use one extractor")


def moments(x: Features) -> tuple[Floats, Floats]:
    """Mean [D] and covariance [D, D] of features [N, D], N >= 2, divided by N − 1, with products in float64."""
    a = as_matrix(x, "the features", least=2)
    seen = Moments().add(a)
    seen._flush()
    covariance = np.tril(seen._scatter / (seen.n - 1))
    return seen._mean, covariance + np.tril(covariance, -1).T


def gaussian(x: Features, name: str = "the features") -> Gaussian:
    """The Gaussian of a sample [N, D], N >= 2. Raises ValueError, naming `name`, for NaN, infinity or one row.

    `WIDE` float32 features or more are multiplied in float32 if their covariance is found to bear it (the distance is
    then right to 1e-7 of the traces or better), and else again in float64.
    """
    a = as_matrix(x, name, least=2)
    if len(a) <= a.shape[1]:
        return _thin(a)
    for fast in (True, False) if a.dtype == np.float32 and a.shape[1] >= WIDE else (False,):
        seen = Moments(fast)
        size = max(ROWS, a.shape[1] + 1)
        for i in range(0, len(a), size):
            seen._join(a[i : i + size])
        found = seen._factored()
        if found is not None:
            return found
    raise AssertionError("float64 products bear any covariance")


def from_moments(n: int, mean: Floats, covariance: Floats, tolerance: float = EPSILON) -> Gaussian:
    """The Gaussian of n examples, 0 if unknown, with this mean [D] and covariance [D, D].

    tolerance: the relative rounding error of the covariance's entries.
    Raises ValueError unless the covariance is symmetric and semidefinite to that.
    """
    check_symmetric(covariance)
    root = triangle(covariance, tolerance).root(len(mean))
    trace = float(np.trace(covariance))
    if not np.isclose(
        float(np.einsum("dr,dr->", root, root)), trace, rtol=max(1e-6, len(mean) * tolerance), atol=1e-300
    ):
        raise ValueError(f"a covariance has no negative eigenvalue, got one (trace {trace:.6g}); compute it in float64")
    return Gaussian(n, mean, root)


def check_symmetric(covariance: Floats) -> None:
    """Raises ValueError unless the matrix is its own mirror image to 1e-6, or to 1e-9 of its largest entry."""
    # No entry of a covariance is larger than its largest variance.
    slack = 1e-9 * float(np.abs(np.diagonal(covariance)).max())
    for i in range(0, len(covariance), ROWS // 64):  # never a second matrix
        rows, rest = slice(i, i + ROWS // 64), slice(i, None)
        own, other = covariance[rows, rest], covariance[rest, rows].T
        apart = own - other
        if max(float(apart.max()), -float(apart.min())) <= slack:
            continue
        if not bool((np.abs(apart) <= slack + 1e-6 * np.abs(other)).all()):
            raise ValueError("a covariance must be symmetric, got entries unlike their mirror images; average them")
    dead = np.diagonal(covariance) <= 0
    if dead.any() and float(np.abs(covariance[dead]).max()) > slack:
        raise ValueError("a covariance has no negative eigenvalue, got one; compute it in float64")


@dataclass(frozen=True, eq=False)
class Triangle:
    """A covariance [D, D] as L Lᵀ on the features `order` [A]; the others have no variance.

    lower: L [A, A], lower triangular, its columns from `rank` on 0. pivot: the least share of a feature's variance that
    the features before it leave unexplained; 0 below full rank.
    """

    lower: Floats
    rank: int
    order: NDArray[np.int64]
    pivot: float

    def root(self, d: int) -> Floats:
        """[D, R], root rootᵀ = the covariance."""
        lower = self.lower[:, : self.rank]
        if len(self.order) == d and bool((self.order == np.arange(d)).all()):
            return lower
        root = np.zeros((d, self.rank))
        root[self.order] = lower
        return root


def triangle(covariance: Floats, tolerance: float = EPSILON) -> Triangle:
    """The triangular root of a covariance, of which the lower half is read, by Cholesky; by pivots below full rank.

    tolerance: the relative rounding error of the entries, which says what rank they can tell.
    Higham 2002, Accuracy and Stability of Numerical Algorithms, §10.3.
    """
    plain, pivoted = get_lapack_funcs(["potrf", "pstrf"], dtype=np.float64)
    alive = np.flatnonzero(np.diagonal(covariance) > 0)

    def copied() -> Floats:
        # In LAPACK's own order, so that the factor takes the copy's place.
        whole = len(alive) == len(covariance)
        return np.array(covariance if whole else covariance[np.ix_(alive, alive)], np.float64, order="F")

    if len(alive) == 0:
        return Triangle(np.zeros((0, 0)), 0, alive, 1.0)
    variances = np.diagonal(covariance)[alive]
    factor, failed = plain(copied(), lower=1, clean=1, overwrite_a=1)
    pivot = 0.0 if failed else float((np.diagonal(factor) ** 2 / variances).min())
    if pivot >= max(FULL_RANK, len(covariance) * tolerance):
        return Triangle(factor, len(alive), alive, pivot)
    del factor
    bound = len(covariance) * tolerance * float(variances.max())
    factor, pivots, rank, _ = pivoted(copied(), lower=1, tol=bound, overwrite_a=1)
    for column in range(1, len(alive)):
        factor[: column if column < rank else None, column] = 0.0
    return Triangle(factor, int(rank), alive[pivots - 1], 0.0)


def _thin(a: Matrix) -> Gaussian:
    """The Gaussian of N <= D rows: the centred sample is itself a root.

    A reflection that takes (1, …, 1) to the first axis makes its first row 0, so that N − 1 remain, and no direction
    is null by construction.
    """
    n = len(a)
    mean = a.mean(axis=0, dtype=np.float64)
    centred = a - mean
    centred[1:] += centred[0] / (np.sqrt(n) - 1)
    centred[1:] /= np.sqrt(n - 1)
    return Gaussian(n, mean, centred[1:].T)
