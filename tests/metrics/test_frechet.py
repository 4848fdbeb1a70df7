import math

import mpmath
import numpy as np
import pytest
import torch

from pushforward.metrics.frechet import (
    frechet_corrected,
    frechet_distance,
    frechet_estimate,
    frechet_from_moments,
    frechet_infinity,
    frechet_interval,
    frechet_per_class,
)
from pushforward.metrics.influence import first_order_variances
from pushforward.metrics.intervals import Interval
from pushforward.metrics.moments import gaussian, moments
from pushforward.metrics.statistics import load_statistics, save_statistics


def with_moments(rng, n, mean, covariance):
    """A sample [n, D] whose mean and covariance are exactly these."""
    z = rng.standard_normal((n, len(mean)))
    z -= z.mean(0)
    white = np.linalg.solve(np.linalg.cholesky(np.cov(z.T).reshape(len(mean), -1)), z.T).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_diagonal_gaussians_are_as_far_as_their_means_and_standard_deviations():
    a, b, shift = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 16.0]), np.array([1.0, 2.0, -2.0])
    expected = 9 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_from_moments(np.zeros(3), np.diag(a), shift, np.diag(b)) == pytest.approx(expected, rel=1e-12)


def test_samples_of_known_moments_give_the_closed_form_for_covariances_that_do_not_commute():
    rng = np.random.default_rng(0)
    a, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.8], [-0.8, 3.0]])
    # In two dimensions tr (AB)^½ = (tr AB + 2 (det A det B)^½)^½.
    root = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a) * np.linalg.det(b)))
    expected = 5 + np.trace(a + b) - 2 * root
    x, y = with_moments(rng, 40, np.zeros(2), a), with_moments(rng, 60, np.array([1.0, 2.0]), b)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_one_feature_gives_the_difference_of_means_and_deviations_squared():
    rng = np.random.default_rng(1)
    x, y = (
        with_moments(rng, 50, np.array([3.0]), np.array([[4.0]])),
        with_moments(rng, 30, np.zeros(1), np.array([[9.0]])),
    )
    assert frechet_distance(x, y) == pytest.approx(9 + 1, rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(500, 1), (200, 50), (50, 200), (3, 5), (2, 1), (60, 60), (61, 60)])
def test_identical_sets_are_at_distance_0_at_any_rank(n, d):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((n, d)) * np.logspace(0, -6, d)
    for sample in (x, np.repeat(x, 3, axis=0), (x + 1e4).astype(np.float32), np.zeros((n, d))):
        scale = float(np.trace(moments(sample)[1]))
        assert 0 <= frechet_distance(sample, sample.copy()) <= 1e-9 * scale


def test_fewer_rows_than_features_agrees_with_the_covariances():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((30, 80)), 2 * rng.standard_normal((45, 80)) + 0.1
    (mu1, cov1), (mu2, cov2) = moments(x), moments(y)
    values, vectors = np.linalg.eigh(cov1)
    half = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(half @ cov2 @ half).clip(0)).sum()
    expected = ((mu1 - mu2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * cross
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet_from_moments(mu1, cov1, mu2, cov2) == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_rank_deficient_samples_in_orthogonal_planes_add_their_variances():
    rng = np.random.default_rng(4)
    x, y = np.zeros((100, 6)), np.zeros((100, 6))
    x[:, :2], y[:, 3:5] = rng.standard_normal((100, 2)), rng.standard_normal((100, 2))
    (mu1, cov1), (mu2, cov2) = moments(x), moments(y)
    expected = ((mu1 - mu2) ** 2).sum() + np.trace(cov1) + np.trace(cov2)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


def test_a_mean_of_1e4_in_float32_does_not_change_the_distance():
    rng = np.random.default_rng(5)
    # Multiples of 1/64 survive the offset in float32 exactly.
    x = np.round(rng.standard_normal((400, 8)) * 64) / 64
    y = np.round(1.5 * rng.standard_normal((300, 8)) * 64) / 64
    far = frechet_distance((x + 1e4).astype(np.float32), (y + 1e4).astype(np.float32))
    assert far == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_moments_divide_by_n_minus_1_and_do_not_depend_on_the_blocks():
    x = np.random.default_rng(6).standard_normal((5000, 3)).astype(np.float32)
    mean, covariance = moments(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x.astype(np.float64).T), rtol=1e-12)


def test_the_distance_is_symmetric_and_torch_agrees_with_numpy():
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((50, 20)), rng.standard_normal((15, 20))
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-12)
    grad = torch.from_numpy(x).requires_grad_()
    assert frechet_distance(grad, torch.from_numpy(y)) == pytest.approx(frechet_distance(x, y), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.full((5, 2), np.nan), np.zeros((5, 2)), "x must be finite, got NaN or inf in 5 of 5 rows"),
        (np.zeros((5, 2)), np.array([[0, 0], [0, np.inf]]), "y must be finite.*first 1"),
        (np.zeros((1, 2)), np.zeros((5, 2)), "x must have at least 2 rows, got 1"),
        (np.zeros((0, 2)), np.zeros((5, 2)), "x must have at least 2 rows, got 0"),
        (np.zeros((5, 2)), np.zeros((5, 3)), "as many features, got 2 and 3"),
        (np.zeros((5, 0)), np.zeros((5, 0)), "D >= 1"),
        (np.zeros((5, 2, 2)), np.zeros((5, 2)), "flatten"),
        (np.zeros((5, 2), complex), np.zeros((5, 2)), "real numbers"),
    ],
)
def test_input_without_a_distance_is_refused(x, y, words):
    with pytest.raises(ValueError, match=words):
        frechet_distance(x, y)


def test_covariances_that_are_none_are_refused():
    with pytest.raises(ValueError, match="negative eigenvalue"):
        frechet_from_moments(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="symmetric"):
        frechet_from_moments(np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]), np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match=r"cov2 must be \[2, 2\]"):
        frechet_from_moments(np.zeros(2), np.eye(2), np.zeros(2), np.eye(3))


def test_the_interval_covers_the_expected_plug_in_value_about_95_times_of_100():
    rng = np.random.default_rng(8)
    draws = [
        frechet_interval(rng.standard_normal((200, 4)), 1.3 * rng.standard_normal((200, 4)) + 0.3) for _ in range(200)
    ]
    expected = np.mean([i.value for i in draws])
    covered = np.mean([i.low <= expected <= i.high for i in draws])
    assert 0.9 <= covered <= 0.99
    assert np.mean([i.stderr for i in draws]) == pytest.approx(np.std([i.value for i in draws]), rel=0.25)


def test_covariances_that_do_not_commute_agree_with_50_digits():
    rng = np.random.default_rng(9)
    for d, condition in ((2, 1.0), (5, 3.0), (6, 10.0)):
        mu1, mu2 = rng.standard_normal(d), rng.standard_normal(d)
        a, b = (turned(rng, np.logspace(0, -condition, d)) for _ in range(2))
        expected = exact_distance(mu1, a, mu2, b)
        scale = np.trace(a) + np.trace(b)
        # Rounding the input of condition 1e10 alone moves the distance by 1e-11 of the traces.
        tolerance = 1e-13 if condition < 5 else 1e-9
        assert frechet_from_moments(mu1, a, mu2, b) == pytest.approx(expected, abs=tolerance * scale)
        assert abs(np.trace(a @ b @ a) - np.trace(a @ a @ b)) < scale  # the two are matrices, not numbers


def turned(rng, spectrum):
    turn, _ = np.linalg.qr(rng.standard_normal((len(spectrum), len(spectrum))))
    covariance = turn * spectrum @ turn.T
    return (covariance + covariance.T) / 2


def exact_distance(mu1, cov1, mu2, cov2) -> float:
    with mpmath.workdps(50):
        a, b = mpmath.matrix(cov1.tolist()), mpmath.matrix(cov2.tolist())
        lower = mpmath.cholesky(a)
        eigenvalues = mpmath.eigsy(lower.T * b * lower, eigvals_only=True)
        shift = sum((mpmath.mpf(p) - mpmath.mpf(q)) ** 2 for p, q in zip(mu1.tolist(), mu2.tolist(), strict=True))
        traces = sum(a[i, i] + b[i, i] for i in range(len(mu1)))
        return float(shift + traces - 2 * sum(mpmath.sqrt(e) for e in eigenvalues))


def test_values_that_others_publish_are_reproduced():
    # scikit-learn-contrib/qolmat, tests/benchmark/test_utils.py, test_frechet_distance.
    x = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]])
    y = np.array([[1, 2, 3], [1, 2, 3], [1, 8, 9], [3, 4, 8]])
    assert round(frechet_distance(x, y), 4) == 41.6563
    # The input of tensorflow's contrib.gan classifier_metrics_test.py (512 × 256, seed 0), valued by pytorch-fid
    # 0.3.0's calculate_frechet_distance with SciPy 1.17.1 on float64 moments.
    legacy = np.random.RandomState(0)
    p, q = (legacy.randn(512, 256).astype(np.float32) for _ in range(2))
    assert frechet_distance(p, q) == pytest.approx(65.74272365043504, rel=1e-6)
    assert frechet_distance(p.astype(np.float64), q.astype(np.float64)) == pytest.approx(65.74272365043504, rel=1e-12)
    # And of two covariances that do not commute, by the same.
    i = np.arange(6.0)
    apart = np.abs(i[:, None] - i)
    a, b = np.exp(-apart / 2) * np.outer(1 + i / 3, 1 + i / 3), 1 / (1 + apart**2)
    assert frechet_from_moments(i / 2, a, np.cos(i), b) == pytest.approx(27.40571380556268, rel=1e-12)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_identical_sets_are_at_exactly_0_and_reordered_ones_never_below(kind):
    rng = np.random.default_rng(10)
    for n, d in ((700, 300), (40, 300), (2, 1), *((50, d) for d in range(3, 20))):
        x = rng.standard_normal((n, d)).astype(kind)
        for sample in (x, np.repeat(x[: n // 2], 2, axis=0), np.full((n, d), 0.1, kind)):
            assert frechet_distance(sample, sample.copy()) == 0
            assert 0 <= frechet_distance(sample, rng.permutation(sample)) <= 1e-9 * d


def test_constant_features_add_the_square_of_their_difference():
    rng = np.random.default_rng(11)
    x, y = rng.standard_normal((60, 5)), rng.standard_normal((50, 5))
    plain = frechet_distance(x, y)
    wide = [np.concatenate([a, np.full((len(a), 2), value)], 1) for a, value in ((x, 0.3), (y, 1.3))]
    assert frechet_distance(*wide) == pytest.approx(plain + 2, rel=1e-9)
    still = np.full((7, 3), 2.0), np.full((9, 3), 5.0)
    assert frechet_distance(*still) == pytest.approx(27, rel=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(30, 40, 5), (8, 40, 20), (40, 8, 20), (8, 12, 20), (21, 40, 20)])
def test_an_examples_influence_is_the_derivative_in_its_weight(n, m, d):
    rng = np.random.default_rng(13)
    x, y = rng.standard_normal((n, d)), 1.5 * rng.standard_normal((m, d)) + 0.3
    other = (y - y.mean(0)) / np.sqrt(m - 1)

    def weighted(w):
        p = w / w.sum()
        own = (x - p @ x) * np.sqrt(p * n / (n - 1))[:, None]
        nuclear = np.linalg.svd(own @ other.T, compute_uv=False).sum()
        return ((p @ x - y.mean(0)) ** 2).sum() + (own**2).sum() + (other**2).sum() - 2 * nuclear

    step = 1e-4 * np.eye(n)
    influence = np.array([(weighted(1 + s) - weighted(1 - s)) / 2e-4 * n for s in step])
    found, _ = first_order_variances(x, y, gaussian(x), gaussian(y))
    assert found == pytest.approx(np.var(influence, ddof=1) / n, rel=1e-5)


def test_the_corrected_interval_covers_the_laws_distance_where_the_bootstrap_of_the_plug_in_never_does():
    rng, truth = np.random.default_rng(14), 8 * (0.1**2 + 0.2**2)
    found, below = [], []
    for i in range(100):
        x, y = rng.standard_normal((80, 8)), 1.2 * rng.standard_normal((80, 8)) + 0.1
        found.append(frechet_corrected(x, y))
        if i < 20:
            again = [frechet_distance(x[rng.integers(80, size=80)], y[rng.integers(80, size=80)]) for _ in range(20)]
            below.append(truth < min(again))
    assert 0.88 <= np.mean([i.low <= truth <= i.high for i in found]) <= 0.99
    assert np.mean([i.value for i in found]) == pytest.approx(truth, abs=0.06)
    assert np.mean([i.stderr for i in found]) == pytest.approx(np.std([i.value for i in found]), rel=0.25)
    assert np.mean(below) >= 0.95


def test_equal_laws_give_about_0_with_an_error_that_is_neither_too_large_nor_too_small():
    rng = np.random.default_rng(15)
    found = [frechet_corrected(rng.standard_normal((100, 6)), rng.standard_normal((100, 6))) for _ in range(100)]
    assert np.mean([i.value for i in found]) == pytest.approx(0, abs=0.02)
    assert np.mean([i.low == 0 for i in found]) >= 0.9
    assert all(i.high >= i.low >= 0 for i in found)
    # First order alone would be 1.4 times too large.
    assert np.mean([i.stderr for i in found]) == pytest.approx(np.std([i.value for i in found]), rel=0.2)


def test_the_bias_is_told_and_said_to_dominate_where_it_does():
    rng = np.random.default_rng(16)
    x, y = rng.standard_normal((4000, 8)), rng.standard_normal((4000, 8)) + 0.1
    few, many = frechet_estimate(x[:100], y[:100]), frechet_estimate(x, y)
    # To first order 2 D / N from the means and D (D + 1) / 2N from the covariances.
    assert many.bias == pytest.approx((2 * 8 + 8 * 9 / 2) / 4000, rel=0.35)
    assert few.bias == pytest.approx(40 * many.bias, rel=0.35)
    assert (few.bias_dominates, many.bias_dominates) == (True, False)
    assert few.bias_shows
    assert few.corrected is not None
    assert few.corrected.value == pytest.approx(few.value - few.bias)
    assert few.rows_needed(0.1) == pytest.approx(5 * few.rows_needed(0.5))
    assert many.n == 4000


def test_fewer_rows_than_features_have_a_plug_in_and_its_interval_but_no_corrected_one():
    rng = np.random.default_rng(17)
    x, y = rng.standard_normal((40, 60)), rng.standard_normal((40, 60))
    found = frechet_estimate(x, y)
    assert (found.corrected, found.bias_dominates, found.rows_needed()) == (None, True, math.inf)
    assert found.bias > found.value / 2
    assert frechet_interval(x, y).value == found.value == frechet_distance(x, y)
    with pytest.raises(ValueError, match="more than 60 rows without a block, got 40 in 10 blocks"):
        frechet_corrected(x, y)
    with pytest.raises(ValueError, match=r"2\.5 rows a feature, got 40 for 60"):
        frechet_infinity(x, y)


def test_rows_sorted_by_class_give_the_same_bias_and_error_as_shuffled_ones():
    rng = np.random.default_rng(18)
    x, y = (np.concatenate([rng.standard_normal((80, 3)) + 10 * place for place in np.eye(3)]) for _ in range(2))
    by_class = frechet_estimate(x, y)
    shuffled = [frechet_estimate(rng.permutation(x), rng.permutation(y)) for _ in range(10)]
    biases = np.array([s.bias for s in shuffled])
    # Blocks of neighbours, or of every tenth row, would give a tenth of it.
    assert by_class.bias == pytest.approx(biases.mean(), rel=0.6)
    assert by_class.corrected is not None
    errors = [s.corrected.stderr for s in shuffled if s.corrected is not None]
    assert by_class.corrected.stderr == pytest.approx(np.mean(errors), rel=0.15)


def test_extrapolation_to_endless_samples_takes_the_bias_away():
    rng, truth = np.random.default_rng(19), 6 * 0.3**2
    found = [frechet_infinity(rng.standard_normal((120, 6)), 1.3 * rng.standard_normal((150, 6))) for _ in range(60)]
    assert np.mean([i.value for i in found]) == pytest.approx(truth, abs=0.07)
    assert np.mean([i.low <= truth <= i.high for i in found]) >= 0.88


@pytest.mark.parametrize("words", [False, True])
def test_each_class_is_held_against_its_own(words):
    rng = np.random.default_rng(20)
    x, y = rng.standard_normal((90, 4)), rng.standard_normal((60, 4))
    p, q = np.arange(90) % 3, np.arange(60) // 20
    names = ["cat", "dog", "eel"] if words else [0, 1, 2]
    found = frechet_per_class(x, y, *([names[k] for k in c] if words else torch.from_numpy(c) for c in (p, q)))
    assert found.values == {names[k]: frechet_distance(x[p == k], y[q == k]) for k in range(3)}
    assert found.mean == pytest.approx(np.mean(list(found.values.values())))


def test_classes_with_too_few_rows_are_named():
    x, y = np.zeros((6, 2)), np.zeros((5, 2))
    with pytest.raises(ValueError, match=r"got 'dog' \(1 and 3\), 'eel' \(2 and 0\); give more"):
        frechet_per_class(x, y, ["cat"] * 3 + ["dog"] + ["eel"] * 2, ["cat"] * 2 + ["dog"] * 3)
    with pytest.raises(ValueError, match="y_labels must be 5 integers or words"):
        frechet_per_class(x, y, np.zeros(6, int), np.zeros(6, int))
    with pytest.raises(ValueError, match="x_labels must be 6 integers or words"):
        frechet_per_class(x, y, np.zeros(6), np.zeros(5, int))


@pytest.mark.parametrize("measure", [frechet_estimate, frechet_corrected, frechet_infinity])
def test_an_error_without_the_bias_needs_two_rows_a_block(measure):
    with pytest.raises(ValueError, match="x must have at least 20 rows, got 19"):
        measure(np.zeros((19, 2)), np.zeros((50, 2)))


def test_points_at_one_place_have_no_error():
    x, y = np.zeros((50, 2)), np.ones((50, 2))
    assert frechet_interval(x, y) == Interval(2, 0, 2, 2)
    assert frechet_corrected(x, y) == Interval(2, 0, 2, 2)
    assert frechet_infinity(x, y).value == pytest.approx(2)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 300), (300, 60), (100, 100)])
def test_the_interval_is_the_same_for_gaussians_from_a_file_at_any_rank(tmp_path, n, m):
    """A file has the covariance alone, whose root is another than the sample's own where N <= D = 100."""
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((n, 100)), 1.1 * rng.standard_normal((m, 100))
    known = []
    for name, sample in (("x", x), ("y", y)):
        save_statistics(tmp_path / f"{name}.npz", gaussian(sample))
        known.append(load_statistics(tmp_path / f"{name}.npz").gaussian)
    own = frechet_interval(x, y)
    for given in ((known[0], known[1]), (known[0], None), (None, known[1])):
        found = frechet_interval(x, y, known=given)
        assert found.value == pytest.approx(own.value, rel=1e-6)
        assert found.stderr == pytest.approx(own.stderr, rel=1e-4)


def test_known_gaussians_are_used_and_not_made_again(monkeypatch):
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal((80, 3)), rng.standard_normal((80, 3)) + 1
    known = (gaussian(x), gaussian(y))
    plain = frechet_estimate(x, y)
    shifted = frechet_estimate(x, y, known=(known[0], gaussian(y + 5)))
    assert frechet_estimate(x, y, known=known) == plain
    assert shifted.value > plain.value + 50


def test_orthogonal_supports_and_impossible_variances():
    zero = np.zeros(2)
    assert frechet_from_moments(zero, np.diag([1.0, 0.0]), zero, np.diag([0.0, 1.0])) == pytest.approx(2)
    for cov in ([[0.0, 1.0], [1.0, 0.0]], [[1.0, 5.0], [5.0, 0.0]]):
        with pytest.raises(ValueError, match="no negative eigenvalue"):
            frechet_from_moments(zero, np.array(cov), zero, np.eye(2))
