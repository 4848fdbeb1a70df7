"""What the runs of a comparison left, in numbers: each run's, and each recipe's over its seeds."""

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.compare.plan import Comparison, Entry, short_names
from pushforward.compare.speed import Probe, read_probe
from pushforward.core import runlog
from pushforward.metrics.catalogue import known
from pushforward.metrics.intervals import mean_interval

EARLY = 0.75
"""Of the time that a run may take: one that ends in less met a faster machine than the comparison was planned on."""

Metrics = dict[str, dict[str, Any]]
"""By name: value, low, high, floor and n, as `metrics.jsonl` has them."""


@dataclass(frozen=True)
class Point:
    """A checkpoint on the way. seconds: of training; flops: since its start."""

    seen: int
    seconds: float
    flops: float
    metrics: Metrics


@dataclass(frozen=True)
class Outcome:
    """One run. reason: why it failed, or None; metrics: of the finished run; folder: inside the comparison's.

    report: its page, inside the comparison's folder; None where there is none, as of runs whose record alone is kept.
    """

    seed: int
    folder: str
    seen: int
    seconds: float
    flops: float
    reason: str | None
    metrics: Metrics | None
    curve: tuple[Point, ...]
    report: str | None = None


@dataclass(frozen=True)
class Spread:
    """A number over seeds: its mean, with the ends of a 95 % interval, or None where there is none."""

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One recipe. name: what tells it from the others, see `plan.short_names`."""

    entry: Entry
    name: str
    probe: Probe | None
    runs: tuple[Outcome, ...]

    @property
    def finished(self) -> list[Outcome]:
        return [run for run in self.runs if run.metrics is not None]

    def share(self, run: Outcome) -> float | None:
        """Of the examples that were planned, how many a run has seen, up to 1; None where that is not known."""
        return min(run.seen / self.probe.examples, 1.0) if self.probe and self.probe.examples else None

    @property
    def cut(self) -> list[Outcome]:
        """Runs that ended by the clock, before the examples that were planned."""
        return [run for run in self.finished if (share := self.share(run)) is not None and share < 1]

    @property
    def reason(self) -> str | None:
        """Why a run failed, of the first that did, without what to try."""
        return next((f"seed {run.seed}: {run.reason.partition(';')[0]}" for run in self.runs if run.reason), None)

    def spread(self, name: str, ratio: bool = False) -> Spread | None:
        """A metric over seeds, or its ratio to the floor; None where it was not measured.

        The interval is Student's, of the mean over seeds; where one seed was asked for, the metric's own.
        """
        found = [run.metrics[name] for run in self.finished if run.metrics is not None and name in run.metrics]
        scales = [m["floor"] if ratio else 1.0 for m in found]
        if not found or not all(scales):
            return None
        values = [_number(m["value"]) / s for m, s in zip(found, scales, strict=True)]
        if len(values) == 1:
            ends = [found[0][k] if len(self.runs) == 1 else None for k in ("low", "high")]
            low, high = (None if end is None else end / scales[0] for end in ends)
            return Spread(values[0], low, high, tuple(values))
        mean = mean_interval(values)
        low = max(mean.low, 0.0) if min(values) >= 0 else mean.low
        metric = known(name)
        high = min(mean.high, 1.0) if metric is not None and metric.range == "0 to 1" else mean.high
        return Spread(mean.value, low, high, tuple(values))

    def mean(self, name: str) -> float:
        """A field of the finished runs: seen, seconds or flops."""
        return float(np.mean([getattr(run, name) for run in self.finished])) if self.finished else math.nan

    def median(self, name: str) -> Outcome | None:
        """The finished run in the middle by a metric that is better when lower; of two in the middle, the worse."""
        runs = [r for r in self.finished if r.metrics is not None and name in r.metrics]
        runs.sort(key=lambda run: _number((run.metrics or {})[name]["value"]))
        return runs[len(runs) // 2] if runs else None


@dataclass(frozen=True)
class Results:
    """The rows, best first, those without a finished run last. main: the metric that they are ordered by."""

    comparison: Comparison
    rows: tuple[Row, ...]
    main: str

    @property
    def abridged(self) -> list[Row]:
        """Rows whose names leave options out."""
        return [row for row in self.rows if row.name != row.entry.label]

    @property
    def measured(self) -> list[str]:
        """All metrics of the finished runs."""
        return list(dict.fromkeys(name for row in self.rows for run in row.finished for name in run.metrics or {}))

    @property
    def distances(self) -> list[str]:
        """The main metric, and the same distance by other features."""
        return [name for name in self.measured if name == self.main or name.startswith(f"{self.main}_")]

    @property
    def shown(self) -> list[str]:
        """The metrics of the table beside the distances."""
        names = self.measured
        end = self.main.removeprefix("frechet") if self.main.startswith("frechet") else ""
        wanted = ("modes", "high_quality", *(f"{name}{end}" for name in ("precision", "recall")), "accuracy")
        return [name for name in wanted if name in names]

    def floor(self, name: str) -> float | None:
        """The same number for real data against real data, over all runs."""
        runs = [run.metrics[name] for row in self.rows for run in row.finished if run.metrics and name in run.metrics]
        floors = [m["floor"] for m in runs if m["floor"] is not None]
        return float(np.mean(floors)) if floors else None


def collect(comparison: Comparison, folder: Path) -> Results:
    """Reads what is there, whether all runs have ended or not."""
    rows, names = [], short_names(comparison.entries)
    for entry in comparison.entries:
        found = read_probe(folder / "probes" / f"{entry.slug}.json")
        runs = [outcome(run_folder(folder, entry, seed), seed, found) for seed in range(comparison.seeds)]
        reason = failure(folder / "probes" / entry.slug)
        if found is None and reason is not None:
            runs = [dataclasses.replace(run, reason=reason) for run in runs]
        rows.append(Row(entry, names[entry.label], found, tuple(runs)))
    measured = {name for row in rows for run in row.finished for name in run.metrics or {}}
    main = next(
        (name for name in ("frechet", *sorted(measured)) if name in measured and name[:7] in ("frechet", "w2")), ""
    )

    def key(row: Row) -> float:
        spread = row.spread(main)
        return math.inf if spread is None or not math.isfinite(spread.mean) else spread.mean

    return Results(comparison, tuple(sorted(rows, key=key)), main)


def run_folder(folder: Path, entry: Entry, seed: int) -> Path:
    return folder / "runs" / f"{entry.slug}-{seed}"


def trained_before(comparison: Comparison, folder: Path, entry: Entry) -> tuple[Entry, Probe] | None:
    """Another entry whose runs have begun, of the same recipe where there is one, with its probe; None without any."""
    found: list[tuple[Entry, Probe]] = []
    for other in comparison.entries:
        timed = read_probe(folder / "probes" / f"{other.slug}.json")
        begun = any(run_folder(folder, other, seed).exists() for seed in range(comparison.seeds))
        if other != entry and begun and timed is not None and timed.rate is not None:
            found.append((other, timed))
    return next((one for one in found if one[0].recipe == entry.recipe), found[0] if found else None)


def failure(folder: Path) -> str | None:
    """Why a run, or a probe, failed; kept beside its folder."""
    path = folder.with_name(f"{folder.name}.failed")
    return json.loads(path.read_text(encoding="utf-8"))["reason"] if path.exists() else None


def outcome(folder: Path, seed: int, found: Probe | None) -> Outcome:
    """What one run folder says."""
    rows = runlog.rows(folder / "metrics.jsonl")
    stats = [(row["seen"], row["seconds"]) for row in runlog.rows(folder / "stats.jsonl")]
    seconds = dict(stats)
    last = [row for row in rows if not row["quick"]]
    seen, taken = last[-1]["seen"] if last else max([0, *seconds]), max([0.0, *seconds.values()])

    def flops(seen: int) -> float:
        return math.nan if found is None else found.flops(seen)

    curve = tuple(
        Point(row["seen"], seconds.get(row["seen"], math.nan), flops(row["seen"]), row["metrics"])
        for row in rows
        if row["quick"]
    )
    reason = failure(folder)
    done = last[-1]["metrics"] if last and curve and reason is None else None
    place = f"runs/{folder.name}"
    report = f"{place}/report.html" if (folder / "report.html").exists() else None
    return Outcome(seed, place, seen, taken, flops(seen), reason, done, curve, report)


def as_json(results: Results) -> dict[str, Any]:
    """All numbers, for `compare.json`; what is not finite is None."""
    recipes = []
    for row in results.rows:
        names = list(dict.fromkeys(name for run in row.finished for name in run.metrics or {}))
        spreads = {name: dataclasses.asdict(s) for name in names if (s := row.spread(name))}
        ratio = row.spread(results.main, ratio=True)
        recipes.append(
            {
                "recipe": row.entry.label,
                "name": row.name,
                "config": row.entry.config,
                "probe": row.probe and {**dataclasses.asdict(row.probe), "rate": row.probe.rate},
                "over_floor": ratio and dataclasses.asdict(ratio),
                "metrics": spreads,
                "runs": [dataclasses.asdict(run) for run in row.runs],
            }
        )
    plan = {k: v for k, v in dataclasses.asdict(results.comparison).items() if k != "entries"}
    return _sound({"main": results.main, "plan": plan, "recipes": recipes})


def markdown(results: Results) -> str:
    """The table, best first, under it what its numbers are."""
    heads = ["recipe", *columns(results)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines.append("| " + " | ".join(["real data", *real(results)]) + " |")
    for row in results.rows:
        lines.append("| " + " | ".join([f"`{row.name}`", *cells(results, row)]) + " |")
    failed = [f"`{row.name}`: {row.reason}." for row in results.rows if row.reason]
    cut = [f"`{row.name}` seed {run.seed} ({part(row.share(run))} of them)" for row in results.rows for run in row.cut]
    short = "Out of time before all the examples planned, at which rates that fall would have come to their ends: "
    chosen = [f"- {row.name}: `{row.entry.label}`" for row in results.abridged]
    lines += ["", explained(results), *(["", "Failed: " + " ".join(failed)] if failed else [])]
    lines += ["", f"{short}{', '.join(cut)}."] if cut else []
    lines += ["", soon] if (soon := early(results)) else []
    return "\n".join([*lines, *(["", "Where options are not all named above:", "", *chosen] if chosen else []), ""])


_COSTS = ("examples", "a second", "FLOPs", "minutes", "seeds")


def columns(results: Results) -> list[str]:
    """The table's heads after the rows' names: distances over their floors, the main one as it is, then the others."""
    ratios = [f"{title(name)} ÷ floor" for name in results.distances]
    return [*ratios, *(title(name) for name in _shown(results)), *_COSTS]


def _shown(results: Results) -> list[str]:
    """The metrics that are told as they are; none where no run was measured."""
    return [results.main, *results.shown] if results.main else []


def real(results: Results) -> list[str]:
    """The cells of real data against real data: see `columns`."""
    floors = [results.floor(name) for name in _shown(results)]
    return [*["1"] * len(results.distances), *("" if f is None else f"{f:.3g}" for f in floors), *[""] * len(_COSTS)]


def cells(results: Results, row: Row) -> list[str]:
    """The cells of a row after its name: see `columns`."""
    runs = results.comparison.seeds
    if not row.finished:
        return [*[""] * (len(columns(results)) - 1), f"0 of {runs}"]
    numbers = [interval(row.spread(name, ratio=True)) for name in results.distances]
    numbers += [interval(row.spread(name)) for name in _shown(results)]
    seen, seconds = row.mean("seen"), row.mean("seconds")
    cost = [f"{seen:,.0f}", f"{seen / seconds:,.0f}" if seconds else "", si(row.mean("flops"))]
    done = len(row.finished)
    return [*numbers, *cost, f"{seconds / 60:.3g}", str(done) if done == runs else f"{done} of {runs}"]


def explained(results: Results) -> str:
    """What the table's numbers are, in sentences."""
    c = results.comparison
    budget = f"{span(c.seconds)} of training a run" if c.seconds else f"{c.examples or 0:,} examples a run"
    over = "mean over seeds (95 % interval of the mean, Student's t)" if c.seeds > 1 else "one seed (95 % interval)"
    return (
        f"{budget}, {c.seeds} seed{'s' if c.seeds > 1 else ''}; {over}. The floor is real data against real data. "
        "Examples and minutes of training are means over seeds; evaluations are not in them. FLOPs: convolutions and "
        "matrix products, forward and backward, two a multiplication and addition."
    )


def early(results: Results) -> str | None:
    """How many runs had seen their examples long before their time was over; None where none had."""
    budget, done = results.comparison.seconds, [run for row in results.rows for run in row.finished]
    shares = sorted(run.seconds / budget for run in done if run.seconds < EARLY * budget) if budget else []
    if not shares:
        return None
    taken = " to ".join(dict.fromkeys(part(share) for share in (shares[0], shares[-1])))
    return (
        f"{len(shares)} of {len(done)} runs had seen all the examples planned in {taken} of the time: the machine was "
        "faster then than when the comparison was planned."
    )


def title(name: str) -> str:
    """A metric's name in a head."""
    names = {"frechet": "Fréchet", "w2": "W2", "accuracy": "class accuracy"}
    first, _, rest = name.partition("_")
    return f"{names[first]}{f' ({rest})' if rest else ''}" if first in names else name.replace("_", " ")


def interval(spread: Spread | None) -> str:
    """`1.32 (1.21–1.43)`."""
    if spread is None or not math.isfinite(spread.mean):
        return ""
    mean = f"{spread.mean:.3g}"
    if spread.low is None or spread.high is None or f"{spread.low:.3g}" == f"{spread.high:.3g}":
        return mean
    return f"{mean} ({spread.low:.3g}–{spread.high:.3g})"


def si(value: float) -> str:
    """`1.23 P`, `45.6 T`: three digits and a prefix."""
    if not math.isfinite(value):
        return ""
    value = float(f"{value:.3g}")  # before the prefix is chosen: 999,999 is 1 M
    step = min(math.floor(math.log10(max(value, 1.0)) + 1e-9) // 3, 6)
    return f"{value / 1000**step:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E'][step]}".strip()


def part(share: float | None) -> str:
    """`98%`, rounded down, so that what is not whole never reads as that; empty for None."""
    return "" if share is None else f"{math.floor(100 * share + 1e-9)}%"


def span(seconds: float) -> str:
    """`30 s`, `10 min`, `2 h`."""
    unit, size = next((u, s) for u, s in (("h", 3600), ("min", 60), ("s", 1)) if seconds >= s or s == 1)
    return f"{seconds / size:g} {unit}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _sound(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sound(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
