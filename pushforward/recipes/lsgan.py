"""LSGAN: least squares for the critic's logits in place of the logistic loss. Mao et al. 2017, arXiv:1611.04076.

Differs from the paper: DCGAN's networks for its own, deeper ones on images; perceptrons on points; normal latents for
uniform ones; samples come from an average of the generator's weights (`--ema None` for the paper's).
"""

from dataclasses import dataclass

from pushforward.core.duel import Judge, Sampler, alternate, two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.networks import dcgan
from pushforward.networks.pair import pair
from pushforward.objectives.adversarial import least_squares_to


@dataclass(frozen=True)
class Config:
    examples: int = 600_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees."""
    a: float = 0.0
    """What the critic should say of fakes. Only differences count: the critic's last bias takes up what all share."""
    b: float = 1.0
    """What the critic should say of real examples."""
    c: float = 1.0
    """What the generator wants the critic to say of fakes."""
    latent: int = 64
    """Numbers in a latent (the paper: 1024)."""
    width: int = 32
    """Channels beside the image, which double towards the 4×4 map; units of the three hidden layers for points."""
    lr: float = 2e-4
    """Learning rate of both players (LSUN in the paper: 1e-3)."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=2_000_000, latent=2, width=128, lr=5e-4, ema=100_000),
    # b − c = 1 and b − a = 2, for which the generator minimises Pearson's χ²: Eq. 8's −1, 1, 0, each one higher.
    "pearson": Config(a=0.0, b=2.0, c=1.0),
    "paper": Config(latent=1024, width=64, lr=1e-3, ema=None, examples=30_000_000),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    G, D = pair(spec.kind, dcgan, cfg.latent, spec.shape, cfg.width)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema)
    play = alternate(G, D, least_squares_to(cfg.a, cfg.b, cfg.c), cfg.latent)
    return Game(players, play, Sampler(players["generator"]), (cfg.latent,), critic=Judge(players["critic"]))
