import importlib.util
import itertools
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

SMALL = ["--width", "8", "--batch", "8", "--blocks", "2", "--seconds", "0.02", "--compared", "3"]


@pytest.fixture
def step(monkeypatch) -> ModuleType:
    # main sets these for its process, and the other tests' results must not depend on that.
    monkeypatch.setattr(torch, "set_flush_denormal", lambda on: True)
    spec = importlib.util.spec_from_file_location("step", Path(__file__).parents[1] / "benchmarks" / "step.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(step: ModuleType, folder: Path, *words: str) -> dict:
    assert step.main([*words, *SMALL, "--json", str(folder / "step.json")]) == 0
    return json.loads((folder / "step.json").read_text())


@pytest.mark.parametrize(("recipe", "data"), [("dcgan", "digits"), ("dcgan", "glyphs"), ("gan", "ring8")])
def test_step_compares_the_engine_with_a_loop_that_computes_the_same_weights(step, tmp_path, capsys, recipe, data):
    result = written(step, tmp_path, "--recipe", recipe, "--data", data)
    assert result["difference"] == 0
    assert "bit for bit" in capsys.readouterr().out
    for clock in ("wall", "cpu"):
        ratio = result["against_hand"][clock]["ratio"]
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    assert list(result["share"]) == ["engine", "by hand"]


@pytest.mark.parametrize(("recipe", "data"), [("wgan-gp", "ring8"), ("r3gan", "ring8")])
def test_step_gives_every_recipe_the_shares_of_a_round(step, tmp_path, recipe, data):
    result = written(step, tmp_path, "--recipe", recipe, "--data", data)
    assert result["against_hand"] is None
    for part in ("forward", "backward", "optimizer", "loss", "data", "draws", "rest"):
        assert 0 < result["share"]["engine"]["parts"][part]["median"] < 1


def test_the_stopwatch_counts_nested_parts_once_and_misses_nothing(step, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(step, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    watch = step.Stopwatch(lambda: None)
    inner = watch.timed("forward", lambda: None)
    outer = watch.timed("loss", lambda: [inner(), inner()])
    watch.shares()
    outer()  # one tick at each border: rest, loss, forward, loss, forward, loss, rest
    found = {part: share for part, share in watch.shares().items() if share}
    assert found == pytest.approx({"forward": 2 / 7, "loss": 3 / 7, "rest": 2 / 7})


def test_step_wraps_nothing_for_longer_than_it_measures(step):
    before = torch.autograd.backward
    watching = step.watched([], step.Stopwatch(lambda: None))
    with watching:
        assert torch.autograd.backward is not before
    assert torch.autograd.backward is before


def none(hand, own) -> None:
    """No average."""


def scaled(hand, own, *given) -> torch.Tensor:
    """One per cent more."""
    return 1.01 * own(hand, *given)


@pytest.mark.parametrize(
    ("function", "other"),
    [("follow", none), ("latents", scaled), ("critic_loss", scaled), ("generator_loss", scaled)],
)
def test_step_refuses_to_time_a_loop_that_computes_something_else(step, monkeypatch, capsys, function, other):
    own = getattr(step.HandWritten, function)
    monkeypatch.setattr(step.HandWritten, function, lambda hand, *given: other(hand, own, *given))
    assert step.main(SMALL) == 1
    assert "apart" in capsys.readouterr().out


def test_the_weights_compared_are_trained_weights(step):
    bench = step.Bench("dcgan", "digits", torch.device("cpu"), width=8, batch=8)
    hand = bench.by_hand()
    before = [p.clone() for net in (hand.G, hand.D, hand.average) for p in net.parameters()]
    hand.rounds(3)
    after = [p for net in (hand.G, hand.D, hand.average) for p in net.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(after, before, strict=True))
