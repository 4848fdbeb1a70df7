"""Conditional GAN: both players are given the class. Mirza & Osindero 2014, arXiv:1411.1784.

Differs from the paper: on images, DCGAN's networks, the class as a bias of the critic's first layer, for perceptrons
with maxout (`--maxout` for the paper's, but for tanh in place of the sigmoid, and dropout as in GAN's code, in the
critic alone); Adam at one rate for momentum and a rate that falls; normal latents for uniform ones; samples come from
an average of the generator's weights (`--ema None` for the paper's).
"""

from dataclasses import dataclass

from torch import nn

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Rules, classes_of
from pushforward.layers.conditioning import Conditioning
from pushforward.networks import dcgan, maxout, mlp
from pushforward.networks.dcgan import Norm


@dataclass(frozen=True)
class Config(Rules):
    conditioning: Conditioning | None = "concatenation"
    """How the critic is told the class: concatenation, or projection."""
    latent: int = 64
    """Numbers in a latent (the paper: 100)."""
    width: int = 32
    """Channels beside the image, which double towards the 4×4 map; units of the three hidden layers for points; with
    maxout units of two hidden layers (the paper: 1200, in the critic 240 maxout units of five or four pieces)."""
    maxout: bool = False
    """Whether the networks are the paper's: ReLU in the generator, maxout with dropout in the critic."""
    critic_norm: Norm | None = "batch"
    """What normalises DCGAN's critic of images: batch, spectral in its place, or None; perceptrons have none."""
    lr: float = 2e-4
    """Learning rate of both players."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=2_000_000, latent=2, width=128, lr=1e-3),
    "paper": Config(batch=100, examples=5_000_000, latent=100, width=1200, maxout=True, ema=None),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    classes, told = classes_of(cfg, spec, "cgan"), cfg.conditioning or "concatenation"
    if cfg.critic_norm == "spectral" and (cfg.maxout or spec.kind != "images"):
        which = "maxout's perceptrons" if cfg.maxout else f"perceptrons for {spec.kind}"
        raise ValueError(
            f"{which} have no normalisation to choose, got --critic-norm spectral; leave it out, or use sngan"
        )
    if cfg.maxout:
        G: nn.Module = maxout.Generator(cfg.latent, spec.shape, cfg.width, classes)
        D: nn.Module = maxout.Critic(spec.shape, cfg.width, classes, told)
    elif spec.kind == "images":
        G = dcgan.Generator(cfg.latent, spec.shape, cfg.width, classes)
        D = dcgan.Critic(spec.shape, cfg.width, classes, told, cfg.critic_norm)
    else:
        G = mlp.Generator(cfg.latent, spec.shape, cfg.width, classes=classes)
        D = mlp.Critic(spec.shape, cfg.width, classes=classes, conditioning=told)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema, decay=cfg.decay())
    return Duel(G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes).game(players, (cfg.latent,))
