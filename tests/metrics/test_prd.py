import numpy as np
import pytest
import torch

from pushforward.metrics.prd import prd, prd_from_histograms


def f_score(precision, recall, beta):
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def test_a_law_against_itself_reaches_1_and_1():
    law = [0.1, 0.2, 0.7]
    curve = prd_from_histograms(law, law, angles=999)  # the 500th angle is 45°
    np.testing.assert_allclose(curve.points[499], [1, 1], atol=1e-12)
    theta = np.arange(1, 1000) * np.pi / 2000
    np.testing.assert_allclose(curve.points[:, 1], np.minimum(np.tan(theta), 1), atol=1e-12)
    np.testing.assert_allclose(curve.points[:, 0], np.minimum(1 / np.tan(theta), 1), atol=1e-12)
    assert (curve.f8, curve.f1_8) == pytest.approx((1, 1), abs=1e-12)


def test_laws_without_a_common_state_score_0():
    curve = prd_from_histograms([1, 0, 0], [0, 2, 3])
    assert not curve.points.any()
    assert (curve.f8, curve.f1_8) == (0, 0)


def test_half_of_the_modes_is_all_precision_at_half_of_the_recall():
    # min(λ/4, 1/2) twice: precision min(λ/2, 1), recall min(1/2, 1/λ).
    dropped = prd_from_histograms([1, 1, 0, 0], [1, 1, 1, 1], angles=3)
    slopes = np.tan([np.pi / 8, np.pi / 4, 3 * np.pi / 8])
    np.testing.assert_allclose(dropped.points[:, 1], np.minimum(slopes / 2, 1), atol=1e-12)
    np.testing.assert_allclose(dropped.points[:, 0], np.minimum(0.5, 1 / slopes), atol=1e-12)
    assert dropped.f8 == pytest.approx(f_score(1, 0.5, 8), abs=1e-12)
    assert dropped.f1_8 == pytest.approx(f_score(1, 0.5, 1 / 8), abs=1e-12)


def test_exchanging_the_laws_exchanges_precision_and_recall():
    rng = np.random.default_rng(0)
    p, q = rng.random(7), rng.random(7)
    one, other = prd_from_histograms(p, q), prd_from_histograms(q, p)
    np.testing.assert_allclose(one.points, other.points[::-1, ::-1], atol=1e-12)
    assert one.f8 == pytest.approx(other.f1_8, abs=1e-12)


def test_f_scores_are_the_largest_over_a_curve_of_many_angles():
    rng = np.random.default_rng(1)
    curve = prd_from_histograms(rng.integers(0, 9, 12), rng.integers(0, 9, 12) + 1, angles=100_000)
    recall, precision = curve.points.T
    for found, beta in ((curve.f8, 8), (curve.f1_8, 1 / 8)):
        on_grid = f_score(precision, recall, beta).max()
        assert on_grid <= found + 1e-12
        assert found == pytest.approx(on_grid, abs=1e-4)


def test_points_are_the_definitions_at_every_angle_and_the_curve_only_falls():
    rng = np.random.default_rng(2)
    q, p = rng.integers(0, 5, 9) + 0.0, rng.integers(0, 5, 9) + 0.0
    curve = prd_from_histograms(q, p, angles=20)
    for i, (recall, precision) in enumerate(curve.points, start=1):
        slope = np.tan(i / 21 * np.pi / 2)
        assert precision == pytest.approx(np.minimum(slope * p / p.sum(), q / q.sum()).sum(), abs=1e-12)
        assert recall == pytest.approx(np.minimum(p / p.sum(), q / q.sum() / slope).sum(), abs=1e-12)
    assert (np.diff(curve.points[:, 0]) <= 1e-12).all()
    assert (np.diff(curve.points[:, 1]) >= -1e-12).all()


def blobs(rng, modes, n=400):
    return 20 * np.eye(10)[np.resize(modes, n)] + 0.1 * rng.standard_normal((n, 10))


def test_of_samples_dropped_modes_lower_f8_and_invented_ones_f1_8():
    rng = np.random.default_rng(3)
    real = blobs(rng, range(6))
    dropped = prd(blobs(rng, range(3)), real, clusters=8, runs=2)
    invented = prd(blobs(rng, range(9), n=600), real, clusters=9, runs=2)
    assert dropped.f8 == pytest.approx(f_score(1, 0.5, 8), abs=0.05)
    assert dropped.f1_8 == pytest.approx(f_score(1, 0.5, 1 / 8), abs=0.05)
    assert invented.f8 == pytest.approx(f_score(2 / 3, 1, 8), abs=0.05)
    assert invented.f1_8 == pytest.approx(f_score(2 / 3, 1, 1 / 8), abs=0.05)


@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_identical_samples_score_1(dtype, offset):
    x = (torch.randn(120, 5, generator=torch.Generator().manual_seed(0)) + offset).to(dtype)
    curve = prd(x, x.clone(), runs=2)
    assert (curve.f8, curve.f1_8) == pytest.approx((1, 1), abs=1e-12)
    assert curve.points.shape == (1001, 2)


def test_constant_samples_have_one_cluster_and_score_1():
    x = np.ones((40, 3))
    assert prd(x, x, runs=1).f8 == pytest.approx(1, abs=1e-12)
    assert prd(x + 1, x, clusters=2, runs=1).f8 == 0


def test_a_seed_fixes_the_curve_and_global_generators_and_the_input_stay():
    rng = np.random.default_rng(4)
    fake, real = rng.standard_normal((150, 3)), rng.standard_normal((200, 3))
    kept, state = real.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = (prd(fake, real, runs=2, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.points, again.points)
    assert np.abs(one.points - other.points).max() > 0
    np.testing.assert_array_equal(real, kept)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ("fake", "real", "options", "words"),
    [
        (np.zeros((9, 2)), np.zeros((30, 2)), {}, "fake must have at least 20 rows, got 9"),
        (np.zeros((30, 2)), np.zeros((30, 3)), {}, "as many features, got 2 and 3"),
        (np.zeros((30, 2)), np.full((30, 2), np.nan), {}, "real must be finite"),
        (np.zeros((30, 2)), np.zeros((30, 2)), {"runs": 0}, "at least 1, got 20 and 0"),
        (np.zeros((30, 2)), np.zeros((30, 2)), {"angles": 1}, "angles must be at least 2, got 1"),
    ],
)
def test_samples_without_a_curve_are_refused(fake, real, options, words):
    with pytest.raises(ValueError, match=words):
        prd(fake, real, **options)


@pytest.mark.parametrize(
    ("fake", "real", "words"),
    [
        ([1, -1], [1, 1], "fake must have weights >= 0"),
        ([1, 1], [0, 0], "real must have weights >= 0, not all 0"),
        ([1, 1], [1, 1, 1], "as many states, got 2 and 3"),
        ([1, np.nan], [1, 1], "fake must be finite"),
    ],
)
def test_what_is_no_law_is_refused(fake, real, words):
    with pytest.raises(ValueError, match=words):
        prd_from_histograms(np.asarray(fake), np.asarray(real))
