"""Every image recipe on two processes, and killed for real."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trees
from pair import image_recipes, told
from small import BATCH, SMALL
from torchrun import needs_gloo, run_together

from pushforward import recipes
from pushforward.core.checkpoint import Checkpoints

EXAMPLES = 160
PAST = 6 * BATCH  # Adam has its moments, averages have moved, and so has ADA's p, after the fourth round


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What a checkpoint would hold of the players, on each of two processes, by recipe."""
    out = tmp_path_factory.mktemp("pair")
    run_together(Path(__file__).with_name("pair.py"), str(out), seconds=240)
    return [json.loads((out / f"rank{i}.json").read_text()) for i in range(2)]


@needs_gloo
@pytest.mark.parametrize("name", image_recipes())
def test_two_processes_hold_the_same_players_after_the_same_rounds(two, name):
    assert two[0][name] == two[1][name]


@needs_gloo
def test_averaging_over_three_processes_changes_nothing_that_they_have_alike() -> None:
    run_together(Path(__file__).with_name("three.py"), processes=3)


def words_of(name: str) -> list[str]:
    fields = {f.name for f in dataclasses.fields(recipes.load(name).Config)}
    changes = SMALL | told(name) | {"examples": EXAMPLES, "critic_steps": 1}
    options = {k: v for k, v in changes.items() if k in fields}
    found = [
        "train",
        name,
        "--data",
        "digits",
        "--checkpoints",
        str(EXAMPLES // BATCH),
        "--evaluations",
        "0",
        "--no-measure",
        "--pictures",
        "1",
    ]
    for key, value in options.items():
        found += [f"--{key.replace('_', '-')}", str(value)]
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_every_recipe_killed_on_its_way_ends_in_the_weights_of_one_that_was_not(tmp_path):
    asked = {"past": PAST, "commands": {name: words_of(name) for name in image_recipes()}}
    (tmp_path / "commands.json").write_text(json.dumps(asked))
    script = Path(__file__).with_name("killer.py")
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=600)
    ended = json.loads((tmp_path / "ended.json").read_text())
    assert {name: statuses for name, (_, *statuses) in ended.items()} == {
        name: [-signal.SIGKILL, 0, 0] for name in image_recipes()
    }
    assert {name: seen for name, (seen, *_) in ended.items() if not PAST <= seen < EXAMPLES} == {}
    for name in image_recipes():
        killed, alone = (Checkpoints(tmp_path / name / run / "checkpoints").last() for run in ("killed", "alone"))
        assert killed is not None, name
        assert alone is not None, name
        trees.assert_same(killed, alone)
