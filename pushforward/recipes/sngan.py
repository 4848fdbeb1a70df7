"""SNGAN: each layer of the critic is divided by its largest singular value. Miyato et al. 2018,
arXiv:1802.05957, Algorithm 1; perceptrons on points, residual networks on images.

Differs from the paper: the residual networks are WGAN-GP's, with a mean over the last map for a sum; samples come from
an average of the generator's weights (`--ema None` for the paper's); sizes for small machines (`--preset paper`).
"""

from dataclasses import dataclass
from typing import Literal

from pushforward.core.duel import Judge, Sampler, alternate, two_players
from pushforward.core.game import Game
from pushforward.core.schedule import linear
from pushforward.data.spec import DataSpec
from pushforward.layers.spectral import spectral
from pushforward.networks import resnet
from pushforward.networks.pair import pair
from pushforward.objectives.adversarial import hinge, non_saturating


@dataclass(frozen=True)
class Config:
    examples: int = 1_000_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees."""
    loss: Literal["hinge", "logistic"] = "hinge"
    """Eq. 16 and 17, or the logistic loss with the generator's that does not saturate."""
    latent: int = 64
    """Numbers in a latent (the paper: 128)."""
    width: int = 32
    """Channels of the residual blocks (the paper: 128 in the critic, 256 in the generator); units of the three hidden
    layers for points."""
    critic_steps: int = 5
    """Critic's moves before each of the generator's."""
    lr: float = 5e-4
    """Learning rate of both players (the paper: 2e-4), falling to zero in a straight line."""
    beta1: float = 0.0
    """Adam's first decay."""
    beta2: float = 0.9
    """Adam's second decay."""
    ema: float | None = 100_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=5_000_000, latent=2, width=128, lr=1e-3),
    "paper": Config(lr=2e-4, latent=128, width=128, ema=None, examples=32_000_000),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    G, D = pair(spec.kind, resnet, cfg.latent, spec.shape, cfg.width)
    spectral(D)
    losses = {"hinge": hinge, "logistic": non_saturating}[cfg.loss]
    schedule = linear(cfg.lr, 0.0, cfg.examples)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), ema=cfg.ema, lr_schedule=schedule)
    play = alternate(G, D, losses, cfg.latent, critic_steps=cfg.critic_steps)
    return Game(players, play, Sampler(players["generator"]), (cfg.latent,), critic=Judge(players["critic"]))
