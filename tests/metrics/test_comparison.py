import numpy as np
import pytest

from pushforward.metrics.comparison import kid_difference, paired_bootstrap, paired_difference
from pushforward.metrics.frechet import frechet_between, frechet_distance
from pushforward.metrics.kernel import kid
from pushforward.metrics.manifold import precision_recall
from pushforward.metrics.moments import gaussian


def of_means(fake, real):
    return float(fake.mean() - real.mean())


def three(seed, n=200, d=3, shift_a=0.0, shift_b=0.0):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal((n, d)) + shift for shift in (shift_a, shift_b, 0.0))


METHODS = {
    "jackknife": lambda *rows: paired_difference(frechet_distance, *rows),
    "corrected": lambda *rows: paired_difference(frechet_distance, *rows, corrected=True),
    "bootstrap": lambda *rows: paired_bootstrap(frechet_distance, *rows, resamples=40),
    "recall": lambda *rows: paired_difference(lambda fake, real: -precision_recall(fake, real).recall, *rows),
    "kid": kid_difference,
}


@pytest.mark.parametrize("name", METHODS)
def test_the_nearer_is_found_whichever_side_it_stands_on(name):
    far = {"shift_b": 1.2}
    a, b, real = three(0, **far)
    found, swapped = METHODS[name](a, b, real), METHODS[name](b, a, real)
    assert (found.better, swapped.better) == ("A", "B")
    assert found.difference.high < 0 < swapped.difference.low
    assert swapped.difference.value == pytest.approx(-found.difference.value, rel=1e-9)
    assert 0.95 < found.confidence <= 1


@pytest.mark.parametrize("name", METHODS)
def test_a_sample_against_itself_is_no_better_and_nothing_is_sure(name):
    a, _, real = three(1, shift_a=0.4)
    found = METHODS[name](a, a.copy(), real)
    assert found.difference.value == pytest.approx(0, abs=1e-9)
    assert found.better is None
    assert found.confidence == pytest.approx(0, abs=1e-6)


def test_the_jackknife_of_means_is_the_paired_t_interval():
    rng = np.random.default_rng(2)
    a = rng.standard_normal((40, 1))
    b, real = a + 0.3 + 0.1 * rng.standard_normal((40, 1)), 5 * rng.standard_normal((60, 1))
    found = paired_difference(of_means, a, b, real, blocks=20)
    per_block = (a - b)[:, 0].reshape(2, 20).mean(0)
    assert found.difference.value == pytest.approx(per_block.mean(), rel=1e-12)
    # What the wide REAL and the shared rows add to both distances is gone.
    assert found.difference.stderr == pytest.approx(per_block.std(ddof=1) / np.sqrt(20), rel=1e-9)
    assert found.better == "A"


def test_the_bootstrap_of_means_has_the_same_error():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((60, 1))
    b, real = a + 0.1 * rng.standard_normal((60, 1)), 5 * rng.standard_normal((60, 1))
    found = paired_bootstrap(of_means, a, b, real, resamples=400)
    assert found.difference.stderr == pytest.approx((a - b).std() / np.sqrt(60), rel=0.12)


def test_correction_removes_the_bias_that_one_of_the_two_has_alone():
    # A wide law's plug-in distance is biased more than a narrow one's: tr Σ/N of the mean alone.
    rng, bias = np.random.default_rng(4), (9 - 1) * 10 / 30

    def squared_means(fake, real):
        return float(((fake.mean(0) - real.mean(0)) ** 2).sum())

    raw, corrected, resampled = [], [], []
    for _ in range(150):
        rows = (3 * rng.standard_normal((30, 10)), rng.standard_normal((30, 10)), rng.standard_normal((30, 10)))
        raw.append(paired_difference(squared_means, *rows, blocks=15).difference.value)
        corrected.append(paired_difference(squared_means, *rows, blocks=15, corrected=True).difference.value)
        resampled.append(paired_bootstrap(squared_means, *rows, resamples=20).difference.value)
    assert np.mean(raw) == pytest.approx(bias, rel=0.15)
    assert abs(np.mean(corrected)) < 0.15 * bias
    assert abs(np.mean(resampled)) < 0.15 * bias


def test_preparing_each_sample_once_changes_nothing_and_saves_a_third():
    calls = []

    def prepare(rows):
        calls.append(len(rows))
        return gaussian(rows)

    rows = three(5, n=80, shift_b=0.3)
    found = paired_difference(frechet_between, *rows, blocks=8, prepare=prepare)
    plain = paired_difference(frechet_distance, *rows, blocks=8)
    assert found.difference.value == pytest.approx(plain.difference.value, rel=1e-9)
    assert found.difference.stderr == pytest.approx(plain.difference.stderr, rel=1e-9)
    assert calls == [80] * 3 + [70] * 24


def test_the_closed_form_is_the_difference_of_two_kids_without_the_reals_own_kernel():
    rng = np.random.default_rng(6)
    a, b, real = (rng.standard_normal((n, 5)) + s for n, s in ((50, 0.2), (33, 0.5), (41, 0.0)))
    found = kid_difference(a, b, real).difference
    assert found.value == pytest.approx(kid(a, real).value - kid(b, real).value, rel=1e-9)


@pytest.mark.parametrize("method", [paired_difference, paired_bootstrap])
def test_the_reals_own_error_counts_where_the_two_lie_on_either_side_of_them(method):
    real = np.random.default_rng(9).standard_normal((80, 1))
    a, b = np.full((80, 1), 1.0), np.full((80, 1), -1.0)
    found = method(lambda fake, real: float((fake.mean() - real.mean()) ** 2), a, b, real)
    # (1 − r)² − (1 + r)² = −4 r
    assert found.difference.stderr == pytest.approx(4 * real.std() / np.sqrt(80), rel=0.25)


def test_the_closed_forms_error_has_the_reals_part_and_no_noise_twice():
    rng = np.random.default_rng(10)
    for d, n, m, shift in ((3, 200, 40, 1.0), (100, 60, 60, 0.0)):
        sizes = ((n, shift), (n, -shift), (m, 0.0))
        draws = [kid_difference(*(rng.standard_normal((k, d)) + s for k, s in sizes)) for _ in range(200)]
        spread = np.std([c.difference.value for c in draws])
        assert np.mean([c.difference.stderr for c in draws]) == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_the_closed_forms_error_is_the_differences_spread_and_wrong_calls_are_few(shift):
    found = [kid_difference(*three(seed, n=60, shift_a=shift, shift_b=shift)) for seed in range(200)]
    values = np.array([c.difference.value for c in found])
    assert 0.85 <= np.mean([c.difference.stderr for c in found]) / values.std() <= 1.35
    assert np.mean([c.better is not None for c in found]) <= 0.08
    # Where the distances have first-order effects, confidence is as even as under any test's null.
    if shift:
        assert np.mean([c.confidence for c in found]) == pytest.approx(0.5, abs=0.08)


def test_the_jackknifes_confidence_is_even_where_two_equal_laws_are_off():
    found = [paired_difference(frechet_distance, *three(seed, 60, 2, 0.8, 0.8), blocks=8) for seed in range(80)]
    confidence = np.array([c.confidence for c in found])
    assert confidence.mean() == pytest.approx(0.5, abs=0.12)
    assert np.mean(confidence > 0.95) <= 0.12


def test_the_seed_decides_the_bootstrap():
    rows = three(7, n=40, shift_b=0.2)
    one, again, other = (paired_bootstrap(frechet_distance, *rows, resamples=20, seed=s) for s in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a, b, r: paired_difference(of_means, a[:39], b, r), "a must have at least 40 rows, got 39"),
        (lambda a, b, r: paired_difference(of_means, a, b[:90], r), "as many rows.*100 and 90; cut the longer"),
        (lambda a, b, r: paired_difference(of_means, a, b, r, blocks=1), "at least 2 blocks, got 1"),
        (lambda a, b, r: paired_difference(of_means, a, b[:, :2], r), "a and b must have as many features"),
        (lambda a, b, r: paired_bootstrap(of_means, a, b, r, resamples=5), "at least 20 resamples, got 5"),
        (lambda a, b, r: kid_difference(a, b, r * np.nan), "real must be finite"),
        (lambda a, b, r: kid_difference(a, b, r[:, :1]), "a and real must have as many features"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call(*three(8, n=100))
