"""The engine: carries out the moves of any game, and knows nothing of any model."""

import math
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pushforward.core.distributed import World, average_, average_gradients, same_everywhere, spread_
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
    compile: compiles each network with `torch.compile`, which can't differentiate twice: not for gradient penalties.
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
            below = batch // world.size * world.size
            near = f"{below} or {below + world.size}" if below else f"{world.size}"
            raise ValueError(f"batch {batch} is not a multiple of {world.size} processes; use {near}")
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
        self._playing = False
        self._trainable = {n: [q for q in owned(p) if q.requires_grad] for n, p in game.players.items()}
        # Where the optimizer can skip a step on the device, the host need not look at every loss: on CUDA, the first
        # unsound step (round × players + player) is noted there, and the host finds out at the next `check`.
        self._deferred = self.device.type == "cuda"
        self._unsound = torch.full((), -1, dtype=torch.int64, device=self.device)
        for player in game.players.values():
            for nets in (player.nets, player.ema.nets if player.ema else None):
                if nets is not None:
                    _place(nets, self.device)
                    spread_([*nets.parameters(), *nets.buffers()], world)
            if compile:
                for net in player.nets.values():
                    net.compile()
        for part in game.state.values():
            if isinstance(part, nn.Module):
                part.to(self.device)

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
        self._playing = True
        self.clock.begin_round()
        try:
            for turn in self.game.play(self.batches(), self.clock):
                moves = turn if isinstance(turn, tuple) else (turn,)
                taken = [self._gradients(move) for move in moves]
                for move, gradients in zip(moves, taken, strict=True):
                    self._step(move.player, gradients)
        finally:
            self._unfreeze(*self.game.players)
        self.clock.round += 1
        self._playing = False

    def _unfreeze(self, *names: str) -> None:
        """Freezes all others: objectives need no `detach`, and no gradient is computed that nobody uses."""
        for name, parameters in self._trainable.items():
            for parameter in parameters:
                parameter.requires_grad_(name in names)

    def _gradients(self, move: Move) -> list[Tensor | None]:
        """The mover's gradients, over micro-batches and processes."""
        name, parameters = move.player, self._trainable[move.player]
        self._unfreeze(name)
        for parameter in parameters:
            parameter.grad = None
        values: dict[str, Tensor] = {}
        for part, share in _split(move.batch, self.accumulate):
            with self._precision():
                loss, scalars = move.objective(part)
            terms = {**scalars, "loss": loss}
            if share < 1:
                terms = {term: value * share for term, value in terms.items()}
            terms["loss"].backward()
            for term, value in terms.items():
                values[term] = values[term] + value.detach() if term in values else value.detach()
        average_gradients(parameters, values, self.world)
        gradients = [p.grad for p in parameters]
        present = [g for g in gradients if g is not None]
        if not present:
            raise ValueError(f"{name}'s loss depends on none of its parameters; its objective must run its networks")
        norms = torch._foreach_norm(present)  # type: ignore[attr-defined]
        values["gradient"] = torch.linalg.vector_norm(torch.stack(norms))
        self._guard(name, values)
        clip = self.game.players[name].clip
        if clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, clip, values["gradient"])
        for term, value in values.items():
            self.scalars.add(f"{name}/{term}", value)
        self._moves = zlib.crc32(name.encode(), self._moves)
        return gradients

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def _step(self, name: str, gradients: list[Tensor | None]) -> None:
        player, seen, parameters = self.game.players[name], self.clock.seen, self._trainable[name]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in player.optimizer.param_groups:
            if player.lr is not None:
                group["lr"] = player.lr(seen)
            if player.betas is not None:
                group["betas"] = player.betas(seen)
        if self._deferred and _skips(player):
            # The optimizers' own switch for mixed precision: a fused step is skipped on the device where it is 1.
            player.optimizer.found_inf = (self._unsound >= 0).float()  # type: ignore[attr-defined]
        player.optimizer.step()
        for parameter in parameters:
            parameter.grad = None
        if player.project is not None:
            with torch.no_grad():
                player.project(player.nets)
        if player.ema is not None:
            player.ema.update(player.nets, seen)

    def _guard(self, name: str, values: dict[str, Tensor]) -> None:
        """Stops before a spoilt step, or lets the device skip it and leaves the rest to `check`."""
        loss, norm = values["loss"], values["gradient"]
        if self._deferred and _skips(self.game.players[name]):
            total = loss.float() + norm
            at = self.clock.round * len(self.game.players) + list(self.game.players).index(name)
            # x - x is NaN where x is not finite. Nothing here makes the host wait.
            self._unsound = torch.where((self._unsound < 0) & (total - total != 0), at, self._unsound)
            return
        self._raise_unsound()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            sound = {term: bool(value.isfinite().all()) for term, value in values.items()}
            raise NonFiniteError(name, _blame(self.game.players[name], sound), self.clock.round)

    def _raise_unsound(self) -> None:
        """Raises NonFiniteError for a step that the device skipped."""
        if self._deferred and (at := int(self._unsound)) >= 0:
            round, index = divmod(at, len(self.game.players))
            name = list(self.game.players)[index]
            means, prefix = self.scalars.flush(), f"{name}/"
            sound = {k.removeprefix(prefix): math.isfinite(v) for k, v in means.items() if k.startswith(prefix)}
            raise NonFiniteError(name, _blame(self.game.players[name], sound), round)

    def check(self) -> None:
        """What is worth asking only now and then: all steps sound, all processes in the same moves.

        All processes must ask together, and before the scalars are flushed: they tell which term it was.
        Raises NonFiniteError for a step that the device skipped, RuntimeError when processes disagree.
        """
        self._raise_unsound()
        if not same_everywhere(self._moves, self.world, self.device):
            raise RuntimeError("the processes made different moves; a recipe's play must not depend on the rank")

    def state_dict(self) -> dict[str, Any]:
        """All that the next round depends on. Raises RuntimeError within a round, and after one that failed."""
        if self._playing:
            raise RuntimeError("a state is whole only between rounds, and this one was not finished; load a checkpoint")
        self._raise_unsound()
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
        """Takes up where `state_dict` was cut; the game must have been built alike."""
        self.clock.load_state_dict(state_dict["clock"])
        for name, player in self.game.players.items():
            saved = state_dict["players"][name]
            player.nets.load_state_dict(saved["nets"])
            player.optimizer.load_state_dict(saved["optimizer"])
            for parameter, state in player.optimizer.state.items():
                for key, value in state.items():
                    # Fused optimizers walk over memory: a moment must lie as its parameter does (channels-last).
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[key] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
            if player.ema:
                player.ema.load_state_dict(saved["ema"])
        for name, part in self.game.state.items():
            part.load_state_dict(state_dict["state"][name])
        self.scalars.flush()
        self._unsound.fill_(-1)
        self._moves, self._playing = 0, False

    def average_buffers(self) -> None:
        """Gives all processes the mean of their running statistics, which each took from its own rows.

        Taken in float64: what is equal everywhere, as singular vectors are, stays so to the bit, whatever their number.
        """
        if self.world.size == 1:
            return
        for player in self.game.players.values():
            for nets in (player.nets, player.ema.nets if player.ema else None):
                buffers = [] if nets is None else [b for b in nets.buffers() if b.is_floating_point()]
                means = [b.double() for b in buffers]
                average_(means, self.world)
                for buffer, mean in zip(buffers, means, strict=True):
                    buffer.copy_(mean)


def _place(nets: nn.ModuleDict, device: torch.device) -> None:
    """Moves networks to the device; filters of images lie channels-last, where convolutions are fastest."""
    nets.to(device)
    if device.type != "mps":
        for tensor in (*nets.parameters(), *nets.buffers()):
            if tensor.dim() == 4:
                # Not `.contiguous`, which leaves filters of one channel as they are.
                tensor.data = tensor.data.to(memory_format=torch.channels_last)


def _skips(player: Player) -> bool:
    """Whether the optimizer can skip its step on the device."""
    return all(group.get("fused") for group in player.optimizer.param_groups)


def _blame(player: Player, sound: dict[str, bool]) -> str:
    """The most telling of what is not finite: a part of the loss, then the loss, then a parameter's gradient."""
    if not sound.get("loss", True):
        return next((term for term, finite in sound.items() if not finite and term not in ("loss", "gradient")), "loss")
    for name, parameter in player.nets.named_parameters():
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            return f"gradient of {name}"
    return "gradient"


def _split(batch: Batch, parts: int) -> Iterator[tuple[Batch, float]]:
    """Micro-batches and their shares; never an empty one."""
    if parts == 1:
        yield batch, 1.0
        return
    sizes = {name: len(value) for name, value in batch.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(
            f"a batch is cut along its first dimension, but its parts differ there: {sizes}; make them equal"
        )
    size = next(iter(sizes.values()), 1)
    chunks = {name: value.tensor_split(min(parts, size)) for name, value in batch.items()}
    for i in range(min(parts, size)):
        part = {name: pieces[i] for name, pieces in chunks.items()}
        yield part, len(next(iter(part.values()))) / size if part else 1.0
