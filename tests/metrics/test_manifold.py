import numpy as np
import pytest
import torch

from pushforward.metrics import manifold as module
from pushforward.metrics import neighbours
from pushforward.metrics.manifold import compare, manifold, precision_recall, precision_recall_density_coverage

NAMES = ("precision", "recall", "density", "coverage")


def four(fake, real, **options):
    found = precision_recall_density_coverage(fake, real, **options)
    return tuple(getattr(found, name).value for name in NAMES)


def by_hand(fake, real, k=3, k_density=5):
    f, r = fake.astype(np.float64), real.astype(np.float64)

    def squares(x, y):
        return np.stack([((row - y) ** 2).sum(1) for row in x])

    def balls(x, k):
        d = squares(x, x)
        np.fill_diagonal(d, np.inf)
        return np.sort(d, axis=1)[:, k - 1]

    d = squares(r, f)
    held = d <= balls(r, k_density)[:, None]
    precision, recall = (d <= balls(r, k)[:, None]).any(0).mean(), (d <= balls(f, k)).any(1).mean()
    return precision, recall, held.sum() / (k_density * len(f)), held.any(1).mean()


def samples(kind, rng, n=140, m=200, d=6):
    fake, real = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    match kind:
        case "moved":
            return 0.9 * fake + 0.3, real
        case "duplicates":  # within each sample and between them
            return np.concatenate([real[:70], real[:70]]), np.concatenate([real[:120], real[:80]])
        case "ties":
            return rng.integers(0, 3, (n, d)).astype(np.float64), rng.integers(0, 3, (m, d)).astype(np.float64)
        case "tight":  # closer together than float32's products can tell, beside some far away
            return np.concatenate([1e-4 * fake[:120], fake[120:]]), np.concatenate([1e-4 * real[:150], real[150:]])
        case "collapsed":
            return np.repeat(real[:1], n, axis=0), real
        case _:
            return np.zeros((n, d)), np.zeros((m, d))


@pytest.mark.parametrize("kind", ["moved", "duplicates", "ties", "tight", "collapsed", "constant"])
@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_four_are_those_of_every_distance_by_hand(kind, offset, dtype):
    fake, real = ((x + offset).astype(dtype) for x in samples(kind, np.random.default_rng(0)))
    assert four(fake, real) == pytest.approx(by_hand(fake, real), abs=1e-12)


def test_float32_decides_as_float64_by_hand_on_a_thousand_points():
    rng = np.random.default_rng(1)
    fake, real = (
        1e3 + x.astype(np.float32) for x in (0.97 * rng.standard_normal((1000, 100)), rng.standard_normal((1000, 100)))
    )
    real[500:520], fake[:10] = real[:20], real[:10]
    assert four(fake, real) == pytest.approx(by_hand(fake, real), abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_alone_are_the_same_numbers(k):
    fake, real = samples("moved", np.random.default_rng(k))
    found = precision_recall(fake, real, k)
    assert (found.precision, found.recall) == pytest.approx(by_hand(fake, real, k)[:2], abs=1e-12)
    assert four(fake, real, k=k, k_density=k) == pytest.approx(by_hand(fake, real, k, k), abs=1e-12)
    apart = compare(manifold(fake, k), manifold(real, k))  # each about its own centre
    assert (apart.precision, apart.recall) == (found.precision, found.recall)


@pytest.mark.parametrize("kind", ["moved", "ties", "tight"])
def test_block_sizes_change_no_value(monkeypatch, kind):
    fake, real = (x.astype(np.float32) for x in samples(kind, np.random.default_rng(2)))
    whole = precision_recall_density_coverage(fake, real)
    small = precision_recall_density_coverage(fake, real, budget=1)
    monkeypatch.setattr(neighbours, "LARGEST", 33)
    monkeypatch.setattr(module, "STRIP", 100)
    for other in (small, precision_recall_density_coverage(fake, real)):
        for name in NAMES:
            found, expected = getattr(other, name), getattr(whole, name)
            assert found.value == expected.value
            # Of neighbours at one distance, which ones are listed is rounding's choice.
            assert found.stderr == pytest.approx(expected.stderr, rel=1e-12 if kind == "moved" else 0.1)


def modes(rng, which, spread=1.0, n=400, k=10):
    """n points around the modes named, of which there may be more than the reals' `k`."""
    centres = 10 * np.arange(2 * k)[:, None] * np.ones(4)
    return centres[np.resize(np.asarray(which), n)] + spread * rng.standard_normal((n, 4))


def test_dropped_modes_lower_recall_and_coverage_and_not_precision():
    rng = np.random.default_rng(3)
    real, good, dropped = modes(rng, range(10)), modes(rng, range(10)), modes(rng, range(5))
    best, few = four(good, real), four(dropped, real)
    assert few[0] == pytest.approx(best[0], abs=0.1)
    assert few[1] == pytest.approx(best[1] / 2, abs=0.1)
    assert few[2] == pytest.approx(1, abs=0.15)
    assert few[3] == pytest.approx(0.5, abs=0.05)


def test_invented_modes_lower_precision_and_density_and_not_recall():
    rng = np.random.default_rng(4)
    real, good, invented = modes(rng, range(10)), modes(rng, range(10)), modes(rng, range(20), n=800)
    best, more = four(good, real), four(invented, real)
    assert more[0] == pytest.approx(best[0] / 2, abs=0.05)
    assert more[1] == pytest.approx(best[1], abs=0.05)
    assert more[2] == pytest.approx(best[2] / 2, abs=0.07)
    assert more[3] == pytest.approx(best[3], abs=0.05)


def test_noise_lowers_precision_density_and_coverage():
    rng = np.random.default_rng(5)
    real, rough = modes(rng, range(10)), modes(rng, range(10), spread=2.5)
    best, found = four(modes(rng, range(10)), real), four(rough, real)
    assert found[0] < best[0] - 0.3
    assert found[2] < best[2] - 0.5
    assert found[3] < best[3] - 0.2


def test_one_outlier_among_the_reals_raises_precision_and_not_density():
    # The estimate that precision was blamed for: an outlier's ball is as wide as the gap to its neighbours.
    rng = np.random.default_rng(6)
    real = np.concatenate([rng.standard_normal((200, 4)), np.full((1, 4), 30.0)])
    fake = np.full((200, 4), 15.0) + rng.standard_normal((200, 4))
    precision, _, density, coverage = four(fake, real)
    assert precision == 1
    assert density == pytest.approx(0.2)
    assert coverage == pytest.approx(1 / 201)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
@pytest.mark.parametrize("copies", [1, 2, 8])
def test_identical_sets_give_1_with_duplicates_and_far_from_0(dtype, offset, copies):
    x = np.random.default_rng(1).standard_normal((200, 50))
    x = (np.repeat(x, copies, axis=0) + offset).astype(dtype)
    precision, recall, density, coverage = four(x[::-1].copy(), x)
    assert (precision, recall, coverage) == (1.0, 1.0, 1.0)
    assert density >= 1.2  # k others and the point itself, or its duplicates


def test_sets_far_apart_give_0_and_intervals_that_start_there():
    x = np.random.default_rng(2).standard_normal((50, 3))
    found = precision_recall_density_coverage(x + 100, x)
    for name in NAMES:
        interval = getattr(found, name)
        assert (interval.value, interval.low) == (0.0, 0.0)
        assert 0 < interval.high < 0.1


def test_half_precision_tensors_are_widened():
    rng = np.random.default_rng(7)
    fake, real = (torch.from_numpy(x).half() for x in samples("moved", rng))
    assert four(fake, real) == pytest.approx(by_hand(fake.float().numpy(), real.float().numpy()), abs=1e-12)


def test_halves_counted_by_bits_are_the_halves_own_shares():
    rng = np.random.default_rng(8)
    fake, real = 0.9 * rng.standard_normal((120, 3)), rng.standard_normal((151, 3))
    f_halves, r_halves = module._halves(120, "fake", 0), module._halves(151, "real", 0)
    fakes, reals = manifold(fake, 3, width=35), manifold(real, 5, width=35)
    in_real = module._Tally(reals, 120, (3, 5), (r_halves, f_halves))
    in_fake = module._Tally(fakes, 151, (3, 3), (f_halves, r_halves))
    module._count(in_fake, in_real, fakes, reals, 2**20)
    f_bits, r_bits = module._bits(f_halves).astype(bool), module._bits(r_halves).astype(bool)
    assert (f_bits.sum(0) == 60).all()
    assert (r_bits.sum(0) == 75).all()
    inside, met = module._bits(in_real.inside_words), module._bits(in_real.met_words)
    recalled = module._bits(in_fake.inside_words)
    for p in (0, 31, 63):
        for half in (False, True):
            f, r = f_bits[:, p] == half, r_bits[:, p] == half
            held = in_real.half_held[int(half), p] / (5 * f.sum())
            found = inside[f, p].mean(), recalled[r, p].mean(), held, met[r, p].mean()
            assert found == pytest.approx(by_hand(fake[f], real[r]), abs=1e-12)


def test_standard_errors_are_the_spread_of_repetitions():
    rng = np.random.default_rng(9)
    runs = [
        precision_recall_density_coverage(rng.standard_normal((200, 8)) + 0.3, rng.standard_normal((200, 8)), seed=i)
        for i in range(50)
    ]
    for name in NAMES:
        values, errors = np.array([(getattr(r, name).value, getattr(r, name).stderr) for r in runs]).T
        assert errors.mean() / values.std(ddof=1) == pytest.approx(1, abs=0.3)
        assert errors.std() < 0.5 * errors.mean()


def test_intervals_depend_on_the_seed_alone_and_leave_global_generators_alone():
    fake, real = samples("moved", np.random.default_rng(10))
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (precision_recall_density_coverage(fake, real, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.precision.value == other.precision.value
    assert first.precision.stderr != other.precision.stderr
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


@pytest.mark.parametrize("size", [0, 1, 63, 64, 1000])
def test_bits_are_counted_as_if_unpacked(size):
    words = np.random.default_rng(size).integers(0, 2**64, size, np.uint64)
    np.testing.assert_array_equal(module._bit_counts(words), module._bits(words).sum(0, dtype=np.int64))


@pytest.mark.parametrize("width", [1, 2, 5, 8, 35])
def test_ranks_are_counts_of_smaller_numbers(width):
    rng = np.random.default_rng(width)
    table, rows = np.sort(rng.integers(0, 9, (20, width)).astype(np.float64), axis=1), rng.integers(20, size=300)
    values = rng.integers(-1, 11, 300).astype(np.float64)
    np.testing.assert_array_equal(module._ranks(table, rows, values), (table[rows] < values[:, None]).sum(1))


@pytest.mark.parametrize(
    ("fake", "real", "k", "words"),
    [
        (np.zeros((3, 2)), np.zeros((9, 2)), 3, "fake must have more than k = 3 rows, got 3"),
        (np.zeros((9, 2)), np.zeros((3, 2)), 3, "real must have more than k = 3 rows, got 3"),
        (
            np.full((9, 2), np.nan),
            np.zeros((9, 2)),
            3,
            r"fake must be finite, got NaN or inf in 9 of 9 rows \(first 0\)",
        ),
        (np.zeros((9, 2)), np.full((9, 2), np.inf), 3, "real must be finite"),
        (np.zeros((9, 2)), np.zeros((9, 3)), 3, "as many features, got 2 and 3"),
        (np.zeros((9, 2)), np.zeros((9, 2)), 0, "k must be at least 1, got 0"),
    ],
)
def test_input_without_a_manifold_is_refused(fake, real, k, words):
    with pytest.raises(ValueError, match=words):
        precision_recall(fake, real, k)


@pytest.mark.parametrize(
    ("fake", "real", "options", "words"),
    [
        (np.zeros((7, 2)), np.zeros((12, 2)), {}, r"fake must have at least 2 k \+ 2 = 8 rows, .* got 7"),
        (np.zeros((9, 2)), np.zeros((11, 2)), {}, r"real must have at least 2 k \+ 2 = 12 rows, .* got 11"),
        (np.zeros((9, 2)), np.zeros((12, 2)), {"k_density": 0}, "k_density must be at least 1, got 0"),
        (np.zeros((9, 2)), np.zeros((12, 2)), {"k": 0}, "k must be at least 1, got 0"),
        (np.array([[0.0]] * 7 + [[np.nan]]), np.zeros((12, 1)), {}, r"fake must be finite, .* 1 of 8 rows \(first 7\)"),
    ],
)
def test_samples_too_small_to_be_halved_are_refused(fake, real, options, words):
    with pytest.raises(ValueError, match=words):
        precision_recall_density_coverage(fake, real, **options)
