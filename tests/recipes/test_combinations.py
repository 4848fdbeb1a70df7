"""Any objective, penalty, augmentation and conditioning with the networks of any image recipe, by its options."""

from itertools import cycle
from typing import Any, get_args

import pytest
from pair import image_recipes, zoo
from small import BATCH, build, data, small

from pushforward.core.engine import Engine
from pushforward.games.adversarial import SLOPES, Augment, Loss, Penalty
from pushforward.layers.conditioning import Conditioning

KEEP_THEIRS = {"wgan", "wgan-gp", "lsgan", "fgan", "mmd-gan", "gmmn"}  # which are named after their objective


def networks() -> list[Any]:
    found: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in zoo()]
    # Maxout's first weights are so small that a narrow critic's slopes are lost in Adam's ε.
    found += [(name, {"maxout": True, "width": 240}) for name in ("gan", "cgan")]
    return [pytest.param(name, more, id=f"{name}-maxout" if more else name) for name, more in found]


def test_all_but_those_named_after_their_objective_take_any():
    assert {*image_recipes()} - {*zoo()} == KEEP_THEIRS


@pytest.mark.parametrize(("name", "more"), networks())
def test_every_choice_trains_both_players_of_every_recipe(name, more):
    choices = [cycle(get_args(kind)) for kind in (Penalty, Augment)]
    told = cycle((*get_args(Conditioning), None))
    for loss, penalty, augment, conditioning in zip(get_args(Loss), *choices, told, strict=False):
        rules = {"loss": loss, "penalty": penalty, "augment": augment, "conditioning": conditioning}
        weights = {"penalty_weight": 1.0, "penalty_every": 1, "augment_p": 0.5, "critic_steps": 1}
        game = build(name, small(name, "images", **rules, **weights, **more), "digits")
        nets = {player: part.nets for player, part in game.players.items()}
        before = {player: [p.detach().clone() for p in net.parameters()] for player, net in nets.items()}
        engine = Engine(game, data("digits"), batch=BATCH, seed=1)
        engine.round()
        engine.check()
        logged = engine.scalars.flush()
        for critic in (player for player in nets if player.startswith("critic")):
            # Each player's own terms: what was asked for, and nothing that was not.
            terms = {name.removeprefix(f"{critic}/") for name in logged if name.startswith(f"{critic}/")}
            asked = set(penalty.split("+")) if penalty in SLOPES else {"penalty"}
            assert terms & {"penalty", "r1", "r2"} == asked, rules
            assert ("augment_p" in terms) == (augment == "ada"), rules
        for player, net in nets.items():
            assert all(p.isfinite().all() for p in net.parameters()), (player, rules)
            assert any(not p.equal(was) for p, was in zip(net.parameters(), before[player], strict=True)), rules
        assert any(name.startswith("augment") for name in game.state) == (augment is not None), rules
        assert game.classes == (10 if conditioning else None)
