"""Measures a run's checkpoints after it has ended: the curve of its quality, for which training paid no time."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

from pushforward import recipes
from pushforward.core import runlog
from pushforward.core.checkpoint import Checkpoints, write_text
from pushforward.core.engine import Engine
from pushforward.core.seeding import torch_seeded
from pushforward.course import evaluator_for
from pushforward.run import Run, measure, resolve_device


def measure_along(folder: Path) -> None:
    """Adds quick evaluations of the checkpoints to `metrics.jsonl`, then removes all checkpoints but the newest."""
    run = Run(folder)
    plan, data = run.plan, run.data(progress=False)
    device = resolve_device(plan.options.device)
    evaluator = evaluator_for(plan, data, device)
    module = recipes.load(plan.recipe)
    with torch_seeded("build", plan.options.seed):
        game = module.build(module.Config(**plan.config), data.spec)
    engine = Engine(game, data, batch=1, device=device)
    found = []
    for path in due(run.checkpoints.all(), plan.config["examples"], plan.options.checkpoints):
        run.restore(engine, path)
        numbers = measure(game, evaluator, device, quick=True)
        metrics = {name: dataclasses.asdict(m) for name, m in numbers.items()}
        found.append({"seen": int(path.name), "quick": True, "metrics": metrics})
    log = folder / "metrics.jsonl"
    kept = [row for row in runlog.rows(log) if not row["quick"]]
    rows = sorted([*found, *kept], key=lambda row: (row["seen"], not row["quick"]))
    write_text(log, "".join(json.dumps(row) + "\n" for row in rows))
    _thin(run.checkpoints)
    run.report()


def due(checkpoints: list[Path], examples: int, times: int) -> list[Path]:
    """The first checkpoint after each of so many equal parts of the run, and the last of all.

    One that an interruption left between two of them is in no other seed's curve.
    """
    every = max(examples // times, 1)
    firsts = [next((p for p in checkpoints if int(p.name) >= every * (k + 1)), None) for k in range(times)]
    chosen = {p.name: p for p in [*firsts, *checkpoints[-1:]] if p is not None and int(p.name) > 0}
    return [chosen[name] for name in sorted(chosen)]


def _thin(checkpoints: Checkpoints) -> None:
    """Leaves the newest."""
    for old in checkpoints.all()[:-1]:
        # Renamed first: a kill in the middle must not leave half a checkpoint under its name; `sweep` knows this one.
        gone = old.with_name(f".{old.name}.gone")
        os.replace(old, gone)
        shutil.rmtree(gone, ignore_errors=True)
