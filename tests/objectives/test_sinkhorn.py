import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from pushforward.objectives.sinkhorn import sinkhorn_divergence
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


def test_steps_that_do_not_suffice_are_an_error_and_no_number():
    with pytest.raises(RuntimeError, match="which 3 steps did not reach; raise limit"):
        sinkhorn_divergence(points(30, 2), points(30, 2, seed=1), 1e-3, limit=3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sinkhorn_divergence(points(3, 2), points(3, 3), 1.0), r"got \(3, 2\) and \(3, 3\)"),
        (lambda: sinkhorn_divergence(points(3, 2), points(3, 2), 0.0), "epsilon must be positive, got 0"),
        (lambda: sinkhorn_divergence(points(3, 2), points(3, 2), 1.0, 3), "for p = 1 and 2, got p = 3"),
    ],
)
def test_input_that_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
