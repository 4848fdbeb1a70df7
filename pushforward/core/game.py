"""A game: players, each owning parameters and an optimizer, make moves in an order that the recipe writes.

A recipe's `play` is an ordinary generator function. It yields one `Move` at a time, or a tuple of moves whose
gradients are all taken before anyone steps. The engine carries them out; nothing here trains anything.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pushforward.core.ema import EMA
from pushforward.core.schedule import Schedule
from pushforward.core.seeding import seed_global, seed_of

Batch = dict[str, Tensor]
"""Named tensors whose first dimension is the batch: `x` data, `y` labels, `z` latents, and what a recipe adds."""

Objective = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]
"""Batch -> (scalar to minimise, scalars to log)."""


class Stateful(Protocol):
    """What must survive a restart says so with these two methods, as torch's modules and optimizers do."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


@dataclass
class Player:
    """Parameters, and what moves them."""

    nets: nn.ModuleDict
    optimizer: Optimizer
    lr: Schedule | None = None
    """Examples seen -> learning rate; the optimizer's own when None."""
    betas: Callable[[int], tuple[float, float]] | None = None
    """Examples seen -> Adam's betas; the optimizer's own when None."""
    clip: float | None = None
    """The largest global gradient norm."""
    project: Callable[[nn.ModuleDict], None] | None = None
    """Applied to the networks after each step, e.g. WGAN's weight clipping."""
    ema: EMA | None = None

    def __post_init__(self) -> None:
        rates = {group["lr"] for group in self.optimizer.param_groups}
        if self.lr is not None and len(rates) > 1:
            raise ValueError(
                f"a schedule sets one learning rate, but the optimizer's groups have {len(rates)}; "
                "use one rate, or scale the weights instead"
            )


@dataclass(frozen=True)
class Move:
    """One optimizer step: `player` minimises `objective` on `batch`."""

    player: str
    objective: Objective
    batch: Batch


class Clock:
    """Where a run stands: examples seen, rounds played, and the random draws that follow from them.

    Draws are made for the global batch and each process keeps its own rows, so that N processes draw what one would.
    """

    def __init__(self, seed: int = 0, *, rank: int = 0, world: int = 1, device: torch.device | str = "cpu") -> None:
        self.seed, self.rank, self.world = seed, rank, world
        self.device = torch.device(device)
        self.seen = 0
        """Real examples drawn so far, by all processes together."""
        self.round = 0
        self._generator = torch.Generator(self.device)

    def begin_round(self) -> None:
        """Restarts the random streams from (seed, rank, round)."""
        self._generator.manual_seed(seed_of("draws", self.seed, self.round))
        seed_global(seed_of("global", self.seed, self.rank, self.round), self.device)

    def normal(self, n: int, *shape: int) -> Tensor:
        """Standard normal numbers [n, *shape]; n is this process's batch."""
        draws = torch.randn(n * self.world, *shape, generator=self._generator, device=self.device)
        return draws[self.rank * n : (self.rank + 1) * n]

    def uniform(self, n: int, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), [n, *shape]; n is this process's batch."""
        draws = torch.rand(n * self.world, *shape, generator=self._generator, device=self.device)
        return draws[self.rank * n : (self.rank + 1) * n]

    def integers(self, n: int, high: int) -> Tensor:
        """Uniform integers in [0, high), [n]; n is this process's batch."""
        draws = torch.randint(high, (n * self.world,), generator=self._generator, device=self.device)
        return draws[self.rank * n : (self.rank + 1) * n]

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "seen": self.seen, "round": self.round}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seed, self.seen, self.round = state_dict["seed"], state_dict["seen"], state_dict["round"]


Play = Callable[[Iterator[Batch], Clock], Iterator[Move | tuple[Move, ...]]]


class Generate(Protocol):
    """Latents to data, with the networks that are meant to be used (EMA copies, where there are any)."""

    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z: [B, *latent]; y: [B] labels or None. Returns data [B, ...] in the networks' range."""
        ...


@dataclass
class Game:
    """A model as the engine sees it."""

    players: dict[str, Player]
    play: Play
    """One round."""
    sample: Generate
    latent: tuple[int, ...]
    """Shape of one latent; latents are standard normal."""
    classes: int | None = None
    """Number of classes when samples can be asked by class."""
    critic: Callable[[Tensor, Tensor | None], Tensor] | None = None
    """(x [B, ...], y [B] or None) -> logits [B], high for real; for those who look, not for training."""
    state: dict[str, Stateful] = field(default_factory=dict)
    """Whatever else must survive a restart: image pools, frozen references, running means."""
    truncated: Callable[[float], Generate] | None = None
    """ψ from 0 -> a sampler whose styles are pulled towards their mean; None where truncation is of the latents."""
    enlarge: Callable[[Tensor, Tensor, Tensor | None], Tensor] | None = None
    """(x [B, C, H, W], noise [B, 1, 2H, 2W], y [B] or None) -> [B, C, 2H, 2W], for any H and W; None where images have
    one size."""

    def __post_init__(self) -> None:
        owner: dict[int, str] = {}
        for name, player in self.players.items():
            there = {id(parameter) for parameter in player.nets.parameters()}
            for parameter in owned(player):
                shape = tuple(parameter.shape)
                if id(parameter) in owner:
                    raise ValueError(
                        f"a parameter of shape {shape} belongs to both {owner[id(parameter)]!r} and {name!r}; "
                        "every parameter has one owner: give it to one optimizer"
                    )
                if id(parameter) not in there:
                    raise ValueError(
                        f"{name!r} moves a parameter of shape {shape} that is in none of its networks, so that no "
                        "checkpoint would hold it; put it into the player's nets"
                    )
                owner[id(parameter)] = name
        for name, player in self.players.items():
            for key, parameter in player.nets.named_parameters():
                if parameter.requires_grad and id(parameter) not in owner:
                    raise ValueError(
                        f"{name!r} has the parameter {key!r} but its optimizer does not; "
                        "give it to the optimizer, or freeze it with requires_grad_(False)"
                    )


def owned(player: Player) -> list[nn.Parameter]:
    """The parameters that the player's optimizer moves."""
    return [p for group in player.optimizer.param_groups for p in group["params"]]
