"""What a round of training costs, and how much of it is the networks' own work.

    python benchmarks/step.py                                  # dcgan on digits
    python benchmarks/step.py --recipe gan --data ring8        # tiny networks: the worst case for all that is not them
    python benchmarks/step.py --recipe r3gan --json r3gan.json

Two answers, printed as a table and written as JSON (`--json`):

1. The engine against the same mathematics written by hand in one loop (`dcgan` and `gan`): same networks, weights,
   batches and latents, fused Adam, channels-last filters, the other player frozen, the same average of the generator.
   The hand-written loop logs nothing, guards nothing and never re-seeds. Before any timing, both play some rounds from
   the same latents and must end in the same weights, bit for bit. Then they take turns in one process, in blocks of
   equally many rounds and in changing order; each pair of neighbouring blocks gives one ratio.
2. Where the time of a round goes, for every recipe: a stopwatch is wrapped around the round's parts (on an accelerator,
   one that waits for the device at each border), in blocks of their own. What the networks do is their forward, all
   differentiation, and the optimizers' steps; losses are a part of their own. Other programs stop each part in
   proportion to its length, so that wall time gives the shares.

Wall time is what a user waits for; processor time of this process is steadier where other programs run beside it.
"""

import argparse
import copy
import dataclasses
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.optim import Adam

from pushforward import recipes
from pushforward.core import runlog
from pushforward.core.engine import Engine
from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.core.seeding import seed_of, torch_seeded
from pushforward.core.training import Hook, fit
from pushforward.data.catalogue import open_data
from pushforward.data.source import Data
from pushforward.run import kind_of, preset, resolve_device

T = TypeVar("T")
BY_HAND = ("dcgan", "gan")
PARTS = {
    "forward": "networks' forward",
    "backward": "all differentiation",
    "optimizer": "optimizers' steps",
    "loss": "losses beside networks",
    "data": "drawing the batch",
    "draws": "seeds and latents",
    "ema": "generator's average",
    "log": "lines of the log",
    "rest": "freezing, guard, norm, rest",
}
OWN = ("forward", "backward", "optimizer")
SUMS = {
    "own": ("forward, backward, optimizer", OWN),
    "own_and_loss": ("the same with the losses", (*OWN, "loss")),
}


@dataclass(frozen=True)
class Times:
    """Seconds by the wall's clock and of this process on all processors."""

    wall: float
    cpu: float

    @staticmethod
    def now() -> "Times":
        return Times(time.perf_counter(), time.process_time())

    def since(self, start: "Times") -> "Times":
        return Times(self.wall - start.wall, self.cpu - start.cpu)


@dataclass(frozen=True)
class Spread:
    """A median and the interval that holds it with 95 %, by bootstrap."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        rng, array = np.random.default_rng(0), np.asarray(values)
        medians = np.median(array[rng.integers(len(array), size=(4000, len(array)))], axis=1)
        return Spread(float(np.median(array)), *(float(q) for q in np.quantile(medians, [0.025, 0.975])))


Place = tuple[object, str, str]
"""An object, the name of one of its functions, the part of the round that the function is."""


class Stopwatch:
    """Sums the wall time of named parts; a part within another counts for itself alone.

    wait: returns when the device has done its work. Half a microsecond a border where there is nothing to wait for.
    """

    def __init__(self, wait: Callable[[], None]) -> None:
        self.sums = dict.fromkeys(PARTS, 0.0)
        self._wait, self._inside, self._last = wait, ["rest"], time.perf_counter()

    def turn(self) -> None:
        """Gives the time since the last turn to the part that runs."""
        self._wait()
        now = time.perf_counter()
        self.sums[self._inside[-1]] += now - self._last
        self._last = now

    def timed(self, part: str, function: Callable[..., T]) -> Callable[..., T]:
        def run(*args: Any, **kwargs: Any) -> T:
            self.turn()
            self._inside.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.turn()
                self._inside.pop()

        return run

    def shares(self) -> dict[str, float]:
        """The share of each part since the last call."""
        self.turn()
        whole = sum(self.sums.values())
        shares = {part: seconds / whole for part, seconds in self.sums.items()}
        self.sums = dict.fromkeys(PARTS, 0.0)
        return shares


@contextmanager
def watched(places: Sequence[Place], watch: Stopwatch) -> Iterator[None]:
    """Has these functions timed, and all differentiation, for as long as it lasts."""
    with ExitStack() as stack:
        for owner, name, part in [*places, *((torch.autograd, name, "backward") for name in ("backward", "grad"))]:
            stack.enter_context(patch.object(owner, name, watch.timed(part, getattr(owner, name))))
        yield


class HandWritten:
    """The non-saturating game of two in one loop, as one writes it who needs nothing else.

    game: only its freshly built networks are taken, `G` and `D`.
    """

    def __init__(self, game: Game, data: Data, cfg: Any, device: torch.device) -> None:
        self.G, self.D = game.players["generator"].nets["G"], game.players["critic"].nets["D"]
        for net in (self.G, self.D):
            net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.data, self.cfg, self.device = data, cfg, device
        self.average = copy.deepcopy(self.G).eval().requires_grad_(False) if cfg.ema else None
        self.opt_G = Adam(self.G.parameters(), lr=cfg.lr, betas=(cfg.beta1, 0.999), fused=True)
        self.opt_D = Adam(self.D.parameters(), lr=cfg.lr, betas=(cfg.beta1, 0.999), fused=True)
        self.pairs = [(list(net.parameters()), list(net.buffers())) for net in (self.average or self.G, self.G)]
        self.draws = torch.Generator(device)
        self.seen = 0

    def latents(self) -> Tensor:
        return torch.randn(self.cfg.batch, self.cfg.latent, generator=self.draws, device=self.device)

    def critic_loss(self, x: Tensor, z: Tensor) -> Tensor:
        return F.softplus(-self.D(x)).mean() + F.softplus(self.D(self.G(z))).mean()

    def generator_loss(self, z: Tensor) -> Tensor:
        return F.softplus(-self.D(self.G(z))).mean()

    @torch.no_grad()
    def follow(self) -> None:
        (averages, copies), (weights, statistics) = self.pairs
        share = 1 - 0.5 ** (self.cfg.batch / min(self.cfg.ema, 0.05 * self.seen))
        torch._foreach_lerp_(averages, weights, share)  # type: ignore[attr-defined]
        if statistics:
            torch._foreach_copy_(copies, statistics)  # type: ignore[attr-defined]

    def round(self) -> None:
        x = self.data.batch(0, self.seen, self.seen + self.cfg.batch, self.device)["x"]
        self.seen += self.cfg.batch

        self.G.requires_grad_(False)
        self.D.requires_grad_(True)
        self.critic_loss(x, self.latents()).backward()
        self.opt_D.step()
        self.opt_D.zero_grad()

        self.G.requires_grad_(True)
        self.D.requires_grad_(False)
        self.generator_loss(self.latents()).backward()
        self.opt_G.step()
        self.opt_G.zero_grad()

        if self.average is not None:
            self.follow()

    def rounds(self, n: int) -> None:
        for _ in range(n):
            self.round()

    def places(self) -> list[Place]:
        own: list[Place] = [(self.data, "batch", "data"), (self, "latents", "draws"), (self, "follow", "ema")]
        losses: list[Place] = [(self, "critic_loss", "loss"), (self, "generator_loss", "loss")]
        networks: list[Place] = [(self.G, "forward", "forward"), (self.D, "forward", "forward")]
        return own + losses + networks + [(o, "step", "optimizer") for o in (self.opt_G, self.opt_D)]


class EnginePlays:
    """Rounds as a run plays them: the engine, the loop around it, a line of the log every 1/200 of the run.

    traced: a stopwatch is to find the objectives, in `objective`.
    """

    def __init__(
        self, game: Game, data: Data, cfg: Any, device: torch.device, folder: Path, traced: bool = False
    ) -> None:
        self.engine = Engine(game, data, batch=cfg.batch, device=device)
        self.hooks = [Hook(max(cfg.examples // 200, 1), lambda engine: self.log(engine))]
        self.file = folder / "stats.jsonl"
        if traced:
            self._play, game.play = game.play, self.play

    def log(self, engine: Engine) -> None:
        engine.check()
        runlog.append(self.file, {"seen": engine.clock.seen, "round": engine.clock.round} | engine.scalars.flush())

    def rounds(self, n: int) -> None:
        goal = self.engine.clock.round + n
        # The examples are out of reach, as how many a round draws is the recipe's affair: rounds end the loop.
        fit(self.engine, examples=sys.maxsize, hooks=self.hooks, stopping=lambda: self.engine.clock.round >= goal)

    def objective(self, move: Move, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return move.objective(batch)

    def play(self, batches: Iterator[Batch], clock: Clock) -> Iterator[Move | tuple[Move, ...]]:
        """The recipe's moves, with objectives that are called by way of `objective`."""
        for turn in self._play(batches, clock):
            moves = turn if isinstance(turn, tuple) else (turn,)
            seen = tuple(dataclasses.replace(m, objective=functools.partial(self.objective, m)) for m in moves)
            yield seen if isinstance(turn, tuple) else seen[0]

    def places(self) -> list[Place]:
        engine = self.engine
        places: list[Place] = [(engine.source, "batch", "data"), (self, "log", "log"), (self, "objective", "loss")]
        places += [(engine.clock, name, "draws") for name in ("begin_round", "normal", "uniform", "integers")]
        for player in engine.game.players.values():
            places += [(net, "forward", "forward") for net in player.nets.values()]
            places += [(player.optimizer, "step", "optimizer")]
            places += [(player.ema, "update", "ema")] if player.ema else []
        return places


class Bench:
    """One recipe on one data set, with everything that both answers need."""

    def __init__(self, recipe: str, data: str, device: torch.device, **config: Any) -> None:
        """config: fields of the recipe's Config over the preset for this kind of data; None leaves a field as it is."""
        self.recipe, self.device, self.data = recipe, device, open_data(data, progress=False)
        self.module = recipes.load(recipe)
        changes = {name: value for name, value in config.items() if value is not None}
        self.cfg: Any = dataclasses.replace(preset(self.module, None, kind_of(data), recipe), **changes)

    def game(self) -> Game:
        """Always the same weights."""
        with torch_seeded("build", 0):
            return self.module.build(self.cfg, self.data.spec)

    def by_engine(self, folder: Path, traced: bool = False) -> EnginePlays:
        return EnginePlays(self.game(), self.data, self.cfg, self.device, folder, traced)

    def by_hand(self) -> HandWritten:
        return HandWritten(self.game(), self.data, self.cfg, self.device)

    def wait(self) -> None:
        """Until the device has done what it was asked to."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def timed(self, rounds: Callable[[int], None], n: int) -> Times:
        """Seconds a round, over n of them."""
        self.wait()
        start = Times.now()
        rounds(n)
        self.wait()
        spent = Times.now().since(start)
        return Times(spent.wall / n, spent.cpu / n)

    def block(self, rounds: Callable[[int], None], seconds: float) -> int:
        """How many rounds make a block; plays some for it, which warms up."""
        rounds(3)
        n = 1
        while (spent := n * self.timed(rounds, n).wall) < 0.2 * seconds:
            n *= 2
        return max(round(n * seconds / spent), 1)


def difference(bench: Bench, folder: Path, count: int) -> float:
    """The largest difference between weights, statistics and averages after `count` rounds; 0 is bit for bit.

    Only here are weights by hand given the engine's strides: filters of one channel may lie in memory in two ways that
    hold the same numbers, and convolutions round differently in each.
    """
    engine, hand = bench.by_engine(folder).engine, bench.by_hand()
    generator, critic = engine.game.players["generator"], engine.game.players["critic"]
    pairs = [(generator.nets["G"], hand.G), (critic.nets["D"], hand.D)]
    for ours, theirs in pairs:
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            b.data = torch.empty_like(a, requires_grad=False).copy_(b.data)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        for i in range(count):
            engine.round()
            hand.draws.manual_seed(seed_of("draws", 0, i))  # the engine's own latents
            hand.round()
    if generator.ema and hand.average is not None:
        pairs.append((generator.ema.nets["G"], hand.average))
    gaps = [
        (a.double() - b.double()).abs().max()
        for ours, theirs in pairs
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    ]
    return float(torch.stack(gaps).max())


def against_hand(bench: Bench, folder: Path, blocks: int, seconds: float) -> dict[str, Any]:
    """Seconds a round by engine and by hand, and the ratio hand / engine of neighbouring blocks, by both clocks."""
    sides = {"engine": bench.by_engine(folder).rounds, "hand": bench.by_hand().rounds}
    n = max(bench.block(rounds, seconds) for rounds in sides.values())
    taken: dict[str, list[Times]] = {side: [] for side in sides}
    for i in range(blocks):
        for side in sorted(sides, reverse=i % 2 == 1):
            taken[side].append(bench.timed(sides[side], n))
    result: dict[str, Any] = {"rounds_in_a_block": n, "blocks": blocks}
    for clock in ("wall", "cpu"):
        engine, hand = ([getattr(t, clock) for t in taken[side]] for side in ("engine", "hand"))
        ratios = [h / e for h, e in zip(hand, engine, strict=True)]
        result[clock] = {
            "engine": statistics.median(engine),
            "hand": statistics.median(hand),
            "ratio": asdict(Spread.of(ratios)),
        }
    return result


def shares(bench: Bench, side: EnginePlays | HandWritten, blocks: int, seconds: float) -> dict[str, Any]:
    """Of a round, the share of each part and of sums of parts, medians over blocks."""
    n = bench.block(side.rounds, seconds)
    watch, found = Stopwatch(bench.wait), []
    with watched(side.places(), watch):
        side.rounds(3)
        watch.shares()
        for _ in range(blocks):
            side.rounds(n)
            found.append(watch.shares())
    assert all(found[0][part] > 0 for part in OWN), "a part of the round was not seen"

    def total(parts: Sequence[str]) -> dict[str, float]:
        return asdict(Spread.of([sum(block[part] for part in parts) for block in found]))

    sums = {name: total(parts) for name, (_, parts) in SUMS.items()}
    return sums | {"parts": {part: total([part]) for part in PARTS}}


def show(result: dict[str, Any], console: Console) -> None:
    """The tables."""
    percent = "{median:.1%} ({low:.1%} – {high:.1%})"
    title = "{recipe} on {data}, width {width}, batch {batch}, {device}, {threads} thread(s), torch {torch}"
    console.print(title.format(**result), soft_wrap=True)
    if (hand := result["against_hand"]) is not None:
        same, rounds = result["difference"], result["rounds_compared"]
        console.print(
            f"After {rounds} rounds from the same weights, batches and latents, the engine and the loop written by "
            f"hand have {'the same weights, bit for bit' if same == 0 else f'weights up to {same:.1e} apart'}.",
            soft_wrap=True,
        )
        table = Table("ms a round", "wall", "processor")
        for side, name in (("engine", "engine"), ("hand", "by hand")):
            table.add_row(name, *(f"{1000 * hand[clock][side]:.2f}" for clock in ("wall", "cpu")))
        table.add_row("by hand / engine", *(percent.format(**hand[clock]["ratio"]) for clock in ("wall", "cpu")))
        console.print(table)
    sides = list(result["share"].values())
    table = Table("share of a round", *result["share"])
    for part, name in PARTS.items():
        table.add_row(name, *(f"{side['parts'][part]['median']:.1%}" for side in sides))
    table.add_section()
    for key, (name, _) in SUMS.items():
        table.add_row(name, *(percent.format(**side[key]) for side in sides))
    console.print(table)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=recipes.names(), default="dcgan", help="by hand too for dcgan and gan")
    parser.add_argument("--data", default="digits", help="e.g. digits, glyphs, ring8")
    parser.add_argument("--width", type=int, help="the recipe's own where not given")
    parser.add_argument("--batch", type=int, help="the recipe's own where not given")
    parser.add_argument("--blocks", type=int, default=15, help="blocks of each kind")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a block")
    parser.add_argument("--compared", type=int, default=5, help="rounds after which the weights are compared")
    parser.add_argument("--threads", type=int, help="torch's own choice where not given")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="cpu")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 where the engine and the hand-written loop don't compute the same on the CPU."""
    asked = arguments(words)
    device = resolve_device(asked.device)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else "highest")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    bench = Bench(asked.recipe, asked.data, device, width=asked.width, batch=asked.batch)
    result: dict[str, Any] = {"recipe": asked.recipe, "data": asked.data, "device": device.type}
    result |= {"width": bench.cfg.width, "batch": bench.cfg.batch, "threads": torch.get_num_threads()}
    result |= {"torch": torch.__version__, "against_hand": None}
    times = (asked.blocks, asked.seconds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.recipe in BY_HAND:
            gap = difference(bench, folder, asked.compared)
            if gap != 0 and device.type == "cpu":
                print(f"after {asked.compared} rounds the engine and the loop written by hand are {gap} apart")
                return 1
            result |= {"rounds_compared": asked.compared, "difference": gap}
            result["against_hand"] = against_hand(bench, folder, *times)
        result["share"] = {"engine": shares(bench, bench.by_engine(folder, traced=True), *times)}
        if asked.recipe in BY_HAND:
            result["share"]["by hand"] = shares(bench, bench.by_hand(), *times)
    show(result, Console())
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
