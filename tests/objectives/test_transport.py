import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch import Tensor

from pushforward.objectives import transport
from pushforward.objectives.transport import (
    Plan,
    exact_wasserstein,
    gaussian_wasserstein2,
    line_cost,
    sliced_cost,
    sliced_costs,
    transport_plan,
    unit_directions,
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(normal(*shape, seed=seed))


def test_in_one_dimension_sorting_is_the_optimal_matching():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 1)), rng.exponential(size=(400, 1))
    expected = math.sqrt(((np.sort(x, 0) - np.sort(y, 0)) ** 2).mean())
    assert exact_wasserstein(x, y) == pytest.approx(expected, rel=1e-12)
    flat = np.zeros((400, 1))
    assert exact_wasserstein(np.hstack([x, flat]), np.hstack([y, flat])) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("p", [1, 2, 3.5])
@pytest.mark.parametrize("n", [300, 700])
def test_a_translated_sample_is_as_far_as_the_translation_even_far_away(n, p):
    x = normal(n, 3, seed=1)
    assert exact_wasserstein(x, x[::-1] + np.array([3.0, 4.0, 0.0]), p) == pytest.approx(5, rel=1e-10)
    assert exact_wasserstein(x, x[::-1] + 1e6, p) == pytest.approx(1e6 * math.sqrt(3), rel=1e-10)
    assert exact_wasserstein(x, x[::-1], p) == pytest.approx(0, abs=1e-7)


def test_two_points_have_the_plans_of_pen_and_paper():
    x, y = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 2.0], [1.0, 1.0]])
    plan = transport_plan(x, y, 2)  # straight up: (4 + 1)/2; crossed: (2 + 5)/2
    assert plan.dense() == pytest.approx(np.eye(2) / 2)
    assert plan.cost == pytest.approx(2.5)
    plan = transport_plan(x, y, 2, a=np.array([3.0, 1.0]), b=np.array([1.0, 1.0]))
    assert plan.dense() == pytest.approx(np.array([[0.5, 0.25], [0, 0.25]]))
    assert plan.distance == pytest.approx(math.sqrt(0.5 * 4 + 0.25 * 2 + 0.25 * 1))
    plan = transport_plan(x, y[:1], 1)
    assert plan.dense() == pytest.approx(np.array([[0.5], [0.5]]))
    assert plan.distance == pytest.approx((2 + math.sqrt(5)) / 2)


@pytest.mark.parametrize(("n", "m", "d"), [(60, 60, 3), (60, 45, 3), (7, 90, 2), (60, 45, 1), (1, 5, 4)])
@pytest.mark.parametrize("p", [1, 2, 4])
def test_plans_have_the_marginals_and_the_cost_of_an_independent_solver(n, m, d, p):
    x, y = normal(n, d), 1.5 * normal(m, d, seed=1) + 0.5
    plan = transport_plan(torch.from_numpy(x), y, p)
    matrix = plan.dense()
    assert matrix.shape == (n, m)
    assert matrix.min() >= 0
    assert matrix.sum(1) == pytest.approx(np.full(n, 1 / n), abs=1e-12)
    assert matrix.sum(0) == pytest.approx(np.full(m, 1 / m), abs=1e-12)
    assert np.count_nonzero(matrix) <= n + m - 1
    costs = np.linalg.norm(x[:, None] - y, axis=-1) ** p
    assert plan.cost == pytest.approx((matrix * costs).sum(), rel=1e-12)
    theirs = ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), costs, numItermax=10**9)
    assert plan.cost == pytest.approx(float(theirs), rel=1e-9)


def test_masses_move_as_an_independent_solver_says_and_points_without_mass_do_not_count():
    rng = np.random.default_rng(5)
    for d in (1, 3):
        x, y = normal(40, d), normal(40, d, seed=1)
        a, b = rng.exponential(size=40), rng.exponential(size=40)
        a[:7], b[-3:] = 0, 0
        plan = transport_plan(x, y, 2, a=torch.from_numpy(a), b=b)
        costs = np.linalg.norm(x[:, None] - y, axis=-1) ** 2
        theirs = ot.emd2(a / a.sum(), b / b.sum(), costs, numItermax=10**9)
        assert plan.cost == pytest.approx(float(theirs), rel=1e-9)
        own, other = plan.marginals()
        assert own == pytest.approx(a / a.sum(), abs=1e-12)
        assert other == pytest.approx(b / b.sum(), abs=1e-12)
        alone = transport_plan(x[7:], y[:-3], 2, a=a[7:], b=b[:-3])
        assert plan.cost == pytest.approx(alone.cost, rel=1e-12)
    assert transport_plan(x, y, a=np.ones(40), b=np.ones(40)).cost == pytest.approx(transport_plan(x, y).cost, rel=1e-9)


def test_a_solver_that_stops_early_is_an_error_and_no_number(monkeypatch):
    monkeypatch.setattr(transport, "PIVOTS", 20)
    with pytest.raises(RuntimeError, match="must reach an optimum that its duals prove"):
        transport_plan(normal(100, 2), normal(90, 2, seed=1))


@pytest.mark.parametrize("fault", ["silent", "marginals"])
def test_a_solver_that_is_wrong_in_silence_is_an_error(monkeypatch, fault):
    solve = ot.emd

    def wrong(a, b, costs, **options):
        plan, log = solve(a, b, costs, **options)
        if fault == "marginals":
            return plan * (1 + 1e-6), log
        plan = np.outer(a, b)  # feasible, and not optimal
        return plan, log | {"cost": (plan * costs).sum(), "warning": None}

    monkeypatch.setattr(ot, "emd", wrong)
    with pytest.raises(RuntimeError, match="duals prove" if fault == "silent" else "marginals must be the masses"):
        transport_plan(normal(30, 2), normal(20, 2, seed=1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 2.0, 3.0]), st.integers(1, 3))
def test_it_is_a_metric_between_samples_and_grows_with_p(seed, p, d):
    x, y, z = (normal(12, d, seed=seed + k) for k in range(3))
    xy, yz, xz = (exact_wasserstein(u, v, p) for u, v in ((x, y), (y, z), (x, z)))
    assert exact_wasserstein(x, x, p) == pytest.approx(0, abs=1e-9)
    assert exact_wasserstein(y, x, p) == pytest.approx(xy, rel=1e-9)
    assert xz <= xy + yz + 1e-9
    assert xy <= exact_wasserstein(x, y, p + 1) + 1e-9
    assert exact_wasserstein(-2 * x + 5, -2 * y + 5, p) == pytest.approx(2 * xy, rel=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "options", "words"),
    [
        (np.zeros((4, 2)), np.zeros((4, 3)), {}, "as many coordinates, got 2 and 3"),
        (np.full((4, 2), np.nan), np.zeros((4, 2)), {}, "x must be finite, got NaN or inf in 4 rows"),
        (np.zeros((4, 2)), np.array([[0, np.inf]]), {}, "y must be finite"),
        (np.zeros((0, 2)), np.zeros((3, 2)), {}, "N and D >= 1"),
        (np.zeros(4), np.zeros((3, 2)), {}, r"got the shape \(4,\); flatten"),
        (np.full((4, 2), 1e155), np.zeros((3, 2)), {}, "below 1e300, got points 1e.155 apart"),
        (np.full((4, 1), 1e80), np.zeros((4, 1)), {"p": 4}, "costs .* must stay below 1e300"),
        (np.zeros((4, 2)), np.zeros((4, 2)), {"p": 0.5}, "p >= 1, got p = 0.5"),
        (np.zeros((4, 2)), np.zeros((4, 2)), {"p": math.inf}, "p >= 1"),
        (np.zeros((4, 2)), np.zeros((4, 2)), {"a": np.ones(3)}, "one mass for each of 4 points"),
        (np.zeros((4, 2)), np.zeros((4, 2)), {"b": np.array([1, 1, 1, -1])}, "b must be masses >= 0"),
        (np.zeros((4, 2)), np.zeros((4, 2)), {"b": np.zeros(4)}, "not all 0"),
        (np.zeros((4, 2)), np.zeros((4, 2)), {"a": np.full(4, np.nan)}, "a must be masses"),
    ],
)
def test_samples_between_which_nothing_can_be_moved_are_refused(x, y, options, words):
    with pytest.raises(ValueError, match=words):
        transport_plan(x, y, **options)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 30), (7, 90), (1, 4), (12, 18)])
def test_on_a_line_w1_is_scipys_and_wp_is_the_exact_plans(n, m):
    x, y = points(n), points(m, seed=1) ** 2
    assert line_cost(x, y, 1).item() == pytest.approx(wasserstein_distance(x, y), rel=1e-12)
    for p in (1, 2, 3.5):
        assert line_cost(x, y, p).item() == pytest.approx(transport_plan(x[:, None], y[:, None], p).cost, rel=1e-12)
        batch = line_cost(torch.stack([x, x + 1]), torch.stack([y, y + 1]), p)
        assert batch.shape == (2,)
        assert batch[0].item() == pytest.approx(batch[1].item(), rel=1e-9)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("m", [6, 4])
def test_gradients_on_lines_and_slices_agree_with_finite_differences(p, m):
    x, y = points(6).requires_grad_(), points(m, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: line_cost(x, y, p), (x, y))
    x, y = points(6, 3).requires_grad_(), points(m, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: sliced_cost(x, y, p, directions=4), (x, y))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_sliced_cost_of_a_shift_is_its_mean_projection(d):
    x = points(40, d)
    shift = points(d, seed=1)
    size = float(shift.norm())
    costs = sliced_costs(x, x.flip(0) + shift, unit_directions(d, 4000, 0), 2)
    stderr = float(costs.std()) / math.sqrt(4000) + 1e-12
    assert float(costs.mean()) == pytest.approx(size**2 / d, abs=4 * stderr)
    first = sliced_costs(x, x.flip(0) + shift, unit_directions(d, 4000, 1), 1)
    mean = size * math.gamma(d / 2) / (math.sqrt(math.pi) * math.gamma((d + 1) / 2))
    assert float(first.mean()) == pytest.approx(mean, abs=4 * float(first.std()) / math.sqrt(4000) + 1e-12)


def test_the_sliced_cost_is_seeded_below_the_exact_cost_and_zero_on_itself():
    x, y = points(50, 3), points(50, 3, seed=1) + 1
    assert torch.equal(sliced_cost(x, y), sliced_cost(x, y))
    assert not torch.equal(sliced_cost(x, y), sliced_cost(x, y, seed=1))
    assert sliced_cost(x, x.flip(0)).item() == pytest.approx(0, abs=1e-15)
    for p in (1, 2):
        costs = sliced_costs(x, y, unit_directions(3, 500, 2), p)
        assert costs.min() > 0
        assert costs.max().item() <= transport_plan(x, y, p).cost + 1e-9
    assert unit_directions(3, 500, 2).norm(dim=1) == pytest.approx(torch.ones(500))
    assert sliced_cost(x.float(), y.float()).dtype == torch.float32


def covariance(d: int, seed: int) -> Tensor:
    a = points(d, d + 2, seed=seed)
    return a @ a.T / d


def test_gaussians_are_as_far_as_the_closed_form_says():
    zero, one = torch.zeros(2), torch.ones(2)
    circle = torch.eye(2)
    assert gaussian_wasserstein2(zero, circle, 3 * one, circle).item() == pytest.approx(18)
    assert gaussian_wasserstein2(zero, 4 * circle, zero, 25 * circle).item() == pytest.approx(2 * (5 - 2) ** 2)
    # Covariances that commute: Σ (√λ − √μ)² over shared eigenvectors.
    turn = torch.linalg.qr(points(3, 3)).Q
    own, other = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([16.0, 1.0, 2.0]).double()
    value = gaussian_wasserstein2(
        torch.zeros(3), turn @ own.diag() @ turn.T, torch.zeros(3), turn @ other.diag() @ turn.T
    )
    assert value.item() == pytest.approx((own.sqrt() - other.sqrt()).square().sum().item(), rel=1e-12)


def test_gaussians_agree_with_an_independent_implementation_and_with_samples_of_theirs():
    m1, m2, s1, s2 = points(3), points(3, seed=1), covariance(3, 2), covariance(3, 3)
    value = gaussian_wasserstein2(m1, s1, m2, s2)
    theirs = ot.gaussian.bures_wasserstein_distance(*(t.numpy() for t in (m1, m2, s1, s2)))
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(float(theirs) ** 2, rel=1e-9)
    # T(x) = m₂ + A (x − m₁) is the optimal map: on its own samples the matching is T itself.
    L = torch.linalg.cholesky(s1)
    w, q = torch.linalg.eigh(L.T @ s2 @ L)
    A = torch.linalg.solve_triangular(L.T, q @ w.sqrt().diag() @ q.T, upper=True) @ torch.linalg.inv(L)
    x = points(200, 3, seed=4)
    y = m2 + (x - m1) @ A.T
    assert transport_plan(x, y, 2).cost == pytest.approx((x - y).square().sum(1).mean().item(), rel=1e-9)


def test_gradients_between_gaussians_agree_with_finite_differences_where_eigenvalues_meet_too():
    for s1, s2 in ((covariance(3, 0), covariance(3, 1)), (torch.eye(3).double(), 4 * torch.eye(3).double())):
        given = [t.clone().requires_grad_() for t in (points(3), s1, points(3, seed=1), s2)]

        def value(m1: Tensor, s1: Tensor, m2: Tensor, s2: Tensor) -> Tensor:
            return gaussian_wasserstein2(m1, (s1 + s1.T) / 2, m2, (s2 + s2.T) / 2)

        assert torch.autograd.gradcheck(value, given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((torch.zeros(2), torch.eye(3), torch.zeros(2), torch.eye(2)), "means .D. and covariances"),
        ((torch.zeros(2), torch.ones(2, 2), torch.zeros(2), torch.eye(2)), "cov1 must be positive definite"),
        ((torch.zeros(2), torch.full((2, 2), math.nan), torch.zeros(2), torch.eye(2)), "cov1 must be finite"),
        ((torch.zeros(2), torch.eye(2), torch.tensor([math.nan, 0]), torch.eye(2)), "mean2 must be finite"),
        ((torch.zeros(2), torch.eye(2), torch.zeros(2), torch.tensor([[1.0, 0.5], [0, 1]])), "cov2 must be symmetric"),
    ],
)
def test_gaussians_that_are_none_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        gaussian_wasserstein2(*given)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sliced_cost(points(3, 2), points(3)), r"got \(3, 2\) and \(3,\)"),
        (lambda: sliced_costs(points(3, 2), points(3, 2), points(4, 3)), r"directions must be \[K, 2\]"),
        (lambda: line_cost(points(3), points(0)), "at least 1 point, got 3 and 0"),
        (lambda: line_cost(points(3), points(3), 0.5), "p >= 1"),
        (lambda: line_cost(torch.arange(3), torch.arange(4)), "must be floating point, got torch.int64"),
        (lambda: sliced_cost(points(3, 2), points(3, 2), directions=-1), "directions must be at least 1, got -1"),
    ],
)
def test_input_that_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(("p", "apart"), [(1, 1e4), (2, 1e2), (2, 1e4), (2, 1e7), (2, 1e8), (4, 1e2), (4, 1e5)])
@pytest.mark.parametrize("m", [120, 60])
def test_masses_in_groups_far_apart_have_the_plan_of_each_alone_or_none(p, apart, m):
    x, y = normal(120, 2), normal(m, 2, seed=1)
    x[60:, 0] += apart
    y[m // 2 :, 0] += apart
    a, b = np.full(120, 1 / 120), np.full(m, 1 / m)
    alone = [
        transport_plan(x[i], y[j], p, a=a[i], b=b[j]).cost
        for i, j in ((slice(0, 60), slice(0, m // 2)), (slice(60, None), slice(m // 2, None)))
    ]
    refused = (p, apart) in {(2, 1e7), (2, 1e8), (4, 1e5)}
    if refused:
        with pytest.raises(RuntimeError, match="groups far apart on their own"):
            transport_plan(x, y, p, a=a, b=b)
    else:
        cost = transport_plan(x, y, p, a=a, b=b).cost
        assert cost == pytest.approx(np.mean(alone), rel=1e-6)  # the rounding that is let pass


@pytest.mark.parametrize(("p", "scale"), [(1, 1e-5), (2, 1e-3), (4, 1e-2), (2, 1e-9), (2, 1e9)])
def test_plans_do_not_depend_on_the_unit_of_length(p, scale):
    x, y = normal(150, 2), normal(100, 2, seed=1)
    assert exact_wasserstein(scale * x, scale * y, p) == pytest.approx(scale * exact_wasserstein(x, y, p), rel=1e-9)


def test_masses_are_as_far_from_themselves_as_nothing():
    x, a = normal(50, 2), np.random.default_rng(0).exponential(size=50)
    assert exact_wasserstein(x, x[::-1], a=a, b=a[::-1]) == pytest.approx(0, abs=1e-9)
    assert exact_wasserstein(np.zeros((4, 2)), np.zeros((3, 2))) == 0


def test_on_a_line_points_without_mass_never_count_wherever_they_are():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = np.sort(rng.standard_normal((20, 1)), 0), rng.standard_normal((15, 1))
        a, b = rng.exponential(size=20), rng.exponential(size=15)
        a[-1] = 0
        plan = transport_plan(x, y, a=a, b=b)
        assert 19 not in plan.rows
        assert plan.cost == pytest.approx(transport_plan(x[:-1], y, a=a[:-1], b=b).cost, rel=1e-12)


def test_slices_are_computed_in_float32_under_autocast_and_in_half_precision():
    x = points(200, 4).float() + 30
    expected = sliced_cost(x, x + 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(sliced_cost(x, x + 0.1), expected)
    half = sliced_cost(x.bfloat16(), (x + 1).bfloat16())
    assert half.dtype == torch.float32
    assert torch.equal(half, sliced_cost(x.bfloat16().float(), (x + 1).bfloat16().float()))


def test_a_plan_speaks_for_itself():
    plan = Plan(np.array([0, 1, 1]), np.array([1, 0, 1]), np.array([0.5, 0.25, 0.25]), 8.0, 3.0, (2, 2))
    assert plan.distance == pytest.approx(2)
    assert plan.dense() == pytest.approx(np.array([[0, 0.5], [0.25, 0.25]]))
    assert [list(m) for m in plan.marginals()] == [[0.5, 0.5], [0.25, 0.75]]


def test_the_benchmarks_solvers_agree_and_disagreement_would_show(capsys):
    path = Path(__file__).parents[2] / "benchmarks" / "transport.py"
    spec = importlib.util.spec_from_file_location("transport_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = bench  # its dataclasses look themselves up
    spec.loader.exec_module(bench)
    lines = [
        bench.measure(law, 300, d, p, solver)
        for law, d, p in (("gaussian", 2, 1), ("gaussian", 64, 2), ("modes", 2, 2))
        for solver in bench.SOLVERS
    ]
    assert max(bench.gap(line, lines) for line in lines) < 1e-12
    assert min(line.cost for line in lines) > 0
    wrong = bench.Line("gaussian", 2, 1, "pot", 1.01 * lines[0].cost, 0.0, 0.0)
    assert bench.gap(wrong, lines) == pytest.approx(0.01)
    bench.show(lines, 300, bench.Console(width=100))
    assert capsys.readouterr().out.count("pushforward") == 3
