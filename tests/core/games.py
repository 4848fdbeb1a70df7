"""Toy games and data for the tests of the core."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from pushforward.core.ema import EMA
from pushforward.core.engine import Engine
from pushforward.core.game import Batch, Clock, Game, Move, Player
from pushforward.core.seeding import torch_seeded

LATENT = 4


class Table:
    """A source of standard normal rows [B, *shape]; the stream walks over 499 of them again and again."""

    def __init__(self, *shape: int, labels: bool = False) -> None:
        self.rows = torch.randn(499, *shape, generator=torch.Generator().manual_seed(3))
        self.labels = labels

    def batch(self, seed: int, start: int, stop: int, device: torch.device) -> Batch:
        index = (torch.arange(start, stop) + seed) % len(self.rows)
        batch = {"x": self.rows[index].to(device)}
        return batch | {"y": (index % 3).to(device)} if self.labels else batch


def mlp(inputs: int, outputs: int, width: int = 16) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, outputs))


class Pool:
    """Remembers fakes and hands out older ones: something of a game's own that must survive a restart."""

    def __init__(self) -> None:
        self.kept: Tensor | None = None

    def exchange(self, x: Tensor) -> Tensor:
        former = x if self.kept is None else self.kept
        self.kept = x.detach().clone()
        return former

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.kept = state_dict["kept"]


def player(net: nn.Module, lr: float = 1e-3, ema: float | None = None, **options: Any) -> Player:
    nets = nn.ModuleDict({"net": net})
    average = None if ema is None else EMA(nets, ema)
    return Player(nets, Adam(nets.parameters(), lr=lr, betas=(0.5, 0.99), fused=True), ema=average, **options)


def gan(
    G: nn.Module,
    D: nn.Module,
    *,
    simultaneous: bool = False,
    critic_steps: int = 1,
    pool: Pool | None = None,
    ema: float | None = 500,
    options: dict[str, Any] | None = None,
) -> Game:
    """A non-saturating GAN on `x`."""

    def critic(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        fake = G(batch["z"])
        real = F.softplus(-D(batch["x"])).mean()
        made = F.softplus(D(pool.exchange(fake) if pool else fake)).mean()
        return real + made, {"real": real, "fake": made}

    def generator(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return F.softplus(-D(G(batch["z"]))).mean(), {}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move | tuple[Move, ...]]:
        for _ in range(critic_steps - 1):
            x = next(batches)["x"]
            yield Move("critic", critic, {"x": x, "z": clock.normal(len(x), LATENT)})
        x = next(batches)["x"]
        first = Move("critic", critic, {"x": x, "z": clock.normal(len(x), LATENT)})
        second = Move("generator", generator, {"z": clock.normal(len(x), LATENT)})
        if simultaneous:
            yield (first, second)
        else:
            yield first
            yield second

    players = {"critic": player(D, **(options or {})), "generator": player(G, ema=ema)}
    state = {"pool": pool} if pool else {}
    return Game(players, play, lambda z, y=None: G(z), (LATENT,), state=state)


def mlp_gan(**options: Any) -> Game:
    with torch_seeded("toy"):
        return gan(mlp(LATENT, 2), mlp(2, 1), **options)


def conv_gan() -> Game:
    """Convolutions, BatchNorm in both players, dropout, an image pool, an EMA: all that a resume can forget."""
    with torch_seeded("toy"):
        G = nn.Sequential(
            nn.Linear(LATENT, 8 * 16), nn.Unflatten(1, (8, 4, 4)), nn.BatchNorm2d(8), nn.ReLU(),
            nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1), nn.Tanh(),
        )  # fmt: skip
        D = nn.Sequential(
            nn.Conv2d(3, 6, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Conv2d(6, 8, 3, padding=1),
            nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(8 * 16, 1),
        )  # fmt: skip
        return gan(G, D, pool=Pool())


def one_player(
    objective: Callable[[nn.Module, Batch], tuple[Tensor, dict[str, Tensor]]], net: nn.Module | None = None, **kw: Any
) -> Game:
    """A game of one player, `model`, whose objective is given its network."""
    with torch_seeded("toy"):
        net = net or mlp(2, 1)

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        yield Move("model", lambda batch: objective(net, batch), next(batches))

    return Game({"model": player(net, **kw)}, play, lambda z, y=None: net(z), (2,))


def rounds(engine: Engine, n: int) -> Engine:
    for _ in range(n):
        engine.round()
    return engine


def weights(game: Game) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, averages included."""
    found = {}
    for name, p in game.players.items():
        for kind, nets in (("nets", p.nets), ("ema", p.ema.nets if p.ema else nn.ModuleDict())):
            found |= {f"{name}/{kind}/{key}": value.detach().clone() for key, value in nets.state_dict().items()}
    return found


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert a.keys() == b.keys()
    different = [key for key in a if not torch.equal(a[key], b[key])]
    assert not different, different
