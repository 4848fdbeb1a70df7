"""What a person sees while a comparison goes on: bars on a terminal, a line a run elsewhere; all on standard error."""

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pushforward.compare.results import failure
from pushforward.core import runlog

LOOKS = 1.0
"""Seconds between two looks into the logs of the runs."""


@dataclass(frozen=True)
class Shown:
    """A run that goes on, and its bar."""

    bar: TaskID
    place: Path
    planned: int


class Watch:
    """Shows which runs go on, how far each is, and how each ended."""

    def __init__(self, quiet: bool = False) -> None:
        # No markup: a path may hold brackets.
        self.console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)
        self.bars = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.running: dict[str, Shown] = {}
        self.whole: TaskID | None = None
        self.looked = 0.0

    def __enter__(self) -> "Watch":
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def begin(self, total: int) -> None:
        """So many processes follow."""
        if self.whole is not None:
            self.bars.remove_task(self.whole)
        self.whole = self.bars.add_task("all", total=total, told="")

    def started(self, name: str, place: Path, planned: int) -> None:
        """planned: examples to see; 0 where that is not known."""
        bar = self.bars.add_task(name, total=planned or None, told="")
        self.running[name] = Shown(bar, place, planned)

    def update(self) -> None:
        """Looks into the logs, at most once a second."""
        if time.monotonic() - self.looked < LOOKS or self.bars.disable:
            return
        self.looked = time.monotonic()
        for shown in self.running.values():
            rows = runlog.rows(shown.place / "stats.jsonl") if shown.planned else []
            if rows:
                seen = rows[-1]["seen"]
                told = "measuring" if seen >= shown.planned else f"{seen:,} of {shown.planned:,}"
                self.bars.update(shown.bar, completed=min(seen, shown.planned), told=told)

    def ended(self, name: str, place: Path, already: bool = False) -> None:
        """One process is done; already: by an earlier call."""
        shown = self.running.pop(name, None)
        if shown is not None:
            self.bars.remove_task(shown.bar)
        if self.whole is not None:
            self.bars.advance(self.whole)
        if not already:
            self.say(f"{name}: {_told(place)}")

    def say(self, text: str) -> None:
        """One line of news."""
        self.console.print(text)


def _told(place: Path) -> str:
    """How a process ended, from what it left."""
    reason = failure(place)
    if reason is not None:
        return f"failed: {reason}"
    rows = [row for row in runlog.rows(place / "metrics.jsonl") if not row["quick"]]
    if not rows:
        return "done" if place.with_name(f"{place.name}.json").exists() else "stopped"
    metrics = rows[-1]["metrics"]
    name = next((n for n in metrics if n.startswith("frechet") or n == "w2"), next(iter(metrics)))
    m = metrics[name]
    ratio = f", {m['value'] / m['floor']:.3g} × the floor" if m["floor"] and m["value"] is not None else ""
    return f"{name} {m['value']:.4g}{ratio}, after {rows[-1]['seen']:,} examples"
