"""Games of two: a critic and a generator in alternating moves. What most adversarial recipes share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from pushforward.core.ema import EMA
from pushforward.core.game import Batch, Clock, Move, Play, Player
from pushforward.core.schedule import Schedule


class Losses(Protocol):
    """A pair of losses on logits (see `objectives/adversarial.py`)."""

    @property
    def critic(self) -> Callable[[Tensor, Tensor], Tensor]: ...

    @property
    def generator(self) -> Callable[[Tensor | None, Tensor], Tensor]: ...

    @property
    def relative(self) -> bool: ...


def two_players(
    G: nn.Module,
    D: nn.Module,
    *,
    lr: float | tuple[float, float],
    betas: tuple[float, float] = (0.9, 0.999),
    ema: float | Schedule | None,
    optimizer: Callable[[Iterable[nn.Parameter], float], Optimizer] | None = None,
    decay: Schedule | None = None,
    betas_schedule: Callable[[int], tuple[float, float]] | None = None,
) -> dict[str, Player]:
    """`critic` (network D) and `generator` (network G), each with a fused Adam of `betas`, or an optimizer of its own.

    lr: of both, or (critic's, generator's); decay: examples seen -> what share of it is left; ema: half-life of the
    generator's average in examples, a schedule of it, or None. optimizer: (parameters, rate) -> what moves them, in
    place of Adam.
    """
    rates = lr if isinstance(lr, tuple) else (lr, lr)
    make = optimizer or (lambda parameters, rate: Adam(parameters, lr=rate, betas=betas, fused=True))

    def player(name: str, net: nn.Module, rate: float, half_life: float | Schedule | None) -> Player:
        nets = nn.ModuleDict({name: net})
        average = None if half_life is None else EMA(nets, half_life)
        decayed = None if decay is None else partial(_share, rate, decay)
        return Player(nets, make(nets.parameters(), rate), decayed, betas_schedule, ema=average)

    return {"critic": player("D", D, rates[0], None), "generator": player("G", G, rates[1], ema)}


def _share(rate: float, left: Schedule, seen: int) -> float:
    return rate * left(seen)


def alternate(
    G: nn.Module, D: nn.Module, losses: Losses, latent: int, *, conditional: bool = False, critic_steps: int = 1
) -> Play:
    """`critic_steps` moves of the critic, then one of the generator, fresh latents for each.

    Goodfellow et al. 2014, arXiv:1406.2661, Algorithm 1. conditional: both networks are given the labels.
    """

    def critic(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        y = batch.get("y")
        # Two passes: with BatchNorm in the critic, real and fake batches must be normalised apart.
        real, fake = D(batch["x"], y), D(G(batch["z"], y), y)
        return losses.critic(real, fake), {"real": real.mean(), "fake": fake.mean()}

    def generator(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        y = batch.get("y")
        real = D(batch["x"], y) if losses.relative else None
        return losses.generator(real, D(G(batch["z"], y), y)), {}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        given: Batch = {}
        for _ in range(critic_steps):
            batch = next(batches)
            given = {"x": batch["x"], **({"y": batch["y"]} if conditional else {})}
            yield Move("critic", critic, {**given, "z": clock.normal(len(batch["x"]), latent)})
        yield Move("generator", generator, {**given, "z": clock.normal(len(given["x"]), latent)})

    return play


@dataclass
class Sampler:
    """A player's network as others should use it: its EMA copy where there is one, in eval mode, without gradients.

    Leaves the network's own mode as it was.
    """

    player: Player
    net: str = "G"
    psi: float | None = None
    """Truncation, for networks with styles, which take it third; None hands over none."""

    @property
    def network(self) -> nn.Module:
        """The network that samples come from; for those who need its gradients, parts or weights."""
        nets = self.player.ema.nets if self.player.ema else self.player.nets
        return nets[self.net]

    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z: [B, *latent]; y: [B] labels or None. Returns what the network makes."""
        return quietly(self.network, z, y, *([] if self.psi is None else [self.psi]))


@dataclass
class Judge:
    """A player's critic for those who look: eval mode, no gradients; leaves its mode as it was."""

    player: Player
    net: str = "D"

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """x: [B, ...]; y: [B] labels or None. Returns logits [B], high for real."""
        return quietly(self.player.nets[self.net], x, y)


def quietly(net: nn.Module, *given: Any) -> Tensor:
    """What the network makes of it in eval mode, without gradients; leaves the modes of its parts as they were."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        with torch.no_grad():
            return net(*given)
    finally:
        for module, training in modes.items():
            module.training = training
