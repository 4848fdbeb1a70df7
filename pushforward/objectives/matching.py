"""The cheapest matching of two samples of equal size: exact, and without the matrix of all N² costs.

The Hungarian method on a sparse graph. Duals u, v with u_i + v_j <= c_ij bound every matching's cost from below; pairs
where equality holds are tight, and a matching of tight pairs is cheapest. A subsample's duals make a good start, the
pairs of least c_ij − u_i − v_j make the graph, and after every few augmentations all N² pairs are looked at, a block at
a time: those that break the bound join the graph. A matching is returned when none does. Where that takes long, as it
does when many points must travel far together, SciPy's dense solver finishes from the duals found.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]

SMALL = 512  # points from which on the sparse graph is faster than the dense matrix
NEAREST = 10  # pairs of the first graph, for each row and for each column
WORST = 5  # pairs that join it at a time, for each row
PHASES = 16  # augmentations between two looks at all pairs
LIMIT = 480  # of them at one size, before the dense solver takes over
BLOCK = 1 << 17  # costs looked at together: they stay in the processor's cache
EPS = float(np.finfo(np.float64).eps)


def cheapest_matching(x: Floats, y: Floats, p: float = 2.0) -> Integers:
    """The columns π [N] of a matching with the least Σ |x_i − y_π(i)|^p; x, y: [N, D], finite, p > 0.

    Exact up to rounding: no pair breaks the duals' bound by more than 1e-13 (p = 2) or 1e-12 of the largest cost.
    For N = 5,000 about 20 to 110 MiB beyond the samples, and 8 N² bytes more where the dense solver finishes.
    Kuhn 1955; Hopcroft & Karp 1973, SIAM J. Comput. 2, p. 225 (disjoint augmenting paths); Crouse 2016, IEEE Trans.
    Aerosp. Electron. Syst. 52, p. 1679 (SciPy's solver).
    """
    costs = Costs.between(x, y, p)
    if len(x) <= SMALL:
        return _dense(costs, np.zeros(len(x)))
    matched, v = _sparse(costs)
    return _dense(costs, v) if (matched < 0).any() else matched


@dataclass(frozen=True)
class Costs:
    """c_ij = |x_i − y_j|^p, never all at once."""

    x: Floats
    y: Floats
    p: float
    xx: Floats
    yy: Floats

    @classmethod
    def between(cls, x: Floats, y: Floats, p: float) -> "Costs":
        """The costs of two samples; a common offset would swallow small distances, so it is taken away."""
        # Costs |x − y|² change by a_i + b_j when either sample is moved, and so every matching's by the same.
        centre = x.mean(0)
        x, y = x - centre, y - (y.mean(0) if p == 2 else centre)
        return cls(x, y, p, (x * x).sum(1), (y * y).sum(1))

    def transposed(self) -> "Costs":
        return Costs(self.y, self.x, self.p, self.yy, self.xx)

    def halved(self) -> "Costs":
        """Every second row and column."""
        return Costs(self.x[::2], self.y[::2], self.p, self.xx[::2], self.yy[::2])

    @property
    def largest(self) -> float:
        """A bound on the squared distances, up to a factor 2."""
        return float(self.xx.max() + self.yy.max())

    @property
    def tolerance(self) -> float:
        return (1e-13 if self.p == 2 else 1e-12) * self.largest ** (self.p / 2)

    def power(self, squares: Floats) -> Floats:
        """Squared distances to costs, in place."""
        if self.p != 2:
            np.sqrt(squares, out=squares)
        return squares if self.p in (1, 2) else np.power(squares, self.p, out=squares)

    def of(self, keys: Integers) -> Floats:
        """Costs of the pairs i N + j."""
        i, j = np.divmod(keys, len(self.y))
        return self.power(np.square(self.x[i] - self.y[j]).sum(1))

    def rows(self, i: Integers | slice) -> Floats:
        return self.power(np.asarray(cdist(self.x[i], self.y, "sqeuclidean"), np.float64))

    def lower(self, v: Floats, columns: slice = slice(None)) -> Iterator[tuple[slice, Floats]]:
        """Blocks of c_ij − v_j, too low by rounding and never too high, each good until the next is asked for.

        One matrix product: [x, |x|², 1] · [−2y, 1, |y|²]ᵀ less a bound on its rounding (Higham 2002, §3.1).
        """
        y, n = self.y[columns], len(self.x)
        last = self.yy[columns] - (self.x.shape[1] + 4) * EPS * self.largest
        if self.p == 2:
            last = last - v
        left = np.concatenate([self.x, self.xx[:, None], np.ones((n, 1))], 1)
        right = np.ascontiguousarray(np.concatenate([-2 * y, np.ones((len(y), 1)), last[:, None]], 1).T)
        step = max(1, BLOCK // len(y))
        room = np.empty((step, len(y)))
        for i in range(0, n, step):
            rows = slice(i, min(i + step, n))
            block = np.matmul(left[rows], right, out=room[: rows.stop - i])
            if self.p != 2:
                self.power(np.maximum(block, 0, out=block))
                block -= v
            yield rows, block


def _sparse(costs: Costs) -> tuple[Integers, Floats]:
    """Columns matched to the rows, −1 where none yet, and the columns' duals."""
    n = len(costs.x)
    if n <= SMALL // 2:
        v, keys = np.zeros(n), np.arange(n * n)
    else:
        v = _least(costs.transposed(), _least(costs, _sparse(costs.halved())[1], slice(None, None, 2)))
        keys = _nearest(costs, v)
    matched = np.full(n, -1)
    prices = costs.of(keys)
    for _ in range(LIMIT // PHASES):
        u, v, matched = _augment(keys, prices, v, matched, costs.tolerance)
        new = _violated(costs, u, v)
        if len(new) == 0 and (matched >= 0).all():
            break
        keys, first = np.unique(np.concatenate([keys, new]), return_index=True)
        prices = np.concatenate([prices, costs.of(new)])[first]
    return matched, v


def _least(costs: Costs, v: Floats, columns: slice = slice(None)) -> Floats:
    """min_j c_ij − v_j for each row."""
    return np.concatenate([block.min(1) for _, block in costs.lower(v, columns)])


def _nearest(costs: Costs, v: Floats) -> Integers:
    """Each row's pairs of least c_ij − v_j and each column's of least c_ij − u_i, and N that could all be matched."""
    n = len(v)
    every = np.arange(n)
    u = _least(costs, v)
    by_row = np.concatenate([_smallest(block, NEAREST)[1] for _, block in costs.lower(v)])
    by_column = np.concatenate([_smallest(block, NEAREST)[1] for _, block in costs.transposed().lower(u)])
    own = every[:, None]
    return np.unique(np.concatenate([(own * n + by_row).ravel(), (own + by_column * n).ravel(), every * (n + 1)]))


def _smallest(block: Floats, k: int) -> tuple[Floats, Integers]:
    """Each row's k smallest values and where they are; torch's selection takes a quarter of NumPy's time."""
    values, places = torch.from_numpy(block).topk(min(k, block.shape[1]), largest=False, sorted=False)
    return values.numpy(), places.numpy()


def _violated(costs: Costs, u: Floats, v: Floats) -> Integers:
    """Pairs whose cost is below u_i + v_j, some of each row that has any."""
    n, found = len(u), [np.empty(0, np.int64)]
    for rows, block in costs.lower(v):
        limits = u[rows] - costs.tolerance
        doubtful = np.flatnonzero(block.min(1) < limits)
        if len(doubtful) == 0:
            continue
        low, places = _smallest(block[doubtful], WORST)
        keys = (doubtful + rows.start)[:, None] * n + places
        below = costs.of(keys.ravel()).reshape(keys.shape) - v[places] < limits[doubtful, None]
        found.append(keys[below])
        # Where all of them were too low by rounding alone, there may be more behind.
        for i in doubtful[(low < limits[doubtful, None]).all(1) & ~below.any(1)]:
            exact = costs.rows(slice(rows.start + i, rows.start + i + 1))[0] - v
            found.append((rows.start + i) * n + np.flatnonzero(exact < limits[i]))
    return np.concatenate(found)


def _augment(
    keys: Integers, prices: Floats, v: Floats, matched: Integers, tolerance: float
) -> tuple[Floats, Floats, Integers]:
    """Up to PHASES times: distances from all free rows at once, the duals moved by them, disjoint paths augmented.

    keys: pairs i N + j, ascending, at least one a row; prices: their costs. Returns u, v and the matching, in which
    the free rows are −1. Distances are along pairs, of length c_ij − u_i − v_j >= 0, and back along matched ones, of
    length 0. Moved by their distances, the duals stay feasible, and the paths' pairs become tight.
    """
    n = len(v)
    rows, columns = np.divmod(keys, n)
    columns = columns.astype(np.int32)
    starts = np.searchsorted(rows, np.arange(n + 1)).astype(np.int32)
    u = np.minimum.reduceat(prices - v[columns], starts[:-1])
    matched = _still_tight(rows, columns, prices - u[rows] - v[columns], matched, tolerance)
    for _ in range(PHASES):
        free = np.flatnonzero(matched < 0)
        if len(free) == 0:
            break
        taken = np.flatnonzero(matched >= 0)
        node = np.full(n, -1, np.int32)  # a matched column is its row's node: they are 0 apart
        node[matched[taken]] = taken
        loose = np.flatnonzero(node < 0)
        node[loose] = np.arange(n, n + len(loose))
        lengths = np.maximum(prices - u[rows] - v[columns], 0)
        pointers = np.concatenate([starts, np.full(len(loose), starts[-1], np.int32)])
        graph = csr_array((lengths, node[columns], pointers), shape=(n + len(loose), n + len(loose)))
        away, before, source = dijkstra(graph, indices=free, min_only=True, return_predecessors=True)
        ends, reach = _nearest_ends(away[n:], source[n:])
        np.minimum(away, reach, out=away)
        u, v = u - away[:n], v + away[node]
        column, row = loose[ends], before[n + ends]
        while len(row):  # all paths, a step back at a time
            given_up = matched[row]
            matched[row] = column
            on = given_up >= 0
            column, row = given_up[on], before[row[on]]
    return u, v, matched


def _nearest_ends(away: Floats, source: Integers) -> tuple[Integers, float]:
    """Of the nearer half of the free columns, each source's nearest; and how far they go.

    Half: those far away would move the duals by much, and break the bound elsewhere.
    """
    order = np.argsort(away, kind="stable")
    order = order[: max(1, min((len(order) + 1) // 2, int(np.isfinite(away).sum())))]
    _, first = np.unique(source[order], return_index=True)
    return order[first], float(away[order[-1]])


def _still_tight(rows: Integers, columns: Integers, slack: Floats, matched: Integers, tolerance: float) -> Integers:
    """The matching without its pairs that are no longer tight, and with some of the tight pairs of free rows."""
    out = np.full(len(matched), -1)
    tight = np.flatnonzero(slack <= tolerance)
    kept = tight[matched[rows[tight]] == columns[tight]]
    out[rows[kept]] = columns[kept]
    taken = np.zeros(len(matched), bool)
    while True:
        taken[out[out >= 0]] = True
        tight = tight[(out[rows[tight]] < 0) & ~taken[columns[tight]]]
        if len(tight) == 0:
            return out
        some = tight[np.unique(rows[tight], return_index=True)[1]]
        some = some[np.unique(columns[some], return_index=True)[1]]
        out[rows[some]] = columns[some]


def _dense(costs: Costs, v: Floats) -> Integers:
    """SciPy's solver on the one matrix, reduced by the duals in place: the answer is exact whichever they are."""
    matrix = costs.rows(slice(None))
    matrix -= v
    matrix -= matrix.min(axis=1, keepdims=True)
    matrix -= matrix.min(axis=0)
    return linear_sum_assignment(matrix)[1]
