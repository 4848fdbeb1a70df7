"""How many examples fit into a time, for work that stays the same and for work that grows."""

import dataclasses
from pathlib import Path

import pytest
import torch

from pushforward import recipes
from pushforward.compare import child, runs, speed
from pushforward.compare.plan import Comparison, Entry, Machine, keep_plan, parse_budget
from pushforward.compare.results import run_folder, trained_before
from pushforward.compare.speed import AIM, Phase, Probe, cycle_of, pace_of, probe, read_probe, write_probe
from pushforward.data.catalogue import open_data

GROWING = '''"""A player whose work grows when a quarter of its examples were seen, with a lazy term besides. Nobody."""
from dataclasses import dataclass
import torch
from torch import nn
from torch.optim import SGD
from pushforward.core.game import Game, Move, Player

@dataclass(frozen=True)
class Config:
    examples: int = 4000
    batch: int = 10
    share: float = 0.25
    penalty_every: int = 2
    lr: float = 1e30

PRESETS = {"images": Config()}

def build(cfg, spec):
    nets = nn.ModuleDict({"small": nn.Linear(64, 4, bias=False), "large": nn.Linear(64, 400, bias=False)})

    def play(batches, clock):
        large = clock.seen >= cfg.share * cfg.examples
        net = nets["large" if large else "small"]
        times = 2 if clock.round % cfg.penalty_every == 0 else 1
        loss = lambda b: (sum(net(b["x"].flatten(1)).square().sum() for _ in range(times)), {})
        yield Move("one", loss, {"x": next(batches)["x"]})

    player = Player(nets, SGD(nets.parameters(), lr=cfg.lr), lr=lambda seen: cfg.lr)
    return Game({"one": player}, play, lambda z, y=None: z, (1,))
'''


def entry(tmp_path: Path, **config: float) -> Entry:
    path = tmp_path / "growing.py"
    path.write_text(GROWING)
    module = recipes.load(str(path))
    return Entry(str(path), (), dataclasses.asdict(dataclasses.replace(module.Config(), **config)))


def test_work_that_grows_is_timed_in_phases_and_the_examples_fill_the_time(tmp_path: Path) -> None:
    data = open_data("digits", progress=False)
    found = probe(entry(tmp_path), data, torch.device("cpu"), seconds=1.5, examples=None)
    assert [phase.until for phase in found.phases] == [0.25, 1.0]
    # A product forward and one for the weights' gradient, half as often again by the lazy term.
    assert [phase.flops for phase in found.phases] == [1.5 * 2 * 2 * 64 * 4, 1.5 * 2 * 2 * 64 * 400]
    assert found.rate is not None
    assert 0.985 * AIM * 1.5 < found.examples / found.rate <= AIM * 1.5
    assert found.examples != 4000
    write_probe(found, tmp_path / "p" / "probe.json")
    assert read_probe(tmp_path / "p" / "probe.json") == found


def test_work_that_stays_the_same_is_one_phase_and_untimed_where_examples_are_given(tmp_path: Path) -> None:
    data = open_data("digits", progress=False)
    found = probe(entry(tmp_path, share=0.0), data, torch.device("cpu"), seconds=None, examples=700)
    assert (found.examples, found.rate) == (700, None)
    assert [phase.until for phase in found.phases] == [1.0]
    assert found.flops(700) == pytest.approx(700 * 1.5 * 2 * 2 * 64 * 400)


def test_a_machine_that_has_become_faster_gives_a_row_that_is_added_no_more_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cpu = open_data("digits", progress=False), torch.device("cpu")
    monkeypatch.setattr(speed, "_timed", lambda *_: 1e-4)
    now = probe(entry(tmp_path), data, cpu, seconds=1.5, examples=None)
    slower = dataclasses.replace(now, phases=tuple(dataclasses.replace(phase, seconds=4e-4) for phase in now.phases))
    assert pace_of(entry(tmp_path), slower, data, cpu, 1.5) == pytest.approx(4.0)
    then = probe(entry(tmp_path), data, cpu, seconds=1.5, examples=None, pace=4.0)
    assert [phase.seconds for phase in then.phases] == pytest.approx([4e-4, 4e-4])
    assert then.examples == pytest.approx(now.examples / 4, rel=0.01)
    assert (now.pace, then.pace) == (1.0, 4.0)


def test_a_row_that_joins_is_timed_and_guarded_by_the_pace_of_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, joining = entry(tmp_path), dataclasses.replace(entry(tmp_path, batch=20), words=("--batch", "20"))
    plan = Comparison((first, joining), "digits", "f", Machine("one", 2, 1), 60.0, None)
    keep_plan(plan, tmp_path)
    # What a probe sets for its process alone.
    monkeypatch.setattr("torch.set_flush_denormal", lambda on: None)
    monkeypatch.setattr("torch.set_float32_matmul_precision", lambda how: None)
    monkeypatch.setattr(speed, "_timed", lambda *_: 1e-4)
    places = [tmp_path / "probes" / f"{one.slug}.json" for one in plan.entries]
    assert child.main(["probe", str(tmp_path), "0"]) == 0
    before = read_probe(places[0])
    run_folder(tmp_path, first, 0).mkdir(parents=True)
    monkeypatch.setattr(speed, "_timed", lambda *_: 2e-4)  # the machine has become slower
    assert child.main(["probe", str(tmp_path), "1"]) == 0
    after = read_probe(places[1])
    assert before is not None
    assert after is not None
    assert after.pace == pytest.approx(0.5)
    assert after.examples == pytest.approx(before.examples, rel=0.01)
    for one, found, minutes in ((first, before, "1.1"), (joining, after, "2.2")):
        words = runs._words(plan, one, 0, found, tmp_path / "new")
        assert words[words.index("--minutes") + 1] == minutes


def test_what_was_trained_before_is_of_the_same_recipe_where_it_can_be(tmp_path: Path) -> None:
    entries = tuple(
        Entry(recipe, words, {}) for recipe, words in (("a", ()), ("b", ()), ("b", ("--x", "1")), ("c", ()))
    )
    plan = Comparison(entries, "digits", "f", Machine("one", 2, 1), 60.0, None)
    a, b, x, c = entries
    timed = Probe(800, (Phase(1.0, 100.0, 0.01),), 4.0)
    for one in (a, b):
        write_probe(timed, tmp_path / "probes" / f"{one.slug}.json")
    assert trained_before(plan, tmp_path, x) is None  # speeds are tested before any run begins
    for one in (a, b):
        run_folder(tmp_path, one, 1).mkdir(parents=True)
    assert trained_before(plan, tmp_path, x) == (b, timed)
    assert trained_before(plan, tmp_path, c) == (a, timed)
    assert trained_before(plan, tmp_path, a) == (b, timed)


def test_a_cycle_is_the_least_number_of_rounds_that_all_lazy_terms_divide() -> None:
    assert cycle_of({"penalty_every": 16, "path_every": 6, "every": 7, "lr_every": None}) == 48
    assert cycle_of({"penalty_every": 101}) == 64
    assert cycle_of({"lr": 2}) == 1


def test_budgets_are_seconds_minutes_and_hours() -> None:
    assert [parse_budget(text) for text in ("30s", "10m", "1.5h")] == [30, 600, 5400]
