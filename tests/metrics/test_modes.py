import math

import numpy as np
import pytest

from pushforward.metrics.intervals import mean_interval, wilson
from pushforward.metrics.modes import high_quality, kl_to_uniform, modes

CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])


def test_a_mode_counts_as_found_only_with_a_sample_within_3_sigma():
    points = np.array([[0.0, 0.29], [10.0, 0.31], [9.0, 0.0]])
    found = modes(points, CENTRES, sigma=0.1)
    assert found.found == 1
    assert found.high_quality.value == pytest.approx(1 / 3)
    assert found.counts.tolist() == [1, 2, 0]


def test_a_mixture_in_the_plane_has_98_9_percent_of_high_quality():
    rng = np.random.default_rng(0)
    x = CENTRES[rng.integers(3, size=50_000)] + 0.1 * rng.standard_normal((50_000, 2))
    share = modes(x, CENTRES, 0.1).high_quality
    assert share.value == pytest.approx(1 - math.exp(-4.5), abs=2e-3)
    assert share.low <= 1 - math.exp(-4.5) <= share.high
    d = np.sqrt(((x[:, None] - CENTRES) ** 2).sum(-1)).min(1)
    assert high_quality(d, 0.1) == share


def test_kl_to_uniform_is_0_when_even_and_log_k_when_collapsed():
    assert kl_to_uniform(np.full(8, 5)).value == pytest.approx(0, abs=1e-12)
    assert kl_to_uniform(np.array([0, 0, 40, 0])).value == pytest.approx(math.log(4), rel=1e-12)
    assert kl_to_uniform(np.array([3, 1])).value == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-12
    )


@pytest.mark.parametrize("uneven", [0.0, 0.8])
def test_the_kl_interval_covers_its_expected_value_at_this_size(uneven):
    rng = np.random.default_rng(1)
    p = np.exp(uneven * rng.standard_normal(50))
    draws = [kl_to_uniform(c) for c in rng.multinomial(2000, p / p.sum(), size=400)]
    expected = np.mean([d.value for d in draws])
    assert 0.91 <= np.mean([d.low <= expected <= d.high for d in draws]) <= 0.985


def test_wilson_matches_the_published_example_and_stays_within_0_and_1():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20.
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        interval = wilson(hits, n)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert wilson(7, 7).high == 1.0


def test_the_interval_of_a_mean_is_students():
    interval = mean_interval([1.0, 2.0, 3.0])
    assert (interval.low, interval.high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: modes(np.array([[np.nan, 0.0]]), CENTRES, 0.1), "points must be finite"),
        (lambda: modes(np.zeros((0, 2)), CENTRES, 0.1), "at least 1 rows"),
        (lambda: modes(np.zeros((5, 3)), CENTRES, 0.1), "as many features"),
        (lambda: modes(np.zeros((5, 2)), CENTRES, 0.0), "sigma must be positive"),
        (lambda: high_quality(np.array([np.nan]), 0.1), "finite"),
        (lambda: kl_to_uniform(np.zeros(4, int)), "not all 0"),
        (lambda: kl_to_uniform(np.array([4])), "at least 2"),
        (lambda: wilson(3, 0), "n >= 1"),
        (lambda: mean_interval([1.0]), "at least 2 values"),
    ],
)
def test_nonsense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
