"""The command line on two processes, started as README says: one run, and its continuation."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trees
from torchrun import needs_gloo

from pushforward.core.checkpoint import Checkpoints

# One start in about 190 was aborted so by torch's own threads as its process ended; nothing else is tried again.
pytestmark = [needs_gloo, pytest.mark.flaky(reruns=1, only_rerun=["without an active exception"])]

WORDS = ["train", "dcgan", "--data", "digits", "--width", "8", "--latent", "4", "--batch", "8", "--examples", "400"]
WORDS += ["--conditioning", "projection", "--augment", "ada", "--augment-p", "0.4", "--augment-speed", "200"]
WORDS += ["--ticks", "10", "--checkpoints", "4", "--pictures", "2", "--no-measure"]
WORDS += ["--evaluations", "2", "--evaluate", "features=pixels", "n=50"]


def torchrun(*words: str) -> str:
    """What `pushforward` says on two processes; fails with its errors unless it ends well."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-addr", "localhost", "--master-port", str(port), "-m", "pushforward", *words]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, without the time they took."""
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in path.read_text().splitlines()]


def newest(run: Path) -> Path:
    last = Checkpoints(run / "checkpoints").last()
    assert last is not None
    return last


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that nothing stopped, and what it said."""
    folder = tmp_path_factory.mktemp("two") / "run"
    return folder, torchrun(*WORDS, "--out", str(folder))


def test_two_processes_leave_one_run_and_say_so_once(run: tuple[Path, str]) -> None:
    folder, said = run
    assert said.count(f"run       {folder}\n") == said.count("report.html") == 1
    assert [path.name for path in folder.parent.iterdir()] == ["run"]
    kept = {"checkpoints", "config.json", "exhibits.npz", "metrics.jsonl", "report.html", "samples", "stats.jsonl"}
    assert {path.name for path in folder.iterdir()} == kept
    assert newest(folder).name == f"{400:012}"
    assert {path.name for path in (folder / "samples").glob("*.png")} == {f"{n:012}.png" for n in (0, 200, 400)}
    logged = [row["seen"] for row in rows(folder / "stats.jsonl")]
    assert {*range(40, 401, 40)} <= {*logged}
    assert logged == sorted({*logged})
    assert [row["seen"] for row in rows(folder / "metrics.jsonl")] == [200, 400]


def test_two_processes_that_lost_the_last_checkpoint_end_as_if_they_had_not(
    run: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = run
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    shutil.rmtree(newest(copy))
    (copy / "report.html").unlink()
    assert int(newest(copy).name) == 304
    said = torchrun("resume", str(copy))
    assert said.count(f"run       {copy}\n") == said.count("report.html") == 1
    assert newest(copy).name == newest(folder).name
    trees.assert_same(newest(copy), newest(folder))
    for log in ("stats.jsonl", "metrics.jsonl"):
        assert rows(copy / log) == rows(folder / log)
    assert (copy / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    assert {path.name for path in copy.iterdir()} == {path.name for path in folder.iterdir()}
