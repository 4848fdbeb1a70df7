"""Precision, recall, density and coverage: how two samples lie within each other's nearest-neighbour balls."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.features import Features, Matrix, as_matrix, same_width
from pushforward.metrics.intervals import Interval, Z, wilson_share
from pushforward.metrics.neighbours import BUDGET, Floats, Frame, Indices, distances, search, side, without_self

Flags = NDArray[np.bool_]
Words = NDArray[np.uint64]

HALVINGS = 64  # one bit each of a word
STRIP = 2**16  # entries of a product looked at one by one at a time


@dataclass(frozen=True)
class PrecisionRecall:
    """precision: share of fakes in the real manifold. recall: share of reals in the fakes' manifold."""

    precision: float
    recall: float


@dataclass(frozen=True)
class Overlap:
    """precision, recall, coverage: shares. density: 1 for equal laws, above it where fakes crowd in dense places."""

    precision: Interval
    recall: Interval
    density: Interval
    coverage: Interval


@dataclass(frozen=True)
class Manifold:
    """Balls around points [N, D], each reaching to one of the nearest of the others.

    squares: exact squared distances to the nearest others [N, k], ascending. near, near_indices: those [N, K] of more
    others, roughly, and which they are. centre: a mean [D] about which products are taken; any will do.
    """

    points: Matrix
    squares: Floats
    near: Floats
    near_indices: Indices
    centre: Matrix


def precision_recall(fake: Features, real: Features, k: int = 3) -> PrecisionRecall:
    """Precision and recall of `fake` [N, D] against `real` [M, D], N, M > k.

    Precision falls with noise and artefacts, recall with dropped modes. A point on a ball's edge is inside, and so is
    its duplicate: identical sets give 1 and 1. Both depend on N, M and k: compare only at equal ones. Exact: what a
    product's rounding could change is decided by distances summed in float64.
    Raises ValueError for a value that is not finite, N or M <= k, or unequal D.
    Kynkäänniemi et al. 2019, arXiv:1904.06991, Eq. 1 and 2.
    """
    f, r = as_matrix(fake, "fake"), as_matrix(real, "real")
    same_width(f, r, ("fake", "real"))
    reals = manifold(r, k, name="real")
    return compare(manifold(f, k, name="fake"), reals)


def precision_recall_density_coverage(
    fake: Features, real: Features, k: int = 3, k_density: int = 5, *, seed: int = 0, budget: int = BUDGET
) -> Overlap:
    """Precision and recall with balls to the k-th neighbour, density and coverage to the `k_density`-th, in one pass.

    fake: [N, D], real: [M, D]. Precision: share of fakes in some real ball. Recall: share of reals in some fake ball.
    Density: real balls around a fake over `k_density`, on average. Coverage: share of reals with a fake in their ball.
    Balls are closed: identical sets give 1, 1, >= 1 and 1, duplicates or not. The literature's k are 3 and 5.
    budget: bytes of scratch beside the input and some 3 kB a row.

    The 95 % intervals are for the expected value at these N, M and k over draws of both samples, not for the limit of
    large ones: balls shrink with N. Both samples vary, and the balls with them: a binomial interval knows of one, the
    bootstrap's duplicates shrink the balls to nothing, and leaving one out sees twice the variance, as balls interact.
    So both samples are halved at random 64 times; two halves share no row, so that half their values' squared
    difference is the variance at N/2 without bias. Shares scale it to N by p (1 − p)/N and use Wilson's interval at the
    effective size that results; density by its mean, on the logarithm. Takes the lists of neighbours, and no products.
    Raises ValueError for a value that is not finite, samples of 2 k + 1 rows or fewer, or unequal D.
    Kynkäänniemi et al. 2019, arXiv:1904.06991, Eq. 1 and 2; Naeem et al. 2020, arXiv:2002.09797, Eq. 3 and 4 (whose
    balls are open); random halves: McCarthy 1969, Rev. Int. Stat. Inst. 37, p. 239.
    """
    f, r = as_matrix(fake, "fake"), as_matrix(real, "real")
    same_width(f, r, ("fake", "real"))
    if min(k, k_density) < 1:
        raise ValueError(f"{'k' if k < 1 else 'k_density'} must be at least 1, got {min(k, k_density)}")
    most = max(k, k_density)
    for x, name, largest in ((f, "fake", k), (r, "real", most)):
        if len(x) < 2 * largest + 2:
            need = f"2 k + 2 = {2 * largest + 2}"
            raise ValueError(f"{name} must have at least {need} rows, so that halves have balls; got {len(x)}")
    width = int(np.ceil(2 * most + 6 * np.sqrt(most) + 4))  # a half's k-th neighbour is among these but for 1e-4
    reals = manifold(r, most, name="real", width=width, budget=budget)
    fakes = manifold(f, k, name="fake", width=width, budget=budget)
    halves = _halves(len(f), "fake", seed), _halves(len(r), "real", seed)
    in_real = _Tally(reals, len(f), (k, k_density), (halves[1], halves[0]))
    in_fake = _Tally(fakes, len(r), (k, k), (halves[0], halves[1]))
    _count(in_fake, in_real, fakes, reals, budget)
    return Overlap(
        _share(in_real.inside, in_real.inside_words, halves[0]),
        _share(in_fake.inside, in_fake.inside_words, halves[1]),
        in_real.density(),
        _share(in_real.met, in_real.met_words, halves[1]),
    )


def manifold(
    x: Features, k: int = 3, centre: Matrix | None = None, name: str = "x", *, width: int = 0, budget: int = BUDGET
) -> Manifold:
    """The balls of a sample [N, D], N > k, with at least `width` neighbours listed, the farther ones roughly."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    a = as_matrix(x, name)
    if len(a) <= k:
        raise ValueError(f"{name} must have more than k = {k} rows, got {len(a)}; give more samples")
    frame = Frame.of(a, a, centre)
    found = search(frame, k + 1, width + 1, halve=True, budget=budget)
    squares, _ = without_self(found.squares, found.indices)
    near, near_indices = without_self(found.near, found.near_indices)
    return Manifold(a, squares, near, near_indices, frame.centre)


def compare(fake: Manifold, real: Manifold) -> PrecisionRecall:
    """Precision and recall of two manifolds, with balls to the farthest neighbours that they know exactly."""
    k_fake, k_real = fake.squares.shape[1], real.squares.shape[1]
    in_real = _Tally(real, len(fake.points), (k_real, k_real))
    in_fake = _Tally(fake, len(real.points), (k_fake, k_fake))
    _count(in_fake, in_real, fake, real, BUDGET)
    return PrecisionRecall(float(in_real.inside.mean()), float(in_fake.inside.mean()))


class _Tally:
    """Which points [P] lie in some ball and which balls [N] hold some point, counted a block of pairs at a time.

    ks: how many neighbours the balls for `inside` and those for `met` and `held` reach to. halves: words [N] and [P],
    bit p of which says in which half a row is at the p-th halving; the words counted then say the same of the halves.
    """

    def __init__(
        self, balls: Manifold, points: int, ks: tuple[int, int], halves: tuple[Words, Words] | None = None
    ) -> None:
        n, self.ks, self.halves = len(balls.points), ks, halves
        self.inside, self.met, self.held = np.zeros(points, bool), np.zeros(n, bool), 0
        self.radii = tuple(balls.squares[:, k - 1].copy() for k in ks)
        self.reach = np.maximum(*self.radii)
        if halves is not None:
            self.near = np.ascontiguousarray(balls.near)
            self.reach = np.maximum(self.reach, balls.near[:, -1])
            self.tables = [_half_balls(balls.near_indices, halves[0], k) for k in ks]
            self.inside_words, self.met_words = np.zeros(points, np.uint64), np.zeros(n, np.uint64)
            self.half_held = np.zeros((2, HALVINGS))

    def unsure(self, balls: Indices, squares: Floats, errors: Floats) -> Flags:
        """Which squared distances, known up to their errors, may be on either side of a ball's edge."""
        return np.logical_or(*(np.abs(r[balls] - squares) <= errors for r in self.radii))

    def add(self, balls: Indices, points: Indices, squares: Floats, errors: Floats) -> None:
        """Counts pairs by squared distances that are exact where `unsure`."""
        inside, held = (squares <= r[balls] for r in self.radii)
        self.inside[points[inside]] = True
        self.met[balls[held]] = True
        self.held += int(held.sum())
        if self.halves is None:
            return
        nearer = _ranks(self.near, balls, squares - errors)
        same = ~(self.halves[0][balls] ^ self.halves[1][points])
        inside, held = (same & table[balls, nearer] for table in self.tables)
        _or_into(self.inside_words, points, inside)
        _or_into(self.met_words, balls, held)
        sides = self.halves[1][points]
        self.half_held += np.stack([_bit_counts(held & ~sides), _bit_counts(held & sides)])

    def density(self) -> Interval:
        """Balls around a point over k, on average, with an interval that is symmetric on the logarithm."""
        assert self.halves is not None
        n, k = len(self.inside), self.ks[1]
        value = self.held / (k * n)
        if not self.half_held.any():
            return Interval(value, value, 0.0, max(value, 4 / (k * n)))  # no ball or few: Poisson's bound for none
        a, b = self.half_held / np.array([[n - n // 2], [n // 2]])
        relative = float(np.sqrt(((a - b) ** 2).mean())) / float((a + b).mean())
        low, high = (float(value * np.exp(sign * Z * relative)) for sign in (-1, 1))
        return Interval(value, value * relative, low, high)


def _count(in_fake: _Tally, in_real: _Tally, fake: Manifold, real: Manifold, budget: int) -> None:
    """Shows every pair that may matter to the tallies of the fakes' and of the reals' balls."""
    frame = Frame.of(real.points, fake.points, real.centre)
    n, m, step = len(real.points), len(fake.points), side(real.points.shape[1], frame.kind, budget)
    for i in range(0, n, step):
        rows = slice(i, min(i + step, n))
        for j in range(0, m, step):
            _count_block(frame, rows, slice(j, min(j + step, m)), in_fake, in_real, frame.kind)


def _count_block(
    frame: Frame, rows: slice, columns: slice, in_fake: _Tally, in_real: _Tally, kind: torch.dtype
) -> None:
    tau, unit = frame.tau(kind), frame.scale**2
    xx, yy = frame.xx[rows], frame.yy[columns]
    x, y = frame.block(frame.x, rows, kind), frame.block(frame.y, columns, kind)
    part = distances(x, y, torch.from_numpy(xx).to(kind), torch.from_numpy(yy).to(kind))
    reach = unit * in_real.reach[rows] + tau * (xx + yy.max()), unit * in_fake.reach[columns] + tau * (xx.max() + yy)
    within = _within(part, reach[0][:, None]), _within(part, reach[1])
    # Rows alike beyond what float32 can tell apart: better one product in float64 than a distance for every pair.
    if kind == torch.float32 and sum(len(hits) for hits in within) > part.numel() // 64:
        doubt = 0.0
        for tally, hits, own in zip((in_real, in_fake), within, (0, 1), strict=True):
            some = hits[:: max(len(hits) // 4096, 1)]
            pairs, squares, errors = _pairs(frame, part, some, rows, columns, tau)
            doubt += float(tally.unsure(pairs[own], squares, errors).mean()) * len(hits) if len(some) else 0.0
        if doubt > part.numel() // 64:
            _count_block(frame, rows, columns, in_fake, in_real, torch.float64)
            return
    for tally, hits, own in zip((in_real, in_fake), within, (0, 1), strict=True):
        for start in range(0, len(hits), STRIP):
            pairs, squares, errors = _pairs(frame, part, hits[start : start + STRIP], rows, columns, tau)
            unsure = tally.unsure(pairs[own], squares, errors)
            squares[unsure] = frame.squares(pairs[0][unsure], pairs[1][unsure])
            tally.add(pairs[own], pairs[1 - own], squares, errors)


def _within(part: Tensor, limits: Floats) -> Indices:
    """Places in the flattened product that are at most the limits, which may only be rounded up."""
    limits = limits * (1 + 2 * torch.finfo(part.dtype).eps)
    return np.flatnonzero((part <= torch.from_numpy(limits).to(part.dtype)).numpy())


def _pairs(
    frame: Frame, part: Tensor, hits: Indices, rows: slice, columns: slice, tau: float
) -> tuple[tuple[Indices, Indices], Floats, Floats]:
    """Rows of x and of y, squared distances and how far these may be off, for places in a flattened product."""
    i, j = np.divmod(hits, part.shape[1])
    i, j, unit = i + rows.start, j + columns.start, frame.scale**-2
    squares = part.numpy().ravel()[hits].astype(np.float64) * unit
    return (i, j), squares, tau * unit * (frame.xx[i] + frame.yy[j])


def _halves(n: int, name: str, seed: int) -> Words:
    """Words [n]: at each of the halvings, n // 2 of the rows have the bit set."""
    words, rng = np.zeros(n, np.uint64), numpy_generator("manifold", seed, "halves", name)
    for p in range(HALVINGS):
        words[rng.permutation(n)[: n // 2]] |= np.uint64(1 << p)
    return words


def _half_balls(near_indices: Indices, halves: Words, k: int) -> Words:
    """Words [N, K + 1]: column m has a bit set where a ball to the k-th neighbour of its half reaches past m others.

    What is nearer than all but the m nearest others is in it if fewer than k of those m are of the same half.
    """
    n, width = near_indices.shape
    none = np.zeros(n, np.uint64)
    found = [~none] + [none.copy() for _ in range(k)]  # found[t]: at least t of the same half so far
    table = np.zeros((n, width + 1), np.uint64)
    for m in range(width):
        table[:, m] = ~found[k]
        same = ~(halves ^ halves[near_indices[:, m]])
        for t in range(k, 0, -1):
            found[t] |= found[t - 1] & same
    return table


def _bits(words: Words) -> NDArray[np.uint8]:
    """Words [n] as bits [n, 64]."""
    return np.unpackbits(words.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")


def _bit_counts(words: Words) -> NDArray[np.int64]:
    """How many words [n] have each of the 64 bits set; adding words three by three takes a tenth of unpacking them."""
    if len(words) < 64:
        return _bits(words).sum(axis=0, dtype=np.int64)
    n = len(words) // 3
    a, b, c = words[:n], words[n : 2 * n], words[2 * n : 3 * n]
    ones = a ^ b
    return _bit_counts(np.concatenate([ones ^ c, words[3 * n :]])) + 2 * _bit_counts((a & b) | (ones & c))


def _or_into(words: Words, places: Indices, more: Words) -> None:
    """words[places] |= more, places repeating."""
    news = np.flatnonzero(more & ~words[places])
    np.bitwise_or.at(words, places[news], more[news])


def _ranks(ascending: Floats, rows: Indices, values: Floats) -> Indices:
    """How many numbers in each value's row of a matrix are below it, by halving."""
    width = ascending.shape[1]
    flat, start, rank = ascending.ravel(), rows * width, np.zeros(len(rows), np.int64)
    for step in 1 << np.arange(width.bit_length())[::-1]:
        ahead = rank + step
        below = flat[start + np.minimum(ahead, width) - 1] < values
        rank = np.where(below & (ahead <= width), ahead, rank)
    return rank


def _share(flags: Flags, words: Words, halves: Words) -> Interval:
    """A share of rows [n], with Wilson's interval at the effective size that the halves' shares tell."""
    n, p = len(flags), float(flags.mean())
    a, b = _bits(words & ~halves).sum(0) / (n - n // 2), _bits(words & halves).sum(0) / (n // 2)
    q = float((a + b).mean()) / 2
    # Var at n/2 is E (a − b)²/2; independent rows would have q (1 − q)/(n/2).
    effect = float(((a - b) ** 2).mean()) * n / (4 * q * (1 - q)) if 0 < q < 1 else 1.0
    return wilson_share(p, n / max(effect, 1.0))
