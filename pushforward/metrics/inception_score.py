"""The Inception Score of a classifier's logits: whole-sample, less its bias, and in the literature's splits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, xlogy

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.features import Features, Matrix, as_matrix
from pushforward.metrics.intervals import Interval, Z, mean_interval

Floats = NDArray[np.float64]

ROWS = 1024  # rows whose probabilities are held at once
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class InceptionScore:
    """whole: the plug-in on all N rows; its interval is of the value expected at this N. corrected: less its bias.

    by_split: mean over splits; its interval is of the value expected at N/splits rows. spread: the standard deviation
    over splits, which papers print after ±: how the score of N/splits rows moves.
    """

    whole: Interval
    corrected: Interval
    by_split: Interval
    spread: float
    splits: int


def inception_score(logits: Features, splits: int = 10, seed: int = 0) -> InceptionScore:
    """exp E KL(p(y|x) ‖ p(y)) from logits [N, K], N >= splits: 1 (all alike) to K (sure, and all classes alike).

    Log-softmax in float64: confident logits give no NaN. Rows are put in a random order, by `seed`, and split to within
    one row of equal size, none left out: rows sorted by class would have one class a split, and score about 1.

    Bias: p(y) is fitted to the sample, so that log IS is too low by B = Σ_k Var p_k / 2N E p_k, at most (K − 1)/2N: for
    1,000 classes a factor of 0.95 at N = 10,000 and of 0.6 in its tenths. So scores compare at equal N and splits only.
    `corrected` adds the estimated B to log IS, and its interval is of the law's own score, once N is several K.

    Intervals: by the delta method on log IS, whose influence is KL(p(y|x_i) ‖ p(y)) − log IS; less B/N for the noise in
    p(y) that it is measured with, but at least B/N, which bounds what is left where every row has the same KL (as with
    one sure class each, all alike: there N(log K − log IS) is χ²/2). Jackknife and this agree to first order, and the
    jackknife needs N logarithms of K entries more. Of splits: Student's t, as splits are independent.
    Raises ValueError for a value that is not finite, N < splits, or splits < 2.
    Salimans et al. 2016, arXiv:1606.03498, Section 4; on N and splits: Barratt & Sharma 2018, arXiv:1801.01973.
    """
    if splits < 2:
        raise ValueError(f"splits must be at least 2, got {splits}; `whole` is the score of one")
    a = as_matrix(logits, "logits")
    n, k = a.shape
    if n < splits:
        raise ValueError(f"logits must have a row a split, {splits}, got {n}; give more samples or fewer splits")
    order = numpy_generator("inception score", seed).permutation(n)
    totals, squares, entropies = np.zeros((splits, k)), np.zeros(k), np.empty(n)
    parts = np.array_split(order, splits)
    for s, part in enumerate(parts):
        for rows, p, log_p in _probabilities(a, part):
            totals[s] += p.sum(axis=0)
            squares += (p * p).sum(axis=0)
            entropies[rows] = -(p * log_p).sum(axis=1)
    marginal = totals.sum(axis=0) / n
    value = max(_entropy(marginal) - float(entropies.mean()), 0.0)
    bias = _bias(marginal, squares / n, n)
    log_marginal, divergences = np.log(np.maximum(marginal, TINY)), np.empty(n)
    for rows, p, _ in _probabilities(a, order):
        divergences[rows] = -entropies[rows] - p @ log_marginal
    error = float(np.sqrt(max(float(divergences.var(ddof=1)) / n - bias / n, bias / n)))
    of_splits = [
        float(np.exp(max(_entropy(total / len(part)) - float(entropies[part].mean()), 0.0)))
        for total, part in zip(totals, parts, strict=True)
    ]
    return InceptionScore(
        _score(value, error, k),
        _score(value + bias, error, k),
        mean_interval(of_splits),
        float(np.std(of_splits)),
        splits,
    )


def _probabilities(a: Matrix, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Floats, Floats]]:
    """Some rows at a time, with their probabilities and the logarithms of those."""
    for i in range(0, len(rows), ROWS):
        chosen = rows[i : i + ROWS]
        log_p = log_softmax(a[chosen].astype(np.float64), axis=1)
        yield chosen, np.exp(log_p), log_p


def _entropy(p: Floats) -> float:
    return -float(xlogy(p, p).sum())


def _bias(marginal: Floats, squares: Floats, n: int) -> float:
    """B: how far log IS is expected below the law's, from the means of p and of p² [K]."""
    variances = (squares - marginal**2).clip(min=0) * (n / (n - 1))
    return float((variances[marginal > 0] / marginal[marginal > 0]).sum()) / (2 * n)


def _score(value: float, error: float, k: int) -> Interval:
    """exp of an estimate of log IS, within what a score can be."""
    score, low, high = (
        min(max(float(np.exp(v)), 1.0), float(k)) for v in (value, value - Z * error, value + Z * error)
    )
    return Interval(score, score * error, low, high)
