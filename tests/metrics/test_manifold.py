import numpy as np
import pytest
import torch

from pushforward.metrics import manifold as module
from pushforward.metrics.manifold import compare, manifold, precision_recall


def by_hand(fake, real, k):
    def balls(x):
        d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
        np.fill_diagonal(d, np.inf)
        return np.sort(d, axis=1)[:, k - 1]

    d = np.sqrt(((real[:, None] - fake[None]) ** 2).sum(-1))
    return (d <= balls(real)[:, None]).any(0).mean(), (d <= balls(fake)[None]).any(1).mean()


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("block", [7, 64, 2048])
def test_blocks_agree_with_every_distance_by_hand(monkeypatch, k, block):
    monkeypatch.setattr(module, "BLOCK", block)
    rng = np.random.default_rng(k)
    fake, real = 1.4 * rng.standard_normal((90, 3)) + 0.5, rng.standard_normal((130, 3))
    found = precision_recall(fake, real, k)
    assert (found.precision, found.recall) == pytest.approx(by_hand(fake, real, k), abs=1e-12)


def test_recall_falls_under_mode_collapse_and_precision_under_noise():
    rng = np.random.default_rng(0)
    centres = 10 * np.arange(10)[:, None] * np.ones(4)
    real = np.repeat(centres, 40, axis=0) + rng.standard_normal((400, 4))
    collapsed = centres[rng.integers(2, size=400)] + rng.standard_normal((400, 4))
    noisy = real[rng.permutation(400)].copy()
    noisy[::2] += 30 * rng.standard_normal((200, 4))
    perfect = np.repeat(centres, 40, axis=0) + rng.standard_normal((400, 4))
    at_best, few, rough = (precision_recall(f, real) for f in (perfect, collapsed, noisy))
    assert at_best.precision > 0.7
    assert at_best.recall > 0.7
    assert few.precision == pytest.approx(at_best.precision, abs=0.1)
    assert 0.1 <= few.recall <= 0.25
    assert 0.4 <= rough.precision <= 0.65
    assert rough.recall > 0.8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("copies", [1, 2, 5])
def test_identical_sets_give_1_with_duplicates_and_far_from_0(dtype, offset, copies):
    x = np.random.default_rng(1).standard_normal((200, 50))
    x = (np.repeat(x, copies, axis=0) + offset).astype(dtype)
    found = precision_recall(x[::-1].copy(), x)
    assert (found.precision, found.recall) == (1.0, 1.0)


def test_sets_far_apart_give_0():
    x = np.random.default_rng(2).standard_normal((50, 3))
    found = precision_recall(x + 100, x)
    assert (found.precision, found.recall) == (0.0, 0.0)


def test_float32_agrees_with_float64():
    rng = np.random.default_rng(3)
    fake, real = rng.standard_normal((300, 64)) + 0.1, rng.standard_normal((300, 64))
    exact, rounded = (
        precision_recall(fake, real),
        precision_recall(fake.astype(np.float32), torch.from_numpy(real).float()),
    )
    assert (rounded.precision, rounded.recall) == pytest.approx((exact.precision, exact.recall), abs=1 / 300)


def test_two_manifolds_need_one_centre():
    x, y = np.eye(5), 2 * np.eye(5) + 1
    with pytest.raises(ValueError, match="one centre"):
        compare(manifold(x), manifold(y))


@pytest.mark.parametrize(
    ("fake", "real", "k", "words"),
    [
        (np.zeros((3, 2)), np.zeros((9, 2)), 3, "fake must have more than k = 3 rows, got 3"),
        (np.zeros((9, 2)), np.zeros((3, 2)), 3, "real must have more than k = 3 rows, got 3"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), 3, "fake must be finite"),
        (np.zeros((9, 2)), np.full((9, 2), np.inf), 3, "real must be finite"),
        (np.zeros((9, 2)), np.zeros((9, 3)), 3, "as many features, got 2 and 3"),
        (np.zeros((9, 2)), np.zeros((9, 2)), 0, "k must be at least 1, got 0"),
    ],
)
def test_input_without_a_manifold_is_refused(fake, real, k, words):
    with pytest.raises(ValueError, match=words):
        precision_recall(fake, real, k)
