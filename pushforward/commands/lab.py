"""Runs an experiment of the lab."""

import dataclasses
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tyro.conf import OmitArgPrefixes

from pushforward.commands._words import parse


@dataclass(frozen=True)
class Lab:
    """Where an experiment's page goes."""

    out: Path | None = None
    """The folder for report.html and numbers.json; runs/lab/NAME by default."""


def do_lab(arguments: list[str]) -> int:
    from pushforward import lab

    if not arguments or arguments[0].startswith("-"):
        lines = [f"  {name:22s} {lab.summary(name)}" for name in lab.names()]
        print(
            "usage: pushforward lab NAME [--out FOLDER] [--seed S] …\n\nexperiments:\n"
            + "\n".join(lines)
            + "\n\npushforward lab NAME --help lists an experiment's options; `pushforward lab all` runs every one"
        )
        if arguments[:1] in (["-h"], ["--help"]):
            return 0
        raise ValueError(f"lab needs an experiment first, e.g. `pushforward lab {lab.names()[0]}`")
    if arguments[0] != "all":
        return _experiment(arguments[0], arguments[1:])
    if len(arguments) > 1:
        raise ValueError(f"`lab all` has no options, got {' '.join(arguments[1:])}; run one experiment with them")
    return max(_experiment(name, []) for name in lab.names())


def _experiment(name: str, arguments: list[str]) -> int:
    """Runs one experiment, leaves its page, and prints its numbers; 1 where one of them is not as theory says."""
    import time

    import torch
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from pushforward import __version__, lab
    from pushforward.lab import _finding

    module = lab.load(name)
    wanted = dataclasses.make_dataclass(
        "Experiment",
        [("lab", OmitArgPrefixes[Lab]), ("experiment", OmitArgPrefixes[module.Config])],
        frozen=True,
    )
    wanted.__doc__ = f"{lab.summary(name)}."
    asked: Any = parse(wanted, arguments, f"pushforward lab {name}")
    for field, value in dataclasses.asdict(asked.experiment).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field} must be a finite number, got {value}; see pushforward lab {name} --help")
        if field == "seed" and value < 0:
            raise ValueError(f"the seed must not be negative, got {value}")
    out = asked.lab.out or Path("runs") / "lab" / name
    if (out / "config.json").exists():
        raise ValueError(f"{out} is a training run, whose report would be lost; choose another --out")
    out.mkdir(parents=True, exist_ok=True)  # what can't be written is said before the work, not after
    start = time.perf_counter()
    errors = Console(stderr=True)
    with Progress(console=errors, disable=not errors.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=1.0)
        finding = module.run(asked.experiment, lambda share: bar.update(task, completed=share))
    command = shlex.join(["pushforward", "lab", name, *arguments])
    versions = {"pushforward": __version__, "torch": torch.__version__}
    made = _finding.Made(command, asked.experiment, time.perf_counter() - start, versions)
    page = _finding.save(finding, made, out)
    table = Table("", "measured", "theory", "", title=finding.title, title_justify="left")
    for n in finding.numbers:
        table.add_row(n.name, f"{n.measured:.4g}", _finding.said(n), "holds" if n.holds else "DOES NOT HOLD")
    Console().print(table)
    print(f"page      {page}")
    return 0 if finding.holds else 1
