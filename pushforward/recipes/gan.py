"""GAN: two multilayer perceptrons in a minimax game, saturating or not. Goodfellow et al. 2014, arXiv:1406.2661.

Differs from the paper: leaky ReLU for maxout and no dropout in the critic; Adam for momentum; tanh for sigmoid.
"""

from dataclasses import dataclass
from typing import Literal

from pushforward.core.duel import Judge, Sampler, alternate, two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.networks.mlp import Critic, Generator
from pushforward.objectives.adversarial import minimax, non_saturating


@dataclass(frozen=True)
class Config:
    examples: int = 1_000_000
    """Real examples to see."""
    batch: int = 128
    """Examples a move sees."""
    loss: Literal["non-saturating", "minimax"] = "non-saturating"
    """What the generator minimises: −log D(G(z)), or log(1 − D(G(z))), which saturates."""
    latent: int = 64
    """Numbers in a latent."""
    width: int = 256
    """Units in a hidden layer."""
    depth: int = 3
    """Hidden layers."""
    lr: float = 2e-4
    """Learning rate of both players."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = None
    """Half-life of the generator's average, in examples; the paper has none."""


PRESETS = {"images": Config(), "points": Config(batch=256, examples=2_000_000, latent=2, width=128, lr=1e-3)}


def build(cfg: Config, spec: DataSpec) -> Game:
    G = Generator(cfg.latent, spec.shape, cfg.width, cfg.depth)
    D = Critic(spec.shape, cfg.width, cfg.depth)
    losses = {"non-saturating": non_saturating, "minimax": minimax}[cfg.loss]
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema)
    play = alternate(G, D, losses, cfg.latent)
    return Game(players, play, Sampler(players["generator"]), (cfg.latent,), critic=Judge(players["critic"]))
