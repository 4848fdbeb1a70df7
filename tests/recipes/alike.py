"""One process of several: plays the recipes whose losses are means over examples, and writes what became of them."""

import sys
from pathlib import Path
from typing import Any

import torch
from pair import ROUNDS, image_recipes, told
from small import BATCH, build, data, small

from pushforward.core.checkpoint import write
from pushforward.core.distributed import World, barrier, joined
from pushforward.core.engine import Engine

NORMED = ("cgan", "dcgan", "fgan", "lapgan", "lsgan", "wgan")  # BatchNorm in the critic, of a process's own rows
WHOLE = ("gmmn", "mmd-gan")  # distances between batches


def by_example() -> list[str]:
    """Recipes in which it makes no difference how a batch is parted; minibatch deviations are of 4, a process's share.

    Generators have BatchNorm too, but as they are evaluated they don't use the batch's statistics.
    """
    return [name for name in image_recipes() if name not in (*NORMED, *WHOLE)]


def play(name: str, world: World) -> dict[str, Any]:
    """Networks, averages and state after a few rounds, in which generators are as they are evaluated."""
    game = build(name, small(name, "images", **told(name)), "colours")
    game.players["generator"].nets.eval()
    engine = Engine(game, data("colours"), batch=BATCH, seed=5, world=world)
    for _ in range(ROUNDS):
        engine.round()
    engine.check()
    state = engine.state_dict()
    return {
        "nets": {who: (player["nets"], player["ema"]) for who, player in state["players"].items()},
        "state": state["state"],
    }


def main(out: Path) -> None:
    with joined(torch.device("cpu")) as world:
        write(out / f"rank{world.rank}", {name: play(name, world) for name in by_example()})
        barrier(world)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
