"""Does a generator repeat its training examples? Copies, a lean towards the training set, C_T and authenticity."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom, rankdata

from pushforward.core.seeding import numpy_generator, seed_of
from pushforward.metrics.features import Features, Matrix, as_matrix, same_width
from pushforward.metrics.intervals import Interval, Z, wilson
from pushforward.metrics.neighbours import BUDGET, nearest

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

LEVEL = 0.02  # of the verdict: half for the copies, half for the lean
RARE = 2000  # a ratio that at most one real example in so many undercuts is a copy's
MOST = 10_000  # training examples that the ratio is calibrated with, and the cells are found with
DRAWS = 9_999  # relabellings of training and held-out examples
FEWEST = 20  # fakes a cell must exceed, as in the paper's experiments


@dataclass(frozen=True)
class Memorisation:
    """memorised: p_value < level. p_value: twice the smaller of the two below (Bonferroni), at most 1.

    copies: share of fakes flagged as copies, Wilson's interval. threshold: the distance to the nearest training example
    over that to the nearest held-out one, below which a fake is flagged. flagged: their rows, the closest first.
    originals: the training rows they repeat. copies_p: of so many different originals, if there is no copying.
    nearer: share of fakes nearer to the training than to the held-out examples; its interval has the spread that
    relabelling those at random gives. chance: what is expected without memorisation, T/(T + M). nearer_p: one-sided.
    """

    memorised: bool
    p_value: float
    copies: Interval
    threshold: float
    flagged: Indices
    originals: Indices
    copies_p: float
    nearer: Interval
    chance: float
    nearer_p: float


def memorisation(
    fake: Features, train: Features, held_out: Features, *, level: float = LEVEL, seed: int = 0, budget: int = BUDGET
) -> Memorisation:
    """Tests whether `fake` [N, D] repeats `train` [T, D], beside `held_out` [M, D] that the generator never saw.

    Each fake has the ratio r of its distance to the nearest training example to that to the nearest held-out one, and
    so has each real example, itself left out (of the training examples, 10,000 at most). 0/0 counts as 1: what stands
    in both sets is nobody's copy.
    Copies: fakes with r under the threshold, which b of the real examples undercut: 1 in 2,000 at most, besides those
    that repeat a training example exactly. If a fake is as one more real example, the number of different originals
    that are copied, beside b, is at most hypergeometric: no law of the distances is assumed, and duplicates of the
    data's own raise b. Half of `train` counts, as near pairs of training examples undercut together.
    Lean: if the fakes don't depend on what was trained on, training and held-out labels may be exchanged at random.
    That holds for blurred, noisy and collapsed fakes too; that many fakes share a neighbour is in the null's spread.

    Measured at level 0.02 on digits' 64 pixels, sets of 100 to 1,000: of 200 held-out splits 0.5 to 1 % were convicted,
    as were blurred, noisy and collapsed ones (0.5 to 1 %); 3 % with 4 % of the images doubled, and 3 % of splits cut
    down to one class, whose images lie closer than the rest. Of 100 sets of 400 to 800 with 1 % of copies: exact 100 %,
    with noise of 3 % of the range 94 to 100 %, of 6 % 16 to 44 %. Three originals or fewer are flagged, but hardly ever
    enough for the verdict, and one repeated often counts once: look at `flagged` and `originals`.
    Raises ValueError for values not finite, fewer than 2 rows in `train` or `held_out`, or unequal D.
    """
    f, t, h = _checked(fake, train, held_out)
    to_train, to_held = nearest(f, t, budget=budget), nearest(f, h, budget=budget)
    ft, fh = to_train.squares[:, 0], to_held.squares[:, 0]
    own = to_train.indices[:, 0]

    some = np.arange(len(t))
    if len(t) > MOST:
        some = np.sort(numpy_generator("memorisation", seed).choice(len(t), MOST, replace=False))
    held_ratios = _ratios(nearest(h, t, budget=budget).squares[:, 0], _others(h, np.arange(len(h)), budget))
    train_ratios = _ratios(_others(t, some, budget), nearest(t[some], h, budget=budget).squares[:, 0])
    threshold = _threshold(np.concatenate([held_ratios, train_ratios]))
    ratios = _ratios(ft, fh)
    flagged = np.flatnonzero(ratios < threshold)
    flagged = flagged[np.argsort(ratios[flagged], kind="stable")]
    copied = len(np.unique(own[flagged]))
    b = (held_ratios < threshold).sum() + (train_ratios < threshold).sum() / 2
    copies_p = _copies_p(copied, len(f), int(np.ceil(b)), len(h) + len(some) // 2)

    nearer, nearer_p = _lean(ft, fh, own, to_held.indices[:, 0], t, h, seed)
    p = min(2 * min(copies_p, nearer_p), 1.0)
    chance = len(t) / (len(t) + len(h))
    share = wilson(len(flagged), len(f))
    return Memorisation(
        p < level, p, share, float(np.sqrt(threshold)), flagged, own[flagged], copies_p, nearer, chance, nearer_p
    )


def authenticity(fake: Features, train: Features, budget: int = BUDGET) -> Interval:
    """Share of fakes [N, D] that are farther from their nearest training example than that is from its own nearest.

    train: [T, D], T >= 2. Wilson's interval, for more fakes of one generator beside this training set. Fresh examples
    do not score 1, but 1/3 in one dimension, 0.39 in two, 0.69 in sixteen: measure the held-out ones beside it.
    Averages of examples score low without any copying, and noise scores 1.
    Alaa et al. 2022, arXiv:2102.08921, §4.3 and Eq. 9. Raises ValueError for values not finite, T < 2 or unequal D.
    """
    f, t = as_matrix(fake, "fake"), as_matrix(train, "train", least=2)
    same_width(f, t, ("fake", "train"))
    found = nearest(f, t, budget=budget)
    rows, place = np.unique(found.indices[:, 0], return_inverse=True)
    return wilson(int((found.squares[:, 0] > _others(t, rows, budget)[place]).sum()), len(f))


def c_t(
    fake: Features,
    train: Features,
    held_out: Features,
    *,
    cells: int | None = None,
    seed: int = 0,
    budget: int = BUDGET,
) -> Interval | None:
    """C_T: the Mann–Whitney z of fakes' against held-out examples' distances to `train`, averaged over cells.

    Far below 0: fakes lie nearer to the training examples than fresh ones do; far above: farther. Cells are those of
    k-means on `train`, by default one for each 50 of the fewer of fakes and held-out examples, 50 at most; their
    weights are the shares of held-out examples. Cells without more than 20 fakes, or without a held-out example, are
    left out; None if all are. The interval has the spread at no difference, (Σw²)^½ / Σw. Ties take their mean rank.
    The null is that fakes are as fresh examples: averages of examples make C_T fall and noise makes it rise without any
    copying, and 1 % of copies is too little for it. Meehan, Chaudhuri & Dasgupta 2020, arXiv:2004.05675, §4.
    Raises ValueError for values not finite, fewer than 2 rows in `train` or `held_out`, unequal D, or cells < 1.
    """
    f, t, h = _checked(fake, train, held_out)
    if cells is None:
        cells = min(max(min(len(f), len(h)) // 50, 1), 50)
    if cells < 1:
        raise ValueError(f"cells must be at least 1, got {cells}")
    centres = _centres(t, cells, seed)
    own, real = nearest(f, t, budget=budget).squares[:, 0], nearest(h, t, budget=budget).squares[:, 0]
    f_cell, h_cell = (nearest(x, centres, budget=budget).indices[:, 0] for x in (f, h))
    scores, weights = [], []
    for cell in range(len(centres)):
        q, p = own[f_cell == cell], real[h_cell == cell]
        if len(q) > FEWEST and len(p):
            scores.append(mann_whitney(q, p))
            weights.append(len(p))
    if not weights:
        return None
    w = np.array(weights) / sum(weights)
    value, stderr = float(w @ scores), float(np.sqrt(w @ w))
    return Interval(value, stderr, value - Z * stderr, value + Z * stderr)


def mann_whitney(x: Floats, y: Floats) -> float:
    """The z-score of the number of pairs with x > y, ties counting half; 0 if all are equal. Positive: x is larger."""
    n, m = len(x), len(y)
    ranks = rankdata(np.concatenate([x, y]))
    u = float(ranks[:n].sum()) - n * (n + 1) / 2
    # The variance of n ranks drawn from these without replacement: ties lower it.
    variance = n * m * float(ranks.var(ddof=1)) / (n + m)
    return (u - n * m / 2) / float(np.sqrt(variance)) if variance > 0 else 0.0


def _checked(fake: Features, train: Features, held_out: Features) -> tuple[Matrix, Matrix, Matrix]:
    f, t, h = as_matrix(fake, "fake"), as_matrix(train, "train", least=2), as_matrix(held_out, "held_out", least=2)
    same_width(f, t, ("fake", "train"))
    same_width(h, t, ("held_out", "train"))
    return f, t, h


def _others(x: Matrix, rows: Indices, budget: int) -> Floats:
    """Squared distances from some rows of `x`, ascending, to the nearest other row."""
    if len(rows) == len(x):
        return nearest(x, x, exclude_self=True, budget=budget).squares[:, 0]
    return nearest(x[rows], x, k=2, budget=budget).squares[:, 1]  # the nearest is the row itself


def _ratios(above: Floats, below: Floats) -> Floats:
    """Squared ratios; 0/0 is 1, as far from both."""
    out = np.where(above > 0, np.inf, 1.0)
    return np.divide(above, below, out=out, where=below > 0)


def _threshold(real: Floats) -> float:
    """The ratio <= 1 that one in `RARE` of the real undercuts, or the smallest above 0 where more repeat exactly."""
    ordered = np.sort(real)[max(len(real) // RARE, int((real == 0).sum())) :]
    return min(float(ordered[0]), 1.0) if len(ordered) else 0.0


def _copies_p(copied: int, fakes: int, undercut: int, real: int) -> float:
    """P(at least so many of the lowest `copied + undercut` ratios are fakes'), all orders being as likely."""
    return float(hypergeom.sf(copied - 1, fakes + real, fakes, copied + undercut)) if copied else 1.0


def _lean(
    ft: Floats, fh: Floats, t_near: Indices, h_near: Indices, t: Matrix, h: Matrix, seed: int
) -> tuple[Interval, float]:
    """Share nearer to `t`, and P(no less) when labels are dealt anew; equal rows share the fakes nearest to them."""
    t_group, h_group = _groups(t, h)
    size = np.bincount(np.concatenate([t_group, h_group]))
    gained = np.zeros(len(size))
    same = (ft == fh) & (t_group[t_near] == h_group[h_near])
    to_t = np.where(same, 1.0, np.where(ft == fh, 0.5, ft < fh))
    np.add.at(gained, t_group[t_near], to_t)
    np.add.at(gained, h_group[h_near], 1 - to_t)
    weight = gained / size  # of each row of a group
    n, rows = len(ft), len(t) + len(h)
    total = float((weight * np.bincount(t_group, minlength=len(size))).sum())
    spread = float((size * (weight - n / rows) ** 2).sum()) * len(t) * len(h) / (rows * (rows - 1.0))
    values, place = np.unique(weight, return_inverse=True)
    counts = np.bincount(place, weights=size).astype(np.int64)
    stream = numpy_generator("memorisation", seed, "labels")
    draws = stream.multivariate_hypergeometric(counts, len(t), size=DRAWS) @ values
    p = (1 + int((draws >= total - 1e-9 * n).sum())) / (1 + DRAWS)
    share, stderr = total / n, float(np.sqrt(spread)) / n
    return Interval(share, stderr, max(share - Z * stderr, 0.0), min(share + Z * stderr, 1.0)), p


def _groups(t: Matrix, h: Matrix) -> tuple[Indices, Indices]:
    """A number for each row, the same for equal rows."""
    kind = np.promote_types(t.dtype, h.dtype)
    numbers: dict[bytes, int] = {}
    found = [
        # Adding 0 makes −0 and 0 the same bytes.
        [
            numbers.setdefault(
                hashlib.blake2b((row.astype(kind) + 0.0).tobytes(), digest_size=16).digest(), len(numbers)
            )
            for row in x
        ]
        for x in (t, h)
    ]
    return np.array(found[0]), np.array(found[1])


def _centres(t: Matrix, cells: int, seed: int) -> Matrix:
    from sklearn.cluster import KMeans  # slow to import

    stream = numpy_generator("memorisation", seed, "cells")
    some = t[np.sort(stream.choice(len(t), MOST, replace=False))] if len(t) > MOST else t
    cells = min(cells, len(np.unique(_groups(some, some[:0])[0])))
    state = seed_of("memorisation", seed, "k-means") % 2**32
    return KMeans(cells, n_init="auto", max_iter=50, random_state=state).fit(some).cluster_centers_
