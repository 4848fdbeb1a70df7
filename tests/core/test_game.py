import pytest
import torch
from games import mlp, player
from torch import nn
from torch.optim import SGD, Adam

from pushforward.core.game import Clock, Game, Player


def game(players: dict[str, Player]) -> Game:
    return Game(players, lambda batches, clock: iter(()), lambda z, y=None: z, (2,))


def test_a_parameter_of_two_owners_is_refused():
    net = mlp(2, 1)
    with pytest.raises(ValueError, match=r"shape \(16, 2\) belongs to both 'a' and 'b'; every parameter has one owner"):
        game({"a": player(net), "b": player(net)})


def test_a_parameter_of_nobody_is_refused():
    nets = nn.ModuleDict({"net": mlp(2, 1)})
    with pytest.raises(ValueError, match=r"'a' has the parameter 'net\.2\.weight' but its optimizer does not"):
        game({"a": Player(nets, Adam(nets["net"][0].parameters()))})


def test_a_parameter_that_no_checkpoint_would_hold_is_refused():
    net, loose = mlp(2, 1), nn.Parameter(torch.zeros(3))
    nets = nn.ModuleDict({"net": net})
    with pytest.raises(ValueError, match=r"'a' moves a parameter of shape \(3,\) that is in none of its networks"):
        game({"a": Player(nets, SGD([*net.parameters(), loose], lr=1.0))})


@pytest.mark.parametrize("order", [("trunk", "head"), ("head", "trunk")])
def test_a_network_may_hold_parameters_that_another_player_owns_in_any_order(order):
    trunk, head = nn.Linear(2, 2), nn.Linear(2, 1)
    players = {
        "trunk": Player(nn.ModuleDict({"t": trunk}), SGD(trunk.parameters(), lr=1.0)),
        "head": Player(nn.ModuleDict({"t": trunk, "h": head}), SGD(head.parameters(), lr=1.0)),
    }
    assert list(game({name: players[name] for name in order}).players) == list(order)


def test_a_frozen_parameter_needs_no_owner():
    net = mlp(2, 1)
    net[2].requires_grad_(False)
    nets = nn.ModuleDict({"net": net})
    assert game({"a": Player(nets, SGD(net[0].parameters(), lr=1.0))}).classes is None


def test_the_clock_draws_the_same_again_in_the_same_round_and_other_numbers_in_the_next():
    clock = Clock(5)
    clock.begin_round()
    first = clock.normal(4, 3), clock.uniform(4), clock.integers(4, 9)
    clock.begin_round()
    again = clock.normal(4, 3), clock.uniform(4), clock.integers(4, 9)
    clock.round = 1
    clock.begin_round()
    later = clock.normal(4, 3)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], later)
    assert [x.shape for x in first] == [(4, 3), (4,), (4,)]


def test_the_clocks_draws_follow_their_laws():
    clock = Clock(0)
    clock.begin_round()
    z, u, k = clock.normal(40_000), clock.uniform(40_000), clock.integers(40_000, 4)
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.std().item() == pytest.approx(1, abs=0.02)
    assert u.mean().item() == pytest.approx(0.5, abs=0.01)
    assert 0 <= u.min() < 0.001 < 0.999 < u.max() < 1
    assert (k.bincount() / 40_000).tolist() == pytest.approx([0.25] * 4, abs=0.01)
