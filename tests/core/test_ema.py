import copy

import pytest
import torch
from games import Table, assert_same, conv_gan, rounds, weights
from torch import nn

from pushforward.core.ema import EMA
from pushforward.core.engine import Engine


def linear(value: float) -> nn.ModuleDict:
    net = nn.Linear(3, 2)
    nn.init.constant_(net.weight, value)
    nn.init.constant_(net.bias, value)
    return nn.ModuleDict({"net": net})


@pytest.mark.parametrize("steps", [1, 4, 100])
def test_after_a_half_life_of_examples_the_distance_to_a_constant_has_halved(steps):
    ema = EMA(linear(1.0), half_life=1000, ramp=None)
    target = linear(0.0)
    for i in range(1, steps + 1):
        ema.update(target, 1000 * i // steps)
    assert ema.nets["net"].weight[0, 0].item() == pytest.approx(0.5, rel=1e-5)
    ema.update(target, 3000)
    assert ema.nets["net"].bias[0].item() == pytest.approx(0.125, rel=1e-5)


def test_while_few_examples_were_seen_the_half_life_is_their_share():
    ema = EMA(linear(1.0), half_life=1000, ramp=0.05)
    assert ema.decay(64) == pytest.approx(0.5**20, rel=1e-9)
    ema.seen = 1000
    assert ema.decay(1050) == pytest.approx(0.5 ** (50 / 52.5), rel=1e-9)
    ema.seen = 100_000
    assert ema.decay(101_000) == pytest.approx(0.5, rel=1e-9)


def test_an_update_without_new_examples_changes_no_weight():
    ema = EMA(linear(1.0), half_life=10)
    ema.update(linear(0.0), 0)
    assert ema.nets["net"].weight[0, 0].item() == 1
    ema.update(linear(0.5), 20)
    value = ema.nets["net"].weight.clone()
    ema.update(linear(0.0), 20)
    assert torch.equal(ema.nets["net"].weight, value)


def test_buffers_are_copied_also_those_that_a_network_replaces():
    net = nn.BatchNorm1d(3)
    net.register_buffer("count", torch.tensor(0))
    nets = nn.ModuleDict({"net": net})
    ema = EMA(nets, 1e9)
    net(torch.randn(8, 3) + 5)
    net.count = torch.tensor(7)
    ema.update(nets, 8)
    assert torch.equal(ema.nets["net"].running_mean, net.running_mean)
    assert ema.nets["net"].num_batches_tracked == 1
    assert ema.nets["net"].count == 7
    assert ema.nets["net"].running_mean.data_ptr() != net.running_mean.data_ptr()


def test_the_average_is_in_eval_mode_asks_no_gradients_and_shares_no_memory():
    nets = nn.ModuleDict({"net": nn.Sequential(nn.Linear(2, 2), nn.Dropout())})
    ema = EMA(nets, 10)
    assert not any(module.training for module in ema.nets.modules())
    assert not any(p.requires_grad for p in ema.nets.parameters())
    assert all(p.requires_grad for p in nets.parameters())
    assert {p.data_ptr() for p in ema.nets.parameters()}.isdisjoint(p.data_ptr() for p in nets.parameters())


def test_a_generators_running_statistics_follow_in_a_run():
    game = conv_gan()
    rounds(Engine(game, Table(3, 8, 8), batch=6), 3)
    G = game.players["generator"]
    assert torch.equal(G.ema.nets["net"][2].running_mean, G.nets["net"][2].running_mean)
    assert G.nets["net"][2].running_mean.abs().sum() > 0


def test_a_state_that_was_saved_goes_on_as_before():
    nets = linear(1.0)
    one = EMA(nets, 100)
    one.update(linear(0.3), 40)
    saved = copy.deepcopy(one.state_dict())
    other = EMA(linear(9.0), 100)
    other.load_state_dict(saved)
    for ema in (one, other):
        ema.update(linear(0.7), 90)
    assert_same(dict(one.nets.state_dict()), dict(other.nets.state_dict()))
    assert one.seen == other.seen == 90


def test_half_lives_and_ramps_are_positive():
    with pytest.raises(ValueError, match="half-life must be positive, got 0; give it in examples"):
        EMA(linear(1.0), 0)
    with pytest.raises(ValueError, match=r"ramp must be positive, got 0; use 0\.05, or None"):
        EMA(linear(1.0), 10, ramp=0)


def test_the_average_of_a_run_is_saved_and_restored():
    game = conv_gan()
    engine = rounds(Engine(game, Table(3, 8, 8), batch=6), 3)
    fresh = conv_gan()
    again = Engine(fresh, Table(3, 8, 8), batch=6)
    again.load_state_dict(engine.state_dict())
    assert_same(weights(game), weights(fresh))
