import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pushforward.networks import mlp, resnet
from pushforward.objectives.adversarial import minimax, wasserstein
from pushforward.objectives.penalties import (
    dragan_penalty,
    gradient_penalty,
    input_gradient,
    lazy,
    lipschitz_penalty,
    path_length_penalty,
    path_lengths,
    r1,
    r2,
    zero_centred_between,
    zero_centred_penalty,
)

BETWEEN = {"gp": gradient_penalty, "lp": lipschitz_penalty, "0gp": zero_centred_between}


def penalised(kind: str, D, real: Tensor, fake: Tensor, eps: Tensor | None = None) -> Tensor:
    """Any penalty on the critic, of the same arguments."""
    if kind in BETWEEN:
        return BETWEEN[kind](D, real, fake, eps)
    if kind == "dragan":
        return dragan_penalty(D, real, fake - real if eps is None else eps.view(-1, *[1] * (real.dim() - 1)) * real)
    return {"r1": r1, "r2": r2}[kind](D, {"r1": real, "r2": fake}[kind])


KINDS = pytest.mark.parametrize("kind", ["gp", "lp", "0gp", "dragan", "r1", "r2"])
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


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 300), pixels=st.sampled_from([1, 4, 16, 64]), spread=st.floats(0, 1e4))
def test_a_unit_gradient_costs_exactly_nothing_at_any_batch_size(n, pixels, spread):
    # Each of D's weights is 1/√pixels, a power of ½, so that no rounding hides a wrong norm or a wrong mean.
    real, fake = spread * rows(n, pixels), spread * rows(n, pixels, seed=1)
    found = {kind: penalised(kind, lambda x: x.sum(1) / math.sqrt(pixels), real, fake).item() for kind in COSTS}
    assert found == {"gp": 0, "lp": 0, "0gp": 1, "dragan": 0, "r1": 1, "r2": 1}


def test_published_values_of_tensorflow_gans_tests():
    # github.com/tensorflow/gan, losses_impl_test.py: D(x) = 2x, whose four outputs have the gradient (2, 2, 2, 2).
    fake, real = torch.tensor([[3.1, 2.3, -12.3, 32.1]]), torch.tensor([[-12.3, 23.2, 16.3, -43.2]])
    for penalty in (gradient_penalty, lipschitz_penalty):  # its one_sided
        assert penalty(lambda x: 2 * x, real, fake).item() == pytest.approx(9, abs=1e-5)


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


# What slopes of 0, 1, 3 and ½ cost.
COSTS = {
    "gp": (1, 0, 4, 0.25),
    "lp": (0, 0, 4, 0),
    "0gp": (0, 1, 9, 0.25),
    "dragan": (1, 0, 4, 0.25),
    "r1": (0, 1, 9, 0.25),
    "r2": (0, 1, 9, 0.25),
}


@KINDS
def test_penalties_are_means_of_each_examples_own_and_not_norms_of_the_batch(kind):
    norms = torch.tensor([0.0, 1.0, 3.0, 0.5])
    real, fake = rows(4, 2, 3, 3), rows(4, 2, 3, 3, seed=1)
    expected = sum(COSTS[kind]) / 4
    assert penalised(kind, of_norm(norms), real, fake).item() == pytest.approx(expected, abs=1e-5)
    whole = norms.norm().item()
    wrong = whole**2 if kind in ("0gp", "r1", "r2") else (whole - 1) ** 2
    assert abs(expected - wrong) > 1


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("n", [1, 9])
def test_each_penalty_of_a_linear_critic_is_its_function_of_the_norm(n, scale):
    D, real, fake = Linear((3, 4, 4), scale), rows(n, 3, 4, 4), rows(n, 3, 4, 4, seed=1)
    two_sided, one_sided, squared = (scale - 1) ** 2, max(0.0, scale - 1) ** 2, scale**2
    found = {kind: penalised(kind, D, real, fake).item() for kind in COSTS}
    assert found == pytest.approx(
        {"gp": two_sided, "lp": one_sided, "0gp": squared, "dragan": two_sided, "r1": squared, "r2": squared}, abs=1e-5
    )


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


@pytest.mark.parametrize("penalty", BETWEEN.values(), ids=list(BETWEEN))
def test_points_lie_at_eps_on_the_segment_from_fake_to_real_one_draw_per_example(penalty):
    real, fake = rows(6, 2, 3, 3), rows(6, 2, 3, 3, seed=1)
    eps = torch.tensor([0.0, 0.25, 0.5, 0.75, 0.9, 1.0])
    penalty(D := Watch(), real, fake, eps)
    e = eps.view(6, 1, 1, 1)
    torch.testing.assert_close(D.x, e * real + (1 - e) * fake)
    assert torch.equal(D.x[0], fake[0])
    torch.testing.assert_close(D.x[5], real[5])


@pytest.mark.parametrize("penalty", BETWEEN.values(), ids=list(BETWEEN))
def test_without_eps_the_draws_are_uniform_and_differ_between_examples_but_not_within_one(penalty):
    n = 4000
    torch.manual_seed(0)
    penalty(D := Watch(), torch.ones(n, 2, 2), torch.zeros(n, 2, 2))
    eps = D.x.flatten(1)
    assert torch.equal(eps, eps[:, :1].expand_as(eps))
    assert len(eps[:, 0].unique()) > 0.99 * n
    assert eps[:, 0].mean().item() == pytest.approx(1 / 2, abs=4 / math.sqrt(12 * n))
    assert eps[:, 0].var().item() == pytest.approx(1 / 12, rel=0.1)
    assert eps.min() >= 0
    assert eps.max() < 1


def test_dragans_own_noise_is_half_the_batchs_spread_uniform_and_scaled_for_each_example():
    n, d = 2000, 60
    torch.manual_seed(0)
    real = 3 * rows(n, d) + 7
    dragan_penalty(D := Watch(), real)
    noise = (D.x - real) / (real.std(correction=0) / 2)
    assert noise.min() > -1e-5
    assert noise.max() < 1
    # α·u with α uniform for each example and u for each number: means ½·½, and E[α²u²] = 1/9 over all.
    assert noise.mean().item() == pytest.approx(1 / 4, rel=0.05)
    assert noise.square().mean().item() == pytest.approx(1 / 9, rel=0.07)
    scales = 2 * noise.mean(1)  # α again, within what the mean of d uniform numbers leaves open
    assert scales.mean().item() == pytest.approx(1 / 2, rel=0.05)
    assert scales.var().item() == pytest.approx(1 / 12 + 1 / (3 * 3 * d), rel=0.1)


def test_dragan_takes_the_noise_it_is_given():
    real, noise = rows(6, 2, 3), rows(6, 2, 3, seed=1)
    dragan_penalty(D := Watch(), real, noise)
    assert torch.equal(D.x, real + noise)
    with pytest.raises(ValueError, match=r"its own noise, got \(6, 1, 1\) for \(6, 2, 3\)"):
        dragan_penalty(D, real, torch.rand(6, 1, 1))


@pytest.mark.parametrize("penalty", BETWEEN.values(), ids=list(BETWEEN))
def test_one_draw_shared_by_the_whole_batch_is_refused(penalty):
    for wrong in (torch.tensor([0.5]), torch.tensor(0.5), torch.rand(3), torch.rand(6, 2, 1, 1)):
        with pytest.raises(ValueError, match="one draw for each of 6 examples"):
            penalty(Linear((2, 3, 3)), rows(6, 2, 3, 3), rows(6, 2, 3, 3), wrong)
    column = torch.rand(6, 1, 1, 1)
    assert gradient_penalty(Linear((2, 3, 3)), rows(6, 2, 3, 3), rows(6, 2, 3, 3), column).item() < 1e-12


def test_unequal_batches_are_refused():
    with pytest.raises(ValueError, match=r"one fake for each real, got \(4, 2\) and \(3, 2\)"):
        gradient_penalty(Linear((2,)), rows(4, 2), rows(3, 2))
    with pytest.raises(ValueError, match="one fake for each real"):
        gradient_penalty(Linear((2,)), rows(4, 2), rows(1, 2))


@KINDS
def test_a_zero_gradient_has_finite_derivatives(kind):
    D = Linear((3,), scale=0.0)
    (gradient,) = torch.autograd.grad(penalised(kind, D, rows(4, 3), rows(4, 3, seed=1)), D.w)
    assert gradient.isfinite().all()
    saturated = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    nn.init.constant_(saturated[0].bias, -100.0)
    gradient_penalty(saturated, rows(4, 3), rows(4, 3, seed=1)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in saturated.parameters())


@KINDS
def test_gradients_by_the_weights_agree_with_finite_differences_in_float64(kind):
    x, y = rows(3, 2).double(), rows(3, 2, seed=1).double()
    eps = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)

    def penalty(w1: Tensor, w2: Tensor) -> Tensor:
        return penalised(kind, lambda x: ((x @ w1).tanh() @ w2).squeeze(1), x, y, eps)

    weights = rows(2, 4, seed=2).double().requires_grad_(), 2 * rows(4, 1, seed=3).double().requires_grad_()
    assert penalty(*weights).dtype == torch.float64
    assert penalty(*weights) > 0.1
    weights = [w.detach().requires_grad_() for w in weights]
    assert torch.autograd.gradcheck(penalty, weights)
    assert torch.autograd.gradgradcheck(penalty, weights)


@KINDS
def test_penalties_are_float32_inside_bf16_autocast(kind):
    D = resnet.Critic((3, 8, 8), 8)
    real, fake, eps = rows(6, 3, 8, 8), rows(6, 3, 8, 8, seed=1), torch.linspace(0, 1, 6)

    def penalty(real: Tensor = real, fake: Tensor = fake) -> Tensor:
        return penalised(kind, lambda x: 20 * D(x), real, fake, eps)

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


@KINDS
def test_inputs_are_left_alone_and_no_gradient_reaches_them_or_what_made_them(kind):
    G, D = nn.Linear(2, 2), mlp.Critic((2,), 8)
    real, z = rows(5, 2), rows(5, 2, seed=1)
    fake = G(z)
    copies = real.clone(), fake.detach().clone()
    penalised(kind, lambda x: 20 * D(x), real, fake).backward()
    assert torch.equal(real, copies[0])
    assert torch.equal(fake, copies[1])
    assert not real.requires_grad
    assert real.grad is None
    assert z.grad is None
    assert all(p.grad is None for p in G.parameters())
    assert any(p.grad is not None and p.grad.norm() > 0 for p in D.parameters())


@KINDS
@pytest.mark.parametrize("frozen", [False, True])
def test_the_value_does_not_depend_on_whether_the_critic_is_frozen(kind, frozen):
    torch.manual_seed(0)
    D = mlp.Critic((2,), 8).requires_grad_(not frozen)
    real, fake, eps = rows(5, 2), rows(5, 2, seed=1), torch.linspace(0, 1, 5)
    torch.manual_seed(0)
    reference = mlp.Critic((2,), 8)
    assert penalised(kind, D, real, fake, eps).item() == penalised(kind, reference, real, fake, eps).item()


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


def test_lazy_factors_are_those_of_stylegan2s_code():
    # Weight 2 each 4th round for the path length and γ/2 each 16th for R1: Karras et al. 2020, Appendix B.
    assert lazy(2, 4, 8) == 8
    assert lazy(10 / 2, 16, 32) == 80
    assert lazy(2, 4, 9) is None


def test_lazy_weights_add_up_to_those_of_every_round():
    for every in (1, 4, 16):
        weights = [lazy(0.3, every, round) for round in range(48)]
        assert sum(w for w in weights if w is not None) == pytest.approx(48 * 0.3, rel=1e-12)
        assert [round for round, w in enumerate(weights) if w is not None] == list(range(0, 48, every))
    assert lazy(0.0, 4, 4) == 0.0  # due, at no weight
    with pytest.raises(ValueError, match="every 1 or more rounds, got 0"):
        lazy(0.3, 0, 1)


def dirac_eigenvalues(penalty) -> list[complex]:
    """Of the gradient field's Jacobian at the equilibrium of the Dirac-GAN, D(x) = ψx against a point at θ, data at 0.

    Mescheder et al. 2018, arXiv:1801.04406, Definition 2.1; there f'(0) = ½ for the logistic losses.
    """

    def field(state: Tensor) -> Tensor:
        psi, theta = state.unbind()

        def D(x: Tensor) -> Tensor:
            return psi * x.squeeze(1)

        real, fake = torch.zeros(1, 1, dtype=torch.float64), theta.view(1, 1)
        critic = minimax.critic(D(real), D(fake)) + penalty(D, real, fake)
        generator = minimax.generator(None, D(fake))
        (down_psi,) = torch.autograd.grad(critic, psi, create_graph=True)
        (down_theta,) = torch.autograd.grad(generator, theta, create_graph=True)
        return -torch.stack([down_psi, down_theta])

    start = torch.zeros(2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(field, start)
    return sorted(torch.linalg.eigvals(jacobian).tolist(), key=lambda v: (v.real, v.imag))


def test_the_dirac_gan_oscillates_for_ever_without_a_penalty():
    # Mescheder et al. 2018, Lemma 2.3: eigenvalues ± f'(0) i.
    assert dirac_eigenvalues(lambda D, real, fake: 0.0) == pytest.approx([-0.5j, 0.5j], abs=1e-9)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("kind", ["r1", "r2", "0gp"])
def test_zero_centred_penalties_make_the_dirac_gan_converge_at_the_published_rate(kind, gamma):
    # Mescheder et al. 2018, Section 4.1 and its supplement: −γ/2 ± √(γ²/4 − f'(0)²), with the penalty weighed by γ/2.
    found = dirac_eigenvalues(lambda D, real, fake: gamma / 2 * penalised(kind, D, real, fake))
    root = complex(gamma**2 / 4 - 1 / 4) ** 0.5
    expected = sorted([-gamma / 2 + root, -gamma / 2 - root], key=lambda v: (v.real, v.imag))
    assert found == pytest.approx(expected, abs=1e-7)
    assert all(value.real < 0 for value in found)


def generator_of(matrix: Tensor, *shape: int):
    return lambda w: (w @ matrix).view(-1, *shape)


@pytest.mark.parametrize("shape", [(12,), (3, 2, 2)], ids=str)
def test_path_lengths_of_a_linear_generator_are_norms_of_its_transpose(shape):
    A, w, y = rows(5, 12), rows(7, 5, seed=1), rows(7, *shape, seed=2)
    pixels = math.prod(shape[1:])
    expected = (y.flatten(1) @ A.mT).norm(dim=1) / math.sqrt(pixels)
    torch.testing.assert_close(path_lengths(generator_of(A, *shape), w, y), expected)


def test_path_lengths_squared_are_on_average_the_squared_norm_of_the_jacobian():
    # E‖Jᵀy‖² = ‖J‖²_F for standard normal y.
    torch.manual_seed(0)
    A, n = rows(5, 12), 20_000
    lengths = path_lengths(generator_of(A, 12), rows(n, 5))
    assert lengths.square().mean().item() == pytest.approx(A.square().sum().item(), rel=0.02)


def test_path_lengths_over_layers_are_root_mean_squares():
    A, w = rows(5, 12), rows(7, 4, 5, seed=1)
    y = rows(7, 12, seed=2)
    each = [path_lengths(generator_of(A * (i + 1), 12), w[:, i], y) for i in range(4)]
    total = path_lengths(lambda w: sum(w[:, i] @ (A * (i + 1)) for i in range(4)), w, y)
    torch.testing.assert_close(total, torch.stack(each).square().mean(0).sqrt())


def test_a_generator_that_stretches_alike_costs_nothing_at_its_own_length():
    # An orthogonal J keeps ‖y‖; with y of one length, all path lengths are equal.
    Q, _ = torch.linalg.qr(rows(6, 6))
    y = rows(9, 6, seed=1)
    y = 3 * y / y.norm(dim=1, keepdim=True)
    lengths = path_lengths(generator_of(Q, 6), rows(9, 6, seed=2), y)
    assert path_length_penalty(lengths, torch.tensor(3.0)).item() < 1e-10
    assert path_length_penalty(lengths, torch.tensor(1.0)).item() == pytest.approx(4, rel=1e-5)


def test_path_length_penalty_is_a_mean_and_its_target_is_held():
    lengths, target = torch.tensor([1.0, 4.0], requires_grad=True), torch.tensor(2.0, requires_grad=True)
    penalty = path_length_penalty(lengths, target)
    assert penalty.item() == (1 + 4) / 2
    found = torch.autograd.grad(penalty, [lengths, target], allow_unused=True)
    assert found[0].tolist() == [-1, 2]
    assert found[1] is None


def test_path_length_gradients_agree_with_finite_differences_and_reach_what_made_the_latents():
    z, y = rows(3, 2).double(), rows(3, 5, seed=1).double()
    target = torch.tensor(0.7, dtype=torch.float64)

    def penalty(mapping: Tensor, a: Tensor, b: Tensor) -> Tensor:
        lengths = path_lengths(lambda w: (w @ a).tanh() @ b, (z @ mapping).tanh(), y)
        return path_length_penalty(lengths, target)

    weights = [rows(2, 3, seed=2), rows(3, 4, seed=3), rows(4, 5, seed=4)]
    weights = [w.double().requires_grad_() for w in weights]
    assert torch.autograd.gradcheck(penalty, weights)
    assert all(g.norm() > 1e-3 for g in torch.autograd.grad(penalty(*weights), weights))


def test_path_lengths_are_float32_inside_bf16_autocast_and_leave_the_latents_alone():
    G = mlp.Generator(4, (2,), 8)
    w, y = rows(6, 4), rows(6, 2, seed=1)
    expected = path_lengths(G, w, y)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(path_lengths(G, w, y), expected)
        assert path_lengths(G, w.bfloat16(), y).dtype == torch.float32
    assert not w.requires_grad
    path_length_penalty(expected, expected.mean()).backward()
    assert any(p.grad is not None and p.grad.norm() > 0 for p in G.parameters())
