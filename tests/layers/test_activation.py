from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import profile

from pushforward.layers.activation import LeakyReLU, leaky_relu
from pushforward.networks import mlp, r3gan, resnet

SLOPES = [0.0, 0.1, 0.2, 1.0]


def rows(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


class Stock(nn.Module):
    """Torch's own leaky ReLU."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.slope)


def network(activation: nn.Module) -> nn.Sequential:
    """A convolutional critic in float64 with the same weights whatever the activation."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), activation, nn.Conv2d(4, 5, 4, 2, 1), activation,
        nn.Flatten(), nn.Linear(5 * 9, 6), activation, nn.Linear(6, 1),
    ).double()  # fmt: skip
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(rows(*p.shape, seed=i) * 0.4)
    return net


def penalised(net: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """(squared norms of the input's gradient, their gradients with respect to the parameters; zeros for none)."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    penalty = gradient.square().sum()
    named = dict(net.named_parameters())
    gradients = torch.autograd.grad(penalty, list(named.values()), allow_unused=True, materialize_grads=True)
    return penalty, dict(zip(named, gradients, strict=True))


@pytest.mark.parametrize("slope", SLOPES)
def test_value_and_gradient_are_those_of_torch(slope):
    x = torch.cat([rows(50), torch.tensor([0.0, -0.0, 1e-300, -1e-300, 1e300, -1e300], dtype=torch.float64)])
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    a, b = leaky_relu(ours, slope), F.leaky_relu(theirs, slope)
    assert torch.equal(a, b)
    weights = rows(len(x), seed=1)
    a.backward(weights)
    b.backward(weights)
    assert torch.equal(ours.grad, theirs.grad)


def test_slope_zero_is_relu_and_slope_one_is_nothing():
    x = rows(40).requires_grad_()
    assert torch.equal(leaky_relu(x, 0.0), x.relu())
    assert torch.equal(torch.autograd.grad(leaky_relu(x, 0.0).sum(), x)[0], (x > 0).double())
    assert torch.equal(leaky_relu(x, 1.0), x)


@pytest.mark.parametrize("slope", SLOPES)
def test_first_and_second_derivatives_agree_with_finite_differences(slope):
    x = rows(3, 4)
    x = (x + 0.05 * x.sign()).requires_grad_()  # away from the kink
    assert torch.autograd.gradcheck(lambda x: leaky_relu(x, slope), (x,))
    assert torch.autograd.gradgradcheck(lambda x: leaky_relu(x, slope), (x,))
    assert torch.autograd.gradgradcheck(lambda x: leaky_relu(x * x.sin(), slope), (x,))


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_gradients_of_a_gradient_penalty_are_those_of_torch_to_1e_12(slope):
    x = rows(3, 2, 6, 6, seed=9)
    ours, mine = penalised(network(LeakyReLU(slope)), x)
    theirs, expected = penalised(network(Stock(slope)), x)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    assert max(g.abs().max().item() for g in expected.values()) > 0.1
    for name in expected:
        torch.testing.assert_close(mine[name], expected[name], rtol=1e-12, atol=1e-12)


def calls(net: nn.Module, x: Tensor) -> Counter[str]:
    """How often each operator runs in a gradient penalty and its backward."""
    x = x.clone().requires_grad_()
    with profile() as record:
        (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()
    return Counter({event.key: event.count for event in record.key_averages()})


def test_a_penalty_does_not_walk_back_through_the_forward_pass():
    x = rows(2, 2, 6, 6)
    ours, stock = calls(network(LeakyReLU(0.2)), x), calls(network(Stock(0.2)), x)
    # Three activations: one derivative each for the gradient, and one each for the gradient's own derivative.
    assert ours["aten::leaky_relu_backward"] == 6
    assert ours["aten::convolution_backward"] == 2
    assert stock["aten::leaky_relu_backward"] > 6  # what is avoided
    assert stock["aten::convolution_backward"] > 2


@pytest.mark.parametrize(
    ("net", "shape", "convolutions"),
    [
        # Three in each block that halves the map, two in each flat one.
        (resnet.Critic((3, 32, 32), 4), (2, 3, 32, 32), 10),
        (mlp.Critic((2,), 8), (2, 2), 0),
        (r3gan.PointCritic(2, 8), (2, 2), 0),
    ],
)
def test_the_critics_have_no_dead_path(net, shape, convolutions):
    record = calls(net, rows(*shape, dtype=torch.float32))
    assert record["aten::leaky_relu_backward"] == 2 * record["aten::leaky_relu"] > 0
    assert record["aten::convolution_backward"] == convolutions


def test_the_second_derivative_is_none_rather_than_zeros():
    x, weight = rows(5).requires_grad_(), rows(5, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad((weight * leaky_relu(x)).sum(), x, create_graph=True)
    by_weight, by_x = torch.autograd.grad(gradient.sum(), (weight, x), allow_unused=True)
    assert by_x is None
    assert torch.equal(by_weight, torch.full_like(x, 0.2).masked_fill(x > 0, 1.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_type_and_the_signs(dtype):
    x = rows(40).to(dtype).requires_grad_()
    y = leaky_relu(x, 0.2)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    torch.testing.assert_close(x.grad.double(), torch.where(x > 0, 1.0, 0.2).double(), rtol=5e-3, atol=0)


def test_works_under_autocast_in_both_directions():
    net, x = network(LeakyReLU(0.2)).float(), rows(3, 2, 6, 6, dtype=torch.float32)
    expected = torch.autograd.grad(net(x).sum(), list(net.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
        found = torch.autograd.grad(y.float().sum(), list(net.parameters()))
    assert y.dtype == torch.bfloat16
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.05 * b.norm()


def test_memory_layout_is_kept_through_both_derivatives():
    x = rows(2, 3, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    y = leaky_relu(x)
    cotangent = torch.ones_like(y).requires_grad_()
    (gradient,) = torch.autograd.grad(y, x, cotangent, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), cotangent)
    for tensor in (y, gradient, second):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    plain = x.detach().contiguous().requires_grad_()
    assert torch.equal(leaky_relu(plain), y)
    assert torch.equal(second, torch.full_like(x, 0.2).masked_fill(x > 0, 1.0))


def test_a_result_changed_in_place_is_noticed():
    x = rows(5).requires_grad_()
    y = leaky_relu(x * 1)
    y.mul_(-1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_nan_stays_nan():
    assert leaky_relu(torch.tensor([float("nan")]), 0.0).isnan().all()


def test_the_layer_is_the_function_and_shows_its_slope():
    x = rows(10)
    assert torch.equal(LeakyReLU(0.3)(x), leaky_relu(x, 0.3))
    assert "slope=0.3" in repr(LeakyReLU(0.3))
    with pytest.raises(ValueError, match=r"negative, got -0\.1"):
        LeakyReLU(-0.1)
