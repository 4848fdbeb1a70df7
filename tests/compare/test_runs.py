"""The processes of a comparison: how many at once, and what becomes of one that fails or is cut off."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from comparing import RECIPES, Inline, Killed, last, plan_of

from pushforward.compare import child, runs
from pushforward.compare.curve import due
from pushforward.compare.results import collect
from pushforward.compare.runs import carry_out, left
from pushforward.compare.watch import Watch
from pushforward.core import runlog

pytestmark = pytest.mark.usefixtures("inline")


def test_a_run_that_was_stopped_before_its_samples_gets_them(compared: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    place = copy / "runs" / "cgan-width-8-batch-50-0"
    before = last(place)
    (place / "exhibits.npz").unlink()
    log = place / "metrics.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"quick": false' in line))
    assert carry_out(plan_of(copy), copy, Watch(quiet=True), Inline)
    assert (place / "exhibits.npz").exists()
    assert last(place) == before
    assert [row["quick"] for row in runlog.rows(log)].count(False) == 1


class Counted:
    """A child that takes a second look to end, and counts those that live."""

    alive: ClassVar[list[str]] = []
    logs: ClassVar[dict[str, Path]] = {}
    seen: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, words: Sequence[str], log: Path, threads: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.words, self.looks = words, 0
        Counted.logs[words[0]] = log
        Counted.alive.append(words[0])

    def poll(self) -> int | None:
        self.looks += 1
        Counted.seen.append((self.words[0], len(Counted.alive)))
        if self.looks < 2:
            return None
        Counted.alive.remove(self.words[0])
        if self.words[0] == "probe":
            child.main(self.words)
        return -signal.SIGKILL

    def terminate(self) -> None: ...

    def kill(self) -> None:
        Counted.alive.remove(self.words[0])


def test_speeds_are_measured_beside_as_many_processes_as_runs_have_beside_them(compared: Path, tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_of(compared), jobs=2)
    plan = dataclasses.replace(plan, entries=plan.entries[:1], seeds=3)
    (tmp_path / "plan.json").write_text(json.dumps(dataclasses.asdict(plan)))
    assert carry_out(plan, tmp_path, Watch(quiet=True), Counted)
    assert [count for what, count in Counted.seen if what == "probe"] == [2, 2]
    assert [count for what, count in Counted.seen if what == "run"][:2] == [2, 2]
    assert Counted.alive == []
    assert Counted.logs["beside"] == Counted.logs["probe"].with_name("cgan-width-8-batch-50-beside.log")


def test_the_reason_is_that_of_the_last_attempt(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    begun = f"{runs.ATTEMPT}\n"
    first = f"{begun}pushforward: error: ValueError: loss is not finite\n"
    log.write_text(f"{first}{begun}Traceback …\nRuntimeError: out of memory\n\n")
    assert runs._reason(log, 1) == "RuntimeError: out of memory"
    log.write_text(f"{first}{begun}Illegal instruction\n\n")
    assert runs._reason(log, 1) == "Illegal instruction"
    log.write_text(f"{first}{begun}")
    assert runs._reason(log, 3) == "ended with status 3"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("Traceback …\npushforward: error: ValueError: loss is not finite\n", "loss is not finite"),
        ("torch.OutOfMemoryError: 8 GiB\nresource_tracker: There appear to be 2 …\n", "torch.OutOfMemoryError: 8 GiB"),
        ("KeyError: 'a'\n\nDuring handling …\nRuntimeError: b\n", "RuntimeError: b"),
        ("KeyError: 'a'\nException ignored in: <function f>\nTraceback …\nAssertionError: c\n", "KeyError: 'a'"),
        ("KeyError: 'a'\nException in thread Thread-1:\nTraceback …\nOSError: d\n", "KeyError: 'a'"),
        ("pushforward: error: a\nException ignored in: f\nKeyError: 'b'\n", "a"),
        ("Exception in thread Thread-1:\nTraceback …\nOSError: d\nSegmentation fault\n", "OSError: d"),
        ("Illegal instruction\n\n", "Illegal instruction"),
    ],
)
def test_the_reason_is_the_error_and_not_what_an_ending_process_leaves(tmp_path: Path, told: str, reason: str) -> None:
    log = tmp_path / "a.log"
    log.write_text(told)
    assert runs._reason(log, 1) == reason
    log.write_text(f"{runs.ATTEMPT}\nValueError: before\n{runs.ATTEMPT}\n{told}")
    assert runs._reason(log, 1) == reason


def test_checkpoints_of_interruptions_are_not_in_the_curve() -> None:
    seen = [0, 100, 512, 700, 1024, 1536, 1600, 1700]
    names = [p.name for p in due([Path(f"{n:012d}") for n in seen], 2000, 4)]
    assert [int(name) for name in names] == [512, 1024, 1536, 1700]
    names = [p.name for p in due([Path(f"{n:012d}") for n in (0, 640, 1280, 1920, 2048)], 2000, 4)]
    assert [int(name) for name in names] == [640, 1280, 1920, 2048]


def test_a_killed_child_is_told_of_and_tried_again_by_the_next_call(compared: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    plan = plan_of(copy)
    log = copy / "runs" / "cgan-width-8-batch-50-0" / "metrics.jsonl"
    whole = last(log.parent)
    log.unlink()
    assert carry_out(plan, copy, Watch(quiet=True), Killed)
    row = next(row for row in collect(plan, copy).rows if row.entry.label == RECIPES[0])
    assert row.reason == "seed 0: killed by SIGKILL (was there enough memory?)"
    assert len(row.finished) == 1
    assert left(plan, copy) == 1
    assert carry_out(plan, copy, Watch(quiet=True), Inline)
    assert last(log.parent) == whole
    assert left(plan, copy) == 0
    for seed in range(2):
        (copy / "runs" / f"gan-width-8-batch-50-lr-1e30-{seed}.failed").unlink()
    assert left(plan, copy) == 2
    (copy / "probes" / "gan-width-8-batch-50-lr-1e30.failed").write_text('{"reason": "no", "status": 1}')
    assert left(plan, copy) == 0  # what can't be timed does not begin


def test_a_child_whose_parent_is_gone_saves_and_stops(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["run", str(folder), "train", "gan", "--data", "digits", "--out", str(folder), "--examples", "100000000"]
    words += ["--width", "8", "--evaluations", "0", "--ticks", "100000"]
    command = [sys.executable, "-m", "pushforward.compare.child", *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    until = time.monotonic() + 60
    while not (folder / "stats.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.stdin.close()  # as the system does when the parent is killed
    assert process.wait(60) == runs.STOPPED, process.stderr.read()
    process.stderr.close()
    seen = runlog.rows(folder / "stats.jsonl")[-1]["seen"]
    assert (folder / "checkpoints" / f"{seen:012d}").is_dir()
    assert seen > 0
