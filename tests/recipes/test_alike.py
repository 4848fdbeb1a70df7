"""Two processes that share the batch against one that has all of it, on every recipe that can't tell them apart."""

from pathlib import Path
from typing import Any

import pytest
import torch
from alike import by_example, play
from torchrun import needs_gloo, run_together

from pushforward.core.checkpoint import read, split
from pushforward.core.distributed import World


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the first of two processes made of each recipe."""
    out = tmp_path_factory.mktemp("alike")
    run_together(Path(__file__).with_name("alike.py"), str(out), seconds=240)
    return read(out / "rank0")


@needs_gloo
@pytest.mark.parametrize("name", by_example())
def test_two_processes_make_of_a_recipe_what_one_makes_of_it(two, name):
    (rest, shared), (rest_alone, alone) = split(two[name]), split(play(name, World()))
    assert rest == rest_alone
    for key, value in alone.items():
        parts = 2 if key.endswith("controller/signs") else 1  # of these each process holds the mean
        torch.testing.assert_close(
            shared[key] * parts, value, rtol=1e-4, atol=3e-5, msg=lambda said, key=key: f"{key}: {said}"
        )
