"""Trains a recipe, or continues a run."""

import dataclasses
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional

from pushforward.commands._words import early, parse

if TYPE_CHECKING:
    from pushforward.run import Run


@dataclass(frozen=True)
class Where:
    """What every training needs to be told."""

    data: str
    """A data set's name (see `pushforward list`), or a folder, .zip, .npy or .npz."""
    out: Path | None = None
    """The run folder; runs/RECIPE-DATA by default."""
    preset: str | None = None
    """One of the recipe's presets, which are named above; by default the one for this kind of data."""


@dataclass(frozen=True)
class Resume:
    """Continue a run from its newest checkpoint; its configuration stays as it is."""

    run: Positional[Path]
    """The run folder."""
    examples: int | None = None
    """Train until this many examples were seen, rather than as many as were planned."""
    minutes: float | None = None
    """Stop after this many minutes."""
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None
    """Where to go on; by default where it was."""


def do_train(arguments: list[str]) -> int:
    from pushforward import recipes

    if not arguments or arguments[0].startswith("-"):
        lines = [f"  {name:10s} {recipes.summary(name)}" for name in recipes.names()]
        print(
            "usage: pushforward train RECIPE --data DATA [--out RUN] [--seed S] [--examples N | --minutes M] …\n\n"
            "recipes:\n" + "\n".join(lines) + "\n\npushforward train RECIPE --help lists all options of a recipe"
        )
        if arguments[:1] in (["-h"], ["--help"]):
            return 0
        raise ValueError("train needs a recipe first, e.g. `pushforward train dcgan --data digits`")
    from pushforward import run, session

    recipe, rest = arguments[0], arguments[1:]
    module = recipes.load(recipe)
    # The data's kind decides the recipe's defaults, which the parser must know before it reads the other options.
    data, chosen = early(rest, "--data"), early(rest, "--preset")
    kind = run.kind_of(data) if data else next(iter(module.PRESETS))
    config = run.preset(module, chosen, kind, recipe)
    # The fields' names head the parts of the help.
    wanted = dataclasses.make_dataclass(
        "Train",
        [
            ("basic", OmitArgPrefixes[Where]),
            ("recipe", OmitArgPrefixes[type(config)], dataclasses.field(default=config)),
            ("run", OmitArgPrefixes[run.RunOptions], dataclasses.field(default=run.RunOptions())),
            ("data", OmitArgPrefixes[run.DataOptions], dataclasses.field(default=run.DataOptions())),
        ],
        frozen=True,
    )
    what = f"{recipes.summary(recipe)}." if recipe in recipes.names() else (module.__doc__ or recipe)
    wanted.__doc__ = (
        f"{what}\n\nPresets: {', '.join(module.PRESETS)}. The defaults shown are those of {chosen or kind}; with "
        "--data or --preset before --help they are those of another."
    )
    asked: Any = parse(wanted, rest, f"pushforward train {recipe}")
    session.check_used(asked.recipe, config)
    command = shlex.join(["pushforward", "train", *arguments])
    plan = run.Plan(recipe, asked.basic.data, dataclasses.asdict(asked.recipe), asked.data, asked.run, command)
    return _tell(session.start(plan, asked.basic.out))


def do_resume(arguments: list[str]) -> int:
    asked = parse(Resume, arguments, "pushforward resume")
    from pushforward import session

    run = session.resume(asked.run, examples=asked.examples, minutes=asked.minutes, device=asked.device)
    return _tell(run, "" if asked.examples is None else f" --examples {asked.examples}")


def _tell(run: "Run", options: str = "") -> int:
    """Where to look, once among the processes of `torchrun`. options: of the command that goes on."""
    stopped = run.outcome == "stopped"
    if os.environ.get("RANK", "0") == "0":
        print(f"run       {run.folder}")
        for name in ("report.html", "exhibits.npz", "samples", "metrics.jsonl"):
            if (run.folder / name).exists():
                print(f"{name.split('.')[0]:10s}{run.folder / name}")
        if stopped:
            print(
                f"stopped; continue with: pushforward resume {shlex.quote(str(run.folder))}{options}", file=sys.stderr
            )
    return 130 if stopped else 0
