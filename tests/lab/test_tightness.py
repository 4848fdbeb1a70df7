import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from pushforward.estimation import Estimate
from pushforward.lab import tightness
from pushforward.lab._laws import LineMixture
from pushforward.lab.tightness import REPEATS, SHOWN, SIZES, Config, run


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


def chart(finding, title):
    return next(c.figure for part in finding.parts for c in part.charts if c.title.startswith(title))


def traces(finding, title):
    return {trace["name"]: trace for trace in chart(finding, title)["data"]}


def densities(x, scale=1.0):
    p = 0.35 * norm.pdf(x, -1.6, 0.45) + 0.4 * norm.pdf(x, 1.2, 0.6) + 0.25 * norm.pdf(x, 0, 2)
    return p, 0.75 * norm.pdf(x, -0.2 * scale, 0.9 * scale) + 0.25 * norm.pdf(x, 0, 2 * scale)


def integral(g):
    return sum(quad(g, a, a + 4, epsabs=1e-12, epsrel=1e-11)[0] for a in range(-16, 16, 4))


def jensen_shannon(x):
    p, q = densities(x)
    m = (p + q) / 2
    return (p * math.log(p / m) + q * math.log(q / m)) / 2


def test_a_mixture_of_the_line_agrees_with_scipy_in_density_quantiles_and_draws():
    x = torch.linspace(-6, 6, 41, dtype=torch.float64)
    assert tightness.P.prob(x).numpy() == pytest.approx(densities(x.numpy())[0], rel=1e-12)
    places = tightness.Q.quantiles(100)
    cdf = 0.75 * norm.cdf(places, -0.2, 0.9) + 0.25 * norm.cdf(places, 0, 2)
    assert cdf == pytest.approx((np.arange(100) + 0.5) / 100, abs=1e-12)
    draws = tightness.Q.sample(torch.Generator().manual_seed(0), 20_000).numpy()
    below = (draws[:, None] <= places.numpy()).mean(0)
    assert below == pytest.approx(cdf, abs=0.0115)  # Kolmogorov's 1 % point, 1.63/√n
    with pytest.raises(ValueError, match="weights of sum 1"):
        LineMixture((0.0, 1.0), (1.0, 1.0), (0.5, 0.6))


def test_every_number_is_as_theory_says(finding):
    assert [n.name for n in finding.numbers if n.holds is not True] == []


def test_the_divergences_on_the_page_are_those_of_another_quadrature(finding):
    def kl(scale):
        return integral(lambda x: densities(x)[0] * math.log(densities(x)[0] / densities(x, scale)[1]))

    shown = traces(finding, "Bounds of frozen critics")["the divergence"]
    for i in (10, 30, 45):
        assert shown["y"][i] == pytest.approx(kl(shown["x"][i]), abs=1e-8)
    exact = finding.number("the same critics on the laws themselves, the largest").theory
    assert exact == pytest.approx(integral(jensen_shannon), abs=1e-9)


def test_the_best_critic_on_the_page_is_f_prime_of_the_ratio(finding):
    shown = traces(finding, "Learned critics")
    x, star = np.array(shown["T* = f′(p/q)"]["x"]), np.array(shown["T* = f′(p/q)"]["y"])
    p, q = densities(x)
    assert star == pytest.approx(np.log(p / q) + 1, abs=1e-9)
    errors = [np.sqrt((q * (np.array(shown[name]["y"]) - star) ** 2).mean()) for name in ("linear", "quadratic")]
    # KL's gap is about half the mean square error of T under P: a gap of 1e-3 of 0.4 leaves some hundredths.
    widest = np.sqrt((q * (np.array(shown["16 units"]["y"]) - star) ** 2).mean())
    assert widest < 0.1 * min(errors)


@pytest.mark.parametrize("name", SHOWN)
def test_bounds_rise_with_capacity_and_never_pass_the_divergence(finding, name):
    label = name.replace("_", " ")
    share = np.array(traces(finding, "Bound as a share")[label]["y"])
    gap = np.array(traces(finding, "What is missing")[label]["y"])
    assert share[0] == pytest.approx(0, abs=1e-9)  # a constant T at f*'s best is worth f(1) = 0
    assert (np.diff(share) > -1e-3).all()
    assert share.max() <= 1 + 1e-9
    assert share[-1] > 0.99
    assert gap == pytest.approx(1 - share, abs=1e-12)


def test_frozen_critics_stay_below_the_divergence_wherever_the_other_law_moves(finding):
    shown = traces(finding, "Bounds of frozen critics")
    exact = np.array(shown.pop("the divergence")["y"])
    for trace in shown.values():
        assert (np.array(trace["y"]) <= exact + 1e-9).all()
    assert np.ptp(shown["constant"]["y"]) == pytest.approx(0, abs=1e-9)
    at = int(np.abs(np.array(shown["16 units"]["x"]) - 1).argmin())
    assert shown["16 units"]["y"][at] == pytest.approx(exact[at], rel=0.01)


def test_a_critic_that_is_off_by_a_little_costs_the_gradient_the_root_of_what_it_costs_the_bound(finding):
    lines = [t for t in chart(finding, "Error of the gradient")["data"] if t["mode"] == "lines" and not t["name"]]
    assert len(lines) == len(SHOWN)
    for line in lines:
        x, y = np.array(line["x"]), np.array(line["y"])
        # Shares 0.1 and 0.01 of another critic: the gap falls by 100, up to its third order, and the error by 10.
        assert x[2] / x[4] == pytest.approx(100, rel=0.25)
        assert y[2] / y[4] == pytest.approx(10, rel=0.25)


def test_gradients_improve_with_the_gap_and_a_constant_critic_has_none(finding):
    shown = traces(finding, "Error of the gradient")
    for name in SHOWN:
        x, y = (np.array(shown[name.replace("_", " ")][axis]) for axis in "xy")
        assert x[-1] < x[0] / 50
        assert y[-1] < y[0] / 50


def test_a_large_critic_passes_the_truth_on_its_own_samples_only_and_less_so_on_more(finding):
    exact = integral(jensen_shannon)
    figure = chart(finding, "After")["data"]
    train, laws = (
        np.array(next(t for t in figure if t["name"] == name and "lines" in t["mode"])["y"])
        for name in ("on its own samples", "on the laws")
    )
    assert len(train) == len(SIZES)
    assert (laws < exact).all()
    assert train[0] > 1.3 * exact
    excess = train - laws
    assert (np.diff(excess) < 0).all()
    assert excess[-1] < excess[0] / 2
    by_step = chart(finding, "Large critics on 50 samples")["data"]
    on_laws = [t["y"] for t in by_step if t["line"]["color"].startswith("@c0")]
    assert len(on_laws) == REPEATS + 1
    assert max(np.max(y) for y in on_laws) <= exact + 1e-6  # single precision


def test_an_estimate_of_nothing_does_not_hold(finding):
    lower = finding.number("the same against the best quadratic critic's bound")
    upper = next(n for n in finding.numbers if n.name.startswith("cross-fitted"))
    assert lower.measured == upper.measured
    # What a parabola can tell of the two laws, from the page's own curve: a share of the divergence.
    share = traces(finding, "Bound as a share")["jensen shannon"]["y"][2]
    assert lower.theory == pytest.approx(share * integral(jensen_shannon), rel=1e-6)
    assert lower.theory > 0
    assert not dataclasses.replace(lower, measured=0.0).holds
    assert not dataclasses.replace(upper, measured=upper.theory + 5 * upper.within / 4).holds


def test_the_same_seed_finds_the_same_and_another_seed_does_not(monkeypatch):
    # Two ladders, few steps, and no cross-fitting, which has such a test of its own.
    for name, value in {"SHOWN": ("kl", "jensen_shannon"), "STEPS": 40, "SIZES": (50,)}.items():
        monkeypatch.setattr(tightness, name, value)
    monkeypatch.setattr(tightness, "_cross_fitted", lambda cfg: Estimate(0.1, 0.01, 800, 0.08, 0.12, "lower bound"))
    small = Config(points=256, widest=4)
    one, two, other = (run(c, lambda share: None) for c in (small, small, dataclasses.replace(small, seed=1)))
    assert one.numbers == two.numbers
    assert one.numbers[3].measured != other.numbers[3].measured


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"divergence": "total_variation"}, "one of kl, reverse_kl"),
        ({"widest": 12}, "4, 8, 16, 32 or 64 units, got 12"),
        ({"points": 255}, "256 points and 50 samples or more, got 255"),
        ({"samples": 49}, "and 49"),
    ],
)
def test_bad_configs_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Config(**changes)
