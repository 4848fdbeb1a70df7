"""GAN: two multilayer perceptrons in a minimax game, saturating or not. Goodfellow et al. 2014, arXiv:1406.2661.

Differs from the paper: three hidden layers of leaky ReLU with weights of He et al. in both players, for two of ReLU in
the generator and of maxout with dropout in the critic (`--maxout` for the paper's); Adam at one rate for momentum and
rates that fall; tanh for sigmoid; normal latents for uniform ones; the last layer starts without the data's marginals.
"""

from dataclasses import dataclass

from torch import nn

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Rules, classes_of
from pushforward.networks import maxout, mlp


@dataclass(frozen=True)
class Config(Rules):
    examples: int = 1_000_000
    """Real examples to see."""
    batch: int = 128
    """Examples a move sees."""
    latent: int = 64
    """Numbers in a latent (the paper's code: 100)."""
    width: int = 256
    """Units in a hidden layer (the paper's code: 1200, in the critic 240 maxout units of five pieces)."""
    depth: int = 3
    """Hidden layers; with maxout always two."""
    maxout: bool = False
    """Whether the networks are the paper's: ReLU in the generator, maxout with dropout in the critic."""
    lr: float = 2e-4
    """Learning rate of both players."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = None
    """Half-life of the generator's average, in examples; the paper has none."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=2_000_000, latent=2, width=128, lr=1e-3),
    "paper": Config(batch=100, examples=5_000_000, latent=100, width=1200, maxout=True),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    classes, told = classes_of(cfg, spec, "gan"), cfg.conditioning or "concatenation"
    if cfg.maxout and cfg.depth not in (2, Config.depth):
        raise ValueError(f"maxout's networks have two hidden layers, got --depth {cfg.depth}; leave out one of the two")
    if cfg.maxout:
        G: nn.Module = maxout.Generator(cfg.latent, spec.shape, cfg.width, classes)
        D: nn.Module = maxout.Critic(spec.shape, cfg.width, classes, told)
    else:
        G = mlp.Generator(cfg.latent, spec.shape, cfg.width, cfg.depth, classes)
        D = mlp.Critic(spec.shape, cfg.width, cfg.depth, classes, conditioning=told)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema, decay=cfg.decay())
    return Duel(G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes).game(players, (cfg.latent,))
