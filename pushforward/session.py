"""From a recipe, data and a folder to a trained, measured run: what the command line does, for Python.

import pushforward as pf

run = pf.train("dcgan", data="digits", out="runs/digits")
images = run.sample(64)              # [64, 1, 8, 8] in [-1, 1]
print(run.evaluate()["frechet"])     # value, interval, and the floor: real against real
print(run.report())                  # runs/digits/report.html
"""

import dataclasses
import difflib
import json
import math
import os
import platform
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch

import pushforward
from pushforward import recipes
from pushforward.core import runlog
from pushforward.core.checkpoint import write_text
from pushforward.core.distributed import World, barrier, joined
from pushforward.core.engine import Engine
from pushforward.core.holding import holding
from pushforward.core.seeding import torch_seeded
from pushforward.course import Course, evaluator_for
from pushforward.data.catalogue import CATALOGUE, open_data
from pushforward.data.decoding import ENDINGS
from pushforward.data.source import Data
from pushforward.games.adversarial import Rules
from pushforward.run import DataOptions, Plan, Run, RunError, RunOptions, kind_of, preset, resolve_device


def train(
    recipe: str,
    data: str,
    out: str | Path | None = None,
    *,
    preset_name: str | None = None,
    options: RunOptions | None = None,
    data_options: DataOptions | None = None,
    **config: Any,
) -> Run:
    """Trains `recipe` on `data` into the folder `out` (`runs/RECIPE-DATA` by default), and measures what came out.

    config: fields of the recipe's Config, and of RunOptions and DataOptions, over their defaults: `examples=100_000`,
    `lr=1e-4`, `seed=1`. Raises ValueError for what does not fit, before anything is written.
    """
    module = recipes.load(recipe)
    base = preset(module, preset_name, kind_of(data), recipe)
    chosen = {
        RunOptions: options or RunOptions(),
        DataOptions: data_options or DataOptions(),
        module.Config: base,
    }
    known = {f.name: cls for cls in chosen for f in dataclasses.fields(cls)}
    for name, value in config.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(
                f"{recipe} has no option {name!r}; " + (f"did you mean {near[0]}?" if near else "see --help")
            )
        chosen[known[name]] = dataclasses.replace(chosen[known[name]], **{name: value})
    check_used(chosen[module.Config], base)
    plan = Plan(recipe, data, dataclasses.asdict(chosen[module.Config]), chosen[DataOptions], chosen[RunOptions])
    return start(plan, out)


def start(plan: Plan, out: str | Path | None = None) -> Run:
    """Trains a plan into a new run folder. Raises RunError when the folder holds a run already."""
    name = plan.data if plan.data in CATALOGUE else Path(plan.data).expanduser().resolve().stem
    folder = Path(out) if out is not None else Path("runs") / f"{Path(plan.recipe).stem}-{name}"
    _check_free(folder)
    device = resolve_device(plan.options.device)
    with joined(device) as world:
        device = _own(device, world)
        data = open_data(plan.data, **dataclasses.asdict(plan.data_options), progress=world.first)
        engine = _engine(plan, data, device, world)
        evaluator = evaluator_for(plan, data, device)
        if plan.options.evaluations or plan.options.evaluate or plan.options.measure:
            try:
                evaluator.check()
            except ValueError as error:
                raise ValueError(f"{error}, or leave measuring out: --evaluations 0 --no-measure") from None
        config = _config(plan, data, folder)
        with _alone(folder, world), _fast_arithmetic():
            if world.first:
                _check_free(folder)
                write_text(folder / "config.json", json.dumps(config, indent=1) + "\n")
            barrier(world)
            run = Run(folder)
            run.outcome = Course(run, engine, data, plan, evaluator).run(plan.config["examples"])
        return run


def resume(
    folder: str | Path, *, examples: int | None = None, minutes: float | None = None, device: str | None = None
) -> Run:
    """Continues a run from its newest whole checkpoint to the examples it was planned for, or to `examples`.

    A run that had its examples is measured and reported again. Raises RunError for fewer examples than were seen, for
    more where the learning rate has fallen to zero, and while another process trains the run.
    """
    run = Run(Path(folder))
    options = dataclasses.replace(run.plan.options, minutes=minutes, device=device or run.plan.options.device)
    plan = dataclasses.replace(run.plan, options=options)
    where = resolve_device(options.device)
    with joined(where) as world:
        where = _own(where, world)
        data = run.data(progress=world.first)
        engine = _engine(plan, data, where, world)
        evaluator = evaluator_for(plan, data, where)
        planned = plan.config["examples"]
        goal = planned if examples is None else examples
        if goal > planned and all(p.lr is not None and p.lr(planned) == 0 for p in engine.game.players.values()):
            raise RunError(
                f"the learning rate of this {plan.recipe} run falls to zero at {planned:,} examples, and more would "
                f"change nothing; train anew with --examples {goal}"
            )
        with _alone(run.folder, world), _fast_arithmetic():
            if world.first:
                run.checkpoints.sweep()
            barrier(world)
            checkpoint = run.checkpoints.last()
            if checkpoint is not None:
                run.restore(engine, checkpoint)
            if examples is not None and examples < engine.clock.seen:
                raise RunError(
                    f"{run.folder} has seen {engine.clock.seen:,} examples, got --examples {examples}; ask for more"
                )
            if world.first:
                for log in ("stats.jsonl", "metrics.jsonl"):
                    runlog.rewind(run.folder / log, engine.clock.seen)
            barrier(world)
            run.outcome = Course(run, engine, data, plan, evaluator).run(goal)
        return run


@contextmanager
def _alone(folder: Path, world: World) -> Iterator[None]:
    """Makes the folder and holds it: two trainings at once would write over each other's logs and checkpoints.

    The system lets go of it however the process ends. Raises RunError where another holds it, or it can't be made.
    """
    if not world.first:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the run can't be written to {folder} ({error.strerror}); choose another --out") from error
    with holding(folder) as held:
        if not held:
            raise RunError(f"another process is training in {folder}; wait for it, stop it, or choose another --out")
        yield


def _check_free(folder: Path) -> None:
    if (folder / "config.json").exists():
        raise RunError(
            f"{folder} holds a run already; continue it with `pushforward resume {shlex.quote(str(folder))}`, "
            "or choose another --out"
        )
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise RunError(f"the run can't be written to {folder}: {nearest} is a file; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RunError(f"the run can't be written to {folder}: {nearest} is not writable; choose another --out")
    # A job's script and its log may lie there; data would become the run's pictures, and these the data's.
    ends = (*ENDINGS, ".npy", ".npz", ".zip", ".json", ".jsonl", ".html")
    there = [path for path in (folder.iterdir() if nearest == folder else ()) if path.name[0] != "."]
    if others := [path.name for path in there if path.is_dir() or path.suffix.lower() in ends]:
        raise RunError(f"{folder} holds other files, such as {min(others)}; choose another --out, empty or new")


def _own(device: torch.device, world: World) -> torch.device:
    """This process's device among several of a kind."""
    return torch.device("cuda", world.local_rank) if device.type == "cuda" else device


@contextmanager
def _fast_arithmetic() -> Iterator[None]:
    """Denormal numbers are flushed, with which convolutions are a hundred times slower, and CUDA may use TF32.

    Both are settings of the whole process: outside they are as before (denormals: as torch starts).
    """
    before = torch.get_float32_matmul_precision()
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_float32_matmul_precision(before)


def check_numbers(config: Any) -> None:
    """No recipe has a use for counts below 1, nor for numbers below 0, but for ADA's target, which is signed.

    Raises ValueError, naming the field.
    """
    try:
        kinds = get_type_hints(type(config))
    except NameError:  # of one's own recipe, whose annotations are for type checkers alone
        kinds = {}
    for name, value in dataclasses.asdict(config).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        kind = kinds.get(name, type(value))
        counts = int in (kind, *get_args(kind)) and float not in (kind, *get_args(kind))
        if counts and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
        if not math.isfinite(value) or (value < 0 and name != "augment_target"):
            raise ValueError(f"{name} must be a number from 0 up, got {value}")


def check_used(config: Any, base: Any) -> None:
    """Raises ValueError for an option that differs from `base`, the recipe's preset, and that nothing would read."""
    idle: dict[str, str] = config.idle() if isinstance(config, Rules) else {}
    for name, reader in idle.items():
        if getattr(config, name) not in (getattr(base, name), None):  # None is how one says so
            raise ValueError(
                f"{name} does nothing without {reader}, got {getattr(config, name)}; leave it out, or give both"
            )


def _engine(plan: Plan, data: Data, device: torch.device, world: World) -> Engine:
    module, options = recipes.load(plan.recipe), plan.options
    config = module.Config(**plan.config)
    check_numbers(config)
    with torch_seeded("build", options.seed):
        game = module.build(config, data.spec)
    return Engine(
        game,
        data,
        batch=config.batch,
        seed=options.seed,
        device=device,
        world=world,
        accumulate=options.accumulate,
        bf16=options.bf16,
        compile=options.compile,
    )


def _config(plan: Plan, data: Data, folder: Path) -> dict[str, Any]:
    spec = dataclasses.asdict(data.spec)
    path = Path(plan.data).expanduser()
    return {
        "pushforward": pushforward.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": _commit(),
        "command": plan.command or _command(plan, folder),
        "recipe": plan.recipe if not plan.recipe.endswith(".py") else str(Path(plan.recipe).absolute()),
        "config": plan.config,
        "data": {
            "name": plan.data if plan.data in CATALOGUE or not path.exists() else str(path.absolute()),
            "options": dataclasses.asdict(plan.data_options),
            "fingerprint": data.fingerprint,
            "spec": spec,
            "labels": data.labels,
            "skipped": list(data.skipped),
        },
        "run": dataclasses.asdict(plan.options),
    }


def _command(plan: Plan, folder: Path) -> str:
    """The command line that would repeat a run started from Python: every option that is not the default."""
    module = recipes.load(plan.recipe)
    base = dataclasses.asdict(preset(module, None, kind_of(plan.data), plan.recipe))
    words = ["pushforward", "train", plan.recipe, "--data", plan.data, "--out", str(folder)]
    asked = {k: v for k, v in plan.config.items() if v != base[k]}
    for options in (plan.options, plan.data_options):
        defaults = dataclasses.asdict(type(options)())
        asked |= {k: v for k, v in dataclasses.asdict(options).items() if v != defaults[k]}
    for name, value in asked.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words += [f"--{flag}" if value else f"--no-{flag}"]
        else:
            words += [f"--{flag}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return shlex.join(words)


def _commit() -> str | None:
    """The commit of the checkout that this package runs from, with a + where files were changed; None outside one."""
    here = Path(pushforward.__file__).parent
    try:
        git = ["git", "-C", str(here)]
        # Installed in a virtual environment, it may lie inside a checkout of something else.
        subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=True)
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "--", str(here)], capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
