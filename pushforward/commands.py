"""The commands: each takes its words, does its work and returns an exit status."""

import contextlib
import dataclasses
import io
import itertools
import json
import math
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import tyro
from tyro.conf import OmitArgPrefixes, Positional

if TYPE_CHECKING:
    from pushforward.evaluation import Measurement
    from pushforward.run import Run

T = TypeVar("T")
OTHER_FILES = (".npy", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".zip", ".csv", ".pt")
"""What a folder of samples is hardly called, and a person may ask for."""


@dataclass(frozen=True)
class Where:
    """What every training needs to be told."""

    data: str
    """A data set's name (see `pushforward list`), or a folder, .zip, .npy or .npz."""
    out: Path | None = None
    """The run folder; runs/RECIPE-DATA by default."""
    preset: str | None = None
    """One of the recipe's presets; by default the one for this kind of data."""


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


@dataclass(frozen=True)
class Sample:
    """Draw samples from a run."""

    run: Positional[Path]
    """The run folder."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many."""
    out: Path | None = None
    """A .png for a grid, an .npz for arrays, or a folder for one file each; RUN/samples.png by default."""
    label: Annotated[int | None, tyro.conf.arg(name="class")] = None
    """The class of all samples; by default each in turn."""
    seed: int = 0
    """Seed of the latents."""
    truncation: float | None = None
    """Coordinates of latents beyond this are drawn again: less variety, more quality."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


@dataclass(frozen=True)
class Evaluate:
    """Measure samples against real data, each number beside the same number for real against real."""

    what: Positional[str]
    """A run folder, a folder or .zip of images, or an .npz or .npy of samples."""
    real: Positional[str | None] = None
    """The real data: a name or a path; for a run, by default what it was trained on."""
    json: bool = False
    """Print only JSON on standard output."""
    seed: int = 0
    """Seed of the latents and of the splits of the real data."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint of a run."""
    resolution: int | None = None
    """Height and width to bring images to, the real ones and the samples; a run has its own."""
    max_bad: float = 0.01
    """Share of unreadable files above which a folder is refused."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


@dataclass(frozen=True)
class Report:
    """Write the run's report.html again."""

    run: Positional[Path]
    """The run folder."""


@dataclass(frozen=True)
class Lab:
    """Where an experiment's page goes."""

    out: Path | None = None
    """The folder for report.html and numbers.json; runs/lab/NAME by default."""


@dataclass(frozen=True)
class List:
    """Recipes, data, metrics and the lab's experiments."""

    json: bool = False
    """Print JSON: [{"kind": …, "name": …, "summary": …}]."""


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
    data, chosen = _early(rest, "--data"), _early(rest, "--preset")
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
    wanted.__doc__ = f"{recipes.summary(recipe)}." if recipe in recipes.names() else (module.__doc__ or recipe)
    asked: Any = _parse(wanted, rest, f"pushforward train {recipe}")
    command = shlex.join(["pushforward", "train", *arguments])
    plan = run.Plan(recipe, asked.basic.data, dataclasses.asdict(asked.recipe), asked.data, asked.run, command)
    return _tell(session.start(plan, asked.basic.out))


def do_resume(arguments: list[str]) -> int:
    asked = _parse(Resume, arguments, "pushforward resume")
    from pushforward import session

    run = session.resume(asked.run, examples=asked.examples, minutes=asked.minutes, device=asked.device)
    return _tell(run, "" if asked.examples is None else f" --examples {asked.examples}")


def do_sample(arguments: list[str]) -> int:
    asked = _parse(Sample, arguments, "pushforward sample")
    import numpy as np

    from pushforward import exhibits, pictures
    from pushforward.run import Run

    out = asked.out or asked.run / "samples.png"
    kind = out.suffix.lower()
    if kind in OTHER_FILES:
        raise ValueError(f"samples are written as .png, .npz or a folder of files, got {out}; use one of these")
    run = Run(asked.run)
    x, y = run.sample_with_classes(
        asked.n,
        y=asked.label,
        seed=asked.seed,
        truncation=asked.truncation,
        checkpoint=asked.checkpoint,
        device=asked.device,
    )
    points = run.spec.kind == "points"
    shown = exhibits.shown(x, run.law)
    out.parent.mkdir(parents=True, exist_ok=True)
    if kind == ".npz":
        exhibits.write_npz(out, {"x": shown} | ({} if y is None else {"y": y.numpy()}))
    elif kind == ".png":
        picture = exhibits.draw(shown, run.data() if points else None)
        if picture is None:
            raise ValueError(f"points of {run.spec.size} dimensions make no picture; use --out samples.npz")
        pictures.save_png(picture, out)
    elif points:
        np.savetxt(_folder(out) / "samples.csv", shown, delimiter=",", fmt="%.7g")
    else:
        folder, digits = _folder(out), len(str(asked.n - 1))
        for i, image in enumerate(shown):
            label = "" if y is None else f"-class{int(y[i])}"
            pictures.save_png(pictures.grid(image[None], scale=1), folder / f"{i:0{digits}d}{label}.png")
    print(out)
    return 0


def do_evaluate(arguments: list[str]) -> int:
    asked = _parse(Evaluate, arguments, "pushforward evaluate")
    from pushforward.run import Run, evaluate_samples

    if (Path(asked.what) / "config.json").is_file():
        run = Run(Path(asked.what))
        if asked.resolution is not None:
            raise ValueError(
                f"a run is measured at its own resolution, got --resolution {asked.resolution}; leave it out"
            )
        numbers = run.evaluate(
            real=asked.real,
            seed=asked.seed,
            checkpoint=asked.checkpoint,
            max_bad=asked.max_bad,
            device=asked.device,
        )
        real = asked.real or run.plan.data
    elif asked.real is None:
        raise ValueError(
            f"{asked.what} is not a run folder, so it is not known what to measure it against; "
            "name the real data: pushforward evaluate SAMPLES REAL"
        )
    else:
        real = asked.real
        numbers = evaluate_samples(
            asked.what, real, seed=asked.seed, resolution=asked.resolution, max_bad=asked.max_bad
        )
    if asked.json:
        metrics = {name: dataclasses.asdict(m) for name, m in numbers.items()}
        print(json.dumps({"what": asked.what, "real": real, "seed": asked.seed, "metrics": metrics}))
    else:
        _table(numbers)
    return 0


def do_report(arguments: list[str]) -> int:
    asked = _parse(Report, arguments, "pushforward report")
    from pushforward.report import write_report

    print(write_report(asked.run))
    return 0


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
    asked: Any = _parse(wanted, arguments, f"pushforward lab {name}")
    for field, value in dataclasses.asdict(asked.experiment).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field} must be a finite number, got {value}; see pushforward lab {name} --help")
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


def do_list(arguments: list[str]) -> int:
    asked = _parse(List, arguments, "pushforward list")
    from pushforward import lab, recipes
    from pushforward.data.catalogue import CATALOGUE
    from pushforward.metrics.catalogue import METRICS

    rows = [("recipe", name, recipes.summary(name)) for name in recipes.names()]
    rows += [("data", name, entry.summary) for name, entry in CATALOGUE.items()]
    rows += [("metric", name, summary) for name, summary in METRICS.items()]
    rows += [("lab", name, lab.summary(name)) for name in lab.names()]
    if asked.json:
        print(json.dumps([{"kind": kind, "name": name, "summary": summary} for kind, name, summary in rows]))
    else:
        for kind, name, summary in rows:
            print(f"{kind:8s}{name:20s}{summary}")
    return 0


def _parse(kind: type[T], arguments: list[str], program: str) -> T:
    """tyro, with its page-wide errors folded into one line. Help is printed, and leaves with status 0."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            return tyro.cli(kind, args=arguments, prog=program)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue())
    # Under a title, parts with rules between them; a terminal may draw the rules with other characters, and no sides.
    lines = [re.sub(r"^[─-]+$", "", line.strip("│├┤╭╮╰╯|+ ")) for line in plain.splitlines()[1:]]
    lines = list(itertools.dropwhile(lambda line: not line, lines))
    first = lines[: lines.index("")] if "" in lines else lines
    # What is missing is named by a line of its own, with its help behind it; an error may take several lines.
    message = " ".join(first[:2] if first[0].endswith(":") else first)
    message = re.sub(r"^Error parsing (experiment|recipe|run|data): ", "", message)
    near = [lines[i + 1].split()[0] for i, line in enumerate(lines[:-1]) if line.startswith("Perhaps you meant")]
    raise ValueError(message + (f"; did you mean {near[0]}?" if near else f"; see {program} --help"))


def _early(arguments: list[str], option: str) -> str | None:
    """The value of `--option value` or `--option=value`, before the real parser has looked."""
    for i, word in enumerate(arguments):
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
        if word == option and i + 1 < len(arguments):
            return arguments[i + 1]
    return None


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


def _table(numbers: "dict[str, Measurement]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", "95 % interval", "floor", "× floor", "n")
    for name, m in numbers.items():
        interval = "" if m.low is None or m.high is None else f"{m.low:.4g} – {m.high:.4g}"
        floor = "" if m.floor is None else f"{m.floor:.4g}"
        times = f"{m.value / m.floor:.2f}" if m.floor else ""
        table.add_row(name, f"{m.value:.4g}", interval, floor, times, f"{m.n:,}")
    Console().print(table)


def _folder(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is not an empty folder; choose another --out")
    path.mkdir(parents=True, exist_ok=True)
    return path
