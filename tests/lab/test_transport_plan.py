import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.special import ndtr

from pushforward.lab import _entropic as entropic
from pushforward.lab import transport_plan as lab
from pushforward.lab.transport_plan import Config, run


@pytest.fixture(scope="module")
def finding():
    return run(Config(), lambda share: None)


def traces(finding, part, chart):
    return finding.parts[part].charts[chart].figure["data"]


def below(law, x):
    return sum(w * ndtr((x - m) / s) for w, m, s in zip(law.weights, law.means, law.deviations, strict=True))


def test_every_number_is_as_theory_says(finding):
    assert [n.name for n in finding.numbers if not n.holds] == []


def test_the_plan_drawn_has_the_marginals_and_lies_along_the_monotone_graph(finding):
    x, p, q = lab._histograms()
    drawn = np.array(traces(finding, 0, 0)[0]["z"]).T
    # 1e-12: sums of 65 masses in float64.
    np.testing.assert_allclose(drawn.sum(1), p, atol=1e-12)
    np.testing.assert_allclose(drawn.sum(0), q, atol=1e-12)
    # Cells that exchange mass share levels of the distribution functions; 0.005: the laws' mass beyond the grid's ends.
    i, j = np.nonzero(drawn)
    levels = [below(law, x) for law in (lab.P, lab.Q)]
    assert (np.abs(levels[0][i] - levels[1][j]) <= (p[i] + q[j]) / 2 + 5e-3).all()
    # The curve drawn over it inverts Q's distribution function.
    graph = traces(finding, 0, 0)[-1]
    at, to = np.array(graph["x"]), np.array(graph["y"])
    np.testing.assert_allclose(below(lab.P, at), below(lab.Q, to), atol=1e-5)  # linear interpolation on a grid of 0.004


def test_the_duals_on_the_page_are_the_distances_of_the_distribution_functions(finding):
    x, p, q = lab._histograms()
    apart = np.abs(np.cumsum(p - q)).sum() * (x[1] - x[0])
    assert finding.number("W₁'s dual: E_P f − E_Q f for the best 1-Lipschitz f").measured == pytest.approx(
        apart, abs=1e-9
    )
    critic = np.array(traces(finding, 1, 0)[-1]["y"])
    # Grid steps of 0.125: slopes are exactly −1, 0 or 1 but for rounding.
    assert np.abs(np.diff(critic)).max() <= (x[1] - x[0]) * (1 + 1e-9)


def test_the_prices_are_those_of_a_linear_program():
    x, p, q = (v[::8] for v in lab._histograms())
    p, q = p / p.sum(), q / q.sum()
    costs = (x[:, None] - x) ** 2
    plan = lab.transport_plan(x[:, None], x[:, None], 2, a=p, b=q)
    u, v = lab.potentials(plan, costs)
    n = len(x)
    sums = np.concatenate([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])
    cheapest = linprog(costs.ravel(), A_eq=sums, b_eq=np.concatenate([p, q])).fun
    # 1e-9: what the program's solver is right to.
    assert p @ u + q @ v == pytest.approx(cheapest, abs=1e-9)
    assert (costs - u[:, None] - v).min() >= -1e-12


def test_the_matchings_are_the_assignment_solvers_and_a_random_one_crosses(finding):
    x, y = lab._clouds(Config())
    gaps = np.linalg.norm(x[:, None] - y, axis=2)
    for k in (1, 2):
        i, j = linear_sum_assignment(gaps**k)
        mean = (gaps[i, j] ** k).mean() ** (1 / k)
        assert f"= {mean:.3f};" in finding.parts[2].charts[k - 1].remark
    assert lab.crossings(x, y) > 100
    assert lab._least_gain(Config(), gaps**2, np.arange(len(x))) < -0.1


@pytest.mark.parametrize(("end", "crossed"), [([[1.0, 1.0], [1.0, 0.0]], 1), ([[1.0, 0.0], [1.0, 1.0]], 0)])
def test_two_segments_cross_where_their_ends_are_exchanged(end, crossed):
    assert lab.crossings(np.array([[0.0, 0.0], [0.0, 1.0]]), np.array(end)) == crossed


def test_entropic_plans_go_from_the_optimal_one_to_the_product(finding):
    moved = np.array(traces(finding, 3, 1)[-1]["y"])
    assert (np.diff(moved) < 0).all()
    most = entropic.FIRST[1] * entropic.SECOND[1]
    # ε = 0.05 and 500, to first order: s₁s₂ − ε/4 and 2 (s₁s₂)²/ε.
    assert moved[0] == pytest.approx(most - 0.05 / 4, abs=1e-3)
    assert moved[-1] == pytest.approx(2 * most**2 / 500, rel=1e-3)


def test_the_sinkhorn_divergences_closed_form_has_the_limits_that_are_known():
    (m1, s1), (m2, s2) = entropic.FIRST, entropic.SECOND
    mean, w2 = (m1 - m2) ** 2, (m1 - m2) ** 2 + (s1 - s2) ** 2
    # The entropy's part is of order ε log ε at 0, and cancels but for ε²; at infinity 1/ε is left.
    assert entropic.gaussian_sinkhorn(entropic.FIRST, entropic.SECOND, 1e-4) == pytest.approx(w2, abs=1e-4)
    assert entropic.gaussian_sinkhorn(entropic.FIRST, entropic.SECOND, 1e4) == pytest.approx(mean, abs=2e-3)
    draws = np.random.default_rng(0).normal(size=(4, 200_000))
    x, again, y, more = m1 + s1 * draws[0], m1 + s1 * draws[1], m2 + s2 * draws[2], m2 + s2 * draws[3]
    energy = np.abs(x - y).mean() - (np.abs(x - again).mean() + np.abs(y - more).mean()) / 2
    # Four standard errors of means over 200,000 draws of deviation 1.5 or less.
    assert entropic.half_energy() == pytest.approx(energy, abs=4 * 1.5 / math.sqrt(200_000))


def test_sinkhorn_divergences_fall_from_transport_to_what_is_weaker(finding):
    shown = {t["name"]: np.array(t["y"]) for t in traces(finding, 3, 2) if t["name"]}
    assert (np.diff(shown["p = 2"]) < 0).all()
    assert (np.diff(shown["p = 1"]) < 0).all()


def test_samples_overstate_the_distance_of_gaussians_and_their_floor_falls(finding):
    for chart in (0, 1):
        exact, found, *floors = (np.array(t["y"]) for t in traces(finding, 4, chart))
        assert found[0] > exact[0]
        assert abs(found[-1] - exact[0]) < abs(found[0] - exact[0])
        assert all((np.diff(f) < 0).all() for f in floors)


@pytest.mark.parametrize("d", [2, 8])
def test_the_distance_of_the_gaussians_is_that_of_deviations_along_common_axes(finding, d):
    _, a1, shift, a2 = lab._pair(d)
    # Diagonal in the turned basis of the second, as the first is round: Σ (1 − s)² over its deviations.
    deviations = torch.linalg.svdvals(a2).tolist()
    exact = math.sqrt(float(shift @ shift) + sum((1 - s) ** 2 for s in deviations))
    assert finding.number(f"W₂ of two samples of 512, in {d} dimensions").theory == pytest.approx(exact, abs=1e-9)
    assert torch.equal(a1, torch.eye(d, dtype=torch.float64))
    assert deviations == pytest.approx(np.linspace(2.0, 0.5, d))
    assert shift.tolist() == [1.0] + [0.0] * (d - 1)


@pytest.mark.parametrize("d", [2, 8])
def test_prices_of_gaussians_are_tight_on_the_map_and_earn_no_more_than_any_plan(d):
    _, _, m, a = lab._pair(d)
    x = torch.from_numpy(np.random.default_rng(d).normal(size=(60, d)))
    values, axes = np.linalg.eigh((a @ a.T).numpy())
    root = torch.from_numpy(axes * np.sqrt(values) @ axes.T)
    paid = (x - (m + x @ root)).square().sum(1).mean()
    # 1e-9: sums of 60 squares in float64.
    assert lab._earned(x, m + x @ root, m, a) == pytest.approx(paid.item(), abs=1e-9)
    other = torch.from_numpy(np.random.default_rng(d + 1).normal(size=(60, d)))
    excess = lab.exact_wasserstein(x, m + other @ root) ** 2 - lab._earned(x, m + other @ root, m, a)
    # Holds for each pair of samples, with no average: weak duality below, the map's stretch of 2 above.
    assert 0 < excess < 2 * lab.exact_wasserstein(x, other) ** 2


def test_the_limit_on_the_excess_is_below_what_the_triangle_inequality_allows(finding):
    number = finding.number("excess of W₂² of these samples over what the laws' prices earn, in 2 dimensions")
    exact, _, *floors = (np.array(t["y"]) for t in traces(finding, 4, 0))
    assert number.theory == pytest.approx(2 * floors[0][-1] ** 2, rel=1e-9)
    assert number.theory + number.within < 0.2 * ((exact[0] + floors[0][-1] + floors[1][-1]) ** 2 - exact[0] ** 2)


def test_slices_see_a_share_of_one_in_d(finding):
    d, sliced = (np.array(traces(finding, 5, 0)[-1][axis]) for axis in "xy")
    # Two-sided: four standard errors, √(2/4096) each.
    np.testing.assert_allclose(sliced * d, 1, atol=4 * math.sqrt(2 / 4096))


def test_the_same_seed_finds_the_same_and_another_seed_does_not():
    small = Config(points=12, dimensions=3, repeats=2, directions=200)
    one, two, other = (
        lab._matchings(c)[1] + lab._slices(c)[1] for c in (small, small, dataclasses.replace(small, seed=1))
    )
    assert one == two
    assert one != other


@pytest.mark.parametrize("changes", [{"points": 2}, {"dimensions": 2}, {"repeats": 1}, {"directions": 99}])
def test_too_few_to_see_a_plan_are_refused(changes):
    with pytest.raises(ValueError, match=r"plans need 3 or more points, .* raise them"):
        Config(**changes)
