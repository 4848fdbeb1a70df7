"""The engine: carries out the moves of any game, and knows nothing of any model."""

import math
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pushforward.core.distributed import World, average_, same_everywhere
from pushforward.core.game import Batch, Clock, Game, Move, Player, owned
from pushforward.core.runlog import Scalars


class Source(Protocol):
    """Where examples come from: a stream in which every position is a function of the seed."""

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> Batch:
        """Examples number `start` to `stop` of the stream, on `device`, in the networks' range."""
        ...


class NonFiniteError(ArithmeticError):
    """A loss or a gradient is not a finite number; the step was not taken."""

    def __init__(self, player: str, term: str, round: int) -> None:
        self.player, self.term, self.round = player, term, round
        super().__init__(
            f"{player}'s {term} is not finite in round {round}; the step was not taken, the last checkpoint is good: "
            "try a lower learning rate, a stronger penalty, or fp32 precision"
        )


class Engine:
    """Plays rounds of `game` on examples from `source`.

    batch: examples a move sees, over all processes.
    accumulate: micro-batches a move is cut into; gradients are averaged by their sizes.
    bf16: objectives run under autocast to bfloat16 (penalties stay in float32 by themselves).
    compile: compiles each network with `torch.compile`.
    """

    def __init__(
        self,
        game: Game,
        source: Source,
        *,
        batch: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        world: World = World(),  # noqa: B008 — frozen
        accumulate: int = 1,
        bf16: bool = False,
        compile: bool = False,
    ) -> None:
        if batch < 1 or batch % world.size:
            near = max(batch // world.size, 1) * world.size
            raise ValueError(
                f"batch {batch} is not a multiple of {world.size} processes; use {near} or {near + world.size}"
            )
        if not 1 <= accumulate <= batch // world.size:
            raise ValueError(
                f"accumulate must be from 1 to the {batch // world.size} examples a process has, got {accumulate}"
            )
        self.game, self.source, self.world = game, source, world
        self.device = torch.device(device)
        self.batch, self.accumulate, self.bf16 = batch, accumulate, bf16
        self.clock = Clock(seed, rank=world.rank, world=world.size, device=self.device)
        self.scalars = Scalars()
        self._moves = 0
        self._mover: str | None = None
        # Player index and round of the first non-finite step, on the device: on CUDA, steps are skipped there, and
        # the host finds out at the next `check`.
        self._deferred = self.device.type == "cuda"
        self._bad = torch.full((2,), -1, dtype=torch.int64, device=self.device)
        for player in game.players.values():
            for net in (player.nets, player.ema.nets if player.ema else None):
                if net is not None:
                    net.to(self.device)
                    if self.device.type != "mps":
                        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if compile:
                for net in player.nets.values():
                    net.compile()

    def batches(self) -> Iterator[Batch]:
        """This process's rows of each global batch; every batch drawn moves the clock."""
        rows = self.batch // self.world.size
        while True:
            start = self.clock.seen + self.world.rank * rows
            batch = self.source.batch(self.clock.seed, start, start + rows, self.device)
            self.clock.seen += self.batch
            yield batch

    def round(self) -> None:
        """Plays one round. Raises NonFiniteError before the step that would spoil the weights."""
        self.clock.begin_round()
        for turn in self.game.play(self.batches(), self.clock):
            moves = turn if isinstance(turn, tuple) else (turn,)
            taken = [(self.game.players[move.player], self._gradients(move)) for move in moves]
            for move, (player, gradients) in zip(moves, taken, strict=True):
                self._step(move.player, player, gradients)
        self.clock.round += 1

    def _gradients(self, move: Move) -> list[Tensor | None]:
        """The mover's gradients, over micro-batches and processes; everyone else is frozen meanwhile."""
        player = self.game.players[move.player]
        self._freeze_all_but(move.player)
        player.optimizer.zero_grad(set_to_none=True)
        size = len(next(iter(move.batch.values())))
        means: dict[str, Tensor] = {}
        for part in _split(move.batch, self.accumulate):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                loss, scalars = move.objective(part)
            share = len(next(iter(part.values()))) / size
            (loss if share == 1 else loss * share).backward()
            for name, value in {"loss": loss, **scalars}.items():
                means[name] = means.get(name, 0) + value.detach() * share
        parameters = owned(player)
        gradients = [p.grad for p in parameters]
        present = [g for g in gradients if g is not None]
        average_(present, self.world)
        norm = nn.utils.get_total_norm(present)
        self._guard(move.player, player, {**means, "gradient": norm})
        if player.clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, player.clip, norm)
        for name, value in {**means, "gradient": norm}.items():
            self.scalars.add(f"{move.player}/{name}", value)
        self._moves = zlib.crc32(move.player.encode(), self._moves)
        return gradients

    def _step(self, name: str, player: Player, gradients: list[Tensor | None]) -> None:
        seen = self.clock.seen
        for parameter, gradient in zip(owned(player), gradients, strict=True):
            parameter.grad = gradient
        for group in player.optimizer.param_groups:
            if player.lr is not None:
                group["lr"] = player.lr(seen)
            if player.betas is not None:
                group["betas"] = player.betas(seen)
        if self._deferred:
            # The optimizers' own switch for mixed precision: a fused step is skipped on the device where it is 1.
            player.optimizer.found_inf = (self._bad[0] >= 0).float()  # type: ignore[attr-defined]
            player.optimizer.grad_scale = None  # type: ignore[attr-defined]
        player.optimizer.step()
        if player.project is not None:
            with torch.no_grad():
                player.project(player.nets)
        if player.ema is not None:
            player.ema.update(player.nets, seen)

    def _freeze_all_but(self, mover: str) -> None:
        if self._mover == mover:
            return
        self._mover = mover
        for name, player in self.game.players.items():
            for parameter in owned(player):
                parameter.requires_grad_(name == mover)

    def _guard(self, name: str, player: Player, values: dict[str, Tensor]) -> None:
        """Stops before a spoilt step; on CUDA notes it, lets the device skip the step, and leaves the rest to `check`."""
        finite = torch.stack([value.float() for value in values.values()]).isfinite()
        if self._deferred and player.optimizer.defaults.get("fused"):
            now = torch.tensor([list(self.game.players).index(name), self.clock.round], device=self.device)
            self._bad = torch.where((self._bad < 0) & ~finite.all(), now, self._bad)
        elif not bool(finite.all()):
            sound = dict(zip(values, finite.tolist(), strict=True))
            raise NonFiniteError(name, _blame(player, sound), self.clock.round)

    def check(self) -> None:
        """What is worth asking only now and then: all steps sound, all processes in the same moves.

        Raises NonFiniteError for a step that the device skipped, RuntimeError when processes disagree.
        """
        if self._deferred:
            index, at = self._bad.tolist()
            if index >= 0:
                name = list(self.game.players)[index]
                means = self.scalars.flush()
                prefix = f"{name}/"
                sound = {k.removeprefix(prefix): math.isfinite(v) for k, v in means.items() if k.startswith(prefix)}
                raise NonFiniteError(name, _blame(self.game.players[name], sound), at)
        if not same_everywhere(self._moves, self.world, self.device):
            raise RuntimeError("the processes made different moves; a recipe's play must not depend on the rank")

    def state_dict(self) -> dict[str, Any]:
        """All that the next round depends on."""
        return {
            "clock": self.clock.state_dict(),
            "players": {
                name: {
                    "nets": player.nets.state_dict(),
                    "optimizer": player.optimizer.state_dict(),
                    "ema": player.ema.state_dict() if player.ema else None,
                }
                for name, player in self.game.players.items()
            },
            "state": {name: part.state_dict() for name, part in self.game.state.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.clock.load_state_dict(state_dict["clock"])
        for name, player in self.game.players.items():
            saved = state_dict["players"][name]
            player.nets.load_state_dict(saved["nets"])
            player.optimizer.load_state_dict(saved["optimizer"])
            for parameter, state in player.optimizer.state.items():
                for key, value in state.items():
                    # Fused optimizers walk over memory: a moment must lie as its parameter does (channels-last).
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)
            if player.ema:
                player.ema.load_state_dict(saved["ema"])
        for name, part in self.game.state.items():
            part.load_state_dict(state_dict["state"][name])

    def average_buffers(self) -> None:
        """Gives all processes the mean of their running statistics, which each took from its own rows."""
        for player in self.game.players.values():
            average_([b for b in player.nets.buffers() if b.is_floating_point()], self.world)


def _blame(player: Player, sound: dict[str, bool]) -> str:
    """The most telling of the terms that are not finite: a part of the loss, then the loss, then a gradient."""
    terms = [name for name, finite in sound.items() if not finite and name not in ("loss", "gradient")]
    if terms:
        return terms[0]
    if not sound.get("loss", True):
        return "loss"
    for name, parameter in player.nets.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            return f"gradient of {name}"
    return "gradient"


def _split(batch: Batch, parts: int) -> Iterator[Batch]:
    if parts == 1:
        yield batch
        return
    chunks = {name: torch.tensor_split(value, parts) for name, value in batch.items()}
    for i in range(parts):
        yield {name: pieces[i] for name, pieces in chunks.items()}
