import math

import pytest
import torch
from torch import Tensor, nn

from pushforward.core.checkpoint import read, write
from pushforward.networks import mlp
from pushforward.objectives.adversarial import wasserstein
from pushforward.objectives.regularisers import (
    LeCamAnchors,
    RunningMean,
    balanced_consistency,
    consistency,
    latent_consistency,
    latent_diversity,
    lecam,
    off_diagonal,
    orthogonal,
    weight_clipping,
)


def rows(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def total(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)


def test_a_running_mean_weighs_each_batch_by_its_age():
    mean, values = RunningMean(0.9), [3.0, -1.0, 5.0]
    assert mean.value.item() == 0
    for value in values:
        mean.update(torch.tensor([value - 1, value + 1]))
    weights = [0.81, 0.9, 1.0]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert mean.value.item() == pytest.approx(expected, rel=1e-6)


def test_a_running_mean_is_right_from_its_first_batch_or_starts_at_zero_as_asked():
    assert RunningMean(0.99).update(torch.tensor([7.0])).item() == pytest.approx(7, rel=1e-6)
    # StyleGAN2's: value ← value + 0.01 (mean − value), from 0.
    plain = RunningMean(0.99, debias=False)
    assert plain.update(torch.tensor([7.0])).item() == pytest.approx(0.07, rel=1e-5)
    assert plain.update(torch.tensor([7.0])).item() == pytest.approx(0.07 + 0.01 * 6.93, rel=1e-5)


def test_a_running_mean_takes_no_gradient_and_refuses_a_decay_of_one():
    values = torch.ones(3, requires_grad=True)
    assert not RunningMean().update(values).requires_grad
    for decay in (1.0, -0.1):
        with pytest.raises(ValueError, match=r"decay must be in \[0, 1\), got"):
            RunningMean(decay)


def test_anchors_go_on_from_a_checkpoint_as_if_never_stopped(tmp_path):
    whole, first, second = LeCamAnchors(0.9), LeCamAnchors(0.9), LeCamAnchors(0.9)
    batches = [(rows(4, seed=i), rows(4, seed=10 + i)) for i in range(6)]
    for real, fake in batches:
        whole.update(real, fake)
    for real, fake in batches[:3]:
        first.update(real, fake)
    write(tmp_path / "0", {"anchors": first.state_dict()})
    second.load_state_dict(read(tmp_path / "0")["anchors"])
    for real, fake in batches[3:]:
        second.update(real, fake)
    assert torch.equal(whole.real.value, second.real.value)
    assert torch.equal(whole.fake.value, second.fake.value)
    assert whole.real.value != whole.fake.value


def anchored(real: float, fake: float) -> LeCamAnchors:
    anchors = LeCamAnchors()
    anchors.update(torch.tensor([real]), torch.tensor([fake]))
    return anchors


def test_lecam_pulls_each_kind_towards_the_others_mean():
    real, fake = torch.tensor([1.0, -2.0], requires_grad=True), torch.tensor([0.5, 3.0], requires_grad=True)
    anchors = anchored(2.0, -1.0)
    loss = lecam(real, fake, anchors)
    assert loss.item() == pytest.approx((2**2 + 1**2) / 2 + (1.5**2 + 1**2) / 2, rel=1e-5)
    by_real, by_fake = torch.autograd.grad(loss, (real, fake))
    assert by_real.tolist() == pytest.approx([2.0, -1.0], rel=1e-5)
    assert by_fake.tolist() == pytest.approx([-1.5, 1.0], rel=1e-5)
    assert lecam(real, fake, anchors, one_sided=True).item() == pytest.approx(2**2 / 2 + 1.5**2 / 2, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_wasserstein_with_lecam_plays_for_a_multiple_of_the_lecam_divergence(alpha, weight):
    # Tseng et al. 2021, Proposition 1, for anchors α_R = −α_F = α, by our own algebra: the best critic is
    # (1 − 2λα)(p − q) / (2λ(p + q)), and the value (1 − 2λα)² Δ / (4λ) − 2λα², Δ = Σ (p − q)² / (p + q).
    counts = torch.tensor([[1, 2, 4, 17], [12, 6, 5, 1]])
    p, q = counts.double() / 24
    anchors, share = anchored(alpha, -alpha), 1 - 2 * weight * alpha

    def loss(D: Tensor) -> float:
        real, fake = D.repeat_interleave(counts[0]), D.repeat_interleave(counts[1])
        return (wasserstein.critic(real, fake) + weight * lecam(real, fake, anchors)).item()

    best = share * (p - q) / (2 * weight * (p + q))
    divergence = ((p - q).square() / (p + q)).sum().item()
    assert -loss(best) == pytest.approx(share**2 * divergence / (4 * weight) - 2 * weight * alpha**2, abs=1e-6)
    for seed in range(20):
        assert loss(best + 0.01 * rows(4, seed=seed).double()) > loss(best)


def test_consistency_is_the_mean_squared_change_of_the_logits():
    x = rows(5, 2, 3)
    step = torch.arange(5.0).view(5, 1, 1).expand_as(x) / 6
    assert consistency(total, x, x + step).item() == pytest.approx((0 + 1 + 4 + 9 + 16) / 5, rel=1e-5)
    assert consistency(total, x, x).item() == 0
    assert consistency(total, x, x.flip(2)).item() < 1e-10  # the sum does not see a flip


def test_balanced_consistency_adds_that_of_the_fakes():
    real, fake = rows(5, 4), rows(5, 4, seed=1)
    found = balanced_consistency(total, real, real + 1, fake, fake + 0.5)
    assert found.item() == pytest.approx(16 + 4, rel=1e-5)


def test_balanced_consistency_sends_no_gradient_to_the_generator():
    D, G = mlp.Critic((2,), 8), mlp.Generator(3, (2,), 8)
    fake, real = G(rows(6, 3)), rows(6, 2)
    balanced_consistency(D, real, real + 1, fake, fake + 1).backward()
    assert all(p.grad is None for p in G.parameters())
    assert any(p.grad is not None and p.grad.norm() > 0 for p in D.parameters())


def test_logits_of_ten_thousand_give_finite_terms_and_gradients_of_their_own_size():
    anchors = anchored(1e4, -1e4)
    real, fake = torch.tensor([1e4], requires_grad=True), torch.tensor([-1e4], requires_grad=True)
    for one_sided in (False, True):
        loss = lecam(real, fake, anchors, one_sided)
        assert loss.item() == pytest.approx(8e8)
        found = torch.autograd.grad(loss, [real, fake])
        assert [g.item() for g in found] == pytest.approx([4e4, -4e4])
    slope = torch.tensor(1e4, requires_grad=True)
    term = consistency(lambda x: slope * total(x), torch.zeros(3, 2), torch.ones(3, 2))
    assert term.item() == pytest.approx(4e8)
    assert torch.autograd.grad(term, slope)[0].item() == pytest.approx(8e4)


def test_latent_terms_of_linear_players_are_norms_of_their_products():
    A, w = rows(3, 4), rows(4, seed=1)
    z, step = rows(6, 3, seed=2), 0.1 * rows(6, 3, seed=3)
    players = (lambda x: x @ w), (lambda z: z @ A)
    found = latent_consistency(*players, z, z + step)
    assert found.item() == pytest.approx((step @ A @ w).square().mean().item(), rel=1e-4)
    diversity = latent_diversity(players[1], z, z + step)
    assert diversity.item() == pytest.approx(-(step @ A).square().sum(1).mean().item(), rel=1e-4)


def test_consistency_trains_the_critic_and_diversity_the_generator():
    D, G, z = mlp.Critic((2,), 8), mlp.Generator(3, (2,), 8), rows(6, 3)
    latent_consistency(D, G, z, z + 0.1).backward()
    assert all(p.grad is None for p in G.parameters())
    assert any(p.grad is not None and p.grad.norm() > 0 for p in D.parameters())
    D.zero_grad()
    fake = G(z)
    consistency(D, fake, fake + 0.1).backward()
    assert all(p.grad is None for p in G.parameters())
    latent_diversity(G, z, z + 0.1).backward()
    assert any(p.grad is not None and p.grad.norm() > 0 for p in G.parameters())


def test_regularisers_are_float32_inside_bf16_autocast():
    D, G, anchors = mlp.Critic((2,), 8), mlp.Generator(3, (2,), 8), anchored(1.0, -1.0)
    x, z, W = rows(6, 2), rows(6, 3), rows(5, 7)
    terms = {
        "cr": lambda: consistency(D, x, x + 0.1),
        "zcr": lambda: latent_consistency(D, G, z, z + 0.1),
        "diversity": lambda: latent_diversity(G, z, z + 0.1),
        "lecam": lambda: lecam(rows(6), rows(6, seed=1), anchors),
        "orthogonal": lambda: orthogonal(W),
        "off-diagonal": lambda: off_diagonal(W),
    }
    expected = {name: term() for name, term in terms.items()}
    with torch.autocast("cpu", torch.bfloat16):
        for name, term in terms.items():
            assert torch.equal(term(), expected[name]), name
            assert term().dtype == torch.float32
        assert lecam(rows(6).bfloat16(), rows(6).bfloat16(), anchors).dtype == torch.float32


def test_orthogonal_filters_cost_nothing_and_others_their_distance_from_orthogonal():
    Q, _ = torch.linalg.qr(rows(12, 4))
    filters = Q.mT.reshape(4, 3, 2, 2)  # four filters of unit norm at right angles
    assert orthogonal(filters).item() < 1e-10
    assert off_diagonal(filters).item() < 1e-10
    assert orthogonal(2 * filters).item() == pytest.approx(4 * (4 - 1) ** 2, rel=1e-5)
    assert off_diagonal(2 * filters).item() < 1e-9  # the norm is free
    angle = 0.3
    pair = torch.tensor([[1.0, 0.0], [math.sin(angle), math.cos(angle)]])
    assert off_diagonal(pair).item() == pytest.approx(2 * math.sin(angle) ** 2, rel=1e-5)
    assert orthogonal(pair).item() == pytest.approx(2 * math.sin(angle) ** 2, rel=1e-5)


def test_off_diagonals_gradient_is_the_published_codes_but_for_its_factor():
    # By hand 4 (W Wᵀ ⊙ (1 − I)) W; BigGAN's PyTorch code adds 2 of the same to each gradient.
    W = rows(4, 6).requires_grad_()
    (found,) = torch.autograd.grad(off_diagonal(W), W)
    torch.testing.assert_close(found, 4 * ((W @ W.mT) * (1 - torch.eye(4))) @ W)


def test_regularisers_gradients_agree_with_finite_differences_in_float64():
    x, z, a, b = (rows(3, 2, seed=i).double() for i in range(4))
    weights = [rows(2, 4, seed=4).double().requires_grad_(), rows(4, 1, seed=5).double().requires_grad_()]
    anchors = anchored(0.4, -0.2)

    def network(v: Tensor, u: Tensor):
        return lambda x: ((x @ v).tanh() @ u).squeeze(1)

    assert torch.autograd.gradcheck(lambda v, u: consistency(network(v, u), x, a), weights)
    assert torch.autograd.gradcheck(lambda v, u: balanced_consistency(network(v, u), x, a, z, b), weights)
    assert torch.autograd.gradcheck(lambda v, u: latent_consistency(network(v, u), torch.sin, z, b), weights)
    assert torch.autograd.gradcheck(lambda v, u: latent_diversity(lambda z: (z @ v).tanh() * u.mT, z, b), weights)
    for one_sided in (False, True):
        assert torch.autograd.gradcheck(
            lambda v, u, s=one_sided: lecam(network(v, u)(x), network(v, u)(a), anchors, s), weights
        )
    assert torch.autograd.gradcheck(orthogonal, weights[:1])
    assert torch.autograd.gradcheck(off_diagonal, weights[:1])
    assert torch.autograd.gradgradcheck(off_diagonal, weights[:1])
    assert torch.autograd.gradgradcheck(orthogonal, weights[:1])


def test_clipping_brings_each_parameter_to_its_nearest_allowed_value():
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.5, -0.005], [-3.0, 0.01]]))
        net.bias.copy_(torch.tensor([0.02, -0.009]))
    before = net.weight
    weight_clipping(0.01)(net)
    assert net.weight is before
    assert net.weight.flatten().tolist() == pytest.approx([0.01, -0.005, -0.01, 0.01])
    assert net.bias.tolist() == pytest.approx([0.01, -0.009])
    wide = nn.Linear(3, 3)
    weight_clipping()(wide)  # the paper's 0.01
    assert max(p.abs().max().item() for p in wide.parameters()) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="clipped to a positive limit, got 0"):
        weight_clipping(0)
