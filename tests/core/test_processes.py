"""Two processes over gloo against one process, and against micro-batches. Both run once, for all tests here."""

import json
from pathlib import Path

import pytest
import torch
from games import assert_same
from torchrun import needs_gloo, run_together
from worker import train

from pushforward.core.checkpoint import read
from pushforward.core.distributed import World, any_process, average_, barrier, joined, same_everywhere

pytestmark = needs_gloo


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict]:
    """What each of two processes found."""
    out = tmp_path_factory.mktemp("processes")
    run_together(Path(__file__).with_name("worker.py"), str(out))
    return [read(out / f"rank{i}") | json.loads((out / f"rank{i}.json").read_text()) for i in range(2)]


@pytest.fixture(scope="module")
def one() -> tuple[dict, dict]:
    return train(World())


def assert_close(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=1e-3, atol=1e-5, msg=key)


def test_each_process_knows_its_place(two):
    assert [(p["rank"], p["size"]) for p in two] == [(0, 2), (1, 2)]


def test_two_processes_agree_with_each_other_bit_for_bit_and_with_one_to_float_tolerance(two, one):
    assert_same(two[0]["trained"], two[1]["trained"])
    assert_close(two[0]["trained"], one[0])


def test_processes_and_micro_batches_together_agree_with_one(two, one):
    assert_same(two[0]["parted"], two[1]["parted"])
    assert_close(two[0]["parted"], one[0])
    assert_close(train(World(), accumulate=4)[0], one[0])


def test_the_log_is_of_the_whole_batch_on_every_process(two, one):
    assert two[0]["log"] == two[1]["log"]
    assert two[0]["log"] == pytest.approx(one[1], rel=1e-3, abs=1e-5)


def test_processes_that_began_with_other_weights_take_the_first_ones(two):
    assert_same(two[0]["spread"], two[1]["spread"])
    assert_same(two[0]["spread"], two[0]["trained"])


@pytest.mark.parametrize("when", ["spoilt", "spoilt, seen late"])
def test_a_loss_that_is_infinite_on_one_process_stops_all(two, when):
    for process in two:
        assert process[when].startswith("NonFiniteError: a's loss is not finite in round 0")


def test_different_moves_are_found_by_check_on_every_process(two):
    for process in two:
        assert process["moves"] == (
            "RuntimeError: the processes made different moves; a recipe's play must not depend on the rank"
        )


def test_a_gradient_that_one_process_lacks_counts_as_zero_there(two):
    assert [process["half used"] for process in two] == ["nothing", "nothing"]
    assert_same(two[0]["half"], two[1]["half"])


def test_a_gradient_that_no_process_has_stays_none(two):
    assert [process["unused"] for process in two] == ["nothing", "nothing"]
    assert [process["state of the unmoved"] for process in two] == [0, 0]


def test_means_are_taken_over_processes_whatever_the_dtypes(two):
    for process in two:
        assert torch.equal(process["mixed"][0], torch.full((3,), 0.5))
        assert torch.equal(process["mixed"][1], torch.full((2, 2), 1.0, dtype=torch.float64))
    assert torch.equal(two[0]["mean"], two[1]["mean"])


def test_questions_to_all_processes_have_one_answer(two):
    for process in two:
        assert process["any"] == [True, False]
        assert process["same"] == [True, False]


def test_a_stop_asked_of_one_process_stops_all_after_the_same_round(two):
    for process in two:
        assert process["fit"] == ["stopped", 8, [64, 128, 192, 256]]


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    device, x = torch.device("cpu"), torch.ones(2)
    with joined(device) as world:
        assert world == World(0, 1, 0)
        assert world.first
        average_([x], world)
        barrier(world)
        assert any_process(True, world, device)
        assert not any_process(False, world, device)
        assert same_everywhere(3, world, device)
    assert torch.equal(x, torch.ones(2))
