"""How fast a recipe trains on this machine, how many examples that makes in the time it is given, and what they cost.

Recipes decay their rates over the examples planned, so that a run that time ends would end with its rates up. So a
stretch of training is timed first, and the run is given the examples that fit. Where the work changes on the way, as
when networks grow, each phase is timed.
"""

import dataclasses
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pushforward import recipes
from pushforward.compare.flops import counted
from pushforward.compare.plan import Entry
from pushforward.core.checkpoint import write_text
from pushforward.core.engine import Engine
from pushforward.core.seeding import torch_seeded
from pushforward.data.source import Data

AIM = 0.95
"""Share of the time that is planned for; the rest is for checkpoints, pictures and a machine that slows."""
SHARE = 0.06
"""Share of the time that is spent on timing."""
PLACES = 16
"""Places along a run at which its work is looked at, where it changes."""
PASSES = 4
LONGEST = 64
"""Rounds of a cycle of lazy terms, at most."""


@dataclass(frozen=True)
class Phase:
    """A stretch of a run with the same work in it. until: the share of the run's examples at its end.

    flops, seconds: of an example; seconds: None where nothing was timed.
    """

    until: float
    flops: float
    seconds: float | None


@dataclass(frozen=True)
class Probe:
    """What was found: the examples to train on, of a whole run, and its phases; timed: seconds that timing took.

    pace: how many times as fast the machine was as the one that the phases' seconds are of: see `pace_of`.
    """

    examples: int
    phases: tuple[Phase, ...]
    timed: float
    pace: float = 1.0

    @property
    def rate(self) -> float | None:
        """Examples a second, over the whole run; None where nothing was timed."""
        return None if self.phases[0].seconds is None else 1 / _seconds(self.phases)

    def flops(self, seen: int) -> float:
        """Operations of training until so many examples were seen."""
        total, start = 0.0, 0.0
        for phase in self.phases:
            end = phase.until * self.examples if phase is not self.phases[-1] else math.inf
            total += phase.flops * max(min(seen, end) - start, 0.0)
            start = end
        return total


def probe(
    entry: Entry, data: Data, device: torch.device, *, seconds: float | None, examples: int | None, pace: float = 1.0
) -> Probe:
    """Looks at a recipe for the `seconds` that each run may take, or the `examples` it is to see.

    pace: how many times as fast the machine is as the one whose seconds they are: see `pace_of`.
    """
    if examples is not None:
        return Probe(examples, _phases(entry, data, device, examples, None), 0.0)
    assert seconds is not None
    start, planned = time.perf_counter(), entry.config["examples"]
    # How long growing networks stay small may depend on the examples planned: look again until that settles.
    for left in reversed(range(PASSES)):
        found = _phases(entry, data, device, planned, SHARE * seconds)
        phases = tuple(replace(phase, seconds=(phase.seconds or 0.0) * pace) for phase in found)
        fits = _rounded(AIM * seconds / _seconds(phases), entry.config["batch"])
        if left == 0 or len(phases) == 1 or abs(fits - planned) < 0.05 * planned:
            return Probe(fits, phases, round(time.perf_counter() - start, 3), pace)
        planned = fits
    raise AssertionError("the last look returns")


def pace_of(entry: Entry, before: Probe, data: Data, device: torch.device, seconds: float) -> float:
    """How many times as fast as it was an entry trains that was probed before. seconds: that each run may take."""
    return _seconds(before.phases) / _seconds(_phases(entry, data, device, before.examples, SHARE * seconds))


def write_probe(found: Probe, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(dataclasses.asdict(found), indent=1) + "\n")


def read_probe(path: Path) -> Probe | None:
    """What `write_probe` wrote; None where there is nothing yet."""
    if not path.exists():
        return None
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Probe(**{**raw, "phases": tuple(Phase(**phase) for phase in raw["phases"])})


def _phases(entry: Entry, data: Data, device: torch.device, examples: int, seconds: float | None) -> tuple[Phase, ...]:
    """The phases of a run over `examples`, each timed so that all take about `seconds`; not timed where None."""
    cycle = cycle_of(entry.config)

    def works(shares: list[float]) -> list[float]:
        """The work of one round at each of these places along the run, in their order."""
        engine = _still(entry, data, device, examples)
        return [_counted(engine, int(share * examples), 1) for share in shares]

    # Networks that grow differ between the ends; where those are alike, one look in the middle is enough.
    alike = len(set(works([0.5 / PLACES, 0.5, 1 - 0.5 / PLACES]))) == 1
    places = [0.5] if alike else [(i + 0.5) / PLACES for i in range(PLACES)]
    found = works(places)
    starts = [i for i, work in enumerate(found) if i == 0 or work != found[i - 1]]
    engine, phases = _still(entry, data, device, examples), []
    for start, stop in zip(starts, [*starts[1:], len(places)], strict=True):
        place = int(places[(start + stop - 1) // 2] * examples)
        flops = _counted(engine, place, cycle)
        taken = None if seconds is None else _timed(engine, place, cycle, seconds / len(starts))
        phases.append(Phase(stop / len(places), flops, taken))
    return tuple(phases)


def _counted(engine: Engine, place: int, rounds: int) -> float:
    """Operations an example of that many rounds, all of them at one place of the run."""
    total, drawn, engine.clock.round = 0.0, 0, 0
    for _ in range(rounds):
        engine.clock.seen = place
        each = counted(engine, 1)
        total, drawn = total + each * (engine.clock.seen - place), drawn + engine.clock.seen - place
    return total / drawn


def _timed(engine: Engine, place: int, cycle: int, seconds: float) -> float:
    """Seconds an example over whole cycles, all at one place of the run; the engine has played there already."""
    drawn, engine.clock.round = 0, 0
    engine.check()
    start = time.perf_counter()
    while engine.clock.round < 3 or engine.clock.round % cycle or time.perf_counter() - start < seconds:
        engine.clock.seen = place
        engine.round()
        drawn += engine.clock.seen - place
        if engine.device.type != "cpu":
            engine.scalars.flush()  # asks the device for numbers, so that what it was given is done
    engine.scalars.flush()
    return (time.perf_counter() - start) / drawn


def _still(entry: Entry, data: Data, device: torch.device, examples: int) -> Engine:
    """An engine whose players learn nothing: what the rates would do to weights at such jumps in time is no matter."""
    module = recipes.load(entry.recipe)
    config = module.Config(**{**entry.config, "examples": examples})
    with torch_seeded("build", 0):
        game = module.build(config, data.spec)
    for player in game.players.values():
        player.lr = lambda seen: 0.0
    return Engine(game, data, batch=config.batch, device=device, accumulate=entry.accumulate, bf16=entry.bf16)


def cycle_of(config: dict[str, Any]) -> int:
    """Rounds after which lazy terms come round again: those are fields that end in `_every`."""
    every = [v for k, v in config.items() if k.endswith("_every") and isinstance(v, int) and v > 0]
    return min(math.lcm(*every), LONGEST)


def _seconds(phases: tuple[Phase, ...]) -> float:
    """The mean time of an example over the run."""
    starts = [0.0, *(phase.until for phase in phases)]
    return sum((p.until - start) * (p.seconds or 0.0) for p, start in zip(phases, starts, strict=False))


def _rounded(examples: float, batch: int) -> int:
    """Three digits, so that the command is readable; a batch at least."""
    digits = max(len(str(int(examples))) - 3, 0)
    return max(int(examples) // 10**digits * 10**digits, batch)
