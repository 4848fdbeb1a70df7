"""A small comparison, and children for it that need no process of their own."""

import contextlib
import io
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from pushforward import evaluation
from pushforward.compare import child, runs
from pushforward.compare.plan import Comparison, read_plan
from pushforward.core import runlog

SMALL = "--width 8 --batch 50"
RECIPES = [f"cgan {SMALL}", f"gan {SMALL} --lr 1e30"]
ASKED = ["--data", "digits", "--examples", "300", "--seeds", "2", "--evaluations", "2"]


class Inline:
    """A child that was carried out in this process before anyone asks."""

    def __init__(self, words: Sequence[str], log: Path, threads: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            try:
                self.status = child.main(words)
            except Exception as error:
                print(f"{type(error).__name__}: {error}", file=told)
                self.status = 1
        log.write_text(told.getvalue(), encoding="utf-8")

    def poll(self) -> int:
        return self.status

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Killed:
    """A child that something outside ended, after it had saved a part of its run."""

    def __init__(self, words: Sequence[str], log: Path, threads: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)

    def poll(self) -> int:
        return -signal.SIGKILL

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def quickened(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runs, "start", Inline)
    patch.setattr(evaluation, "SIDE", 60)
    # What a probe sets for its process alone.
    patch.setattr("torch.set_flush_denormal", lambda on: None)
    patch.setattr("torch.set_float32_matmul_precision", lambda how: None)


def plan_of(folder: Path) -> Comparison:
    plan = read_plan(folder)
    assert plan is not None
    return plan


def last(folder: Path) -> dict[str, dict[str, float]]:
    return runlog.rows(folder / "metrics.jsonl")[-1]["metrics"]
