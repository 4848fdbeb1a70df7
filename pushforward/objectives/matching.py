"""The cheapest matching of two samples of equal size: exact, and without the matrix of all N² costs.

Column generation. Duals u, v with u_i + v_j <= c_ij bound every matching's cost from below; a matching of tight pairs,
where equality holds, is cheapest. A subsample's duals make a good start, and the pairs of least c_ij − u_i − v_j make a
sparse graph. POT's network simplex finds its cheapest matching and duals; all N² pairs are then looked at, a block at a
time, and those that break the bound join the graph. The matching is returned when none does: the duals prove it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.spatial.distance import cdist

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]

SMALL = 512  # points from which on the sparse graph is faster than the dense matrix
NEAREST = 10  # pairs of the first graph, for each row and for each column
WORST = 5  # pairs that join it at a time, for each row; one for each column
ROUNDS = 60  # graphs looked at, for points of one number, before the dense solver takes over; some 10 are usual
DENSITY = 100  # pairs of the last of them, for each row; some 40 are usual
PIVOTS = 1 << 40  # of one network simplex: a bound that no graph which fits in memory reaches
BLOCK = 1 << 17  # costs looked at together: they stay in the processor's cache
SHARE = 1e-9  # of its own mean cost: what a matching that is returned may be above the least
EPS = float(np.finfo(np.float64).eps)


def cheapest_matching(x: Floats, y: Floats, p: float = 2.0) -> Integers:
    """The columns π [N] of a matching with the least Σ |x_i − y_π(i)|^p; x, y: [N, D], finite, p > 0.

    From the sparse graph only where its duals prove it to cost at most 1e-9 more than the least, relative to that cost
    and not to the largest |x_i − y_j|^p; for N = 5,000 some 30 to 110 MiB beyond the samples. Else, as for clusters
    much farther apart than they are wide, SciPy's dense solver answers, with 8 N² bytes more: exact up to rounding.
    Schmitzer 2016, J. Math. Imaging Vis. 56, p. 238 (sparse graphs, coarse to fine); Bonneel et al. 2011, ACM Trans.
    Graph. 30, p. 158 (the simplex); Crouse 2016, IEEE Trans. Aerosp. Electron. Syst. 52, p. 1679 (SciPy's solver).
    """
    costs = Costs.between(x, y, p)
    if len(x) <= SMALL:
        return _dense(costs, np.zeros(len(x)))
    matched, v = _sparse(costs)
    if matched is not None and _proved(costs, matched, v, SHARE * _mean(x, y, matched, p)):
        return matched
    if matched is None:
        matched = _dense(costs, v)
        if costs.rounding <= SHARE * _mean(x, y, matched, p):
            return matched
    return _dense(costs, np.zeros(len(x)))  # duals of far points would swallow the costs of near ones


def _mean(x: Floats, y: Floats, matched: Integers, p: float) -> float:
    return float((np.linalg.norm(x - y[matched], axis=1) ** p).mean())


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

    @property
    def rounding(self) -> float:
        """A bound on the rounding of c_ij − u_i − v_j, whose duals are of the largest cost's size."""
        return 4 * EPS * self.largest ** (self.p / 2)

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


def _sparse(costs: Costs) -> tuple[Integers | None, Floats]:
    """Columns matched to the rows, None where the rounds did not do, and the columns' duals."""
    n = len(costs.x)
    if n <= SMALL // 2:
        v, keys = np.zeros(n), np.arange(n * n)
    else:
        v = _least(costs.transposed(), _least(costs, _sparse(costs.halved())[1], slice(None, None, 2)))
        keys = _nearest(costs, v)
    prices = costs.of(keys)
    for _ in range(ROUNDS):
        matched, v = _simplex(keys, prices, v)
        if matched is None:
            break
        rows, columns = np.divmod(keys, n)
        u = _row_duals(rows, prices - v[columns])
        new = _violated(costs, u, v, costs.tolerance)
        if len(new) and len(keys) > DENSITY * n:
            break
        if len(new):  # none of them is in the graph, whose pairs keep u's bound
            keys, prices = np.concatenate([keys, new]), np.concatenate([prices, costs.of(new)])
            continue
        slack = prices - u[rows] - v[columns]
        own = matched[rows] == columns
        if slack[own].mean() <= costs.tolerance:
            return matched, v
        # The simplex rounds as its largest cost does: once more, without the pairs far from tight.
        near = own | (slack <= 1e-3 * slack.max())
        keys, prices = keys[near], prices[near]
    return None, v


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


def _proved(costs: Costs, matched: Integers, v: Floats, excess: float) -> bool:
    """Whether the duals prove that the matching's mean cost is at most `excess` above the least."""
    if excess == 0:  # costs are 0 or more
        return True
    if excess < costs.rounding:
        return False
    # The matched pairs are tight by u's choice: a pair no lower than −excess lets no matching gain more in the mean.
    u = costs.of(np.arange(len(v)) * len(v) + matched) - v[matched]
    return len(_violated(costs, u, v, excess)) == 0


def _violated(costs: Costs, u: Floats, v: Floats, tolerance: float) -> Integers:
    """Pairs whose cost is below u_i + v_j − tolerance: some of each row that has any, and each column's worst."""
    n, found = len(u), [np.empty(0, np.int64)]
    lowest, lowest_row = np.full(n, -tolerance), np.full(n, -1)  # of each column
    for rows, block in costs.lower(v):
        limits = u[rows] - tolerance
        doubtful = np.flatnonzero(block.min(1) < limits)
        if len(doubtful) == 0:
            continue
        part = block[doubtful]
        low, places = _smallest(part, WORST)
        keys = (doubtful + rows.start)[:, None] * n + places
        below = costs.of(keys.ravel()).reshape(keys.shape) - v[places] < limits[doubtful, None]
        found.append(keys[below])
        # Where all of them were too low by rounding alone, there may be more behind.
        for i in doubtful[(low < limits[doubtful, None]).all(1) & ~below.any(1)]:
            exact = costs.rows(slice(rows.start + i, rows.start + i + 1))[0] - v
            found.append((rows.start + i) * n + np.flatnonzero(exact < limits[i]))
        part -= u[rows][doubtful, None]
        at = part.argmin(0)
        slack = np.take_along_axis(part, at[None], 0)[0]
        lower = slack < lowest
        lowest[lower], lowest_row[lower] = slack[lower], rows.start + doubtful[at[lower]]
    columns = np.flatnonzero(lowest_row >= 0)
    worst = lowest_row[columns]
    below = costs.of(worst * n + columns) - v[columns] < u[worst] - tolerance
    return np.unique(np.concatenate([*found, (worst * n + columns)[below]]))


def _row_duals(rows: Integers, reduced: Floats) -> Floats:
    """The largest u that keeps u_i <= c_ij − v_j on the graph, which has pairs of every row."""
    u = np.full(int(rows.max()) + 1, np.inf)
    np.minimum.at(u, rows, reduced)
    return u


def _simplex(keys: Integers, prices: Floats, v: Floats) -> tuple[Integers | None, Floats]:
    """The graph's cheapest matching, None if there was none, and the columns' duals, better than those given.

    keys: pairs i N + j, each once; prices: their costs. The simplex gets c_ij − u_i − v_j, most of them near 0: so it
    needs fewer pivots, and rounds less.
    """
    import ot  # takes a second

    n = len(v)
    rows, columns = np.divmod(keys, n)
    slack = prices - v[columns]
    slack -= _row_duals(rows, slack)[rows]
    scale = float(slack.max()) or 1.0  # the simplex starts from a cost of its own, of 1 and more
    graph = coo_array((slack / scale, (rows, columns)), shape=(n, n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is asked for below
        plan, log = ot.emd(np.ones(n), np.ones(n), graph, numItermax=PIVOTS, log=True, center_dual=False)
    if log["warning"] is not None or not np.array_equal(np.sort(plan.row), np.arange(n)):
        return None, v
    matched = np.empty(n, np.int64)
    matched[plan.row] = plan.col
    return matched, v + scale * np.asarray(log["v"], np.float64)


def _dense(costs: Costs, v: Floats) -> Integers:
    """SciPy's solver on the one matrix, reduced by the duals in place: exact up to the rounding of c_ij − v_j."""
    matrix = costs.rows(slice(None))
    matrix -= v
    matrix -= matrix.min(axis=1, keepdims=True)
    matrix -= matrix.min(axis=0)
    return linear_sum_assignment(matrix)[1]
