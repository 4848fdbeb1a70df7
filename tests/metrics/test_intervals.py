import numpy as np
import pytest
from scipy import stats

from pushforward.metrics.intervals import mean_interval, trimmed_interval


def test_nothing_cut_is_the_mean_with_students_t():
    values = np.random.default_rng(0).standard_normal(30)
    assert vars(trimmed_interval(values, 0)) == pytest.approx(vars(mean_interval(values)), rel=1e-12)


def test_the_trimmed_mean_and_its_error_are_scipys():
    values = np.random.default_rng(1).exponential(size=200)
    found = trimmed_interval(values, 20)
    winsorized = np.asarray(stats.mstats.winsorize(values, (0.1, 0.1)))
    assert found.value == pytest.approx(stats.trim_mean(values, 0.1), rel=1e-12)
    assert found.stderr == pytest.approx(winsorized.std(ddof=1) / (0.8 * np.sqrt(200)), rel=1e-12)


def test_one_wild_value_moves_nothing():
    values = np.arange(100.0)
    wild = np.r_[values[:-1], 1e9]
    assert trimmed_interval(wild, 1) == trimmed_interval(values, 1)


def test_the_interval_covers_the_laws_trimmed_mean():
    rng = np.random.default_rng(2)
    truth = stats.expon.expect(lambda x: x, lb=stats.expon.ppf(0.1), ub=stats.expon.ppf(0.9), conditional=True)
    found = [trimmed_interval(rng.exponential(size=100), 10) for _ in range(400)]
    assert 0.91 <= np.mean([i.low <= truth <= i.high for i in found]) <= 0.98


@pytest.mark.parametrize(("n", "cut"), [(5, 2), (1, 0), (9, -1)])
def test_too_few_values_are_refused(n, cut):
    with pytest.raises(ValueError, match="trimmed by"):
        trimmed_interval([1.0] * n, cut)
