import math

import pytest
import torch
from torch import Tensor, nn

from pushforward.networks import mlp, resnet
from pushforward.objectives.adversarial import wasserstein
from pushforward.objectives.penalties import gradient_penalty, input_gradient, zero_centred_penalty

SHAPES = [(2,), (3, 8, 8), (1, 5, 7), (2, 3, 4, 5)]


def rows(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """D(x) = s · ⟨w, x⟩ with w of unit norm: its gradient is s · w everywhere."""

    def __init__(self, shape: tuple[int, ...], scale: float = 1.0) -> None:
        super().__init__()
        w = rows(1, *shape, seed=7)
        self.w = nn.Parameter(scale * w / w.norm())

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.w).flatten(1).sum(1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 17])
def test_wgan_gp_is_zero_for_a_unit_gradient_critic(n, shape):
    penalty = gradient_penalty(Linear(shape), rows(n, *shape), rows(n, *shape, seed=1))
    assert 0 <= penalty.item() < 1e-12


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("n", [1, 9])
def test_wgan_gp_of_a_linear_critic_is_its_norm_less_one_squared(n, scale):
    penalty = gradient_penalty(Linear((3, 4, 4), scale), rows(n, 3, 4, 4), rows(n, 3, 4, 4, seed=1))
    assert penalty.item() == pytest.approx((scale - 1) ** 2, abs=1e-6)


def of_norm(target: Tensor):
    """A critic whose gradient at example i has the norm target[i], whatever x."""

    def D(x: Tensor) -> Tensor:
        return target * x.flatten(1).sum(1) / math.sqrt(x[0].numel())

    return D


def test_penalties_are_means_of_each_examples_own_and_not_norms_of_the_batch():
    norms = torch.tensor([0.0, 1.0, 3.0, 0.5])
    real, fake = rows(4, 2, 3, 3), rows(4, 2, 3, 3, seed=1)
    expected = (1 + 0 + 4 + 0.25) / 4
    assert gradient_penalty(of_norm(norms), real, fake).item() == pytest.approx(expected, abs=1e-5)
    assert zero_centred_penalty(of_norm(norms), real).item() == pytest.approx((0 + 1 + 9 + 0.25) / 4, abs=1e-5)
    wrong = (norms.norm().item() - 1) ** 2
    assert abs(expected - wrong) > 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_r1_of_a_linear_critic_is_its_squared_norm_summed_over_pixels(shape):
    for scale in (1.0, 2.5):
        for n in (1, 6):
            penalty = zero_centred_penalty(Linear(shape, scale), rows(n, *shape))
            assert penalty.item() == pytest.approx(scale**2, rel=1e-5)


def test_the_input_gradient_is_each_examples_own():
    x = rows(5, 3).requires_grad_()
    gradient = input_gradient((x**3).sum(1), x)
    torch.testing.assert_close(gradient, 3 * x.detach() ** 2)
    column = input_gradient((x**3).sum(1, keepdim=True), x)  # a critic that kept its last dimension
    assert torch.equal(column, gradient)


class Watch:
    """A unit-gradient critic that keeps what it was shown."""

    def __init__(self) -> None:
        self.x = torch.empty(0)

    def __call__(self, x: Tensor) -> Tensor:
        self.x = x.detach().clone()
        return x.flatten(1).sum(1)


def test_points_lie_at_eps_on_the_segment_from_fake_to_real_one_draw_per_example():
    real, fake = rows(6, 2, 3, 3), rows(6, 2, 3, 3, seed=1)
    eps = torch.tensor([0.0, 0.25, 0.5, 0.75, 0.9, 1.0])
    gradient_penalty(D := Watch(), real, fake, eps)
    e = eps.view(6, 1, 1, 1)
    torch.testing.assert_close(D.x, e * real + (1 - e) * fake)
    assert torch.equal(D.x[0], fake[0])
    torch.testing.assert_close(D.x[5], real[5])


def test_without_eps_the_draws_are_uniform_and_differ_between_examples_but_not_within_one():
    n = 4000
    torch.manual_seed(0)
    gradient_penalty(D := Watch(), torch.ones(n, 2, 2), torch.zeros(n, 2, 2))
    eps = D.x.flatten(1)
    assert torch.equal(eps, eps[:, :1].expand_as(eps))
    assert len(eps[:, 0].unique()) > 0.99 * n
    assert eps[:, 0].mean().item() == pytest.approx(1 / 2, abs=4 / math.sqrt(12 * n))
    assert eps[:, 0].var().item() == pytest.approx(1 / 12, rel=0.1)
    assert eps.min() >= 0
    assert eps.max() < 1


def test_one_draw_shared_by_the_whole_batch_is_refused():
    for wrong in (torch.tensor([0.5]), torch.tensor(0.5), torch.rand(3), torch.rand(6, 2, 1, 1)):
        with pytest.raises(ValueError, match="one draw for each of 6 examples"):
            gradient_penalty(Linear((2, 3, 3)), rows(6, 2, 3, 3), rows(6, 2, 3, 3), wrong)
    column = torch.rand(6, 1, 1, 1)
    assert gradient_penalty(Linear((2, 3, 3)), rows(6, 2, 3, 3), rows(6, 2, 3, 3), column).item() < 1e-12


def test_unequal_batches_are_refused():
    with pytest.raises(ValueError, match=r"one fake for each real, got \(4, 2\) and \(3, 2\)"):
        gradient_penalty(Linear((2,)), rows(4, 2), rows(3, 2))
    with pytest.raises(ValueError, match="one fake for each real"):
        gradient_penalty(Linear((2,)), rows(4, 2), rows(1, 2))


def test_a_zero_gradient_has_finite_derivatives():
    D = Linear((3,), scale=0.0)
    for penalty in (gradient_penalty(D, rows(4, 3), rows(4, 3, seed=1)), zero_centred_penalty(D, rows(4, 3))):
        (gradient,) = torch.autograd.grad(penalty, D.w)
        assert gradient.isfinite().all()
    saturated = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    nn.init.constant_(saturated[0].bias, -100.0)
    gradient_penalty(saturated, rows(4, 3), rows(4, 3, seed=1)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in saturated.parameters())


@pytest.mark.parametrize("kind", ["gp", "r1"])
def test_gradients_by_the_weights_agree_with_finite_differences_in_float64(kind):
    x, y = rows(3, 2).double(), rows(3, 2, seed=1).double()
    eps = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)

    def penalty(w1: Tensor, w2: Tensor) -> Tensor:
        def D(x: Tensor) -> Tensor:
            return ((x @ w1).tanh() @ w2).squeeze(1)

        return gradient_penalty(D, x, y, eps) if kind == "gp" else zero_centred_penalty(D, x)

    weights = rows(2, 4, seed=2).double().requires_grad_(), rows(4, 1, seed=3).double().requires_grad_()
    assert penalty(*weights).dtype == torch.float64
    assert torch.autograd.gradcheck(penalty, weights)


@pytest.mark.parametrize("kind", ["gp", "r1"])
def test_penalties_are_float32_inside_bf16_autocast(kind):
    D = resnet.Critic((3, 8, 8), 8)
    real, fake, eps = rows(6, 3, 8, 8), rows(6, 3, 8, 8, seed=1), torch.linspace(0, 1, 6)

    def penalty(real: Tensor = real, fake: Tensor = fake) -> Tensor:
        return gradient_penalty(D, real, fake, eps) if kind == "gp" else zero_centred_penalty(D, real)

    expected = penalty()
    by_hand = torch.autograd.grad(expected, [p for p in D.parameters() if p.dim() == 4])
    seen = []
    D.blocks.register_forward_hook(lambda module, args, out: seen.append((out.dtype, torch.is_autocast_enabled("cpu"))))
    with torch.autocast("cpu", torch.bfloat16):
        assert D(real).dtype == torch.bfloat16
        inside = penalty()
        half = penalty(real.bfloat16(), fake.bfloat16())
        assert torch.is_autocast_enabled("cpu")  # as before
    gradients = torch.autograd.grad(inside, [p for p in D.parameters() if p.dim() == 4])
    assert seen == [(torch.bfloat16, True), (torch.float32, False), (torch.float32, False)]
    assert inside.item() == expected.item()
    assert all(torch.equal(a, b) for a, b in zip(gradients, by_hand, strict=True))
    assert half.dtype == torch.float32


@pytest.mark.parametrize("kind", ["gp", "r1"])
def test_inputs_are_left_alone_and_no_gradient_reaches_them_or_what_made_them(kind):
    G, D = nn.Linear(2, 2), mlp.Critic((2,), 8)
    real, z = rows(5, 2), rows(5, 2, seed=1)
    fake = G(z)
    copies = real.clone(), fake.detach().clone()
    penalty = gradient_penalty(D, real, fake) if kind == "gp" else zero_centred_penalty(D, fake)
    penalty.backward()
    assert torch.equal(real, copies[0])
    assert torch.equal(fake, copies[1])
    assert not real.requires_grad
    assert real.grad is None
    assert z.grad is None
    assert all(p.grad is None for p in G.parameters())
    assert any(p.grad is not None and p.grad.norm() > 0 for p in D.parameters())


@pytest.mark.parametrize("frozen", [False, True])
def test_the_value_does_not_depend_on_whether_the_critic_is_frozen(frozen):
    torch.manual_seed(0)
    D = mlp.Critic((2,), 8).requires_grad_(not frozen)
    real, fake, eps = rows(5, 2), rows(5, 2, seed=1), torch.linspace(0, 1, 5)
    torch.manual_seed(0)
    reference = mlp.Critic((2,), 8)
    assert gradient_penalty(D, real, fake, eps).item() == gradient_penalty(reference, real, fake, eps).item()
    assert zero_centred_penalty(D, real).item() == zero_centred_penalty(reference, real).item()


def test_the_penalty_joins_the_critics_loss_in_one_backward():
    D, real, fake = mlp.Critic((2,), 8), rows(5, 2), rows(5, 2, seed=1)
    eps, weights = torch.linspace(0, 1, 5), list(D.parameters())
    loss = wasserstein.critic(D(real), D(fake))
    apart = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    penalties = torch.autograd.grad(
        gradient_penalty(D, real, fake, eps), weights, allow_unused=True, materialize_grads=True
    )
    (wasserstein.critic(D(real), D(fake)) + 10 * gradient_penalty(D, real, fake, eps)).backward()
    for p, a, b in zip(weights, apart, penalties, strict=True):
        torch.testing.assert_close(p.grad, a + 10 * b, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("default")  # the compiler's own
def test_a_compiled_critic_is_differentiated_twice():
    D, x = mlp.Critic((2,), 8), rows(5, 2)
    expected = zero_centred_penalty(D, x)
    D.compile(backend="aot_eager")
    D(x)  # compiled here, and once differentiable
    penalty = zero_centred_penalty(D, x)
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-6)
    penalty.backward()
    torch.compiler.reset()
