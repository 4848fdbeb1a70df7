import copy

import pytest
import torch
from torch import nn

from pushforward.core.duel import Judge, Sampler, alternate, two_players
from pushforward.core.game import Clock
from pushforward.core.schedule import linear
from pushforward.core.seeding import torch_seeded
from pushforward.networks import dcgan, mlp
from pushforward.objectives.adversarial import non_saturating, relativistic


def networks() -> tuple[nn.Module, nn.Module]:
    with torch_seeded("duel"):
        return dcgan.Generator(4, (1, 8, 8), 4), dcgan.Critic((1, 8, 8), 4)


def players(ema: float | None = 100.0):
    G, D = networks()
    return two_players(G, D, lr=1e-3, betas=(0.5, 0.9), ema=ema)


def test_each_player_owns_its_own_network_and_only_the_generator_has_an_average():
    found = players()
    assert list(found) == ["critic", "generator"]
    for name, net in (("critic", "D"), ("generator", "G")):
        owned = {id(p) for group in found[name].optimizer.param_groups for p in group["params"]}
        assert owned == {id(p) for p in found[name].nets[net].parameters()}
    assert found["critic"].ema is None
    assert found["generator"].ema is not None
    assert players(ema=None)["generator"].ema is None


def test_two_rates_are_the_critics_and_the_generators_and_decay_by_one_share():
    G, D = networks()
    found = two_players(G, D, lr=(1e-4, 4e-4), betas=(0.0, 0.9), ema=None)
    assert [found[name].optimizer.param_groups[0]["lr"] for name in ("critic", "generator")] == [1e-4, 4e-4]
    assert found["critic"].lr is None
    found = two_players(G, D, lr=(1e-4, 4e-4), betas=(0.0, 0.9), ema=None, decay=linear(1, 0, 10))
    rates = {name: player.lr for name, player in found.items()}
    assert [rates["critic"](seen) for seen in (0, 5, 10)] == pytest.approx([1e-4, 5e-5, 0])
    assert [rates["generator"](seen) for seen in (0, 5, 10)] == pytest.approx([4e-4, 2e-4, 0])


def modes(net: nn.Module) -> list[bool]:
    return [module.training for module in net.modules()]


@pytest.mark.parametrize("ema", [None, 100.0])
def test_sampling_is_in_eval_mode_and_leaves_modes_statistics_and_gradients_alone(ema):
    player = players(ema)["generator"]
    G = player.nets["G"]
    G(torch.randn(16, 4))  # running statistics of its own
    G.layers[0].eval()  # a mode that differs from its parent's
    before, training = copy.deepcopy(player.nets.state_dict()), modes(G)
    z = torch.randn(6, 4)
    x = Sampler(player)(z)
    assert not x.requires_grad
    assert torch.equal(Sampler(player)(z), x)
    torch.testing.assert_close(Sampler(player)(z[:1]), x[:1])  # no statistics of the batch
    assert modes(G) == training
    assert all(torch.equal(v, before[k]) for k, v in player.nets.state_dict().items())
    assert all(p.requires_grad for p in G.parameters())


def test_samples_come_from_the_average_with_the_running_statistics_of_the_network():
    player = players(ema=100.0)["generator"]
    G = player.nets["G"]
    z = torch.randn(6, 4)
    with torch.no_grad():
        for p in G.parameters():
            p.add_(0.1 * torch.randn_like(p))
    G(torch.randn(16, 4) * 3)
    assert player.ema is not None
    stale = Sampler(player)(z)
    player.ema.update(player.nets, 10_000)  # past its half-life a hundred times over: the network itself
    assert not torch.equal(Sampler(player)(z), stale)
    torch.testing.assert_close(Sampler(player)(z), G.eval()(z), rtol=1e-4, atol=1e-5)
    for key, value in player.ema.nets.named_buffers():
        assert torch.equal(value, dict(player.nets.named_buffers())[key])


def test_modes_come_back_after_an_error_too():
    player = players(ema=None)["generator"]
    with pytest.raises(RuntimeError):
        Sampler(player)(torch.randn(6, 5))
    assert all(modes(player.nets["G"]))
    assert torch.is_grad_enabled()


def test_the_judge_is_the_critic_in_eval_mode():
    player = players()["critic"]
    D = player.nets["D"]
    x = torch.randn(6, 1, 8, 8)
    D(x)
    logits = Judge(player)(x)
    assert all(modes(D))
    assert logits.shape == (6,)
    assert not logits.requires_grad
    assert torch.equal(logits, D.eval()(x).detach())


def test_a_loss_that_is_not_relative_never_shows_the_generator_the_real_examples():
    shown = []
    for losses in (non_saturating, relativistic):
        G, D = mlp.Generator(3, (2,)), mlp.Critic((2,))
        D.register_forward_hook(lambda module, args, out: shown.append(args[0]))
        clock = Clock(0)
        clock.begin_round()
        x = torch.randn(5, 2)
        _, generator = alternate(G, D, losses, 3)(iter([{"x": x}]), clock)
        shown.clear()
        generator.objective(generator.batch)
        assert sum(torch.equal(given, x) for given in shown) == int(losses.relative)


def test_real_and_fake_are_normalised_apart_in_the_critics_move():
    G, D = networks()
    sizes = []
    D.register_forward_hook(lambda module, args, out: sizes.append(len(args[0])))
    clock = Clock(0)
    clock.begin_round()
    critic, _ = alternate(G, D, non_saturating, 4)(iter([{"x": torch.randn(5, 1, 8, 8)}]), clock)
    critic.objective(critic.batch)
    assert sizes == [5, 5]
