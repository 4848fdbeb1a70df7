"""One process of two: plays every image recipe for a few rounds and writes a digest of what its networks became."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from small import BATCH, build, data, small

from pushforward import recipes
from pushforward.core.distributed import World, barrier, joined
from pushforward.core.engine import Engine
from pushforward.games.adversarial import Rules

ROUNDS = 5  # ADA moves its p after the fourth


def image_recipes() -> list[str]:
    return [name for name in recipes.names() if "images" in recipes.load(name).PRESETS]


def zoo() -> list[str]:
    """Those whose rules can be swapped: they have networks of their own, the others an objective, in such networks."""
    return [name for name in image_recipes() if issubclass(recipes.load(name).Config, Rules)]


def told(name: str) -> dict[str, Any]:
    """Changes that make a recipe conditional and augmented where it can be."""
    fields = recipes.load(name).Config.__dataclass_fields__
    changes: dict[str, Any] = {}
    if "conditioning" in fields:
        default = recipes.load(name).PRESETS["images"].conditioning
        changes = {"conditioning": default or "projection", "augment": "ada", "augment_p": 0.4, "augment_speed": 200}
    return changes


def play(name: str, world: World) -> Engine:
    game = build(name, small(name, "images", **told(name)), "colours")
    engine = Engine(game, data("colours"), batch=BATCH, seed=5, world=world)
    for _ in range(ROUNDS):
        engine.round()
    engine.check()
    engine.average_buffers()
    return engine


def digest(engine: Engine) -> str:
    """Of players and state as a checkpoint would hold them, but for the examples MMD-GAN's witness looks at."""
    sha = hashlib.sha256()

    def take(part: Any) -> None:
        if isinstance(part, dict):
            for key in sorted(part, key=str):
                sha.update(str(key).encode())
                take(part[key])
        elif isinstance(part, torch.Tensor):
            sha.update(part.detach().contiguous().numpy().tobytes())
        elif isinstance(part, list | tuple):
            for item in part:
                take(item)
        else:
            sha.update(str(part).encode())

    state = engine.state_dict()
    take([state["players"], {name: part for name, part in state["state"].items() if name != "witness"}])
    return sha.hexdigest()


def main(out: Path) -> None:
    with joined(torch.device("cpu")) as world:
        found = {name: digest(play(name, world)) for name in image_recipes()}
        (out / f"rank{world.rank}.json").write_text(json.dumps(found))
        barrier(world)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
