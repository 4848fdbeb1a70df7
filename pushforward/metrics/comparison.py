"""Which of two generators is nearer to the data, and how sure is that?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.features import Features, Matrix, as_matrix, same_width
from pushforward.metrics.frechet import frechet_between
from pushforward.metrics.influence import influences
from pushforward.metrics.intervals import Interval, Z, student
from pushforward.metrics.kernel import between, level, samples, within
from pushforward.metrics.moments import gaussian

Distance = Callable[[Any, Any], float]  # of (fakes, reals), as matrices or as `prepare` gave them; lower is nearer
Prepare = Callable[[Matrix], Any]


@dataclass(frozen=True)
class Comparison:
    """difference: distance of A less distance of B, with its 95 % interval; below 0 where A is nearer.

    better: whose distance is smaller, None where the interval holds 0. confidence: the highest level whose interval
    leaves 0 out, 1 less the two-sided p-value; of equal laws it is anything from 0 to 1, above 0.95 once in twenty.
    """

    difference: Interval
    better: Literal["A", "B"] | None
    confidence: float


def paired_difference(
    distance: Distance,
    a: Features,
    b: Features,
    real: Features,
    blocks: int = 20,
    corrected: bool = False,
    prepare: Prepare | None = None,
) -> Comparison:
    """distance(a, real) − distance(b, real) for any distance, by the block jackknife. a, b: [N, D], real: [M, D].

    The i-th block of A, of B and of REAL (rows i, i + blocks, …) are left out together, so that what both distances owe
    to the same reals, and to the same latents row by row, cancels. No row is repeated: unlike the bootstrap this is
    sound for nearest-neighbour metrics, where a copy has radius 0. Under three equal laws a distance's rows have no
    first-order effects; there the jackknife's error is up to √2 too large, never too small.
    A score where more is better: give its negative.

    The interval is of the difference expected at these N and M: a bias that A and B share, as at equal N and like
    laws, cancels. corrected: subtract the jackknife's estimate of what does not, for biases that fall as 1/N
    (Fréchet distances; not nearest neighbours).
    prepare: what depends on one sample alone, made once for both distances, as
    `paired_difference(frechet_between, a, b, real, prepare=gaussian)`.
    Raises ValueError for a value that is not finite, unequal D, len(a) != len(b), blocks < 2, or fewer than 2 rows a
    block. Künsch 1989, Ann. Statist. 17, p. 1217; Busing et al. 1999, Statistics and Computing 9, p. 3.
    """
    return paired_differences(lambda x, y: [distance(x, y)], a, b, real, blocks, corrected, prepare)[0]


def paired_differences(
    distances: Callable[[Any, Any], Sequence[float]],
    a: Features,
    b: Features,
    real: Features,
    blocks: int = 20,
    corrected: bool = False,
    prepare: Prepare | None = None,
) -> list[Comparison]:
    """The same for several distances that are computed together, in their order."""
    if blocks < 2:
        raise ValueError(f"a jackknife needs at least 2 blocks, got {blocks}; use 20")
    three = _three(a, b, real, 2 * blocks)
    value = _difference(distances, prepare, three)
    left_out = [
        _difference(distances, prepare, [rows[np.arange(len(rows)) % blocks != i] for rows in three])
        for i in range(blocks)
    ]
    errors = np.sqrt((blocks - 1) * np.var(left_out, axis=0))
    bias = (blocks - 1) * (np.mean(left_out, axis=0) - value) if corrected else np.zeros_like(value)
    return [_comparison(float(v), float(e), blocks - 1) for v, e in zip(value - bias, errors, strict=True)]


def frechet_difference(a: Features, b: Features, real: Features) -> Comparison:
    """The Fréchet distance of a [N, D] to real [M, D] less that of b [N, D], by the influence of each row.

    Two decompositions, whatever N, where the jackknife takes `blocks` times as many. What both owe to the same reals
    cancels: a real's influence is the difference of its two. Takes A and B as independent; of generators that share
    latents the interval is too wide. First order: where A, B and REAL are one law it is up to √2 too wide. The interval
    is of the difference expected at these N, whose biases cancel as far as the laws are alike.
    Raises ValueError as `paired_difference`.
    """
    x, y, r = _three(a, b, real, 2)
    gx, gy, gr = gaussian(x), gaussian(y), gaussian(r)
    (of_x, x_real), (of_y, y_real) = influences(x, r, gx, gr), influences(y, r, gy, gr)
    variance = sum(float(np.var(v, ddof=1)) / len(v) for v in (of_x, of_y, x_real - y_real))
    return _comparison(frechet_between(gx, gr) - frechet_between(gy, gr), float(np.sqrt(variance)), None)


def paired_bootstrap(
    distance: Distance,
    a: Features,
    b: Features,
    real: Features,
    resamples: int = 100,
    seed: int = 0,
    prepare: Prepare | None = None,
) -> Comparison:
    """The same for distances that are smooth in moments (Fréchet, means): both see the same resampled rows of REAL.

    Row i of A goes with row i of B. The resamples' own bias is the distances' again, so the value and the interval have
    it subtracted: a percentile interval would lie off by twice the bias. Normal ends: the standard deviation of 100
    resamples is known to 7 %, their 2.5 % point hardly at all.
    Unsound where a repeated row counts as its own neighbour: use `paired_difference` for precision, recall, density and
    coverage, and `kid_difference` for KID. Arguments and errors as there; resamples >= 20.
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, Chapter 10.
    """
    if resamples < 20:
        raise ValueError(f"a bootstrap needs at least 20 resamples, got {resamples}; use 100")
    three = _three(a, b, real, 4)
    rng = numpy_generator("paired bootstrap", seed)

    def both(rows: list[Matrix]) -> float:
        return float(_difference(lambda x, y: [distance(x, y)], prepare, rows)[0])

    value = both(three)
    again = []
    for _ in range(resamples):
        fakes, reals = rng.integers(len(three[0]), size=len(three[0])), rng.integers(len(three[2]), size=len(three[2]))
        again.append(both([three[0][fakes], three[1][fakes], three[2][reals]]))
    return _comparison(2 * value - float(np.mean(again)), float(np.std(again, ddof=1)), None)


def kid_difference(a: Features, b: Features, real: Features) -> Comparison:
    """KID(a, real) − KID(b, real), unbiased, in closed form: a, b: [N, D], [N', D], real: [M, D], any sizes >= 4.

    The reals' own kernel cancels, and Hoeffding's decomposition gives the error as for `kid`: the rows' effects, less
    their noise, where a real's is the difference of its two, and the pairs' remainder. Takes A and B as independent:
    of generators that share latents the interval is too wide. Where A, B and REAL are one law it is wide, too.
    Raises ValueError as `kid`.
    """
    x, y, r = samples((a, "a"), (b, "b"), (real, "real"), least=4)
    shift = (level(x, r) + level(y, r)) / 2
    xx, yy, xr, yr = within(x, shift), within(y, shift), between(x, r, shift), between(y, r, shift)
    n, o, m = len(x), len(y), len(r)
    value = xx.mean - yy.mean - 2 * (xr.mean - yr.mean)
    rows = 4 * float(np.var(xx.effects - xr.rows, ddof=1)) / n + 4 * float(np.var(yy.effects - yr.rows, ddof=1)) / o
    rows += 4 * float(np.var(xr.columns - yr.columns, ddof=1)) / m
    noise = 4 * (xx.rest / (n - 2) + xr.rest / m) / n + 4 * (yy.rest / (o - 2) + yr.rest / m) / o
    noise += 4 * (xr.rest / n + yr.rest / o) / m
    pairs = 2 * xx.rest / (n * (n - 1)) + 2 * yy.rest / (o * (o - 1)) + 4 * (xr.rest / n + yr.rest / o) / m
    return _comparison(value, float(np.sqrt(max(rows - noise, 0.0) + pairs)), None)


def _three(a: Features, b: Features, real: Features, least: int) -> list[Matrix]:
    three = [as_matrix(rows, name, least) for rows, name in ((a, "a"), (b, "b"), (real, "real"))]
    same_width(three[0], three[1], ("a", "b"))
    same_width(three[0], three[2], ("a", "real"))
    if len(three[0]) != len(three[1]):
        raise ValueError(
            f"a and b must have as many rows, as a distance's bias depends on N; got {len(three[0])} and "
            f"{len(three[1])}; cut the longer"
        )
    return three


def _difference(
    distances: Callable[[Any, Any], Sequence[float]], prepare: Prepare | None, three: list[Matrix]
) -> NDArray[np.float64]:
    a, b, real = three if prepare is None else [prepare(rows) for rows in three]
    return np.array(distances(a, real), np.float64) - np.array(distances(b, real), np.float64)


def _comparison(value: float, error: float, freedom: int | None) -> Comparison:
    """freedom: Student's t with as many degrees, or None for the normal law."""
    if error > 0:
        ratio = abs(value) / error
        tail = special.ndtr(-ratio) if freedom is None else special.stdtr(freedom, -ratio)
        confidence = 1 - 2 * float(tail)
    else:
        confidence = float(value != 0)
    half = (Z if freedom is None else student(freedom)) * error
    difference = Interval(value, error, value - half, value + half)
    return Comparison(difference, "A" if difference.high < 0 else "B" if difference.low > 0 else None, confidence)
