"""DCGAN: convolutional generator and critic with BatchNorm. Radford et al. 2016, arXiv:1511.06434.

Differs from the paper: filters of 4×4 for 5×5; normal latents for uniform ones; samples come from an average of the
generator's weights (`--ema None` for the paper's), and by BatchNorm's running statistics, where the authors' code takes
those of the batch at hand; after the first layer these are of channels, there of units; no weight decay; the width
adapts to small machines (`--preset paper` for the paper's).
"""

from dataclasses import dataclass

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Rules, classes_of
from pushforward.networks.dcgan import Critic, Generator, Norm


@dataclass(frozen=True)
class Config(Rules):
    latent: int = 64
    """Numbers in a latent (the paper: 100)."""
    width: int = 32
    """Channels beside the image; they double towards the 4×4 map (the paper: 128)."""
    critic_norm: Norm | None = "batch"
    """What normalises the critic of images: batch (DCGAN's), spectral in its place, or None."""
    lr: float = 2e-4
    """Learning rate of both players."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {"images": Config(), "paper": Config(batch=128, latent=100, width=128, ema=None, examples=10_000_000)}


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "dcgan")
    G = Generator(cfg.latent, spec.shape, cfg.width, classes)
    D = Critic(spec.shape, cfg.width, classes, cfg.conditioning or "concatenation", cfg.critic_norm)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema, decay=cfg.decay())
    return Duel(G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes).game(players, (cfg.latent,))
