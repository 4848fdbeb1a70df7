import itertools
import time

import pytest
import torch
from games import Table, mlp_gan, one_player

from pushforward.core import training
from pushforward.core.engine import Engine, NonFiniteError
from pushforward.core.game import Game
from pushforward.core.training import Hook, fit


def engine(batch: int = 10, game: Game | None = None) -> Engine:
    return Engine(game or mlp_gan(), Table(2), batch=batch)


def test_hooks_run_in_order_each_time_their_multiple_is_passed():
    e, calls = engine(batch=10), []
    hooks = [
        Hook(25, lambda e: calls.append(("a", e.clock.seen))),
        Hook(40, lambda e: calls.append(("b", e.clock.seen))),
    ]
    assert fit(e, examples=100, hooks=hooks) == "finished"
    assert calls == [("a", 30), ("b", 40), ("a", 50), ("a", 80), ("b", 80), ("a", 100)]
    assert e.clock.seen == 100
    assert e.clock.round == 10


def test_a_hook_runs_once_a_round_however_many_multiples_the_round_passes():
    e, calls = engine(batch=10), []
    fit(e, examples=30, hooks=[Hook(3, lambda e: calls.append(e.clock.seen))])
    assert calls == [10, 20, 30]


def test_after_a_resume_hooks_run_where_they_would_have_run():
    calls = {"whole": [], "resumed": []}
    fit(engine(), examples=120, hooks=[Hook(25, lambda e: calls["whole"].append(e.clock.seen))])
    hooks = [Hook(25, lambda e: calls["resumed"].append(e.clock.seen))]
    first = engine()
    fit(first, examples=40, hooks=hooks)
    second = engine()
    second.load_state_dict(first.state_dict())
    fit(second, examples=120, hooks=hooks)
    assert calls["whole"] == calls["resumed"] == [30, 50, 80, 100]


def test_a_run_that_has_seen_enough_plays_nothing():
    e = engine()
    fit(e, examples=20)
    assert fit(e, examples=20) == "finished"
    assert e.clock.round == 2


def test_stopping_is_asked_after_every_round_and_the_round_is_whole():
    e, answers = engine(), itertools.chain([False, False, True], itertools.repeat(False))
    assert fit(e, examples=1000, stopping=lambda: next(answers)) == "stopped"
    assert e.clock.round == 3
    assert e.state_dict()["clock"]["seen"] == 30


def test_minutes_end_the_run(monkeypatch):
    now = itertools.count(1000.0, 20.0)  # every look at the clock is 20 seconds later
    monkeypatch.setattr(training.time, "monotonic", lambda: next(now))
    e = engine()
    assert fit(e, examples=10**6, minutes=1) == "out of time"
    assert e.clock.round == 3
    assert training.time is time


def test_a_hook_never_sees_a_spoilt_engine():
    game = one_player(lambda net, b: (net(b["x"]).mean() / 0, {}))
    e, saved = engine(game=game), []
    e._deferred = True
    with pytest.raises(NonFiniteError, match="model's loss is not finite in round 0"):
        fit(e, examples=100, hooks=[Hook(30, lambda e: saved.append(e.clock.seen))])
    assert saved == []
    e = engine(game=game)
    e._deferred = True
    with pytest.raises(NonFiniteError):
        fit(e, examples=20)


def test_a_game_that_draws_no_examples_is_refused_rather_than_played_for_ever():
    game = mlp_gan()
    game.play = lambda batches, clock: iter(())
    with pytest.raises(ValueError, match="a round drew no examples"):
        fit(engine(game=game), examples=10)


def test_a_hook_needs_a_period():
    with pytest.raises(ValueError, match="got 0"):
        Hook(0, lambda e: None)


def test_training_leaves_the_networks_as_the_recipe_built_them_when_a_hook_raises():
    game = mlp_gan()

    def stop(e: Engine) -> None:
        raise KeyboardInterrupt

    e = engine(game=game)
    with pytest.raises(KeyboardInterrupt):
        fit(e, examples=100, hooks=[Hook(10, stop)])
    assert all(p.requires_grad for player in game.players.values() for p in player.nets.parameters())
    assert e.state_dict()["clock"] == {"seed": 0, "seen": 10, "round": 1}
    assert torch.is_grad_enabled()
