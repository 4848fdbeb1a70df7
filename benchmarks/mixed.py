"""One recipe's generator against another's critic, all else the same: DCGAN's, R3GAN's and StyleGAN2's networks.

A recipe for `benchmarks/zoo.py networks`, with the networks at the sizes that they have there. Radford et al. 2016,
arXiv:1511.06434; Huang et al. 2025, arXiv:2501.05441, whose objective all play; Karras et al. 2020, arXiv:1912.04958.
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Loss, Penalty, Rules, classes_of
from pushforward.games.styles import Mixing
from pushforward.layers.conditioning import Conditioning
from pushforward.networks import dcgan, r3gan, stylegan2
from pushforward.networks.stages import doublings

Networks = Literal["dcgan", "r3gan", "stylegan2"]
LATENT = 64
SHARE = {"dcgan": 1.0, "r3gan": 1.0, "stylegan2": 5.0}  # of the learning rate: StyleGAN2's are equalised


@dataclass(frozen=True)
class Config(Rules):
    loss: Loss = "relativistic"
    """What the players minimise."""
    penalty: Penalty | None = "r1+r2"
    """Penalty on the critic's gradient with respect to its input."""
    penalty_weight: float | None = 1.0
    """Weight of the penalty."""
    penalty_every: int = 4
    """Take the penalty in every so many of the critic's moves, with so many times the weight."""
    batch: int = 16
    """Examples a move sees."""
    lr_hold: float = 0.3
    """Share of the run that the learning rates hold, before they fall to zero in a straight line."""
    conditioning: Conditioning | None = "projection"
    """How the critic is told the class."""
    generator: Networks = "dcgan"
    """Whose generator."""
    critic: Networks = "dcgan"
    """Whose critic."""
    lr: float = 1e-3
    """Learning rate of both players; equalised networks have five times as much."""
    ema: float | None = 50_000
    """Half-life of the generator's average, in examples."""


PRESETS = {"images": Config()}


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "mixed")
    G, D = generator(cfg.generator, spec, classes), critic(cfg, spec, classes)
    rates = (SHARE[cfg.critic] * cfg.lr, SHARE[cfg.generator] * cfg.lr)
    players = two_players(G, D, lr=rates, betas=(0.0, 0.99), ema=cfg.ema, decay=cfg.decay())
    styled: dict[str, Any] = {}
    if isinstance(G, stylegan2.Generator):
        mixing = Mixing(G, LATENT, 0.0)
        styled = {"draws": mixing.draws, "make": mixing.make}
    duel = Duel(G, D, cfg, latent=LATENT, shape=spec.shape, classes=classes, **styled)
    return duel.game(players, (LATENT,))


def widths(spec: DataSpec) -> tuple[int, ...]:
    """Channels of R3GAN's stages: 64 at the 4×4 map, half as many at each doubling, and 16 at least."""
    return tuple(max(64 // 2**i, 16) for i in range(doublings(spec.shape) + 1))


def generator(of: Networks, spec: DataSpec, classes: int) -> nn.Module:
    if of == "dcgan":
        return dcgan.Generator(LATENT, spec.shape, 16, classes)
    if of == "r3gan":
        return r3gan.Generator(LATENT, spec.shape[0], widths(spec), 1, 16, classes)
    return stylegan2.Generator(LATENT, spec.shape, 64, 256, 2, classes)


def critic(cfg: Config, spec: DataSpec, classes: int) -> nn.Module:
    told = cfg.conditioning or "projection"
    if cfg.critic == "dcgan":
        return dcgan.Critic(spec.shape, 16, classes, told, None)
    if cfg.critic == "r3gan":
        return r3gan.Critic(spec.shape[0], widths(spec), 1, 16, classes, told)
    return stylegan2.Critic(spec.shape, 64, 256, classes, told, 4, True)
