"""DCGAN: convolutional generator and critic with BatchNorm. Radford et al. 2016, arXiv:1511.06434.

Differs from the paper: normal latents for uniform ones; samples come from an average of the generator's weights
(`--ema None` for the paper's); the width adapts to small machines (`--preset paper` for the paper's).
"""

from dataclasses import dataclass

from pushforward.core.duel import Judge, Sampler, alternate, two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.networks.dcgan import Critic, Generator
from pushforward.objectives.adversarial import non_saturating


@dataclass(frozen=True)
class Config:
    examples: int = 600_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees (the paper: 128)."""
    latent: int = 64
    """Numbers in a latent (the paper: 100)."""
    width: int = 32
    """Channels beside the image; they double towards the 4×4 map (the paper: 128)."""
    lr: float = 2e-4
    """Learning rate of both players."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {"images": Config(), "paper": Config(batch=128, latent=100, width=128, ema=None, examples=10_000_000)}


def build(cfg: Config, spec: DataSpec) -> Game:
    G, D = Generator(cfg.latent, spec.shape, cfg.width), Critic(spec.shape, cfg.width)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema)
    play = alternate(G, D, non_saturating, cfg.latent)
    return Game(players, play, Sampler(players["generator"]), (cfg.latent,), critic=Judge(players["critic"]))
