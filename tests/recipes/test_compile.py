"""`--compile` reaches what a game calls, in whatever parts it calls a network."""

from typing import Any

import pytest
from pair import image_recipes
from small import BATCH, build, data, small
from torch import nn

from pushforward.core.engine import Engine


# LOGAN's generator runs as it is: a move calls it twice, once to be differentiated twice and so not compiled, and
# gradients of that call refuse running means that a compiled BatchNorm has changed since.
@pytest.mark.parametrize("name", [name for name in image_recipes() if name != "logan"])
def test_both_players_run_what_was_compiled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    game, called = build(name, small(name, "images"), "colours"), set()

    def compile(net: nn.Module, *given: Any, **named: Any) -> None:
        def counted(*x: Any, **more: Any) -> Any:
            called.add(net)
            return net._call_impl(*x, **more)

        net._compiled_call_impl = counted

    monkeypatch.setattr(nn.Module, "compile", compile)  # of itself it would take a compiler, and minutes
    engine = Engine(game, data("colours"), batch=BATCH, seed=1, compile=True)
    engine.round()
    for player in game.players.values():
        assert called & set(player.nets.modules())
