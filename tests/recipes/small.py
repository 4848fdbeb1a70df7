"""Recipes at sizes that train in an instant, on data of every kind."""

import dataclasses
from functools import cache
from typing import Any

import numpy as np

from pushforward import recipes
from pushforward.core.game import Game
from pushforward.core.seeding import torch_seeded
from pushforward.data.catalogue import open_data
from pushforward.data.source import ArrayData, Data
from pushforward.data.spec import DataSpec

BATCH = 8
SMALL = {
    "batch": BATCH,
    "latent": 4,
    "width": 8,
    "blocks": 1,
    "units": 8,
    "phase": 5,
    "group": 4,
    "depth": 2,
    "examples": 1000,
    "critic_steps": 2,
    "settle": 1.0,  # while R3GAN's half-life grows, an average moves; later it is one of millions of examples
}
DATA = {"points": ("ring8", "grid25"), "images": ("digits", "colours")}


@cache
def data(name: str) -> Data:
    if name != "colours":
        return open_data(name, progress=False)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (50, 3, 16, 16), dtype=np.uint8), rng.integers(0, 3, 50)
    return ArrayData(DataSpec("colours", "images", (3, 16, 16), 3), x, y, ("a", "b", "c"), "0")


def small(name: str, preset: str, **changes: Any) -> Any:
    """A preset with sizes that train in an instant; its rates, weights and switches as they are."""
    config = recipes.load(name).PRESETS[preset]
    fields = {f.name for f in dataclasses.fields(config)}
    return dataclasses.replace(config, **{k: v for k, v in (SMALL | changes).items() if k in fields})


def build(name: str, config: Any, where: str, seed: int = 0) -> Game:
    with torch_seeded("build", seed):
        return recipes.load(name).build(config, data(where).spec)
