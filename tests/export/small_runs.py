"""Run folders made in an instant: networks of a few channels after one round, and then shaken.

So averages differ from weights, and samples are of the size of data: a tolerance means what it says.
"""

import dataclasses
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import pushforward
from pushforward import recipes
from pushforward.core.engine import Engine
from pushforward.core.seeding import torch_seeded
from pushforward.data.catalogue import open_data
from pushforward.data.source import ArrayData, Data
from pushforward.data.spec import DataSpec
from pushforward.export.folder import ONNX
from pushforward.run import DataOptions, Run, RunOptions

SMALL = {
    "batch": 4,
    "latent": 3,
    "width": 8,
    "blocks": 1,
    "units": 8,
    "group": 4,
    "depth": 1,
    "examples": 1000,
    "critic_steps": 1,
    "standing": 2,
}
MEASURED = {
    "frechet": {"value": 0.3226075, "low": 0.0411, "high": 0.604, "floor": 0.3365, "n": 898},
    "precision": {"value": 0.86, "low": 0.84, "high": 0.88, "floor": 0.87, "n": 898},
    "recall": {"value": 0.71, "low": 0.69, "high": 0.75, "floor": 0.9000557, "n": 898},
    "accuracy": {"value": 0.98866, "low": 0.9868, "high": 0.9903, "floor": 0.98519, "n": 14368},
    "modes": {"value": 8.0, "low": None, "high": None, "floor": None, "n": 20000},
}
"""A line of metrics.jsonl, as far as metrics go."""
LABELS = ("circle", "square | round", "star")


@cache
def data(where: str) -> Data:
    if where == "ring8":
        return open_data(where, progress=False)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8), rng.integers(0, 3, 20)
    return ArrayData(DataSpec("shapes", "images", (1, 8, 8), 3), x, y, LABELS, "f1" * 32)


def config_of(recipe: str, preset: str, changes: dict[str, Any]) -> Any:
    base = recipes.load(recipe).PRESETS[preset]
    fields = {field.name for field in dataclasses.fields(base)}
    told = {"conditioning": "concatenation"} if preset == "images" else {}
    asked = {**told, **SMALL, **changes}
    return dataclasses.replace(base, **{key: value for key, value in asked.items() if key in fields})


def make(folder: Path, recipe: str, preset: str = "images", **changes: Any) -> Run:
    """A run folder of one round, with lines of metrics.jsonl left to the test."""
    where = "ring8" if preset == "points" else "shapes"
    config, source = config_of(recipe, preset, changes), data(where)
    with torch_seeded("build", 0):
        game = recipes.load(recipe).build(config, source.spec)
    engine = Engine(game, source, batch=config.batch)
    engine.round()
    engine.average_buffers()
    shake = torch.Generator().manual_seed(0)
    for player in game.players.values():
        for nets in (player.nets, player.ema.nets if player.ema else None):
            for weight in nets.parameters() if nets is not None else ():
                weight.data += 0.2 * torch.randn(weight.shape, generator=shake)
    about = {
        "pushforward": pushforward.__version__,
        "torch": "2.13.0",
        "commit": "0123456789ab",
        "command": "pushforward train …",
        "recipe": recipe,
        "config": dataclasses.asdict(config),
        "data": {
            "name": where if where == "ring8" else "/home/someone/shapes",
            "options": dataclasses.asdict(DataOptions()),
            "fingerprint": source.fingerprint,
            "spec": dataclasses.asdict(source.spec),
            "labels": source.labels,
            "skipped": [],
        },
        "run": dataclasses.asdict(RunOptions()),
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    run = Run(folder)
    run.checkpoints.save(engine.state_dict(), engine.clock.seen, 1.0)
    return run


def session(folder: Path) -> onnxruntime.InferenceSession:
    """What asks an exported folder's ONNX graph."""
    return onnxruntime.InferenceSession(str(folder / ONNX), providers=["CPUExecutionProvider"])
