import dataclasses
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from pushforward.lab.optimal_critic import BINS, LOG4, SHIFTS, Config, run


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


def traces(finding, title):
    figure = next(c.figure for part in finding.parts for c in part.charts if c.title.startswith(title))
    return {trace["name"]: trace for trace in figure["data"]}


def densities(x):
    p = 0.35 * norm.pdf(x, -1.6, 0.45) + 0.4 * norm.pdf(x, 1.2, 0.6) + 0.25 * norm.pdf(x, 0, 2)
    return p, 0.75 * norm.pdf(x, -0.2, 0.9) + 0.25 * norm.pdf(x, 0, 2)


def best_value(laws):
    """E_P log D* + E_Q log(1 − D*), from its definition."""

    def g(x):
        p, q = laws(x)
        return p * math.log(p / (p + q)) + q * math.log(q / (p + q))

    return sum(quad(g, a, a + 4, epsabs=1e-12, epsrel=1e-11)[0] for a in range(-16, 16, 4))


def test_every_number_is_as_theory_says(finding):
    assert [n.name for n in finding.numbers if n.holds is not True] == []


def test_the_optimum_on_the_page_is_that_of_another_quadrature(finding):
    best = best_value(densities)
    assert finding.number("value of the learned critic, E_P log D + E_Q log(1 − D)").theory == pytest.approx(best)
    assert finding.number("value at p/(p + q) itself").theory == pytest.approx(best, abs=1e-9)
    assert pytest.approx(-1.3862943611198906) == -LOG4


def test_the_learned_critic_is_p_over_p_plus_q(finding):
    shown = traces(finding, "The learned critic, and")
    x, learned, star = (
        np.array(v) for v in (shown["p/(p + q)"]["x"], shown["D, learned"]["y"], shown["p/(p + q)"]["y"])
    )
    p, q = densities(x)
    assert star == pytest.approx(p / (p + q), abs=1e-12)
    # Weighted by how often draws fall there. An error e costs 4e² nats or more, and hardly more where D is near ½.
    value = finding.number("value of the learned critic, E_P log D + E_Q log(1 − D)")
    error = np.sqrt(((p + q) * (learned - star) ** 2).sum() / (p + q).sum())
    assert error <= math.sqrt((best_value(densities) - value.measured) / 4)
    assert error > 0.8 * math.sqrt((best_value(densities) - value.measured) / 4)
    assert np.corrcoef(learned[np.abs(x) < 3], star[np.abs(x) < 3])[0, 1] > 0.99
    ratio = traces(finding, "The density ratio")
    assert np.array(ratio["p/q"]["y"]) == pytest.approx(p / q, rel=1e-9)
    # Both axes show float64 values of one critic; far out D is in single precision.
    assert np.array(ratio["D/(1 − D), learned"]["y"]) == pytest.approx(learned / (1 - learned), rel=1e-5)


def test_the_log_ratio_read_back_errs_as_the_page_says(finding):
    shown = traces(finding, "Logits far out")
    x, learned = np.array(shown["learned"]["x"]), np.array(shown["learned"]["y"])
    p, q = densities(x)
    # The error and the value of D, from its logits.
    d = 1 / (1 + np.exp(-learned))
    error = math.sqrt(np.trapezoid((p + q) / 2 * (d - p / (p + q)) ** 2, x))
    assert finding.numbers[0].measured == pytest.approx(error, rel=1e-6)
    assert finding.numbers[1].measured == pytest.approx(np.trapezoid(p * np.log(d) + q * np.log(1 - d), x), abs=1e-6)
    off = np.trapezoid((p + q) / 2 * np.abs(learned - np.log(p / q)), x)
    found = finding.number("mean error of log p/q, read back as log D/(1 − D)")
    assert found.measured == pytest.approx(off, rel=1e-6)
    # What the missing value allows, with D(1 − D) taken at the optimum: right to the next order of a small error.
    missing = best_value(densities) - finding.numbers[1].measured
    assert found.theory == pytest.approx(math.sqrt(missing * np.trapezoid((p + q) ** 3 / (2 * p * q), x)), rel=0.1)
    assert found.measured > 0.5 * found.theory


def test_the_value_rises_to_its_optimum_and_never_passes_it(finding):
    shown = traces(finding, "The score as")
    y, best = np.array(shown["learned"]["y"]), shown["2 JS − log 4"]["y"][0]
    assert best == pytest.approx(best_value(densities))
    assert y.max() <= best + 1e-6
    assert y[-1] > y[len(y) // 2] > y[0]


def test_values_over_the_distance_follow_the_divergence(finding):
    shown = traces(finding, "The score of trained critics")
    points = shown["a critic trained for each"]
    for shift, x, y in zip(SHIFTS, points["x"], points["y"], strict=True):
        best = best_value(lambda t, shift=shift: (norm.pdf(t), norm.pdf(t, shift))) if shift else -LOG4
        assert x == shift
        assert y == pytest.approx(best, abs=0.005)  # what a third of the steps leave of the optimum
    theory = np.array(shown["2 JS − log 4"]["y"])
    assert theory[0] == pytest.approx(-LOG4)
    assert (np.diff(theory) > 0).all()
    assert theory[-1] < 0


def test_the_critic_is_calibrated_on_draws_it_never_saw(finding):
    name = f"{BINS} bins, with 95 % intervals"
    shown = traces(finding, "Reliability")[name]
    said, share = np.array(shown["x"]), np.array(shown["y"])
    assert (np.diff(said) > 0).all()
    assert said[0] < 0.25
    assert said[-1] > 0.7
    # Shares of 6,667 draws have a standard error of 0.006; the rest is the critic's.
    assert share == pytest.approx(said, abs=0.08)


def test_errors_are_larger_where_draws_are_rare(finding):
    figure = next(c.figure for part in finding.parts for c in part.charts if c.title == "Error over density")
    density, error = (np.array(figure["data"][0][axis]) for axis in "xy")
    rare, dense = error[density < 1e-5].mean(), error[density > 1e-2].mean()
    assert rare > 2 * dense


def test_the_plane_shows_five_bumps(finding):
    star = next(c.figure["data"][0] for part in finding.parts for c in part.charts if c.title == "p/(p + q)")
    learned = next(c.figure["data"][0] for part in finding.parts for c in part.charts if c.title == "D, learned")
    x, y = np.meshgrid(star["x"], star["y"])
    bumps = sum(
        norm.pdf(x, 1.6 * math.cos(0.4 * math.pi * k), 0.35) * norm.pdf(y, 1.6 * math.sin(0.4 * math.pi * k), 0.35) / 5
        for k in range(5)
    )
    blob = norm.pdf(x, 0, 1.3) * norm.pdf(y, 0, 1.3)
    assert star["z"] == pytest.approx(bumps / (bumps + blob), abs=1e-9)
    found = finding.number("value in the plane")
    area = (x[0, 1] - x[0, 0]) ** 2
    # By these cells: outside of them is 1 % of the broad bump, where D and D* know it and log(1 − D) is near 0.
    best = (bumps * np.log(star["z"]) + blob * np.log(1 - star["z"])).sum() * area
    value = (bumps * np.log(learned["z"]) + blob * np.log(1 - learned["z"])).sum() * area
    assert found.theory == pytest.approx(best, abs=0.01)
    assert found.measured - found.theory == pytest.approx(value - best, abs=5e-4)
    # The second derivative of the loss in D is 1/(D(1 − D)) ≥ 4: an error e costs at least (1/2)·4·2e², as p + q has
    # the mass 2.
    error = np.sqrt(((bumps + blob) / 2 * (learned["z"] - star["z"]) ** 2).sum() * area)
    assert error <= math.sqrt((found.theory - found.measured) / 4)
    assert found.theory - found.measured < 0.005


def test_the_same_seed_finds_the_same_and_another_seed_does_not():
    small = Config(steps=100, width=8)
    one, two, other = (run(c, lambda share: None) for c in (small, small, dataclasses.replace(small, seed=1)))
    assert one.numbers == two.numbers
    assert one.numbers[0].measured != other.numbers[0].measured


@pytest.mark.parametrize("changes", [{"steps": 99}, {"width": 7}])
def test_critics_that_cannot_come_near_are_refused(changes):
    with pytest.raises(ValueError, match="takes 100 steps and 8 units or more, got"):
        Config(**changes)
