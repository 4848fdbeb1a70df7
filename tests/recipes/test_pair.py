"""Every image recipe on two processes, and killed for real."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trees
from pair import image_recipes, told
from small import BATCH, SMALL
from torchrun import needs_gloo, run_together

from pushforward import recipes
from pushforward.core.checkpoint import Checkpoints

EXAMPLES = 160
PAST = 6 * BATCH  # Adam has its moments, averages have moved, and so has ADA's p, after the fourth round
PHASE = 15 * BATCH  # a level fades in over as many examples, after as many
GROWING = {"progan": (), "stylegan": ("--growing", "--resolution", "16")}  # StyleGAN begins at the digits' own 8×8

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


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


def words_of(name: str, *words: str, **more: Any) -> list[str]:
    """The command that trains a recipe, with a checkpoint after each round."""
    fields = {f.name for f in dataclasses.fields(recipes.load(name).Config)}
    changes = SMALL | told(name) | {"examples": EXAMPLES, "critic_steps": 1}
    options = {k: v for k, v in changes.items() if k in fields and k != "phase"} | more  # refused without growth
    found = [
        "train",
        name,
        "--data",
        "digits",
        "--checkpoints",
        str(options["examples"] // BATCH),
        "--evaluations",
        "0",
        "--no-measure",
        "--pictures",
        "1",
        *words,
    ]
    for key, value in options.items():
        found += [f"--{key.replace('_', '-')}", str(value)]
    return found


def killed_at(out: Path, commands: dict[str, list[str]], past: int) -> dict[str, int]:
    """The examples behind the checkpoint that each command was killed at, resumed from and ended as if it were not."""
    (out / "commands.json").write_text(json.dumps({"past": past, "commands": commands}))
    script = Path(__file__).with_name("killer.py")
    subprocess.run([sys.executable, str(script), str(out)], check=True, timeout=600)
    ended = json.loads((out / "ended.json").read_text())
    assert {name: statuses for name, (_, *statuses) in ended.items()} == {
        name: [-signal.SIGKILL, 0, 0] for name in commands
    }
    for name in commands:
        killed, alone = (Checkpoints(out / name / run / "checkpoints").last() for run in ("killed", "alone"))
        assert killed is not None, name
        assert alone is not None, name
        trees.assert_same(killed, alone)
    return {name: seen for name, (seen, *_) in ended.items()}


@needs_fork
def test_every_recipe_killed_on_its_way_ends_in_the_weights_of_one_that_was_not(tmp_path):
    at = killed_at(tmp_path, {name: words_of(name) for name in image_recipes()}, PAST)
    assert {name: seen for name, seen in at.items() if not PAST <= seen < EXAMPLES} == {}


@needs_fork
def test_a_network_killed_while_a_level_fades_in_ends_in_the_weights_of_one_that_was_not(tmp_path):
    past = PHASE + 3 * BATCH  # Adam's moments, forgotten where the fade began, are there again
    commands = {
        name: words_of(name, "--keep", "99", *words, phase=PHASE, examples=2 * EXAMPLES)
        for name, words in GROWING.items()
    }
    at = killed_at(tmp_path, commands, past)
    assert {name: seen for name, seen in at.items() if not past <= seen < 2 * PHASE} == {}
    for name, seen in at.items():
        held = trees.tensors(tmp_path / name / "killed" / "checkpoints" / f"{seen:012}")
        alphas = [stage[1].item() for key, stage in held.items() if key.endswith("growth._extra_state")]
        assert alphas == [(seen - BATCH - PHASE) / PHASE] * 3  # of the critic, the generator and its average
        assert 0 < alphas[0] < 1
