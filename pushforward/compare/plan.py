"""What a comparison is asked to do: recipes with options, data, seeds, and how long or how much each run may train."""

import dataclasses
import json
import os
import platform
import re
import shlex
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from pushforward import recipes
from pushforward.core.checkpoint import write_text
from pushforward.run import DataOptions, resolve_device

SECONDS = {"s": 1, "m": 60, "h": 3600}
PICTURES = 8
"""Sample grids along each run."""
SPARE = 8
"""Checkpoints that stay beside those that are measured: the first, and one of each interruption."""


class CompareError(ValueError):
    """A comparison can't go on as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Entry:
    """One row: a recipe, by name or path, with `words` for `pushforward train`, and the configuration they make."""

    recipe: str
    words: tuple[str, ...]
    config: dict[str, Any]
    accumulate: int = 1
    bf16: bool = False

    @property
    def label(self) -> str:
        """`sngan --loss wasserstein`; of a recipe by path, its file's name."""
        return shlex.join([Path(self.recipe).stem if self.recipe.endswith(".py") else self.recipe, *self.words])

    @property
    def slug(self) -> str:
        """The label as the name of a folder; a number's sign stays."""
        label = re.sub(r"(?<=[ =])-(?=[0-9.])", "minus ", self.label.lower())
        return re.sub(r"[^a-z0-9.]+", "-", label).strip("-.")


@dataclass(frozen=True)
class Machine:
    """What the runs have. device: the name of the processor or of the accelerator; threads: of each run."""

    device: str
    cores: int
    threads: int


@dataclass(frozen=True)
class Comparison:
    """All that decides it, as `plan.json` keeps it. Of seconds and examples, one is given; fingerprint: of the data.

    command: what asked for it, for the page.
    """

    entries: tuple[Entry, ...]
    data: str
    fingerprint: str
    machine: Machine
    seconds: float | None
    examples: int | None
    seeds: int = 3
    jobs: int = 1
    evaluations: int = 8
    features: str | None = None
    device: str = "auto"
    data_options: DataOptions = field(default_factory=DataOptions)
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("seeds", "jobs", "evaluations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.examples is not None and self.examples < 1:
            raise ValueError(f"examples must be at least 1, got {self.examples}")
        slugs = [entry.slug for entry in self.entries]
        twice = [e.label for e in self.entries if slugs.count(e.slug) > 1]
        if twice:
            raise ValueError(f"{twice[-1]} is there twice; leave one out, or give them options that differ")

    def words(self, entry: Entry, seed: int, examples: int, minutes: float | None, folder: Path) -> list[str]:
        """The command of one run, after `pushforward`; evaluations come after it, so that training pays for none."""
        words = ["train", entry.recipe, *entry.words, "--data", self.data, "--out", str(folder)]
        words += ["--seed", str(seed), "--examples", str(examples), "--device", self.device]
        words += [] if minutes is None else ["--minutes", f"{minutes:.4g}"]
        words += ["--evaluations", "0", "--pictures", str(PICTURES), "--checkpoints", str(self.evaluations)]
        words += ["--keep", str(self.evaluations + SPARE)]
        words += [] if self.features is None else ["--evaluate", f"features={self.features}"]
        default = DataOptions()
        for name, value in dataclasses.asdict(self.data_options).items():
            if value != getattr(default, name):
                words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        return words


def short_names(entries: tuple[Entry, ...]) -> dict[str, str]:
    """By label, what tells a row from the others: the recipe, with the options that not all its rows have."""
    found: dict[str, str] = {}
    for entry in entries:
        rows = [_options(other.words) for other in entries if other.recipe == entry.recipe]
        own = [words for words in _options(entry.words) if not all(words in row for row in rows)]
        bare = dataclasses.replace(entry, words=tuple(word for words in own for word in words))
        found[entry.label] = bare.label
    names = list(found.values())
    return {label: name if names.count(name) == 1 else label for label, name in found.items()}


def _options(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Each option with its values."""
    starts = [i for i, word in enumerate(words) if word.startswith("--")]
    return [words[i:j] for i, j in pairwise([*starts, len(words)])]


def parse_budget(text: str) -> float:
    """Seconds in `30s`, `10m`, `1.5h`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"a budget is a number with s, m or h, got {text!r}; e.g. 30s, 10m or 2h")
    return float(found[1]) * SECONDS[found[2]]


def machine(device: str, jobs: int) -> Machine:
    """This one, for so many runs at once on the device of that name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(int(os.environ.get("OMP_NUM_THREADS", "0")) or cores // jobs, 1)
    where = resolve_device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else f"{_processor()} ({where.type})"
    return Machine(name, cores, threads)


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8", errors="replace").splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def read_plan(folder: Path) -> Comparison | None:
    """The comparison that a folder holds; None for a folder that holds none."""
    path = folder / "plan.json"
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        entries = tuple(Entry(**{**entry, "words": tuple(entry["words"])}) for entry in raw.pop("entries"))
        options, machine = DataOptions(**raw.pop("data_options")), Machine(**raw.pop("machine"))
        return Comparison(entries=entries, data_options=options, machine=machine, **raw)
    except (ValueError, KeyError, TypeError) as error:
        raise CompareError(
            f"{path} does not hold what this version of pushforward writes there ({type(error).__name__}: {error}); "
            "use the version that made it, or choose another --out"
        ) from error


def keep_plan(comparison: Comparison, folder: Path) -> Comparison:
    """Writes `plan.json`, or finds the same one there, which it returns, as it was begun.

    Raises CompareError, naming the difference, for another.
    """
    before = read_plan(folder)
    if before is None:
        if (folder / "config.json").exists():
            raise CompareError(f"{folder} holds a run; choose another --out for the comparison")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "plan.json", json.dumps(dataclasses.asdict(comparison), indent=1) + "\n")
        return comparison
    if (difference := _difference(before, comparison)) is not None:
        raise CompareError(
            f"{folder} holds a comparison with other plans ({difference}); choose another --out, or go on with it: "
            f"pushforward compare --out {shlex.quote(str(folder))}"
        )
    # Where runs are given time, others would have more of it, or less. Of examples, any machine makes as much.
    one, other = before.machine, comparison.machine
    if comparison.seconds is not None and (one.device, one.threads) != (other.device, other.threads):
        raise CompareError(
            f"{folder} was begun on {one.device} with {one.threads} threads a run, and here are {other.device} with "
            f"{other.threads}; go on with it there, or choose another --out"
        )
    return before


def add_entries(entries: tuple[Entry, ...], command: str, folder: Path) -> Comparison:
    """Puts more rows into the plan of a folder that the caller holds; those that are there already change nothing.

    command: what asked for them. Raises CompareError for a row whose configuration there is another, and for a folder
    without a plan.
    """
    before = read_plan(folder)
    if before is None:
        raise CompareError(f"{folder} holds no comparison to add to; leave out --add to begin one")
    there = {entry.label: entry for entry in before.entries}
    known = tuple(there[entry.label] for entry in entries if entry.label in there)
    again = tuple(entry for entry in entries if entry.label in there)
    if (difference := _difference(replace(before, entries=known), replace(before, entries=again))) is not None:
        raise CompareError(f"{folder} holds a comparison with other plans ({difference}); choose another --out")
    fresh = tuple(entry for entry in entries if entry.label not in there)
    if not fresh:
        return before
    plan = replace(before, entries=before.entries + fresh, command=f"{before.command}\n{command}")
    write_text(folder / "plan.json", json.dumps(dataclasses.asdict(plan), indent=1) + "\n")
    return plan


def _difference(before: Comparison, now: Comparison) -> str | None:
    """The first thing in which two plans differ, in words; None where they are the same."""
    labels = [[entry.label for entry in plan.entries] for plan in (before, now)]
    if labels[0] != labels[1]:
        return f"recipes: {', '.join(labels[0])} there, {', '.join(labels[1])} asked"
    old, new = (_plain(plan) for plan in (before, now))
    for name in new:
        if name not in ("entries", "command", "machine") and old[name] != new[name]:
            return f"{name}: {old[name]} there, {new[name]} asked"
    for label, one, other in zip(labels[0], old["entries"], new["entries"], strict=True):
        # A field that a later version has brought was at its default before, as which it is no difference.
        defaults = _plain(recipes.load(one["recipe"]).Config())
        for name in {**one["config"], **other["config"]}:
            was = one["config"].get(name, defaults.get(name))
            if was != other["config"].get(name):
                return f"{name} of {label}: {was} there, {other['config'].get(name)} asked"
        if {**one, "config": None} != {**other, "config": None}:
            return f"options of {label}"
    return None


def _plain(held: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON would have them, tuples as lists."""
    return json.loads(json.dumps(dataclasses.asdict(held)))
