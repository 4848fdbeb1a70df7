import itertools

import numpy as np
import pytest
import torch

from pushforward.metrics import kernel as module
from pushforward.metrics.kernel import between, kid, kid_subsets, within
from pushforward.objectives.mmd import Polynomial, mmd2


def cubes(x, y):
    return (x.astype(np.float64) @ y.astype(np.float64).T / x.shape[1] + 1) ** 3


def by_hand(x, y):
    xx, yy, n, m = cubes(x, x), cubes(y, y), len(x), len(y)
    own = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return own - 2 * cubes(x, y).mean()


@pytest.mark.parametrize("block", [5, 16, 1024])
@pytest.mark.parametrize(("n", "m", "d"), [(40, 23, 7), (4, 4, 1), (12, 48, 100)])
def test_it_is_the_mean_over_all_pairs_of_different_rows_whatever_the_blocks(monkeypatch, block, n, m, d):
    monkeypatch.setattr(module, "BLOCK", block)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, d)) + 0.3, 1.5 * rng.standard_normal((m, d))
    found, whole = kid(x, y), by_hand(x, y)
    assert found.value == pytest.approx(whole, rel=1e-11)
    assert found.low <= found.value <= found.high
    monkeypatch.setattr(module, "BLOCK", 2048)
    assert vars(found) == pytest.approx(vars(kid(x, y)), rel=1e-8)


def test_it_agrees_with_the_differentiable_form():
    rng = np.random.default_rng(1)
    x, y = torch.from_numpy(rng.standard_normal((60, 12))).requires_grad_(), torch.from_numpy(rng.random((35, 12)))
    assert kid(x, y).value == pytest.approx(mmd2(Polynomial(), x, y).item(), rel=1e-11)


def test_means_alone_in_one_dimension_give_the_difference_of_their_powers():
    # All rows alike: k is (ab + 1)³ whichever rows are paired.
    found = kid(np.full((5, 1), 2.0), np.full((7, 1), 1.0))
    assert found.value == pytest.approx(5**3 + 2**3 - 2 * 3**3, rel=1e-14)
    assert found.stderr == pytest.approx(0, abs=1e-9)


def test_constant_equal_features_give_0_with_certainty():
    found = kid(np.full((9, 3), 0.7), np.full((8, 3), 0.7))
    assert vars(found) == pytest.approx({"value": 0, "stderr": 0, "low": 0, "high": 0}, abs=1e-12)


def test_identical_sets_give_less_than_0_by_what_the_diagonal_has_over_the_other_pairs():
    x = np.random.default_rng(2).standard_normal((200, 50))
    k = cubes(x, x)
    others = (k.sum() - np.trace(k)) / (200 * 199)
    found = kid(x, x.copy())
    assert found.value == pytest.approx(-2 / 200 * (np.trace(k) / 200 - others), rel=1e-10)
    assert found.high < 0


def test_float32_agrees_with_float64_for_features_far_from_0():
    rng = np.random.default_rng(3)
    x, y = (np.maximum(rng.standard_normal((300, 256)) + s, 0).astype(np.float32) + 2 for s in (0.5, 0.55))
    assert kid(x, y).value == pytest.approx(by_hand(x, y), rel=1e-3)
    assert kid(x, y).stderr == pytest.approx(kid(x.astype(np.float64), y.astype(np.float64)).stderr, rel=1e-3)


@pytest.mark.parametrize("kind", [np.float16, np.float32, torch.float16, torch.bfloat16, np.int32, np.uint8])
def test_no_type_overflows(kind):
    rng = np.random.default_rng(4)
    x, y = (np.round(60 * rng.random((30, 64))) * 4 for _ in range(2))
    given = [torch.from_numpy(a).to(kind) if isinstance(kind, torch.dtype) else a.astype(kind) for a in (x, y)]
    assert kid(*given).value == pytest.approx(by_hand(x, y), rel=1e-2)


def test_the_largest_half_and_large_single_numbers_are_cubed():
    rng = np.random.default_rng(5)
    for largest, kind in ((65504, np.float16), (1e20, np.float32)):
        x, y = ((largest * rng.random((20, 8))).astype(kind) for _ in range(2))
        assert kid(x, y).value == pytest.approx(by_hand(x, y), rel=1e-9)


def test_the_effects_and_what_pairs_have_beyond_them_are_the_least_squares_fit():
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((11, 3)), rng.standard_normal((7, 3))
    pairs = list(itertools.combinations(range(11), 2))
    design = np.zeros((len(pairs), 12))
    design[:, 11] = 1
    for row, (i, j) in enumerate(pairs):
        design[row, [i, j]] = 1
    k = np.array([cubes(x, x)[i, j] for i, j in pairs])
    left = k - design @ np.linalg.lstsq(design, k, rcond=None)[0]
    own = within(torch.from_numpy(x), 0.5)
    assert own.rest == pytest.approx(left @ left / (len(pairs) - 11), rel=1e-9)
    assert own.mean + 0.5 == pytest.approx(k.mean(), rel=1e-12)
    assert own.diagonal + 0.5 == pytest.approx(np.trace(cubes(x, x)) / 11, rel=1e-12)
    np.testing.assert_allclose(own.mean + 0.5 + np.array([own.effects[i] + own.effects[j] for i, j in pairs]), k - left)
    both, cross = between(torch.from_numpy(x), torch.from_numpy(y), 0.5), cubes(x, y)
    rest = cross - cross.mean(0) - cross.mean(1)[:, None] + cross.mean()
    assert both.rest == pytest.approx((rest**2).sum() / 60, rel=1e-9)
    np.testing.assert_allclose(both.rows, cross.mean(1) - cross.mean(), rtol=1e-9)
    np.testing.assert_allclose(both.columns, cross.mean(0) - cross.mean(), rtol=1e-9)


@pytest.mark.parametrize(("d", "shift"), [(1, 0.0), (20, 0.0), (20, 0.15), (20, 1.0)])
def test_the_interval_covers_the_laws_own_value_about_95_times_of_100_at_0_too(d, shift):
    rng = np.random.default_rng(7)
    found = [kid(rng.standard_normal((150, d)), rng.standard_normal((200, d)) + shift) for _ in range(300)]
    # E k of N(a, I) and N(b, I): with s = a·b and v = D + |a|² + |b|², 1 + 3s/D + 3(s² + v)/D² + (s³ + 3sv + 6s)/D³.
    v, s = d + 2 * d * shift**2, d * shift**2
    equal, other = 1 + 3 / d, 1 + 3 * (d + s) / d**2
    shifted = 1 + 3 * s / d + 3 * (s * s + v) / d**2 + (s**3 + 3 * s * v + 6 * s) / d**3
    truth = equal + shifted - 2 * other
    values = np.array([i.value for i in found])
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(300)
    assert 0.9 <= np.mean([i.low <= truth <= i.high for i in found]) <= 0.98
    assert 0.85 <= np.mean([i.stderr for i in found]) / values.std() <= 1.3


def test_the_standard_error_is_not_the_first_order_one_which_counts_noise_twice():
    rng = np.random.default_rng(8)
    found = [kid(rng.standard_normal((100, 200)), rng.standard_normal((100, 200))) for _ in range(100)]
    spread = np.std([i.value for i in found])
    assert np.mean([i.stderr for i in found]) == pytest.approx(spread, rel=0.15)


def test_subsets_are_the_literatures_mean_and_spread_of_one_subset():
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal((300, 16)).astype(np.float32), rng.standard_normal((280, 16)).astype(np.float32) + 0.2
    found, whole = kid_subsets(x, y, subsets=60, size=50), kid(x, y)
    assert (found.subsets, found.size) == (60, 50)
    assert found.mean == pytest.approx(whole.value, abs=3 * found.spread / np.sqrt(60))
    assert 1.5 * whole.stderr < found.spread < 8 * whole.stderr
    assert found == kid_subsets(x, y, subsets=60, size=50)
    assert found != kid_subsets(x, y, subsets=60, size=50, seed=1)


def test_subsets_of_all_rows_have_no_spread_and_the_whole_samples_value():
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 4))
    found = kid_subsets(x, y, subsets=3, size=30)
    assert found.mean == pytest.approx(kid(x, y).value, rel=1e-10)
    assert found.spread == pytest.approx(0, abs=1e-12)


def test_inputs_may_be_read_only_or_reversed_and_nothing_global_changes():
    x = np.random.default_rng(11).standard_normal((20, 3)).astype(np.float32)
    x.flags.writeable = False
    kept, torch_state, numpy_state = x.copy(), torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert kid(x, x[::-1][:15]).value == pytest.approx(by_hand(x, x[::-1][:15]), rel=1e-4, abs=1e-5)
    kid_subsets(x, x, subsets=2, size=4)
    np.testing.assert_array_equal(x, kept)
    assert torch.equal(torch_state, torch.random.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: kid(np.full((5, 2), np.nan), np.zeros((5, 2))), "x must be finite, got NaN or inf in 5 of 5 rows"),
        (lambda: kid(np.zeros((5, 2)), np.zeros((3, 2))), "y must have at least 4 rows, got 3"),
        (lambda: kid(np.zeros((5, 2)), np.zeros((5, 3))), "as many features, got 2 and 3"),
        (lambda: kid(np.full((5, 2), 1e60), np.zeros((5, 2))), "at most 1e25 to be cubed, got 1e[+]60"),
        (lambda: kid_subsets(np.zeros((9, 2)), np.zeros((5, 2)), size=6), "size=5 and say so"),
        (lambda: kid_subsets(np.zeros((9, 2)), np.zeros((9, 2)), subsets=1, size=6), "at least 2"),
    ],
)
def test_input_without_a_value_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
