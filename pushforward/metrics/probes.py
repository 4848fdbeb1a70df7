"""How well an encoder's features tell labels apart: a linear classifier and a vote of nearest neighbours."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pushforward.core.seeding import numpy_generator
from pushforward.metrics.features import Features, Matrix, as_matrix, same_width
from pushforward.metrics.intervals import Interval, wilson
from pushforward.metrics.neighbours import BUDGET, nearest

Labels = Tensor | NDArray[Any]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

STRENGTHS = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)  # λ of mean loss + λ |w|²/2, the strongest first
HELD_OUT = 0.2  # of each class, to choose λ by
STEPS = 1000  # of L-BFGS


@dataclass(frozen=True)
class Probe:
    """accuracy: on the test rows, Wilson's interval, for more test rows and this training part.

    classes: the labels [K], ascending. confusion: test rows [K, K] by their class, then by the class they were put in.
    strength: the λ that was chosen; None for neighbours.
    """

    accuracy: Interval
    classes: Indices
    confusion: Indices
    strength: float | None = None

    @property
    def per_class(self) -> list[Interval | None]:
        """Each class's accuracy, as above; None for a class without a test row."""
        rows = self.confusion.sum(axis=1)
        return [wilson(int(self.confusion[i, i]), int(n)) if n else None for i, n in enumerate(rows)]


@dataclass(frozen=True)
class _Task:
    """Features [N, D] and places in `classes` [N], to learn from and to be asked about."""

    train: Matrix
    train_y: Indices
    test: Matrix
    test_y: Indices
    classes: Indices

    def probe(self, found: Indices, strength: float | None = None) -> Probe:
        confusion = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(confusion, (self.test_y, found), 1)
        return Probe(wilson(int(np.trace(confusion)), len(found)), self.classes, confusion, strength)


def linear_probe(
    train_x: Features,
    train_y: Labels,
    test_x: Features,
    test_y: Labels,
    *,
    seed: int = 0,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Probe:
    """Multinomial logistic regression on standardised features [N, D], any D; labels [N] are integers.

    The features are standardised by the training part. λ is what does best on a fifth of each class held out of the
    training part (ties: the stronger), which then is learnt from too; the test rows choose nothing. From strong to
    weak, the path ends where 1,000 steps don't converge. The result depends on the arguments alone.
    Alain & Bengio 2017, arXiv:1610.01644. Raises ValueError for values not finite, unequal D or lengths, labels that
    are no integers, fewer than 2 classes, no class with 2 rows, or a test label that the training part hasn't.
    """
    task = _task(train_x, train_y, test_x, test_y)
    if not strengths or not min(strengths) > 0:
        raise ValueError(f"strengths must be positive numbers, got {strengths}")
    held = _held_out(task.train_y, seed)
    fit, score = _standardised(task.train[~held], task.train[held])
    best, strength = -1.0, max(strengths)
    for candidate, found in _path(fit, task.train_y[~held], score, sorted(strengths, reverse=True)):
        accuracy = float((found == task.train_y[held]).mean())
        if accuracy > best:
            best, strength = accuracy, candidate
    fit, score = _standardised(task.train, task.test)
    ((_, found),) = _path(fit, task.train_y, score, [strength])
    return task.probe(found, strength)


def knn_probe(
    train_x: Features,
    train_y: Labels,
    test_x: Features,
    test_y: Labels,
    *,
    k: int = 20,
    temperature: float | None = 0.07,
    budget: int = BUDGET,
) -> Probe:
    """The vote of the k training rows [N, D] of the greatest cosine similarity s, each weighing exp(s / temperature).

    temperature None: one vote each. A tie goes to the class with the nearest row. k <= N. A row of zeros has no
    direction, and is as near to every row. Wu et al. 2018, arXiv:1805.01978, §3.4; Caron et al. 2021, arXiv:2104.14294.
    Raises ValueError as `linear_probe` does, for k outside 1 to N, and for a temperature <= 0.
    """
    task = _task(train_x, train_y, test_x, test_y)
    if not 1 <= k <= len(task.train):
        raise ValueError(f"k must be 1 to {len(task.train)}, the training rows, got {k}; lower it")
    if temperature is not None and not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}; None gives one vote each")
    near = nearest(_directions(task.test), _directions(task.train), k, budget=budget)
    # exp((s − s_max)/τ), s = 1 − d²/2: the same shares of the vote, and none overflows.
    gap = near.squares - near.squares[:, :1]
    weights = np.ones_like(gap) if temperature is None else np.exp(-gap / (2 * temperature))
    labels = task.train_y[near.indices]  # [N, k]
    votes = np.zeros((len(labels), len(task.classes)))
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), weights)
    leads = np.take_along_axis(votes, labels, 1) >= (1 - 1e-12) * votes.max(axis=1, keepdims=True)
    return task.probe(labels[np.arange(len(labels)), leads.argmax(axis=1)])


def _task(train_x: Features, train_y: Labels, test_x: Features, test_y: Labels) -> _Task:
    train, test = as_matrix(train_x, "train_x", least=2), as_matrix(test_x, "test_x")
    same_width(train, test, ("train_x", "test_x"))
    y, asked = _labels(train_y, len(train), "train_y"), _labels(test_y, len(test), "test_y")
    classes, place = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"train_y must have at least 2 classes, got {len(classes)}; give more of the data")
    unknown = np.setdiff1d(asked, classes)
    if len(unknown):
        raise ValueError(f"test_y must have train_y's classes only, got {unknown[0]} besides; split anew")
    return _Task(train, place.astype(np.int64), test, np.searchsorted(classes, asked).astype(np.int64), classes)


def _labels(y: Labels, rows: int, name: str) -> Indices:
    a = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if a.shape != (rows,):
        raise ValueError(f"{name} must be one label for each of {rows} rows, got the shape {a.shape}")
    if a.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integers, got {a.dtype}; number the classes")
    return a.astype(np.int64)


def _held_out(y: Indices, seed: int) -> NDArray[np.bool_]:
    """A fifth of each class's rows, at least one where a class has two."""
    stream = numpy_generator("probe", seed, "split")
    held = np.zeros(len(y), np.bool_)
    for label in range(int(y.max()) + 1):
        rows = stream.permutation(np.flatnonzero(y == label))
        held[rows[: max(round(HELD_OUT * len(rows)), 1) if len(rows) > 1 else 0]] = True
    if not held.any():
        raise ValueError("train_y must have a class with at least 2 rows, got 1 of each; give more of the data")
    return held


def _standardised(fit: Matrix, score: Matrix) -> tuple[Floats, Floats]:
    """Both in float64, by the mean and deviation of the first; a feature that is constant there counts for nothing."""
    mean, deviation = fit.mean(axis=0, dtype=np.float64), fit.std(axis=0, dtype=np.float64)
    # Rounding leaves a constant column a deviation, which would blow it up.
    constant = deviation <= 1e-7 * np.abs(mean)
    scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))
    return (fit - mean) * scale, (score - mean) * scale


def _path(fit: Floats, y: Indices, score: Floats, strengths: list[float]) -> list[tuple[float, Indices]]:
    """Predictions for `score` at each strength, each fit going on from the one before, while they converge."""
    from sklearn.exceptions import ConvergenceWarning  # slow to import
    from sklearn.linear_model import LogisticRegression

    model, found = LogisticRegression(max_iter=STEPS, tol=1e-5, warm_start=True), []
    for strength in strengths:
        model.set_params(C=1 / (strength * len(y)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # seen below
            model.fit(fit, y)
        if found and model.n_iter_.max() >= STEPS:
            break
        found.append((strength, model.predict(score)))
    return found


def _directions(x: Matrix) -> Matrix:
    # Through the largest entry first: the square of 1e30 is no float32.
    x = x / np.maximum(np.abs(x).max(axis=1, keepdims=True), np.finfo(x.dtype).tiny)
    return x / np.maximum(np.sqrt((x * x).sum(axis=1, keepdims=True)), np.finfo(x.dtype).tiny)
