"""Every image recipe on two processes, and killed for real."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trees
from pair import image_recipes, told
from small import SMALL
from torchrun import needs_gloo, run_two

from pushforward import recipes
from pushforward.core.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What a checkpoint would hold of the players, on each of two processes, by recipe."""
    out = tmp_path_factory.mktemp("pair")
    run_two(Path(__file__).with_name("pair.py"), str(out), seconds=240)
    return [json.loads((out / f"rank{i}.json").read_text()) for i in range(2)]


@needs_gloo
@pytest.mark.parametrize("name", image_recipes())
def test_two_processes_hold_the_same_players_after_the_same_rounds(two, name):
    assert two[0][name] == two[1][name]


def start(*words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "pushforward", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def words_of(name: str) -> list[str]:
    fields = {f.name for f in dataclasses.fields(recipes.load(name).Config)}
    options = {k: v for k, v in (SMALL | told(name) | {"examples": 240, "critic_steps": 1}).items() if k in fields}
    found = ["train", name, "--data", "digits", "--checkpoints", "15", "--evaluations", "0", "--no-measure", "--pictures", "1"]
    for key, value in options.items():
        found += [f"--{key.replace('_', '-')}", str(value)]
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no SIGKILL")
@pytest.mark.parametrize("name", image_recipes())
def test_a_recipe_killed_on_its_way_ends_in_the_weights_of_one_that_was_not(name, tmp_path):
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    run = start(*words_of(name), "--out", str(killed))
    while Checkpoints(killed / "checkpoints").last() is None and run.poll() is None:
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert start("resume", str(killed)).wait() == 0
    assert start(*words_of(name), "--out", str(alone)).wait() == 0
    ends = [Checkpoints(folder / "checkpoints").last() for folder in (killed, alone)]
    assert ends[0] is not None
    assert ends[1] is not None
    trees.assert_same(ends[0], ends[1])
