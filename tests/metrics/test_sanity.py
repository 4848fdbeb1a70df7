"""What each metric must say, and must not say, of generators that fail in known ways; on the pixels of small digits."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from pushforward.metrics.frechet import frechet_distance
from pushforward.metrics.intervals import Interval
from pushforward.metrics.kernel import kid
from pushforward.metrics.manifold import precision_recall_density_coverage
from pushforward.metrics.memorisation import authenticity, c_t, memorisation
from pushforward.metrics.modes import mode_coverage
from pushforward.metrics.neighbours import nearest
from pushforward.metrics.prd import prd


@dataclass(frozen=True)
class Sets:
    """Digits 0 to 9 in 64 pixels of 0 to 1. rest: what neither the training nor the held-out set has."""

    train: np.ndarray
    held_out: np.ndarray
    rest: np.ndarray
    rest_y: np.ndarray
    train_y: np.ndarray


@pytest.fixture(scope="module")
def sets() -> Sets:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order]
    return Sets(x[:600], x[600:1200], x[1200:], y[1200:], y[:600])


def honest(s: Sets) -> np.ndarray:
    return s.rest


def dropping(s: Sets) -> np.ndarray:
    """Fresh images of five digits only."""
    return s.rest[s.rest_y < 5]


def inventing(s: Sets) -> np.ndarray:
    """Half are upside down and negative: sharp, all alike in kind, and nowhere in the data."""
    fake = s.rest.copy()
    fake[::2] = 1 - fake[::2, ::-1]
    return fake


def blurred(s: Sets) -> np.ndarray:
    return gaussian_filter(s.rest.reshape(-1, 8, 8), (0, 1, 1)).reshape(-1, 64)


def noisy(s: Sets) -> np.ndarray:
    return (s.rest + 0.25 * np.random.default_rng(1).standard_normal(s.rest.shape)).clip(0, 1).astype(np.float32)


def copying(s: Sets) -> np.ndarray:
    """Each is a training image with a little noise."""
    return (s.train[:597] + 0.02 * np.random.default_rng(2).standard_normal((597, 64))).astype(np.float32)


def copying_a_little(s: Sets) -> np.ndarray:
    """1 % are training images."""
    fake = s.rest.copy()
    fake[:6] = s.train[:6]
    return fake


def measure(fake: np.ndarray, s: Sets) -> dict[str, float]:
    """Fidelity and variety against the held-out set, as the training set would reward copies."""
    manifold = precision_recall_density_coverage(fake, s.held_out)
    curve = prd(fake, s.held_out, seed=0)
    memory = memorisation(fake, s.train, s.held_out)
    score = c_t(fake, s.train, s.held_out)
    assert score is not None
    digit = s.train_y[nearest(fake, s.train).indices[:, 0]]
    modes = mode_coverage(digit, 10, s.train_y)
    return {
        "frechet": frechet_distance(fake, s.held_out),
        "kid": kid(fake, s.held_out).value,
        **{name: point(getattr(manifold, name)) for name in ("precision", "recall", "density", "coverage")},
        "prd_f8": point(curve.f8),
        "prd_f1_8": point(curve.f1_8),
        "modes": modes.found,
        "kl": modes.kl.value,
        "copies": memory.copies.value,
        "nearer": memory.nearer.value,
        "memorised": memory.memorised,
        "c_t": score.value,
        "authenticity": authenticity(fake, s.train).value,
    }


def point(value: Interval | float) -> float:
    return value.value if isinstance(value, Interval) else value


# By how much each must differ from the honest generator's to have moved, and may not if it is to stand still.
MARGIN = {
    "frechet": 0.2,
    "kid": 0.003,
    "precision": 0.1,
    "recall": 0.1,
    "density": 0.2,
    "coverage": 0.1,
    "prd_f8": 0.1,
    "prd_f1_8": 0.1,
    "modes": 0.5,
    "kl": 0.1,
    "copies": 0.005,
    "nearer": 0.1,
    "memorised": 0.5,
    "c_t": 2.0,
    "authenticity": 0.1,
}
UP, DOWN, STILL = "up", "down", "still"
UNCOPIED = {"copies": STILL, "nearer": STILL, "memorised": STILL}
TABLE: dict[Callable[[Sets], np.ndarray], dict[str, str]] = {
    dropping: {
        "frechet": UP,
        "kid": UP,
        "precision": STILL,
        "recall": DOWN,
        "density": STILL,
        "coverage": DOWN,
        "prd_f8": DOWN,
        "modes": DOWN,
        "kl": UP,
        "authenticity": STILL,
        **UNCOPIED,
    },
    inventing: {
        "frechet": UP,
        "kid": UP,
        "precision": DOWN,
        "recall": STILL,  # a new mode costs fidelity, and no variety
        "density": DOWN,
        "prd_f1_8": DOWN,
        "c_t": UP,
        "authenticity": UP,
        **UNCOPIED,
    },
    blurred: {
        "frechet": UP,
        "kid": UP,
        "precision": DOWN,
        "recall": DOWN,
        "density": DOWN,
        "coverage": DOWN,
        "c_t": UP,
        "authenticity": UP,
        **UNCOPIED,
    },
    noisy: {
        "frechet": UP,
        "kid": UP,
        "precision": DOWN,
        "recall": STILL,  # its weakness: the balls of noise are wide
        "density": DOWN,
        "coverage": DOWN,
        "c_t": UP,
        "authenticity": UP,
        **UNCOPIED,
    },
    copying: {
        # To all that asks for fidelity and variety alone, a thief is the best of generators.
        "frechet": STILL,
        "kid": STILL,
        "precision": STILL,
        "recall": STILL,
        "density": STILL,
        "coverage": STILL,
        "prd_f8": STILL,
        "prd_f1_8": STILL,
        "modes": STILL,
        "kl": STILL,
        "copies": UP,
        "nearer": UP,
        "memorised": UP,
        "c_t": DOWN,
        "authenticity": DOWN,
    },
    copying_a_little: {
        "frechet": STILL,
        "kid": STILL,
        "precision": STILL,
        "recall": STILL,
        "density": STILL,
        "coverage": STILL,
        "nearer": STILL,
        "c_t": STILL,
        "authenticity": STILL,
        "copies": UP,
        "memorised": UP,
    },
}


@pytest.fixture(scope="module")
def scores(sets: Sets) -> dict[Callable[[Sets], np.ndarray], dict[str, float]]:
    return {generator: measure(generator(sets), sets) for generator in (honest, *TABLE)}


def test_an_honest_generator_scores_as_fresh_data_does(scores):
    normal = scores[honest]
    assert 0 <= normal["frechet"] <= 0.2
    assert abs(normal["kid"]) <= 0.002
    for name in ("precision", "recall", "coverage", "prd_f8", "prd_f1_8"):
        assert 0.85 <= normal[name] <= 1, name
    assert 0.8 <= normal["density"] <= 1.2
    assert normal["modes"] == 10
    assert 0 <= normal["kl"] <= 0.03
    assert normal["copies"] <= 0.005
    assert not normal["memorised"]
    assert abs(normal["c_t"]) <= 1
    assert normal["nearer"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("generator", TABLE, ids=lambda g: g.__name__)
def test_each_metric_moves_as_it_should_and_stands_still_where_it_should(scores, generator):
    normal, found = scores[honest], scores[generator]
    wrong = []
    for name, expected in TABLE[generator].items():
        change = float(found[name]) - float(normal[name])
        moved = STILL if abs(change) <= MARGIN[name] else UP if change > 0 else DOWN
        if moved != expected:
            wrong.append(f"{name} must be {expected}, went from {normal[name]:.4g} to {found[name]:.4g}")
    assert wrong == []


def test_of_the_two_ends_of_the_prd_curve_dropped_modes_cost_recall_and_invented_ones_precision(scores):
    normal, few, odd = scores[honest], scores[dropping], scores[inventing]
    assert normal["prd_f8"] - few["prd_f8"] > normal["prd_f1_8"] - few["prd_f1_8"] + 0.1
    assert normal["prd_f1_8"] - odd["prd_f1_8"] > normal["prd_f8"] - odd["prd_f8"] + 0.1
