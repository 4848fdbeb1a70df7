"""LAPGAN: a conditional GAN for each level of a Laplacian pyramid, from coarse to fine. Denton et al. 2015,
arXiv:1506.05751, Section 3; all levels train in turn on the same examples.

Differs from the paper: Adam at one rate for momentum and a rate that falls; the coarsest level's perceptrons are the
project's (leaky ReLU, no dropout, tanh at the end); fakes of a level refine the coarse images of the real examples
beside them, for those of others; sides halve evenly from the image's; normal noise; samples come from averages of the
generators' weights; sizes for small machines (`--preset paper`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.core.duel import Judge, Sampler, quietly, two_players
from pushforward.core.game import Batch, Clock, Game, Move, Player, Stateful
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Rules, classes_of
from pushforward.layers.conditioning import Conditioning
from pushforward.networks import mlp
from pushforward.networks.lapgan import Critic, Detail, coarser, sides_between, smoother


@dataclass(frozen=True)
class Config(Rules):
    examples: int = 600_000
    """Real examples to see."""
    conditioning: Conditioning | None = None
    """How the critics are told the class: concatenation (the paper's), projection, or not at all."""
    coarsest: int = 8
    """Largest side of the coarsest images."""
    latent: int = 64
    """Numbers in the coarsest level's latent (the paper: 100); each further level takes a plane of noise."""
    width: int = 32
    """Channels of a level's convolutions (the paper's code: 128)."""
    units: int = 256
    """Units of the two hidden layers at the coarsest level (the paper: 1200 in the generator, 600 in the critic)."""
    lr: float = 2e-4
    """Learning rate of all players."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = 20_000
    """Half-life of the generators' averages, in examples; None for the weights themselves."""


PRESETS = {"images": Config(), "paper": Config(batch=128, latent=100, width=128, units=1200, ema=None)}


class Levels(nn.Module):
    """The generators from coarse to fine as one: each adds detail to what the one before made, smoothed."""

    def __init__(self, nets: list[nn.Module], sides: list[int], latent: int) -> None:
        super().__init__()
        self.nets, self.sides, self.latent = nn.ModuleList(nets), sides, latent

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z: [B, latent + Σ side²], the coarsest level's latent, then each further level's plane; y: [B]."""
        parts = z.split([self.latent, *(side * side for side in self.sides[1:])], dim=1)
        x = self.nets[0](parts[0], y)
        for G, noise, side in zip(self.nets[1:], parts[1:], self.sides[1:], strict=True):
            x = _refined(G, noise.view(-1, 1, side, side), x, y)
        return x


class Pyramid:
    """Samples of all levels' generators, one after the other, as others should use them: see `core/duel.Sampler`."""

    def __init__(self, players: dict[str, Player], sides: list[int], latent: int) -> None:
        samplers = [Sampler(players[name_of("generator", side, sides)]) for side in sides]
        self.network, self.finest = Levels([sampler.network for sampler in samplers], sides, latent), samplers[-1]

    def __call__(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z: [B, Z], as `Levels` has it; y: [B]. Returns images."""
        return quietly(self.network, z, y)

    def enlarge(self, x: Tensor, noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Images x [B, C, H, W] of any size, and noise [B, 1, 2H, 2W] -> [B, C, 2H, 2W], by the finest level."""
        return _refined(self.finest, noise, x, y)


def _refined(G: Callable[[Tensor, Tensor | None], Tensor], noise: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
    smooth = smoother(x)
    return smooth + G(torch.cat([noise, smooth], 1), y)


def name_of(role: str, side: int, sides: list[int]) -> str:
    """A player's name: its role, and below the finest level the side of its images."""
    return role if side == sides[-1] else f"{role}{side}"


def build(cfg: Config, spec: DataSpec) -> Game:
    classes, told = classes_of(cfg, spec, "lapgan"), cfg.conditioning or "concatenation"
    sides, channels = sides_between(spec.shape, cfg.coarsest), spec.shape[0]
    players: dict[str, Player] = {}
    duels = []
    for side in sides:
        shape = (channels, side, side)
        names = (name_of("critic", side, sides), name_of("generator", side, sides))
        if side == sides[0]:
            G: nn.Module = mlp.Generator(cfg.latent, shape, cfg.units, 2, classes)
            D: nn.Module = mlp.Critic(shape, cfg.units // 2, 2, classes, conditioning=told)
        else:
            G, D = Detail(channels, cfg.width, classes), Critic(shape, cfg.width, classes, told)
        pair = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema, decay=cfg.decay())
        players |= dict(zip(names, pair.values(), strict=True))
        duels.append(_level(G, D, cfg, shape, spec.shape[1], side == sides[0], classes, names))

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        drawn = [next(batches) for _ in range(cfg.critic_steps)]
        for duel in duels:
            yield from duel.play(iter(drawn), clock)

    state: dict[str, Stateful] = {}
    for side, duel in zip(sides, duels, strict=True):
        if duel.augmenter is not None:
            state[f"augment{side}"] = duel.augmenter
    latent = cfg.latent + sum(side * side for side in sides[1:])
    sample, judge = Pyramid(players, sides, cfg.latent), Judge(players["critic"])
    return Game(players, play, sample, (latent,), classes or None, critic=judge, state=state, enlarge=sample.enlarge)


def _level(
    G: nn.Module, D: nn.Module, cfg: Config, shape: tuple[int, ...], full: int, first: bool, classes: int,
    names: tuple[str, str],
) -> Duel:  # fmt: skip
    """The game of one level: real images brought down to its side, fakes that add detail to coarser real ones."""
    halvings = (full // shape[1]).bit_length() - 1

    def real(x: Tensor) -> Tensor:
        for _ in range(halvings):
            x = coarser(x)
        return x

    def refined(batch: Batch) -> Tensor:
        smooth = smoother(coarser(real(batch["x"])))
        return smooth + G(torch.cat([batch["z"], smooth], 1), batch.get("y"))

    def noise(clock: Clock, n: int) -> Batch:
        return {"z": clock.normal(n, 1, *shape[1:])}

    draws, make = (None, None) if first else (noise, refined)
    return Duel(
        G, D, cfg, latent=cfg.latent, shape=shape, classes=classes, draws=draws, make=make, real=real, names=names
    )
