import math

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from pushforward.objectives.sinkhorn import entropic_plan, sinkhorn_divergence
from pushforward.objectives.transport import transport_plan


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("p", [1, 2])
def test_the_sinkhorn_divergence_goes_from_the_exact_cost_to_its_other_limit(p):
    x, y = points(40, 2), 0.8 * points(30, 2, seed=1) + 1
    exact = transport_plan(x, y, p).cost
    gaps = [abs(sinkhorn_divergence(x, y, eps, p, limit=20_000).item() - exact) for eps in (1, 0.1, 0.01)]
    assert gaps[2] < gaps[1] < gaps[0]
    assert gaps[2] < 0.01 * exact

    def mean(a: Tensor, b: Tensor) -> Tensor:
        return (torch.cdist(a, b) ** p).mean()

    expected = mean(x, y) - mean(x, x) / 2 - mean(y, y) / 2
    if p == 2:
        assert expected.item() == pytest.approx((x.mean(0) - y.mean(0)).square().sum().item())
    assert sinkhorn_divergence(x, y, 1e6, p).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("p", [1, 2])
def test_the_sinkhorn_divergence_has_the_value_of_an_independent_solver(p):
    x, y, eps = points(25, 2), points(20, 2, seed=1) + 0.5, 2.0

    def entropic(u: Tensor, v: Tensor) -> float:
        """min of cost + ε KL(plan ‖ product)."""
        costs = (torch.cdist(u, v) ** p).numpy()
        a, b = np.full(len(u), 1 / len(u)), np.full(len(v), 1 / len(v))
        plan = ot.bregman.sinkhorn_log(a, b, costs, eps, stopThr=1e-10, numItermax=2_000)
        return (plan * costs).sum() + eps * (plan * np.log(plan / np.outer(a, b))).sum()

    expected = entropic(x, y) - entropic(x, x) / 2 - entropic(y, y) / 2
    value = sinkhorn_divergence(x, y, eps, p, tolerance=1e-9, limit=10_000)
    assert value.item() == pytest.approx(expected, rel=1e-8)
    assert sinkhorn_divergence(x, y, eps, p).item() == pytest.approx(expected, rel=1e-3)
    assert sinkhorn_divergence(x.float(), y.float(), eps, p).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("p", [1, 2])
def test_gradients_of_the_sinkhorn_divergence_agree_with_finite_differences(p):
    x, y = points(5, 2).requires_grad_(), points(4, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: sinkhorn_divergence(x, y, 0.5, p, tolerance=1e-12), (x, y), eps=1e-5)


def test_the_sinkhorn_divergence_is_positive_symmetric_and_zero_with_no_gradient_on_itself():
    x, y = points(30, 3), points(30, 3, seed=1)
    for p in (1, 2):
        xy, yx = sinkhorn_divergence(x, y, 1.0, p, tolerance=1e-9), sinkhorn_divergence(y, x, 1.0, p, tolerance=1e-9)
        assert xy.item() > 0
        assert xy.item() == pytest.approx(yx.item(), rel=1e-6)
        again = x.flip(0).clone().requires_grad_()
        zero = sinkhorn_divergence(x, again, 1.0, p, tolerance=1e-9)
        zero.backward()
        assert zero.item() == pytest.approx(0, abs=1e-8)
        assert again.grad is not None
        assert again.grad.abs().max().item() < 1e-8


def test_a_shift_is_recovered_by_the_sinkhorn_divergence_whatever_epsilon():
    x = points(30, 2)
    for eps in (0.03, 0.3, 1.0, 10.0):  # for |x − y|² a shift adds the same to the cost of every plan
        assert sinkhorn_divergence(x, x + torch.tensor([3.0, 4.0]), eps).item() == pytest.approx(25, rel=1e-5)
    assert sinkhorn_divergence(x, x + torch.tensor([3.0, 4.0]), 1.0, tolerance=1e-9).item() == pytest.approx(25)


def masses(n: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(n)))


def squares(n: int, m: int) -> Tensor:
    return torch.cdist(points(n, 2), 0.8 * points(m, 2, seed=1) + 0.5) ** 2


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-9])
@pytest.mark.parametrize("epsilon", [0.02, 0.5, 50.0])
def test_an_entropic_plan_has_the_marginals_that_are_given_to_the_tolerance_that_is_given(epsilon, tolerance):
    a, b = masses(30, 2), masses(20, 3)
    plan = entropic_plan(squares(30, 20), epsilon, a, 7 * b, tolerance=tolerance, limit=20_000)
    assert (plan >= 0).all()
    for found, given in ((plan.sum(1), a), (plan.sum(0), b)):
        assert (found / given - 1).abs().max().item() <= tolerance
    equal = entropic_plan(squares(30, 20), epsilon, tolerance=tolerance, limit=20_000)
    assert (equal.sum(1) * 30 - 1).abs().max().item() <= tolerance


def test_entropic_plans_go_from_the_cheapest_plan_to_the_product():
    x, y, a, b = points(12, 2), points(9, 2, seed=1) + 0.5, masses(12, 2), masses(9, 3)
    costs = torch.cdist(x, y) ** 2
    exact = transport_plan(x, y, 2, a=a, b=b)
    epsilons = (10, 1, 0.1, 0.005)
    plans = [entropic_plan(costs, eps, a, b, tolerance=1e-6, limit=50_000) for eps in epsilons]
    paid = [(plan * costs).sum().item() - exact.cost for plan in plans]
    assert paid == sorted(paid, reverse=True)
    for eps, more in zip(epsilons, paid, strict=True):
        # No plan's KL to the product is above log 9; marginals are right to 1e-6.
        assert -1e-6 * costs.max().item() <= more <= eps * math.log(9)
    assert plans[-1].numpy() == pytest.approx(exact.dense(), abs=1e-6)
    # To first order in 1/ε the plan is a ⊗ b (1 + O(cost/ε)).
    assert entropic_plan(costs, 1e7, a, b).numpy() == pytest.approx(torch.outer(a, b).numpy(), rel=1e-5)


def test_an_entropic_plan_between_pairs_of_points_is_the_one_derived_by_hand():
    c, eps = 1.7, 0.6
    costs = torch.tensor([[0.0, c], [c, 0.0]], dtype=torch.float64)
    # Rows add up to ½ and π₁₁/π₁₂ = exp(c/ε).
    kept = 0.5 / (1 + math.exp(-c / eps))
    found = entropic_plan(costs, eps, tolerance=1e-12).numpy()
    assert found == pytest.approx(np.array([[kept, 0.5 - kept], [0.5 - kept, kept]]), rel=1e-10)
    # With masses, s = π₁₁ solves s (1 − a₁ − b₁ + s) = k (a₁ − s)(b₁ − s), k = exp(2c/ε).
    a1, b1, k = 0.3, 0.8, math.exp(2 * c / eps)
    s = min(np.roots([1 - k, 1 - a1 - b1 + k * (a1 + b1), -k * a1 * b1]).real)
    a, b = (torch.tensor([v, 1 - v], dtype=torch.float64) for v in (a1, b1))
    expected = np.array([[s, a1 - s], [b1 - s, 1 - a1 - b1 + s]])
    assert (expected > 0).all()
    assert entropic_plan(costs, eps, a, b, tolerance=1e-12).numpy() == pytest.approx(expected, rel=1e-10)


def test_an_entropic_plan_is_that_of_an_independent_solver_whatever_is_added_to_all_costs():
    costs, a, b = squares(15, 10), masses(15, 2), masses(10, 3)
    expected = ot.bregman.sinkhorn_log(a.numpy(), b.numpy(), costs.numpy(), 0.5, stopThr=1e-12, numItermax=5_000)
    for shift in (0, -100, 40):
        plan = entropic_plan(costs + shift, 0.5, a, b, tolerance=1e-10)
        assert plan.numpy() == pytest.approx(expected, rel=1e-8, abs=1e-12)
    single = entropic_plan(costs.float(), 0.5, a.float(), b.float())
    assert single.dtype == torch.float32
    assert single.numpy() == pytest.approx(expected, rel=1e-2, abs=1e-6)  # the default tolerance, twice over


def test_points_without_mass_have_none_in_the_plan_and_change_nothing_else():
    costs, a, b = squares(8, 6), masses(8, 2), masses(6, 3)
    a[2] = b[4] = 0
    plan = entropic_plan(costs, 0.3, a, b, tolerance=1e-11)
    assert plan[2].tolist() == [0] * 6
    assert plan[:, 4].tolist() == [0] * 8
    own, other = a > 0, b > 0
    without = entropic_plan(costs[own][:, other], 0.3, a[own], b[other], tolerance=1e-11)
    assert plan[own][:, other].numpy() == pytest.approx(without.numpy(), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_in_float32_an_epsilon_that_is_too_small_does_not_seem_to_converge(seed):
    x, y = points(50, 2, seed=seed).float(), points(50, 2, seed=seed + 10).float()
    with pytest.raises(RuntimeError, match="which 300 steps did not reach"):
        sinkhorn_divergence(x, y, 1e-8, limit=300)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("epsilon", [0.05, 1.0, 1e6, 1e8, 1e16])
def test_single_precision_changes_the_value_and_the_gradient_by_its_rounding_alone(epsilon, p):
    x, y = points(30, 2).float().requires_grad_(), (points(20, 2, seed=1) + 0.2).float().requires_grad_()
    u, v = x.detach().double().requires_grad_(), y.detach().double().requires_grad_()
    single, double = (sinkhorn_divergence(a, b, epsilon, p, limit=20_000) for a, b in ((x, y), (u, v)))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert single.item() == pytest.approx(double.item(), rel=1e-7)
    found, expected = torch.autograd.grad(single, (x, y)), torch.autograd.grad(double, (u, v))
    for own, other in zip(found, expected, strict=True):
        assert own.dtype == torch.float32
        assert own.numpy() == pytest.approx(other.numpy(), rel=2e-7)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sinkhorn_divergence(x, y, epsilon, p, limit=20_000), single)


def test_a_large_epsilon_leaves_the_distance_of_the_means_and_no_rounding():
    x, y = points(50, 2), points(50, 2, seed=1)
    expected = (x.mean(0) - y.mean(0)).square().sum().item()
    for epsilon in (1e8, 1e12, 1e20):  # off by O(cost²/ε)
        assert sinkhorn_divergence(x, y, epsilon).item() == pytest.approx(expected, rel=1e-5)


def test_half_precision_is_computed_in_more_and_given_in_float32():
    x, y = points(20, 2).bfloat16(), points(20, 2, seed=1).bfloat16()
    value = sinkhorn_divergence(x, y, 1.0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(sinkhorn_divergence(x.double(), y.double(), 1.0).item(), rel=1e-7)
    costs = squares(8, 6).bfloat16()
    plan = entropic_plan(costs, 0.5)
    assert plan.dtype == torch.float32
    assert plan.numpy() == pytest.approx(entropic_plan(costs.double(), 0.5).numpy(), rel=1e-6)


def test_costs_that_are_finite_only_less_their_least_have_their_plan():
    # Of two rows each gets its cheaper column, at costs of 6e38 that float32 does not hold.
    plan = entropic_plan(torch.tensor([[3e38, -3e38], [-3e38, 3e38]]), 1e36)
    assert plan.tolist() == [[0.0, 0.5], [0.5, 0.0]]


def broken(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
    x = points(5, 2).to(dtype)
    x[2, 1] = value
    return x


@pytest.mark.parametrize(
    "call",
    [
        lambda: sinkhorn_divergence(points(30, 2), points(30, 2, seed=1), 1e-3, limit=3),
        lambda: entropic_plan(squares(30, 20), 1e-3, limit=3),
    ],
)
def test_steps_that_do_not_suffice_are_an_error_and_no_number(call):
    with pytest.raises(RuntimeError, match="which 3 steps did not reach; raise limit"):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sinkhorn_divergence(points(3, 2), points(3, 3), 1.0), r"got \(3, 2\) and \(3, 3\)"),
        (lambda: sinkhorn_divergence(points(3, 2), points(3, 2), 0.0), "epsilon must be positive, got 0"),
        (lambda: sinkhorn_divergence(points(3, 2), points(3, 2), 1.0, 3), "for p = 1 and 2, got p = 3"),
        (lambda: sinkhorn_divergence(broken(math.nan), points(4, 2), 1.0), r"costs \(x, x\) must be finite .* got nan"),
        (lambda: sinkhorn_divergence(points(4, 2), broken(math.inf), 1.0), r"costs \(y, y\) must be finite"),
        (
            lambda: sinkhorn_divergence(broken(1e20, torch.float32), points(4, 2).float(), 1.0),
            "finite in torch.float32",
        ),
        (
            lambda: sinkhorn_divergence(points(3, 2), points(3, 2) + 1e10, 1.0),
            r"the rounding of costs \(x, y\) up to 2",
        ),
        (lambda: sinkhorn_divergence(points(3, 2), points(3, 2), 1e-14), "tolerance × epsilon must be at least"),
        (lambda: entropic_plan(squares(3, 2), 1e-14), "tolerance × epsilon must be at least"),
        (lambda: entropic_plan(torch.tensor([[3e38, -3e38]]), 1.0), r"tolerance × epsilon .* up to 6e\+38"),
        (
            lambda: entropic_plan(torch.tensor([[1.7e308, -1.7e308]], dtype=torch.float64), 1.0),
            "finite in torch.float64",
        ),
        (lambda: entropic_plan(torch.full((2, 2), math.nan), 1.0), "finite"),
        (lambda: entropic_plan(squares(3, 2), math.nan), "epsilon must be positive, got nan"),
        (lambda: entropic_plan(points(3), 1.0), r"a finite matrix \[N, M\], N and M >= 1, got the shape \(3,\)"),
        (lambda: entropic_plan(squares(3, 2) * math.inf, 1.0), r"a finite matrix \[N, M\]"),
        (lambda: entropic_plan(squares(3, 2), 1.0, masses(2, 0)), r"a must be 3 masses .* got the shape \(2,\)"),
        (lambda: entropic_plan(squares(3, 2), 1.0, b=torch.tensor([1.5, -0.5])), "b must be 2 masses .* of -0.5"),
        (lambda: entropic_plan(squares(3, 2), 1.0, b=torch.zeros(2)), "b must be 2 masses >= 0, finite and not all 0"),
    ],
)
def test_input_that_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
