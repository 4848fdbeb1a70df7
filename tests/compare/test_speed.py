"""How many examples fit into a time, for work that stays the same and for work that grows."""

import dataclasses
from pathlib import Path

import pytest
import torch

from pushforward import recipes
from pushforward.compare.plan import Entry, parse_budget
from pushforward.compare.speed import AIM, cycle_of, probe, read_probe, write_probe
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


def test_a_cycle_is_the_least_number_of_rounds_that_all_lazy_terms_divide() -> None:
    assert cycle_of({"penalty_every": 16, "path_every": 6, "every": 7, "lr_every": None}) == 48
    assert cycle_of({"penalty_every": 101}) == 64
    assert cycle_of({"lr": 2}) == 1


def test_budgets_are_seconds_minutes_and_hours() -> None:
    assert [parse_budget(text) for text in ("30s", "10m", "1.5h")] == [30, 600, 5400]
