"""A loss or gradient that is not finite stops the run before the step; where the device skips the step, soon after."""

import math

import pytest
import torch
from games import LATENT, Table, assert_same, gan, mlp, mlp_gan, one_player, rounds, weights
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from pushforward.core.engine import Engine, NonFiniteError
from pushforward.core.game import Game, Move, Player


class Spoilt(nn.Module):
    """A network whose output becomes `value` from its `at`th call on."""

    def __init__(self, net: nn.Module, at: int, value: float) -> None:
        super().__init__()
        self.net, self.at, self.value, self.calls = net, at, value, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = self.net(x)
        return y * self.value if self.calls >= self.at else y


class Overflowing(torch.autograd.Function):
    """The identity, with an infinite gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        return g * math.inf


def nan_term(net: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    good, bad = net(batch["x"]).mean(), net(batch["x"]).mean() * math.nan
    return good + bad, {"good": good, "penalty": bad}


def test_a_term_that_is_nan_stops_before_the_step_and_is_named():
    game = one_player(nan_term, ema=100)
    before = weights(game)
    engine = Engine(game, Table(2), batch=4)
    engine.clock.round = 6
    with pytest.raises(
        NonFiniteError, match="model's penalty is not finite in round 6; the step was not taken"
    ) as error:
        engine.round()
    assert (error.value.player, error.value.term, error.value.round) == ("model", "penalty", 6)
    assert_same(before, weights(game))


def test_a_loss_without_terms_is_named_loss():
    with pytest.raises(NonFiniteError, match="model's loss is not finite"):
        Engine(one_player(lambda net, b: (net(b["x"]).mean() / 0, {})), Table(2), batch=4).round()


def test_an_infinite_gradient_under_a_finite_loss_is_named_by_its_parameter():
    net = mlp(2, 1)

    def objective(net: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = net(batch["x"].abs()).mean() + Overflowing.apply(net[2].bias).sum()
        return loss, {"diagnostic": loss.detach() * math.inf}

    game = one_player(objective, net)
    before = weights(game)
    with pytest.raises(NonFiniteError, match=r"model's gradient of net\.2\.bias is not finite in round 0"):
        Engine(game, Table(2), batch=4).round()
    assert_same(before, weights(game))


def test_a_diagnostic_that_is_not_finite_is_no_reason_to_stop():
    game = one_player(lambda net, b: (net(b["x"]).square().mean(), {"ratio": torch.tensor(math.inf)}))
    engine = rounds(Engine(game, Table(2), batch=4), 1)
    assert engine.scalars.flush()["model/ratio"] == math.inf


@pytest.mark.parametrize("simultaneous", [False, True])
def test_the_critics_step_stands_and_the_generators_does_not_unless_they_are_simultaneous(simultaneous):
    D = Spoilt(mlp(2, 1), at=9, value=math.nan)  # 3 calls a round: real, fake, and the generator's
    game = gan(mlp(LATENT, 2), D, simultaneous=simultaneous)
    engine = rounds(Engine(game, Table(2), batch=4), 2)
    before = weights(game)
    with pytest.raises(NonFiniteError, match="generator's loss is not finite in round 2"):
        engine.round()
    after = weights(game)
    stood = [key for key in before if torch.equal(before[key], after[key])]
    moved = sorted(set(before) - set(stood))
    assert bool(moved) != simultaneous
    assert all(key.startswith("critic/") for key in moved)


def test_after_an_unsound_step_no_state_can_be_saved():
    engine = Engine(one_player(nan_term), Table(2), batch=4)
    with pytest.raises(NonFiniteError):
        engine.round()
    with pytest.raises(RuntimeError, match="only between rounds"):
        engine.state_dict()


def deferred(game: Game, **options) -> Engine:
    """An engine that finds out later, as on CUDA."""
    engine = Engine(game, Table(2), batch=4, **options)
    engine._deferred = True
    return engine


def steps(game: Game) -> list[int]:
    return [int(p.optimizer.state[q]["step"]) for p in game.players.values() for q in p.nets.parameters()]


def test_skipped_steps_leave_every_weight_as_it_was_until_check_names_the_first():
    D = Spoilt(mlp(2, 1), at=9, value=math.nan)
    game = gan(mlp(LATENT, 2), D, ema=None)
    engine = rounds(deferred(game), 2)
    engine.check()
    engine.round()  # round 2: the critic moves, the generator's step is skipped
    before, taken = weights(game), steps(game)
    assert set(taken) == {2, 3}
    D.value = 1.0  # sound again, but the steps after the first unsound one are skipped all the same
    rounds(engine, 2)
    assert_same(before, weights(game))
    assert steps(game) == taken
    with pytest.raises(NonFiniteError, match="generator's loss is not finite in round 2"):
        engine.check()


def test_sound_steps_are_the_same_whether_the_host_looks_now_or_later():
    games = [mlp_gan(), mlp_gan()]
    rounds(Engine(games[0], Table(2), batch=4), 3)
    rounds(deferred(games[1]), 3).check()
    assert_same(weights(games[0]), weights(games[1]))


def test_a_term_found_late_keeps_its_name_and_the_average_stays_finite():
    game = one_player(nan_term, ema=100)
    engine = rounds(deferred(game), 3)
    assert all(value.isfinite().all() for value in weights(game).values())
    with pytest.raises(NonFiniteError, match="model's penalty is not finite in round 0"):
        engine.check()


def test_a_spoilt_engine_has_no_state_to_save_even_when_nobody_checked():
    engine = rounds(deferred(one_player(nan_term)), 1)
    with pytest.raises(NonFiniteError, match="model's penalty"):
        engine.state_dict()


def test_a_checkpoint_makes_a_spoilt_engine_sound_again():
    game = one_player(nan_term)
    engine = deferred(game)
    saved = engine.state_dict()
    rounds(engine, 1)
    engine.load_state_dict(saved)
    engine.check()


def test_an_optimizer_that_cannot_skip_is_stopped_at_once():
    game = one_player(nan_term)
    model = game.players["model"]
    model.optimizer = Adam(model.nets.parameters(), foreach=False)
    before = weights(game)
    with pytest.raises(NonFiniteError, match="model's penalty is not finite in round 0"):
        deferred(game).round()
    assert_same(before, weights(game))


def test_a_player_that_cannot_skip_stops_after_one_that_could():
    net, other = mlp(2, 1), mlp(2, 1)
    nets = [nn.ModuleDict({"net": n}) for n in (net, other)]

    def play(batches, clock):
        x = next(batches)["x"]
        yield Move("fused", lambda b: nan_term(net, b), {"x": x})
        yield Move("plain", lambda b: (other(b["x"]).mean(), {}), {"x": x})

    players = {
        "fused": Player(nets[0], Adam(net.parameters(), fused=True)),
        "plain": Player(nets[1], SGD(other.parameters(), lr=1.0)),
    }
    game = Game(players, play, lambda z, y=None: z, (2,))
    before = weights(game)
    with pytest.raises(NonFiniteError, match="fused's penalty is not finite in round 0"):
        deferred(game).round()
    assert_same(before, weights(game))


@pytest.mark.parametrize("kind", [Adam, AdamW, SGD])
def test_a_fused_optimizer_honours_the_switch_that_the_engine_uses(kind):
    p = nn.Parameter(torch.ones(5))
    optimizer = kind([p], lr=0.1, fused=True)
    p.grad = torch.ones(5)
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert torch.equal(p, torch.ones(5))
    optimizer.found_inf = torch.tensor(0.0)
    optimizer.step()
    assert not torch.equal(p, torch.ones(5))
