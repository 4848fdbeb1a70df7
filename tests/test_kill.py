"""A run killed at random moments and resumed each time ends in the weights of one that was left alone.

PUSHFORWARD_KILLS sets how often (2 where it is not set).
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trees

from pushforward.core.checkpoint import Checkpoints, read

KILLS = int(os.environ.get("PUSHFORWARD_KILLS", "2"))
EXAMPLES = 30_000 * (KILLS + 1)
WORDS = ["train", "dcgan", "--data", "digits", "--width", "8", "--batch", "100", "--examples", str(EXAMPLES)]
WORDS += ["--checkpoints", str(15 * (KILLS + 1)), "--evaluations", "0", "--no-measure", "--seed", "3"]


def start(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pushforward", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def progress(run: Path) -> int:
    """Examples that the newest checkpoint has seen."""
    last = Checkpoints(run / "checkpoints").last()
    return -1 if last is None else int(last.name)


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGKILL")
def test_a_run_killed_at_random_moments_ends_in_the_same_weights(tmp_path: Path) -> None:
    killed, left_alone = tmp_path / "killed", tmp_path / "left-alone"
    alone = start(*WORDS, "--out", str(left_alone))
    rng = np.random.default_rng()
    at: list[int] = []
    while len(at) < KILLS:
        before = progress(killed)
        run = start("resume", str(killed)) if (killed / "config.json").exists() else start(*WORDS, "--out", str(killed))
        while progress(killed) <= before and run.poll() is None:
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 2)))
        if run.poll() is not None:
            break
        run.send_signal(signal.SIGKILL)
        run.wait()
        for checkpoint in Checkpoints(killed / "checkpoints").all():
            read(checkpoint)
        at.append(progress(killed))
    assert len(at) == KILLS, f"the run ended after {len(at)} kills; make it longer"
    assert start("resume", str(killed)).wait() == 0
    assert alone.wait() == 0
    ends = [Checkpoints(run / "checkpoints").last() for run in (killed, left_alone)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert progress(killed) == progress(left_alone) >= EXAMPLES
    trees.assert_same(ends[0], ends[1])
    print(f"{KILLS} kills, at {at} of {EXAMPLES} examples")
