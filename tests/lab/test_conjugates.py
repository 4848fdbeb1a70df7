import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from pushforward.lab import conjugates
from pushforward.lab.conjugates import COUNTS, Config, run
from pushforward.objectives.divergence import DIVERGENCES, alpha, by_name


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


def charts(finding):
    return {chart.title: chart.figure for part in finding.parts for chart in part.charts}


def starting(finding, title):
    return next(figure for name, figure in charts(finding).items() if name.startswith(title))


def traces(figure):
    return {trace["name"]: trace for trace in figure["data"]}


def test_every_number_is_as_theory_says(finding):
    assert [n.name for n in finding.numbers if n.holds is not True] == []


def test_every_divergence_of_the_library_is_on_the_page_with_an_alpha_its_reverse_and_a_weighted_one(finding):
    titles = [a["text"] for a in charts(finding)["f(u) over u, each with its tangents"]["layout"]["annotations"]]
    assert titles[: len(DIVERGENCES)] == [name.replace("_", " ") for name in DIVERGENCES]
    assert titles[len(DIVERGENCES) :] == ["alpha(1.5)", "alpha(-0.5)", "weighted JS(0.3)"]


@pytest.mark.parametrize("order", [0.7, 0.9, 0.99, -0.5])
def test_the_domain_ends_at_the_closed_form_for_every_order_of_alpha(order):
    # f(u)/u comes to 1/(1 − alpha) like u^(alpha − 1): at 10¹² and 0.9 it is still off by 0.7.
    found = run(Config(alpha=order), lambda share: None)
    assert [n.name for n in found.numbers if n.holds is not True] == []
    limit = conjugates._recession(alpha(order))
    assert limit == pytest.approx(1 / (1 - order), rel=1e-11)


def test_an_end_of_the_domain_that_is_slightly_off_is_found():
    wrong = dataclasses.replace(alpha(0.9), high=10 * (1 + 1e-7))
    assert conjugates._check(wrong, 0).end == pytest.approx(1e-7, rel=1e-3)


def test_crosses_on_the_page_are_suprema_that_scipy_finds_too(finding):
    shown = traces(starting(finding, "f* of kl"))["by maximisation"]
    for t, y in zip(shown["x"][::5], shown["y"][::5], strict=True):
        found = minimize_scalar(lambda u, t=t: u * math.log(u) - u * t, bounds=(1e-9, 60), method="bounded")
        assert y == pytest.approx(-found.fun, abs=1e-7)  # type: ignore
        assert y == pytest.approx(math.exp(t - 1), rel=1e-9)


@pytest.mark.parametrize("name", ["kl", "jensen_shannon", "jeffreys", "alpha(3)"])
def test_tangents_lie_below_f_and_touch_it(name):
    shown = traces(starting(run(Config(divergence=name, tangents=5), lambda share: None), f"f of {name}"))
    fan, f = shown["tangents"], shown["f(u)"]
    u, y = np.array(f["x"]), np.array(f["y"])
    seen = np.isfinite(y)
    exact = by_name(name).f(torch.from_numpy(u[seen])).numpy()
    assert y[seen] == pytest.approx(exact, abs=1e-12)
    for i in range(5):
        (x0, x1), (y0, y1) = fan["x"][3 * i : 3 * i + 2], fan["y"][3 * i : 3 * i + 2]
        over = y[seen] - (y0 + (y1 - y0) * (u[seen] - x0) / (x1 - x0))
        assert over.min() >= -1e-12
        assert over.min() <= 2e-3  # the contact may lie between two of the curve's points, 0.01 apart


def test_missing_heights_fall_with_the_square_of_the_distance_between_tangents(finding):
    shown = traces(starting(finding, "What a fan"))
    n = np.array(COUNTS) - 1
    # Half a gap away from a tangent, (u − 1)² is higher by (h/2)².
    assert np.array(shown["pearson"]["y"]) == pytest.approx((3.5 / n / 2) ** 2, rel=1e-9)
    for name in ("kl", "reverse_kl", "jensen_shannon"):
        y = np.array(shown[name]["y"])
        assert (np.diff(y) < 0).all()
        assert y[-2] / y[-1] == pytest.approx(4, rel=0.1)  # f″ varies by a few % within a gap of 0.03 at u = 0.5


def test_the_gap_on_the_page_is_never_negative_and_zero_at_the_marks(finding):
    figure = starting(finding, "Cuts")
    lines = [trace for trace in figure["data"] if trace["mode"] == "lines"]
    marks = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    for line, mark, u in zip(lines, marks, (0.5, 1.0, 2.0), strict=True):
        y = np.array(line["y"])
        assert np.nanmin(y) >= -1e-12
        assert mark["x"][0] == pytest.approx(math.log(u) + 1, abs=1e-12)
        assert line["x"][int(np.nanargmin(y))] == pytest.approx(mark["x"][0], abs=0.06)  # the curve's points are apart


def test_activations_on_the_page_rise_and_stay_under_the_end_of_the_domain(finding):
    figure = charts(finding)["T = σ_f(v) over v"]
    rising = [trace for trace in figure["data"] if trace["name"] == "σ_f(v)"]
    ends = {trace["xaxis"]: trace["y"][0] for trace in figure["data"] if trace["name"] == "f′(∞)"}
    assert len(rising) == len(DIVERGENCES) + 3
    assert len(ends) == 8
    for trace in rising:
        assert (np.diff(trace["y"]) >= 0).all()
        assert max(trace["y"]) <= ends.get(trace["xaxis"], math.inf)


def test_the_same_seed_finds_the_same_and_another_seed_does_not(finding):
    again, other = (run(dataclasses.replace(Config(), seed=s), lambda share: None) for s in (0, 1))
    assert again.numbers == finding.numbers
    assert other.numbers[0].measured != finding.numbers[0].measured


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"divergence": "wasserstein"}, "a divergence is one of kl"),
        ({"tangents": 2}, "from 3 to 40 tangents, got 2"),
        ({"alpha": 1}, "neither 0 nor 1"),
        ({"alpha": 9}, "got 9"),
        ({"pi": 1.0}, "needs 0 < pi < 1"),
    ],
)
def test_bad_configs_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Config(**changes)
