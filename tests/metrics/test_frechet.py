import math

import numpy as np
import pytest
import torch

from pushforward.metrics.frechet import frechet_distance, frechet_from_moments, frechet_interval
from pushforward.metrics.moments import moments


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


def test_the_interval_needs_two_rows_a_block():
    with pytest.raises(ValueError, match="x must have at least 20 rows, got 19"):
        frechet_interval(np.zeros((19, 2)), np.zeros((50, 2)))
