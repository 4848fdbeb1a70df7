import numpy as np
import pytest
import torch
from scipy.special import softmax

from pushforward.metrics.inception_score import inception_score


def by_hand(logits):
    p = softmax(np.asarray(logits, np.float64), axis=1)
    return np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean())


@pytest.mark.parametrize("k", [2, 10, 37])
def test_sure_and_evenly_spread_over_k_classes_is_k(k):
    found = inception_score(1e4 * np.eye(k)[np.arange(20 * k) % k].astype(np.float32), splits=2)
    assert found.whole.value == pytest.approx(k, rel=1e-12)
    assert found.corrected.value == pytest.approx(k, rel=1e-12)
    assert found.whole.high == pytest.approx(k, rel=1e-12)
    assert found.whole.stderr > 0  # 20 rows a class don't prove that the law is even


def test_identical_rows_are_1_with_certainty():
    found = inception_score(np.tile(np.random.default_rng(0).standard_normal(8), (40, 1)))
    for interval in (found.whole, found.corrected, found.by_split):
        assert (interval.low, interval.value, interval.high) == pytest.approx((1, 1, 1), abs=1e-7)
    assert found.spread == pytest.approx(0, abs=1e-12)


def test_it_is_the_definition_for_uneven_logits_in_one_block_or_many():
    logits = 3 * np.random.default_rng(1).standard_normal((2500, 12)).astype(np.float32)
    assert inception_score(logits).whole.value == pytest.approx(by_hand(logits), rel=1e-12)
    assert inception_score(torch.from_numpy(logits)) == inception_score(logits)


def test_splits_are_of_nearly_equal_size_and_leave_no_row_out():
    logits = 2 * np.random.default_rng(2).standard_normal((23, 4))
    # One row a split scores 1 each; two splits hold 11 and 12 rows.
    assert inception_score(logits, splits=23).by_split.value == pytest.approx(1, rel=1e-12)
    found = inception_score(logits, splits=2, seed=5)
    assert found.whole.value == pytest.approx(by_hand(logits), rel=1e-12)
    logits[:] += 100  # a constant on a row's logits changes nothing
    assert inception_score(logits, splits=2, seed=5).by_split.value == pytest.approx(found.by_split.value, rel=1e-12)
    whole = inception_score(np.repeat(logits, 2, axis=0), splits=2)
    assert whole.whole.value == pytest.approx(by_hand(logits), rel=1e-12)


def test_rows_sorted_by_class_score_as_in_any_order():
    y = np.sort(np.random.default_rng(3).integers(10, size=2000))
    logits = 6 * np.eye(10)[y] + np.random.default_rng(4).standard_normal((2000, 10))
    found = inception_score(logits)
    assert found.by_split.value == pytest.approx(found.whole.value, rel=0.03)
    assert found.by_split.value > 5
    sorted_splits = [by_hand(part) for part in np.array_split(logits, 10)]
    assert np.mean(sorted_splits) < 2


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_confident_logits_give_no_nan(kind):
    logits = (60000 * np.eye(5)[np.arange(50) % 5]).astype(kind)
    logits[::7] *= -1
    found = inception_score(logits)
    assert np.isfinite([found.whole.value, found.whole.low, found.whole.high, found.spread]).all()
    assert 1 <= found.whole.value <= 5


def draws(rng, laws, weights, n, times):
    return [inception_score(laws[rng.choice(len(laws), n, p=weights)], seed=i) for i in range(times)]


@pytest.mark.parametrize("sure", [1.0, 3.0, 50.0])
def test_the_intervals_cover_what_they_say_about_95_times_of_100(sure):
    rng = np.random.default_rng(5)
    k, n = 20, 400
    laws, weights = sure * rng.standard_normal((60, k)), rng.dirichlet(np.full(60, 2.0))
    p = softmax(laws, axis=1)
    own = np.exp(weights @ (p * (np.log(np.maximum(p, 1e-300)) - np.log(weights @ p))).sum(1))
    found = draws(rng, laws, weights, n, 300)
    expected, by_split = (np.mean([getattr(f, part).value for f in found]) for part in ("whole", "by_split"))
    assert by_split < expected < own
    for part, truth in (("whole", expected), ("corrected", own), ("by_split", by_split)):
        covered = np.mean([getattr(f, part).low <= truth <= getattr(f, part).high for f in found])
        assert 0.9 <= covered <= 0.985, part
    assert np.mean([np.log(f.corrected.value) for f in found]) == pytest.approx(np.log(own), abs=0.2 * k / (2 * n))


def test_sure_and_even_classes_have_the_intervals_of_chi_square():
    rng = np.random.default_rng(6)
    found = draws(rng, 1e3 * np.eye(30), np.full(30, 1 / 30), 600, 300)
    values = np.array([f.whole.value for f in found])
    assert np.log(30 / values).mean() == pytest.approx(29 / 1200, rel=0.05)
    assert np.mean([f.whole.stderr for f in found]) == pytest.approx(values.std(), rel=0.2)
    assert 0.9 <= np.mean([f.whole.low <= values.mean() <= f.whole.high for f in found]) <= 0.985


@pytest.mark.parametrize(
    ("logits", "splits", "words"),
    [
        (np.zeros((9, 3)), 10, "a row a split, 10, got 9; give more samples or fewer splits"),
        (np.zeros((9, 3)), 1, "at least 2, got 1"),
        (np.full((20, 3), np.inf), 10, "logits must be finite"),
        (np.zeros(20), 10, r"matrix \[N, D\]"),
    ],
)
def test_logits_without_a_score_are_refused(logits, splits, words):
    with pytest.raises(ValueError, match=words):
        inception_score(logits, splits)
