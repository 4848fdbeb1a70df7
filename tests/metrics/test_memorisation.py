import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu, norm
from sklearn.datasets import load_digits

from pushforward.metrics import memorisation as module
from pushforward.metrics.memorisation import authenticity, c_t, mann_whitney, memorisation

SEEDS = range(8)


@pytest.fixture(scope="module")
def digits():
    return load_digits().data.astype(np.float32)  # 0 to 16


def split(digits, seed, sizes=(600, 600, 597)):
    order = np.random.default_rng(seed).permutation(len(digits))
    return tuple(digits[part].copy() for part in np.split(order, np.cumsum(sizes))[:3])


def with_copies(seed, train, fake, change):
    """1 % of the fakes replaced by copies, and the training rows they are copies of."""
    rng = np.random.default_rng([seed, 1])
    rows = rng.choice(len(train), round(0.01 * len(fake)), replace=False)
    fake[: len(rows)] = change(rng, train[rows])
    return rows


@pytest.mark.parametrize("sizes", [(600, 600, 597), (1000, 397, 400)])
@pytest.mark.parametrize(
    "change",
    [
        lambda _, x: x,
        lambda rng, x: x + 0.5 * rng.standard_normal(x.shape),  # 3 % of the range
        lambda _, x: 2 * np.round(x / 2),  # 9 levels of grey for 17
    ],
    ids=["exact", "noisy", "coarse"],
)
def test_a_generator_that_copies_1_percent_is_flagged_with_its_originals(digits, sizes, change):
    flagged = []
    for seed in SEEDS:
        train, held_out, fake = split(digits, seed, sizes)
        rows = with_copies(seed, train, fake, change)
        found = memorisation(fake, train, held_out)
        flagged.append(found.memorised)
        pairs = set(zip(found.flagged.tolist(), found.originals.tolist(), strict=True))
        assert len(pairs & set(enumerate(rows.tolist()))) >= len(rows) - 1
        assert found.copies.value == pytest.approx(len(pairs) / len(fake))
        assert found.copies.value < 0.03
    assert sum(flagged) >= len(SEEDS) - 1


@pytest.mark.parametrize("sizes", [(600, 600, 597), (1000, 397, 400), (300, 900, 597)])
def test_a_held_out_split_is_cleared(digits, sizes):
    alarms = 0
    for seed in SEEDS:
        train, held_out, fake = split(digits, seed, sizes)
        found = memorisation(fake, train, held_out)
        alarms += found.memorised
        assert found.copies.value <= 0.01
        assert found.nearer.value == pytest.approx(found.chance, abs=0.12)
    assert alarms <= 1


@pytest.mark.parametrize("kind", ["noise", "average", "collapse", "one class"])
def test_bad_generators_that_copy_nothing_are_cleared(digits, kind):
    alarms = 0
    for seed in SEEDS:
        rng = np.random.default_rng([seed, 2])
        train, held_out, fake = split(digits, seed)
        near = cdist(fake, fake).argsort(axis=1)
        if kind == "noise":
            fake = fake + 4 * rng.standard_normal(fake.shape)
        elif kind == "average":
            fake = fake[near[:, :5]].mean(axis=1)
        elif kind == "collapse":
            fake = np.repeat(fake[:20], 20, axis=0) + 0.3 * rng.standard_normal((400, 64))
        else:
            fake = fake[near[0, :80]]
        alarms += memorisation(fake, train, held_out).memorised
    assert alarms <= 1


def test_a_generator_that_repeats_everything_with_noise_leans_to_the_training_set(digits):
    train, held_out, _ = split(digits, 0)
    fake = train + 3 * np.random.default_rng(3).standard_normal(train.shape)
    found = memorisation(fake, train, held_out)
    assert found.memorised
    assert found.nearer.low > 0.9
    assert found.nearer_p == pytest.approx(1e-4, rel=1e-9)


def test_duplicates_of_the_datas_own_are_no_memorisation(digits):
    # Each image stands twice with probability 4 %: within a set, or across any two.
    alarms, repeats = 0, 0
    for seed in SEEDS:
        rng = np.random.default_rng([seed, 4])
        data = np.concatenate([digits, digits[rng.choice(len(digits), 70, replace=False)]])
        train, held_out, fake = split(data, seed, (700, 500, 667))
        repeats += (cdist(fake, train).min(axis=1) == 0).sum()
        alarms += memorisation(fake, train, held_out).memorised
    assert repeats > 10 * len(SEEDS)
    assert alarms <= 1


def test_what_stands_in_both_sets_is_nobodys_copy(digits):
    train, held_out, fake = split(digits, 5)
    held_out[:50] = train[:50]
    fake[:50] = train[:50]
    found = memorisation(fake, train, held_out)
    assert not set(range(50)) & set(found.flagged.tolist())
    assert not found.memorised


def test_the_probability_of_so_many_copies_is_that_of_all_orders_by_hand():
    fakes, real, copied, undercut = 4, 5, 3, 1
    hits = [
        len(set(order[: copied + undercut]) & set(range(fakes))) >= copied
        for order in itertools.combinations(range(fakes + real), copied + undercut)
    ]
    assert module._copies_p(copied, fakes, undercut, real) == pytest.approx(np.mean(hits), rel=1e-12)
    assert module._copies_p(0, fakes, undercut, real) == 1.0


def test_the_lean_has_the_mean_and_spread_of_all_relabellings_by_hand():
    rng = np.random.default_rng(6)
    pool = rng.integers(0, 4, size=(8, 2)).astype(float)
    pool[5] = pool[0]
    fake = rng.standard_normal((30, 2)) + 2
    d = cdist(fake, pool)
    nearest = d == d.min(axis=1, keepdims=True)
    shares = []
    for rows in itertools.combinations(range(8), 3):
        train = np.isin(np.arange(8), rows)
        shares.append(((nearest & train).sum(axis=1) / nearest.sum(axis=1)).mean())
        found = memorisation(fake, pool[train], pool[~train]).nearer
        assert found.value == pytest.approx(shares[-1], abs=1e-12)
    assert np.mean(shares) == pytest.approx(3 / 8, rel=1e-12)
    assert found.stderr == pytest.approx(np.std(shares), rel=1e-9)


def test_the_lean_covers_chance_in_95_of_100_held_out_splits_though_fakes_share_neighbours():
    rng = np.random.default_rng(7)
    covered = []
    for _ in range(150):
        x = rng.standard_normal((330, 3))
        fake = np.repeat(x[300:], 10, axis=0)  # thirty images, ten times each: Wilson's interval would cover 50
        found = memorisation(fake, x[:200], x[200:300])
        assert found.chance == pytest.approx(2 / 3)
        covered.append(found.nearer.low <= found.chance <= found.nearer.high)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_mann_whitneys_z_agrees_with_scipy_with_and_without_ties():
    rng = np.random.default_rng(8)
    for x, y in (
        (rng.standard_normal(40), rng.standard_normal(55) + 0.4),
        (rng.integers(5, size=40) * 1.0, rng.integers(6, size=30) * 1.0),
    ):
        p = mannwhitneyu(x, y, alternative="less", method="asymptotic", use_continuity=False).pvalue
        assert norm.cdf(mann_whitney(x, y)) == pytest.approx(p, rel=1e-9)
        assert mann_whitney(x, y) == pytest.approx(-mann_whitney(y, x), rel=1e-12)
    assert mann_whitney(np.zeros(3), np.zeros(4)) == 0.0


def test_c_t_is_the_average_over_cells_weighted_by_held_out_examples():
    rng = np.random.default_rng(9)
    blob = lambda n, at: rng.standard_normal((n, 2)) + at  # noqa: E731
    train = np.concatenate([blob(100, 0), blob(60, 50), blob(60, 100)])
    held_out = np.concatenate([blob(60, 0), blob(30, 50), blob(30, 100)])
    fake = np.concatenate([blob(50, 0), blob(70, 50), blob(20, 100)])  # 20 are not more than 20: left out
    real, own = (cdist(x, train).min(axis=1) for x in (held_out, fake))
    first, second = mann_whitney(own[:50], real[:60]), mann_whitney(own[50:120], real[60:90])
    found = c_t(fake, train, held_out, cells=3)
    assert found.value == pytest.approx((60 * first + 30 * second) / 90, rel=1e-9)
    assert found.stderr == pytest.approx(np.hypot(60, 30) / 90, rel=1e-12)
    assert c_t(fake, train, held_out, cells=1).value == pytest.approx(mann_whitney(own, real), rel=1e-9)
    assert c_t(fake[-20:], train, held_out) is None


def test_c_t_is_far_below_0_for_copies_above_0_for_noise_and_standard_at_fresh_examples(digits):
    fresh = []
    for seed in range(30):
        train, held_out, fake = split(digits, seed)
        score = c_t(fake, train, held_out, seed=seed)
        fresh.append(score.value / score.stderr)
    assert abs(np.mean(fresh)) < 3 / np.sqrt(30)
    assert 0.7 <= np.std(fresh) <= 1.35
    rng = np.random.default_rng(10)
    assert c_t(train + rng.standard_normal(train.shape), train, held_out).high < -4
    assert c_t(fake + 2 * rng.standard_normal(fake.shape), train, held_out).low > 4


def test_authenticity_agrees_with_every_distance_by_hand_and_tells_copies_from_noise(digits):
    train, _, fake = split(digits, 11)
    within = cdist(train, train)
    np.fill_diagonal(within, np.inf)
    d = cdist(fake, train)
    expected = (d.min(axis=1) > within.min(axis=1)[d.argmin(axis=1)]).mean()
    found = authenticity(fake, train)
    assert found.value == pytest.approx(expected, abs=2 / len(fake))
    assert found.low < expected < found.high
    assert authenticity(train, train).value == 0.0
    assert authenticity(fake + 50, train).value == 1.0


def test_fresh_examples_on_a_line_are_authentic_one_time_in_three():
    # The fake's distance is the smaller of two gaps, Exp(2); its neighbour's other gap, Exp(1), is smaller in a third.
    shares = [authenticity(*np.random.default_rng([12, i]).random((2, 1000, 1))).value for i in range(20)]
    assert np.mean(shares) == pytest.approx(1 / 3, abs=0.015)


def test_large_training_sets_are_calibrated_on_a_part_and_still_tell_copies(monkeypatch, digits):
    monkeypatch.setattr(module, "MOST", 300)
    train, held_out, fake = split(digits, 13, (900, 400, 497))
    assert not memorisation(fake, train, held_out).memorised
    with_copies(13, train, fake, lambda _, x: x)
    assert memorisation(fake, train, held_out).copies_p < 0.05
    assert c_t(fake, train, held_out) is not None


def test_types_budgets_and_global_state_do_not_matter(digits):
    train, held_out, fake = split(digits, 14, (300, 200, 250))
    with_copies(14, train, fake, lambda _, x: x)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = memorisation(fake, train, held_out)
    others = [
        memorisation(fake, train, held_out, budget=2**16),
        memorisation(*(torch.from_numpy(x).half() for x in (fake, train, held_out))),
        memorisation(*(x.astype(np.uint8) for x in (fake, train, held_out))),
        memorisation(fake + 1000, train + 1000, held_out + 1000),
    ]
    assert c_t(fake, train, held_out) == c_t(fake, train, held_out, budget=2**16)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_before, torch.get_rng_state())
    for other in others:
        assert (other.p_value, other.threshold, other.nearer) == (first.p_value, first.threshold, first.nearer)
        assert other.flagged.tolist() == first.flagged.tolist()


def test_sets_without_any_difference_are_cleared_and_held_out_data_that_was_trained_on_convicts_nobody():
    same = np.ones((30, 4))
    found = memorisation(same, same, same)
    assert (found.memorised, len(found.flagged), found.nearer.value) == (False, 0, 0.5)
    assert c_t(same, same, same).value == 0.0
    x = np.random.default_rng(15).standard_normal((300, 4))
    assert not memorisation(x[200:], x[:200], x[:200]).memorised


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f, t, h: memorisation(f[:0], t, h), "fake must have at least 1 rows, got 0"),
        (lambda f, t, h: memorisation(f, t[:1], h), "train must have at least 2 rows, got 1"),
        (lambda f, t, h: memorisation(f, t, h[:1]), "held_out must have at least 2 rows, got 1"),
        (lambda f, t, h: memorisation(f, t, h[:, :2]), "held_out and train must have as many features, got 2 and 3"),
        (lambda f, t, h: memorisation(f * np.nan, t, h), "fake must be finite.*first 0"),
        (lambda f, t, h: authenticity(f, t[:1]), "train must have at least 2 rows"),
        (lambda f, t, h: c_t(f, t, h, cells=0), "cells must be at least 1, got 0"),
    ],
)
def test_input_without_an_answer_is_refused(call, words):
    rng = np.random.default_rng(16)
    with pytest.raises(ValueError, match=words):
        call(*(rng.standard_normal((9, 3)) for _ in range(3)))
