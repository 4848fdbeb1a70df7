import dataclasses
import math

import numpy as np
import pytest

from pushforward.lab import monte_carlo
from pushforward.lab.monte_carlo import SIZES, Config, run


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


def curves(finding, part):
    return {trace["name"]: trace for trace in finding.parts[part].charts[0].figure["data"]}


def test_every_number_is_as_theory_says(finding):
    assert [n.name for n in finding.numbers if not n.holds] == []


def test_the_rate_is_a_half_and_the_dimension_changes_the_height_alone(finding):
    shown = curves(finding, 0)
    line, many = np.array(shown["1 dimension"]["y"]), np.array(shown["20 dimensions"]["y"])
    # Errors over a 1,024-fold range of n, 400 repeats: a ratio of two root mean squares varies by 5 %.
    assert line[0] / line[-1] == pytest.approx(math.sqrt(SIZES[-1] / SIZES[0]), rel=0.3)
    assert (line > many).all()
    assert finding.number("slope of log error over log n, on a line").theory == -0.5


def test_the_theory_on_the_page_is_the_law_of_e_to_a_normal():
    x = np.linspace(-12, 14, 200_001)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    mean = np.trapezoid(np.exp(x) * density, x)
    assert pytest.approx(mean, rel=1e-9) == monte_carlo.MEAN
    assert np.trapezoid((np.exp(x) - mean) ** 2 * density, x) == pytest.approx(monte_carlo.DEVIATION**2, rel=1e-9)


def test_the_dimension_divides_the_error_by_its_root(finding):
    shown = curves(finding, 0)
    ratio = np.array(shown["1 dimension"]["y"]) / np.array(shown["20 dimensions"]["y"])
    found = finding.number("error on a line over error in 20 dimensions, same n")
    assert found.measured == pytest.approx(ratio[-1], rel=1e-12)
    assert found.theory == pytest.approx(math.sqrt(20))
    # Eleven independent sizes, each ratio of two root mean squares over 400 repeats to 5 %: their mean to 1.5 %. Small
    # samples of the heavy-tailed e^X vary more.
    assert ratio.mean() == pytest.approx(math.sqrt(20), rel=0.08)


def test_intervals_on_the_page_are_those_of_fresh_draws(finding):
    rng = np.random.default_rng(0)
    y = np.exp(rng.standard_normal((4000, monte_carlo.INTERVALS)))
    half = 1.96 * y.std(1, ddof=1) / math.sqrt(monte_carlo.INTERVALS)
    covered = (np.abs(y.mean(1) - math.exp(0.5)) <= half).mean()
    found = finding.number("95 % intervals that hold the expectation")
    # 400 intervals against 4,000 others: four standard errors of the difference.
    assert found.measured == pytest.approx(covered, abs=4 * math.sqrt(0.95 * 0.05 * (1 / 400 + 1 / 4000)))
    assert covered == pytest.approx(0.95, abs=0.01 + 4 * math.sqrt(0.95 * 0.05 / 4000))


def test_cauchy_means_do_not_settle(finding):
    spread = np.array(curves(finding, 3)["means of Cauchy draws"]["y"])
    assert spread.min() > 0.6
    assert spread.max() < 1.6


def test_the_same_seed_finds_the_same_and_another_seed_does_not():
    small = Config(repeats=100, dimensions=2)
    one, two, other = (run(c, lambda share: None) for c in (small, small, dataclasses.replace(small, seed=1)))
    assert one.numbers == two.numbers
    assert one.numbers[0].measured != other.numbers[0].measured


@pytest.mark.parametrize("changes", [{"repeats": 99}, {"dimensions": 1}])
def test_too_few_to_measure_an_error_are_refused(changes):
    with pytest.raises(ValueError, match="100 or more repeats, in 2 or more dimensions, got"):
        Config(**changes)
