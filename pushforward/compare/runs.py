"""Carries a comparison out: processes side by side, what is started when, and what becomes of those that end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pushforward.compare.plan import Comparison, Entry
from pushforward.compare.results import failure, run_folder
from pushforward.compare.speed import Probe, read_probe
from pushforward.compare.watch import Watch
from pushforward.core import runlog
from pushforward.core.checkpoint import write_text
from pushforward.course import interruptible

GUARD = 1.1
"""Times its seconds that a run may take: the examples that were planned should be seen before. Where they were planned
for a machine that was faster, by its pace more."""
STOPPED = 130
OWN = "pushforward: error: "
ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt)(:|$)")
"""How the line begins that ends a traceback."""
AFTERMATH = ("Exception ignored in", "Exception in thread")
"""How tracebacks begin of what an ending process leaves behind."""
ATTEMPT = "=== a new process ==="
"""The line before each process's output in its log."""


class Process(Protocol):
    """What is asked of a process."""

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


Launch = Callable[[Sequence[str], Path, int], Process]
"""(words for `child`, where its output goes, threads) -> the process."""


@dataclass(frozen=True)
class Task:
    """One process to be: `place`, a folder that it writes to, or a file's path without its ending, names it."""

    name: str
    place: Path
    words: Callable[[], list[str] | None]
    """Of the child, when its turn comes; None where there is nothing to do."""
    done: Callable[[], bool]
    planned: Callable[[], int]
    """Examples to see, for the progress bar; 0 for a probe."""
    beside: tuple[str, ...] | None = None
    """Of a child that is to run beside the last ones, so that these too have as many beside them; None for none."""


def left(comparison: Comparison, folder: Path) -> int:
    """How many runs are neither finished nor would fail again."""
    timed = [entry for entry in comparison.entries if not _fails(folder / "probes" / entry.slug)]
    places = [run_folder(folder, entry, seed) for entry in timed for seed in range(comparison.seeds)]
    return sum(not finished(place) and not _fails(place) for place in places)


def failures(comparison: Comparison, folder: Path) -> list[str]:
    """The files, below the folder, that keep what failed by itself from being tried anew."""
    probes = [folder / "probes" / entry.slug for entry in comparison.entries]
    runs = [run_folder(folder, entry, seed) for entry in comparison.entries for seed in range(comparison.seeds)]
    return [f"{place.relative_to(folder)}.failed" for place in (*probes, *runs) if _fails(place)]


def carry_out(comparison: Comparison, folder: Path, watch: Watch, launch: Launch | None = None) -> bool:
    """Probes each recipe, then trains all, one seed of every recipe before the next; what is done already is kept.

    Returns False where it was stopped on the way. A process that fails leaves its reason, and the others go on.
    """
    probes = [_probe(comparison, folder, index) for index in range(len(comparison.entries))]
    runs = [_run(comparison, folder, entry, seed) for seed in range(comparison.seeds) for entry in comparison.entries]
    for task in (*probes, *runs):
        _forget_kill(task.place)
    with interruptible() as stop:
        for tasks in (probes, runs):
            watch.begin(len(tasks))
            if not _all(tasks, comparison.jobs, comparison.machine.threads, watch, launch or start, stop.is_set):
                return False
    return True


def start(words: Sequence[str], log: Path, threads: int) -> subprocess.Popen[bytes]:
    """A child whose output goes to a file; out of reach of the terminal's Ctrl-C, which this process passes on."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        file.write(f"{ATTEMPT}\n".encode())
        file.flush()
        return subprocess.Popen(
            [sys.executable, "-m", "pushforward.compare.child", *words],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            start_new_session=True,
        )


def _all(
    tasks: Sequence[Task], jobs: int, threads: int, watch: Watch, launch: Launch, stopping: Callable[[], bool]
) -> bool:
    """All tasks in their order, so many at once. False where it was stopped, after each child has stopped too."""
    waiting: Iterator[Task] = iter(tasks)
    running: dict[Task, Process] = {}
    beside: list[Process] = []
    asked = False
    try:
        while True:
            while not stopping() and len(running) < jobs and (task := next(waiting, None)) is not None:
                words = None if task.done() or failure(task.place) else task.words()
                if words is None:
                    watch.ended(task.name, task.place, already=True)
                    continue
                watch.started(task.name, task.place, task.planned())
                running[task] = launch(words, log_of(task.place), threads)
            if not running:
                return not stopping()
            last = next(reversed(running))
            while last.beside is not None and len(running) + len(beside) < jobs and not stopping():
                beside.append(launch(last.beside, log_of(last.place.with_name(f"{last.place.name}-beside")), threads))
            if stopping() and not asked:
                asked = True
                watch.say("stopping: each run saves a checkpoint first")
                for process in running.values():
                    process.terminate()
            for task, process in list(running.items()):
                status = process.poll()
                if status is not None:
                    del running[task]
                    stopped = asked and status in (STOPPED, -signal.SIGTERM, -signal.SIGINT)
                    if not task.done() and not stopped:
                        _fail(task.place, status)
                    watch.ended(task.name, task.place)
            watch.update()
            time.sleep(0.0 if not running else 0.2)
    finally:
        for process in (*running.values(), *beside):
            process.kill()


def _probe(comparison: Comparison, folder: Path, index: int) -> Task:
    entry = comparison.entries[index]
    place = folder / "probes" / entry.slug
    path = place.with_name(f"{place.name}.json")
    words = ["probe", str(folder), str(index)]
    beside = ("beside", *words[1:])
    return Task(f"{entry.label}: speed", place, lambda: words, path.exists, lambda: 0, beside)


def _run(comparison: Comparison, folder: Path, entry: Entry, seed: int) -> Task:
    place = run_folder(folder, entry, seed)
    path = folder / "probes" / f"{entry.slug}.json"

    def words() -> list[str] | None:
        probe = read_probe(path)
        return None if probe is None else ["run", str(place), *_words(comparison, entry, seed, probe, place)]

    def planned() -> int:
        probe = read_probe(path)
        return 0 if probe is None else probe.examples

    return Task(f"{entry.label} seed {seed}", place, words, lambda: finished(place), planned)


def _words(comparison: Comparison, entry: Entry, seed: int, probe: Probe, place: Path) -> list[str]:
    """What is left to do of a run: all of it, the rest of it in the time that it has left, or its curve alone."""
    minutes = None if comparison.seconds is None else GUARD * comparison.seconds / min(probe.pace, 1.0) / 60
    if not (place / "config.json").exists():
        return comparison.words(entry, seed, probe.examples, minutes, place)
    measured = any(not row["quick"] for row in runlog.rows(place / "metrics.jsonl"))
    if measured and (place / "exhibits.npz").exists():
        return []
    if minutes is not None:
        # What was trained since the newest checkpoint is lost, and its time with it.
        checkpoints = sorted(int(p.name) for p in (place / "checkpoints").glob("[0-9]*"))
        rows = [r for r in runlog.rows(place / "stats.jsonl") if checkpoints and r["seen"] <= checkpoints[-1]]
        minutes = max(minutes - (rows[-1]["seconds"] if rows else 0.0) / 60, 1e-3)
    left = [] if minutes is None else ["--minutes", f"{minutes:.4g}"]
    return ["resume", str(place), *left]


def finished(place: Path) -> bool:
    """Whether a run was trained, measured, and measured along its way."""
    quick = {row["quick"] for row in runlog.rows(place / "metrics.jsonl")}
    return quick == {True, False}


def log_of(place: Path) -> Path:
    """Where a child's output goes."""
    return place.with_name(f"{place.name}.log")


def _fail(place: Path, status: int) -> None:
    """Keeps why a child ended without having done its work."""
    told = {"reason": _reason(log_of(place), status), "status": status}
    write_text(place.with_name(f"{place.name}.failed"), json.dumps(told))


def _fails(place: Path) -> bool:
    """Whether a child failed that would fail again: it ended by itself, and was not killed from outside."""
    path = place.with_name(f"{place.name}.failed")
    status = json.loads(path.read_text(encoding="utf-8"))["status"] if path.exists() else None
    return status is not None and status >= 0 and status != STOPPED


def _forget_kill(place: Path) -> None:
    """A child that was killed from outside is tried again."""
    if not _fails(place):
        place.with_name(f"{place.name}.failed").unlink(missing_ok=True)


def _reason(log: Path, status: int) -> str:
    """One line: the child's own error, or the signal that killed it."""
    if status < 0:
        memory = " (was there enough memory?)" if status == -signal.SIGKILL else ""
        return f"killed by {signal.Signals(-status).name}{memory}"
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line for line in text.rpartition(ATTEMPT)[2].splitlines() if line.strip()]
    end = next((i for i, line in enumerate(lines) if line.startswith(AFTERMATH)), len(lines))
    ways = (
        [line for line in lines if line.startswith(OWN)],
        [line for line in lines[:end] if ERROR.match(line)],
        [line for line in lines if ERROR.match(line)],
        lines,
    )
    line = next((found[-1] for found in ways if found), f"ended with status {status}")
    return line.removeprefix(OWN).removeprefix("ValueError: ").strip()
