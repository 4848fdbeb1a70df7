"""The k nearest rows of one matrix to those of another: exact, by matrix products in blocks of bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.metrics.features import Features, Matrix, as_matrix, same_width

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

BUDGET = 2**28  # bytes of scratch
SPARE = 8  # candidates kept beyond those asked for, so that rounding rarely hides one of them
LARGEST, SMALLEST = 2048, 16  # rows a side of one product


@dataclass(frozen=True)
class Neighbours:
    """squares: squared distances [N, k], float64, ascending. indices: rows of the reference [N, k], int64."""

    squares: Floats
    indices: Indices


def nearest(
    queries: Features, reference: Features, k: int = 1, *, exclude_self: bool = False, budget: int = BUDGET
) -> Neighbours:
    """The k rows of `reference` [M, D] nearest to each of `queries` [N, D]: squared distances and indices.

    Exact: products (in float64 if either is) choose candidates with a bound on their rounding, and each candidate's
    distance is then summed as (x − y)² in float64. Equal rows are at exactly 0; of equal distances the lower index
    comes first. Rows that float32 can't decide are searched again in float64, and at last by every distance.
    exclude_self: row i of `queries` is row i of `reference`, and not its own neighbour; its duplicates are. Passing one
    object as both then halves the work. budget: bytes of scratch beside the input and the result, kept to as long as it
    holds 16 rows a block.
    Raises ValueError for a value that is not finite, unequal D, k < 1, or k beyond the rows there are.
    """
    q, r = as_matrix(queries, "queries"), as_matrix(reference, "reference")
    same_width(q, r, ("queries", "reference"))
    if exclude_self and len(q) != len(r):
        raise ValueError(f"exclude_self needs the queries to be the reference, got {len(q)} and {len(r)} rows")
    if not 1 <= k <= len(r) - exclude_self:
        raise ValueError(f"k must be 1 to {len(r) - exclude_self} for {len(r)} rows, got {k}; give more rows")
    found = search(Frame.of(q, r), k + exclude_self, halve=exclude_self and queries is reference, budget=budget)
    if exclude_self:
        return Neighbours(*without_self(found.squares, found.indices))
    return Neighbours(found.squares, found.indices)


@dataclass(frozen=True)
class Frame:
    """Two matrices x [N, D], y [M, D] with what keeps their products exact: a centre [D], a power of two, and norms.

    Distances come from products: without centring, a common offset would swallow them, and without scaling, float32
    would overflow at features of 1e19. xx, yy: squared norms about the centre, scaled by `scale` twice.
    """

    x: Matrix
    y: Matrix
    centre: Matrix
    scale: float
    xx: Floats
    yy: Floats

    @classmethod
    def of(cls, x: Matrix, y: Matrix, centre: Matrix | None = None) -> "Frame":
        """The frame about `centre`, by default y's mean, rounded to the type of both: a − c loses its last bit only."""
        middle: Matrix = y.mean(axis=0, dtype=np.float64) if centre is None else centre
        centre = middle.astype(np.promote_types(x.dtype, y.dtype))
        yy = _norms(y, centre)
        xx = yy if x is y else _norms(x, centre)
        largest = float(np.sqrt(max(xx.max(), yy.max())))
        if not np.isfinite(largest):
            raise ValueError("squared distances must be below 1e308, got features too large for that; rescale them")
        scale = 1.0 if largest == 0 or 1e-9 < largest < 1e12 else float(2.0 ** -np.ceil(np.log2(largest)))
        return cls(x, y, centre, scale, xx * scale**2, yy * scale**2)

    @property
    def kind(self) -> torch.dtype:
        """The type in which products are tried first."""
        return torch.float32 if self.centre.dtype == np.float32 else torch.float64

    def block(self, a: Matrix, rows: slice | Indices, kind: torch.dtype) -> Tensor:
        """Rows of `x` or `y`, centred and scaled, in `kind`."""
        wide = np.float32 if kind == torch.float32 else np.float64
        part = torch.from_numpy(np.subtract(a[rows], self.centre, dtype=wide))
        return part if self.scale == 1 else part.mul_(self.scale)

    def tau(self, kind: torch.dtype) -> float:
        """The share of |x|² + |y|² by which rounding may move |x|² + |y|² − 2x·y, computed in `kind`.

        A product of D terms is off by at most D u |x||y|, and by λ √D u |x||y| with probability 1 − 2 exp(−λ²/2); here
        λ = 16. The rest is for the centred values, the squares and the sums. Higham & Mary 2019, SIAM J. Sci. Comput.
        41, Theorem 3.1.
        """
        width = self.x.shape[1]
        return (min(width, 8 * float(np.sqrt(width))) + 16) * torch.finfo(kind).eps

    def squares(self, i: Indices, j: Indices) -> Floats:
        """|x_i − y_j|² for pairs of rows, unscaled, summed in float64: exact to rounding, and 0 for equal rows."""
        if len(i) > 4 * (len(self.x) + len(self.y)):  # so many hang on rounding where rows are equal
            x_ids, y_ids = self._ids
            pairs = x_ids[i] * (len(self.x) + len(self.y)) + y_ids[j]
            _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
            if 2 * len(first) < len(i):
                return self._squares(i[first], j[first])[inverse]
        return self._squares(i, j)

    def _squares(self, i: Indices, j: Indices) -> Floats:
        found = np.empty(len(i))
        step = max(2**16 // self.x.shape[1], 1)  # what stays in the cache
        for start in range(0, len(i), step):
            part = slice(start, start + step)
            difference = np.subtract(self.x[i[part]], self.y[j[part]], dtype=np.float64)
            np.einsum("nd,nd->n", difference, difference, out=found[part])
        return found

    @cached_property
    def _ids(self) -> tuple[Indices, Indices]:
        """Numbers [N], [M] that are equal where rows are."""
        seen: dict[bytes, int] = {}
        x, y = (
            np.array([seen.setdefault(row.tobytes(), len(seen)) for row in a], np.int64)
            for a in (self.x.astype(self.centre.dtype, copy=False), self.y.astype(self.centre.dtype, copy=False))
        )
        return x, y


@dataclass(frozen=True)
class Found:
    """What a search knows of each query.

    squares, indices: exact, [N, k], ascending. near, near_indices: [N, K >= k], ascending, the distances beyond the
    k-th with the rounding of their products.
    """

    squares: Floats
    indices: Indices
    near: Floats
    near_indices: Indices


def search(frame: Frame, k: int, width: int = 0, *, halve: bool = False, budget: int = BUDGET) -> Found:
    """The k nearest rows of `frame.y` to each of `frame.x`, and up to `width` more roughly; k at most the rows of y.

    halve: the two are one matrix: each product then serves rows and columns, if the lists of all rows fit the budget.
    """
    n, m = len(frame.x), len(frame.y)
    width = min(max(width, k), m)
    kept = min(max(k + max(SPARE, k // 4), width), m)
    squares, indices = np.empty((n, k)), np.empty((n, k), np.int64)
    near, near_indices = np.empty((n, width)), np.empty((n, width), np.int64)
    whole = halve and 64 * n * kept <= budget
    blocks = (
        _from_triangle(frame, kept, budget) if whole else _from_blocks(frame, frame.kind, kept, budget, np.arange(n))
    )
    for rows, values, others in blocks:
        tau = frame.tau(frame.kind) * (frame.xx[rows, None] + frame.yy[others])
        squares[rows], indices[rows], limit = _decide(frame, rows, values, others, tau, k)
        middle = values + tau
        order = np.argsort(middle, axis=1, kind="stable")[:, :width]
        near[rows], near_indices[rows] = np.take_along_axis(middle, order, 1), np.take_along_axis(others, order, 1)
        unsure = rows[values.max(axis=1) <= limit] if kept < m else rows[:0]
        if len(unsure):
            exact, others = _among_distinct(frame, unsure, width, budget)
            near[unsure], near_indices[unsure] = exact * frame.scale**2, others
            squares[unsure], indices[unsure] = exact[:, :k], others[:, :k]
    return Found(squares, indices, near / frame.scale**2, near_indices)


def without_self(squares: Floats, indices: Indices) -> tuple[Floats, Indices]:
    """One column fewer: the row itself goes, or where its duplicates crowd it out, the last."""
    n, width = indices.shape
    own = indices == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    return squares[~own].reshape(n, width - 1), indices[~own].reshape(n, width - 1)


def side(width: int, kind: torch.dtype, budget: int) -> int:
    """Rows a side of one product, so that two blocks of rows and six squares of distances fit into the budget."""
    size = torch.finfo(kind).bits // 8
    a, b = 6 * size, 3 * width * size  # a B² + b B = budget
    rows = int((np.sqrt(b * b + 4.0 * a * budget) - b) / (2 * a))
    return min(max(rows, SMALLEST), LARGEST)


class _Shortlists:
    """The `kept` smallest lower bounds of each of n rows, and where they were seen."""

    def __init__(self, n: int, kept: int, kind: torch.dtype) -> None:
        self.values = np.full((n, kept), np.inf, np.float32 if kind == torch.float32 else np.float64)
        self.places = np.zeros((n, kept), np.int64)
        self.worst = torch.full((n,), torch.inf, dtype=kind)

    def offer(self, rows: slice, lower: Tensor, start: int, *, across: bool = False) -> None:
        """Lower bounds [rows, others], or [others, rows] if across, for a range of rows; `start`: the first other.

        A comparison with the worst that is kept finds the few that matter in a quarter of a top-k's time.
        """
        kept, n = self.values.shape[1], rows.stop - rows.start
        mask = (lower < (self.worst[rows] if across else self.worst[rows, None])).numpy()
        if np.count_nonzero(mask) <= 2 * kept * n:
            hits = np.flatnonzero(mask)
            row, other = np.divmod(hits, mask.shape[1])
            found = lower.numpy().ravel()[hits]
            if across:
                order = np.argsort(other, kind="stable")
                row, other, found = other[order], row[order], found[order]
            counts = np.bincount(row, minlength=n)
            if (most := int(counts.max())) <= 8 * kept:
                touched = np.flatnonzero(counts)
                slots = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
                values, places = np.full((n, most), np.inf, found.dtype), np.zeros((n, most), np.int64)
                values[row, slots], places[row, slots] = found, other + start
                self._merge(rows.start + touched, values[touched], places[touched])
                return
        lower = lower.T.contiguous() if across else lower
        best = lower.topk(min(kept, lower.shape[1]), largest=False, sorted=False)
        self._merge(rows.start + np.arange(n), best.values.numpy(), best.indices.numpy() + start)

    def _merge(self, rows: Indices, values: NDArray[np.floating], places: Indices) -> None:
        kept = self.values.shape[1]
        values = np.concatenate([self.values[rows], values], 1)
        places = np.concatenate([self.places[rows], places], 1)
        best = np.argpartition(values, kept - 1, axis=1)[:, :kept]
        self.values[rows] = np.take_along_axis(values, best, 1)
        self.places[rows] = np.take_along_axis(places, best, 1)
        self.worst[rows] = torch.from_numpy(self.values[rows].max(axis=1))


def distances(x: Tensor, y: Tensor, xx: Tensor, yy: Tensor) -> Tensor:
    """xx + yy − 2 x·y [N, M], of rows x [N, D] and y [M, D] with numbers xx [N] and yy [M], in their type."""
    # NumPy's product: it is a quarter faster than torch's on these shapes, and does half of the work where x is y.
    part = torch.from_numpy(x.numpy() @ y.numpy().T)
    return torch.add(yy, part, alpha=-2, out=part).add_(xx[:, None])


Shortlisted = Iterator[tuple[Indices, Floats, Indices]]  # rows of x, lower bounds [rows, kept], rows of y


def _from_blocks(
    frame: Frame, kind: torch.dtype, kept: int, budget: int, x_rows: Indices, y_rows: Indices | None = None
) -> Shortlisted:
    """Shortlists of some rows of x among all or some rows of y, a block at a time."""
    keep, step = 1 - frame.tau(kind), side(frame.x.shape[1], kind, budget)
    m = len(frame.y) if y_rows is None else len(y_rows)
    for i in range(0, len(x_rows), step):
        rows = x_rows[i : i + step]
        x, xx = frame.block(frame.x, rows, kind), torch.from_numpy(keep * frame.xx[rows]).to(kind)
        lists = _Shortlists(len(rows), kept, kind)
        for j in range(0, m, step):
            columns = slice(j, min(j + step, m)) if y_rows is None else y_rows[j : j + step]
            yy = torch.from_numpy(keep * frame.yy[columns]).to(kind)
            part = distances(x, frame.block(frame.y, columns, kind), xx, yy)
            lists.offer(slice(0, len(rows)), part, j)
        yield rows, lists.values.astype(np.float64), lists.places if y_rows is None else y_rows[lists.places]


def _from_triangle(frame: Frame, kept: int, budget: int) -> Shortlisted:
    """Shortlists of all rows of x among themselves, each product serving its rows and its columns."""
    kind, n = frame.kind, len(frame.x)
    keep, step = 1 - frame.tau(kind), side(frame.x.shape[1], kind, budget)
    xx = torch.from_numpy(keep * frame.xx).to(kind)
    lists = _Shortlists(n, kept, kind)
    for i in range(0, n, step):
        rows = slice(i, min(i + step, n))
        x = frame.block(frame.x, rows, kind)
        for j in range(i, n, step):
            columns = slice(j, min(j + step, n))
            if i == j:
                lists.offer(rows, distances(x, x, xx[rows], xx[rows]), j)
                continue
            y = frame.block(frame.x, columns, kind)
            part = distances(x, y, xx[rows], xx[columns])
            lists.offer(rows, part, j)
            lists.offer(columns, part, i, across=True)
    for i in range(0, n, step):
        rows = np.arange(i, min(i + step, n))
        yield rows, lists.values[rows].astype(np.float64), lists.places[rows]


def _decide(
    frame: Frame, rows: Indices, values: Floats, others: Indices, tau: Floats, k: int
) -> tuple[Floats, Indices, Floats]:
    """Exact squares and indices [rows, k] out of lower bounds, and the most that the k-th can be [rows]."""
    limit = np.partition(values + 2 * tau, k - 1, axis=1)[:, k - 1]
    row, column = np.nonzero(values <= limit[:, None])
    exact = np.full(values.shape, np.inf)
    exact[row, column] = frame.squares(rows[row], others[row, column])
    order = np.lexsort((others, exact), axis=1)[:, :k]
    return np.take_along_axis(exact, order, 1), np.take_along_axis(others, order, 1), limit


def _among_distinct(frame: Frame, rows: Indices, k: int, budget: int) -> tuple[Floats, Indices]:
    """Squares and indices [rows, k] where float32 can't tell: in float64, equal rows of y being searched once."""
    copies: dict[bytes, list[int]] = {}
    for i, row in enumerate(frame.y):
        same = copies.setdefault(row.tobytes(), [])
        if len(same) < k:
            same.append(i)
    members = {same[0]: same for same in copies.values()}
    first = np.array(list(members))
    found, indices = np.empty((len(rows), k)), np.empty((len(rows), k), np.int64)
    wanted, kept, at = min(k, len(first)), min(k + max(SPARE, k // 4), len(first)), 0
    for part, values, others in _from_blocks(frame, torch.float64, kept, budget, rows, first):
        tau = frame.tau(torch.float64) * (frame.xx[part, None] + frame.yy[others])
        squares, chosen, limit = _decide(frame, part, values, others, tau, wanted)
        for i in range(len(part)):
            if kept < len(first) and values[i].max() <= limit[i]:  # ties beyond what was kept: by every distance
                own = frame.squares(np.full(len(first), part[i]), first)
                order = np.argsort(own, kind="stable")[:wanted]
                squares[i], chosen[i] = own[order], first[order]
            near = [members[c] for c in chosen[i]]
            expanded, all_members = np.repeat(squares[i], [len(same) for same in near]), np.concatenate(near)
            order = np.lexsort((all_members, expanded))[:k]
            found[at + i], indices[at + i] = expanded[order], all_members[order]
        at += len(part)
    return found, indices


def _norms(a: Matrix, centre: Matrix) -> Floats:
    norms = np.empty(len(a))
    for i in range(0, len(a), 256):
        part = np.subtract(a[i : i + 256], centre, dtype=np.float64)
        np.einsum("nd,nd->n", part, part, out=norms[i : i + 256])
    return norms
