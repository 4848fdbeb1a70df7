import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from pushforward.metrics import transport
from pushforward.metrics.transport import cheapest_matching, wasserstein2_exact


def test_in_one_dimension_sorting_is_the_optimal_matching():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 1)), rng.exponential(size=(400, 1))
    expected = math.sqrt(((np.sort(x, 0) - np.sort(y, 0)) ** 2).mean())
    assert wasserstein2_exact(x, y) == pytest.approx(expected, rel=1e-12)


def test_a_translated_sample_is_as_far_as_the_translation_even_far_away():
    x = np.random.default_rng(1).standard_normal((300, 3))
    assert wasserstein2_exact(x, x[::-1] + np.array([3.0, 4.0, 0.0])) == pytest.approx(5, rel=1e-12)
    assert wasserstein2_exact(x, x[::-1] + 1e6) == pytest.approx(1e6 * math.sqrt(3), rel=1e-12)
    assert wasserstein2_exact(x, x[::-1]) == pytest.approx(0, abs=1e-7)


def test_few_points_agree_with_every_matching():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((6, 2)), rng.standard_normal((6, 2))
    least = min(((x - y[list(p)]) ** 2).sum(1).mean() for p in itertools.permutations(range(6)))
    assert wasserstein2_exact(torch.from_numpy(x), y) == pytest.approx(math.sqrt(least), rel=1e-12)


@pytest.mark.parametrize("sample", ["law", "one mode", "point", "three points", "line", "sorted", "integers"])
@pytest.mark.parametrize("n", [150, 151])
def test_warm_starts_give_the_solvers_own_optimum(monkeypatch, sample, n):
    monkeypatch.setattr(transport, "SMALL", 10)
    rng = np.random.default_rng(3)
    centres = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
    y = centres[rng.integers(25, size=n)] + 0.05 * rng.standard_normal((n, 2))
    x = {
        "law": centres[rng.integers(25, size=n)] + 0.05 * rng.standard_normal((n, 2)),
        "one mode": centres[0] + 0.05 * rng.standard_normal((n, 2)),
        "point": np.full((n, 2), 0.3),
        "three points": centres[rng.integers(3, size=n)],
        "line": np.stack([rng.standard_normal(n), np.zeros(n)], 1),
        "sorted": np.sort(rng.standard_normal((n, 2)), axis=0),
        "integers": rng.integers(0, 4, size=(n, 2)).astype(float),
    }[sample]
    costs = ((x[:, None] - y[None]) ** 2).sum(-1)
    rows, columns = cheapest_matching(costs)
    assert sorted(columns) == list(range(n))
    assert costs[rows, columns].sum() == pytest.approx(costs[linear_sum_assignment(costs)].sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((4, 2)), np.zeros((5, 2)), "as many samples, got 4 and 5; use the first 4"),
        (np.zeros((4, 2)), np.zeros((4, 3)), "as many features"),
        (np.full((4, 2), np.nan), np.zeros((4, 2)), "x must be finite"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "at least 1 rows"),
    ],
)
def test_samples_that_cannot_be_matched_are_refused(x, y, words):
    with pytest.raises(ValueError, match=words):
        wasserstein2_exact(x, y)
