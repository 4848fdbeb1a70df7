"""Conditional GAN: both players are given the class. Mirza & Osindero 2014, arXiv:1411.1784.

Differs from the paper: on images, DCGAN's networks for perceptrons with maxout, the class as a bias of the critic's
first layer; samples come from an average of the generator's weights (`--ema None` for the paper's).
"""

from dataclasses import dataclass

from torch import nn

from pushforward.core.duel import Judge, Sampler, alternate, two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.networks import dcgan, mlp
from pushforward.objectives.adversarial import non_saturating


@dataclass(frozen=True)
class Config:
    examples: int = 600_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees."""
    latent: int = 64
    """Numbers in a latent."""
    width: int = 32
    """Channels beside the image, which double towards the 4×4 map; units of the three hidden layers for points."""
    lr: float = 2e-4
    """Learning rate of both players."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {"images": Config(), "points": Config(batch=256, examples=2_000_000, latent=2, width=128, lr=1e-3)}


def build(cfg: Config, spec: DataSpec) -> Game:
    if spec.classes is None:
        raise ValueError(f"cgan needs labels, and {spec.name} has none; use dcgan, or data with classes (sub-folders)")
    if spec.kind == "images":
        G: nn.Module = dcgan.Generator(cfg.latent, spec.shape, cfg.width, spec.classes)
        D: nn.Module = dcgan.Critic(spec.shape, cfg.width, spec.classes)
    else:
        G = mlp.Generator(cfg.latent, spec.shape, cfg.width, classes=spec.classes)
        D = mlp.Critic(spec.shape, cfg.width, classes=spec.classes)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema)
    play = alternate(G, D, non_saturating, cfg.latent, conditional=True)
    return Game(
        players, play, Sampler(players["generator"]), (cfg.latent,), spec.classes, critic=Judge(players["critic"])
    )
