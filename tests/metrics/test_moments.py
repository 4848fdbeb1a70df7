import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pushforward.metrics import moments as module
from pushforward.metrics.features import as_matrix
from pushforward.metrics.frechet import frechet_between, frechet_distance
from pushforward.metrics.moments import Gaussian, Moments, from_moments, gaussian, moments


def agree(found: Gaussian, x: np.ndarray, rel: float = 1e-9) -> None:
    """Mean and covariance of `found` against float64's, to `rel` of the standard deviations."""
    exact = x.astype(np.float64)
    covariance = np.cov(exact.T).reshape(x.shape[1], -1)
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((found.mean - exact.mean(0)) / deviations, 0, atol=rel)
    np.testing.assert_allclose((found.covariance - covariance) / np.outer(deviations, deviations), 0, atol=rel)
    assert found.n == len(x)


@given(cuts=st.lists(st.integers(0, 300), max_size=6), offset=st.sampled_from([0.0, 1e4]), double=st.booleans())
@settings(max_examples=40, deadline=None)
def test_chunks_of_any_sizes_give_the_moments_of_the_whole(cuts, offset, double):
    x = np.random.default_rng(0).standard_normal((300, 5)) + offset
    x = x if double else x.astype(np.float32)
    seen = Moments()
    for part in np.split(x, sorted(cuts)):
        seen.add(part)
    agree(seen.gaussian(), x)
    assert seen.n == 300


@pytest.mark.parametrize("chunk", [1, 7, 64, 100, 500])
def test_blocks_join_whatever_the_chunks_and_the_drift(monkeypatch, chunk):
    monkeypatch.setattr(module, "ROWS", 64)
    rng = np.random.default_rng(1)
    # A stream whose first rows are constant and whose mean then moves by a thousand deviations.
    x = np.concatenate([np.zeros((70, 6)), rng.standard_normal((230, 6)) + np.linspace(0, 1e3, 230)[:, None]])
    seen = Moments()
    for i in range(0, len(x), chunk):
        seen.add(x[i : i + chunk])
    agree(seen.gaussian(), x)


@pytest.mark.parametrize(("first", "second"), [(0, 300), (300, 0), (3, 297), (40, 260), (150, 150), (299, 1)])
def test_two_streams_merge_to_one_and_part_again(monkeypatch, first, second):
    monkeypatch.setattr(module, "ROWS", 64)
    x = np.random.default_rng(2).standard_normal((300, 6)) * np.arange(1, 7) + 1e4
    a, b = Moments(), Moments()
    for part, seen in ((x[:first], a), (x[first:], b)):
        for chunk in np.array_split(part, 3):
            seen.add(chunk)
    a.merge(b)
    agree(a.gaussian(), x)
    assert (a.n, b.n) == (300, second)
    if first > 6 and second > 0:
        agree(a.without(b).gaussian(), x[:first])
        assert a.n == 300
        agree(a.gaussian(), x)


def test_a_merged_stream_does_not_change_with_the_one_it_came_from():
    x = np.random.default_rng(3).standard_normal((200, 3))
    a, b = Moments(), Moments().add(x[:100])
    b.gaussian()
    a.merge(b)
    b.add(x[100:] + 5)
    b.gaussian()
    agree(a.gaussian(), x[:100])


def test_what_was_given_may_be_overwritten_afterwards():
    x = np.random.default_rng(4).standard_normal((50, 3)).astype(np.float32)
    given_once = x.copy()
    seen = Moments().add(given_once)
    given_once[:] = np.nan
    agree(seen.gaussian(), x)


def test_a_stream_of_fewer_rows_than_features_keeps_its_exact_root():
    x = np.random.default_rng(5).standard_normal((30, 80)).astype(np.float32)
    y = np.random.default_rng(6).standard_normal((40, 80)).astype(np.float32)
    streams = [Moments().add(part[:13]).add(part[13:]).gaussian() for part in (x, y)]
    assert streams[0].root.shape == (80, 29)
    assert frechet_between(*streams) == frechet_distance(x, y)


@pytest.mark.parametrize("offset", [0, 1e4])
def test_float32_products_are_right_to_1e_6_of_the_variance_at_any_mean(offset):
    rng = np.random.default_rng(7)
    x = (rng.standard_normal((6000, 300)) @ rng.standard_normal((300, 300)) / 17 + offset).astype(np.float32)
    agree(Moments(fast=True).add(x).gaussian(), x, 1e-6)
    y = (1.1 * rng.standard_normal((4000, 300)) + offset).astype(np.float32)
    exact = frechet_distance(x.astype(np.float64), y.astype(np.float64))
    assert frechet_distance(x, y) == pytest.approx(exact, rel=1e-6)
    assert frechet_distance(x, y) != exact  # the fast way was taken


def test_features_that_determine_each_other_are_multiplied_in_float64():
    rng = np.random.default_rng(8)
    few = rng.standard_normal((2000, 40)).astype(np.float32)
    x = (few @ rng.standard_normal((40, 300))).astype(np.float32)
    x[:, 7] = 3
    y = x[:1000] * 1.1
    exact = frechet_distance(x.astype(np.float64), y.astype(np.float64))
    assert frechet_distance(x, y) == pytest.approx(exact, rel=1e-12)
    with pytest.raises(ValueError, match="nearly determine each other"):
        Moments(fast=True).add(x).gaussian()


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e25])
def test_squares_beyond_the_range_of_float32_are_no_harm(scale):
    x = np.random.default_rng(9).standard_normal((700, 256)).astype(np.float32) * np.float32(scale)
    y = x[:600] * np.float32(2)
    plain = frechet_distance(x.astype(np.float64) / scale, y.astype(np.float64) / scale)
    assert frechet_distance(x, y) / scale**2 == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int8, np.int64])
def test_every_kind_of_number_is_taken_numpy_or_torch(kind):
    x = np.random.default_rng(10).integers(-9, 9, (60, 4)).astype(kind)
    agree(gaussian(x), x)
    agree(gaussian(torch.from_numpy(x)), x)
    agree(Moments().add(torch.from_numpy(x[:20])).add(x[20:].astype(np.float64)).gaussian(), x)


def test_moments_divide_by_n_minus_1():
    x = np.array([[0.0, 1.0], [2.0, 5.0]])
    mean, covariance = moments(x)
    np.testing.assert_allclose(mean, [1, 3])
    np.testing.assert_allclose(covariance, [[2, 4], [4, 8]])


def test_streams_that_cannot_be_are_refused():
    seen = Moments().add(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="x must have at least 2 rows, got 1"):
        seen.gaussian("x")
    with pytest.raises(ValueError, match="3 features as before, got 4"):
        seen.add(np.zeros((5, 4)))
    with pytest.raises(ValueError, match="3 features as before, got 4"):
        seen.merge(Moments().add(np.zeros((5, 4))))
    with pytest.raises(ValueError, match=r"NaN or inf in 1 of 2 rows \(first 1\)"):
        seen.add(np.array([[0, 0, 0], [0, np.nan, 0]]))
    with pytest.raises(ValueError, match="some of the rows but not all"):
        seen.without(seen)
    assert seen.n == 1


@pytest.mark.parametrize("rank", [1, 5, 19, 20])
def test_a_covariance_of_any_rank_has_a_root_of_that_rank(rank):
    factor = np.random.default_rng(11).standard_normal((20, rank))
    found = from_moments(0, np.zeros(20), factor @ factor.T)
    assert found.root.shape == (20, rank)
    np.testing.assert_allclose(found.covariance, factor @ factor.T, atol=1e-12 * rank)


def test_features_without_variance_take_no_part_in_the_root():
    x = np.random.default_rng(12).standard_normal((100, 6))
    x[:, [0, 4]] = 2.5
    found = gaussian(x)
    assert found.root.shape == (6, 4)
    assert not found.root[[0, 4]].any()
    np.testing.assert_allclose(found.covariance, np.cov(x.T), atol=1e-12)


@pytest.mark.parametrize("values", [[np.inf, -np.inf], [np.nan, 1.0]])
def test_infinities_of_both_signs_are_refused_without_a_warning(values):
    x = np.ones((5, 2))
    x[3] = values
    with pytest.raises(ValueError, match=r"in 1 of 5 rows \(first 3\)"):
        gaussian(x)


def test_a_sum_that_overflows_is_no_infinity():
    x = np.full((4, 2), 1.7e308)
    x[1] = 1.6e308
    assert as_matrix(x, "x") is x
