import copy

import pytest
import torch
from torch import Tensor, nn

from pushforward.core.duel import Sampler, two_players
from pushforward.core.seeding import torch_seeded
from pushforward.layers.conditioning import ConditionalBatchNorm
from pushforward.layers.spectral import spectral
from pushforward.layers.standing import Standing, standing
from pushforward.networks.biggan import Critic, Generator

LATENT, CLASSES = 6, 3


def network() -> nn.Module:
    """A generator with both kinds of BatchNorm and a spectral norm, whose running means are not yet worth anything."""
    with torch_seeded("standing network"):
        return spectral(Generator(LATENT, (1, 8, 8), 2, CLASSES, shared=4))


def batches(*sizes: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    draws = torch.Generator().manual_seed(seed)
    return [(torch.randn(n, LATENT, generator=draws), torch.randint(CLASSES, (n,), generator=draws)) for n in sizes]


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


def state(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def test_they_are_mean_and_variance_of_all_that_the_layers_were_given():
    net, given = network(), batches(5, 16, 9)
    probe = copy.deepcopy(net).eval()
    seen: dict[nn.Module, list[Tensor]] = {norm: [] for norm in norms(probe)}
    for norm in norms(probe):
        norm.train().register_forward_pre_hook(lambda layer, x: seen[layer].append(x[0].detach().double()))
    for z, y in given:
        probe(z, y)
    found = norms(standing(net, given))
    assert len(found) == 3
    for own, there in zip(norms(probe), found, strict=True):
        maps = torch.cat(seen[own]).movedim(1, 0).flatten(1)  # [C, B·H·W]
        torch.testing.assert_close(there.running_mean, maps.mean(1).float(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(there.running_var, maps.var(1).float(), rtol=1e-5, atol=1e-6)


def test_one_batch_drawn_by_its_own_statistics_is_drawn_as_in_training():
    net, ((z, y),) = network(), batches(512)
    images = standing(net, [(z, y)])(z, y)
    plain = copy.deepcopy(net).eval()
    for norm in norms(plain):
        norm.train()
    torch.testing.assert_close(images, plain(z, y), rtol=1e-3, atol=1e-3)
    assert (images - net.eval()(z, y)).abs().max() > 0.05


def test_the_order_of_the_batches_does_not_matter():
    given = batches(4, 8, 16, 32)
    one, other = standing(network(), given), standing(network(), given[::-1])
    for a, b in zip(norms(one), norms(other), strict=True):
        torch.testing.assert_close(a.running_mean, b.running_mean, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(a.running_var, b.running_var, rtol=1e-6, atol=1e-7)


def test_the_network_itself_is_left_as_it_was():
    net = network().train()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)  # so that a spectral norm would iterate
    before, modes, wants = state(net), [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]
    made = standing(net, batches(8, 8))
    after = state(net)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()] == wants
    assert not any(m.training for m in made.modules())
    assert not any(m._forward_pre_hooks for m in made.modules())
    still = [key for key in before if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert all(torch.equal(made.state_dict()[key], before[key]) for key in still)  # spectral norms did not iterate


def test_norms_of_vectors_have_them_too_and_one_without_running_means_goes_on_without():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, track_running_stats=False))
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1
    first = standing(net, [(x[:20],), (x[20:],)])[0]
    torch.testing.assert_close(first.running_mean, x.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first.running_var, x.var(0), rtol=1e-5, atol=1e-6)


def test_a_network_without_batchnorm_is_copied_and_no_batches_are_refused():
    D = Critic((1, 8, 8), 2)
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(standing(D, [])(x), D(x))
    with pytest.raises(ValueError, match="1 or more batches, got none; give some"):
        standing(ConditionalBatchNorm(2, 2), [])


def sampler(ema: float | None = 100.0) -> tuple[Standing, Sampler]:
    players = two_players(network(), Critic((1, 8, 8), 2, CLASSES), lr=1e-3, ema=ema)
    source = Sampler(players["generator"])
    return Standing(source, LATENT, CLASSES, passes=3, batch=8), source


@pytest.mark.parametrize("ema", [100.0, None])
def test_a_sampler_draws_the_same_until_the_weights_change(ema):
    sample, source = sampler(ema)
    ((z, y),) = batches(4)
    before, own = state(source.network), list(source.network.buffers())
    first, net = sample(z, y), sample.network
    assert all(a is b for a, b in zip(own, source.network.buffers(), strict=True))
    assert all(torch.equal(before[key], value) for key, value in state(source.network).items())
    assert not first.requires_grad
    assert torch.equal(sample(z, y), first)
    assert sample.network is net
    torch.testing.assert_close(net(z, y), first, rtol=1e-5, atol=1e-6)
    again, _ = sampler(ema)
    assert torch.equal(again(z, y), first)
    with torch.no_grad():
        next(source.network.parameters()).mul_(2.0)
    assert sample.network is not net
    assert not torch.equal(sample(z, y), first)


def test_a_sampler_of_no_or_of_single_examples_is_refused():
    _, source = sampler()
    for passes, batch in [(0, 8), (2, 1)]:
        with pytest.raises(ValueError, match=f"1 or more batches of 2 or more, got {passes} of {batch}"):
            Standing(source, LATENT, CLASSES, passes=passes, batch=batch)
