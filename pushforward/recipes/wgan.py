"""WGAN: a Wasserstein critic whose weights are clipped after each of its five steps. Arjovsky et al. 2017,
arXiv:1701.07875, Algorithm 1; DCGAN's networks on images, perceptrons on points.

Differs from the paper: samples come from an average of the generator's weights (`--ema None` for the paper's); rates
and limits are larger than the paper's, for short runs (`--preset paper` for the paper's).
"""

from dataclasses import dataclass

from torch.optim import RMSprop

from pushforward.core.duel import Judge, Sampler, alternate, two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.networks import dcgan
from pushforward.networks.pair import pair
from pushforward.objectives.adversarial import wasserstein
from pushforward.objectives.regularisers import weight_clipping


@dataclass(frozen=True)
class Config:
    examples: int = 3_000_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees."""
    latent: int = 64
    """Numbers in a latent (the paper's code: 100)."""
    width: int = 32
    """Channels beside the image, which double towards the 4×4 map; units of the three hidden layers for points."""
    critic_steps: int = 5
    """Critic's moves before each of the generator's."""
    clip: float = 0.01
    """The critic's weights are kept in [−clip, clip]."""
    lr: float = 2e-4
    """Learning rate of both players (the paper: 5e-5)."""
    decay: float = 0.99
    """RMSprop's decay of the mean square."""
    ema: float | None = 100_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=5_000_000, latent=2, width=128, clip=0.1, lr=5e-4),
    "paper": Config(latent=100, width=64, lr=5e-5, ema=None, examples=64_000_000),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    G, D = pair(spec.kind, dcgan, cfg.latent, spec.shape, cfg.width)
    players = two_players(
        G,
        D,
        lr=cfg.lr,
        ema=cfg.ema,
        optimizer=lambda parameters, rate: RMSprop(parameters, rate, alpha=cfg.decay, foreach=True),
    )
    players["critic"].project = weight_clipping(cfg.clip)
    play = alternate(G, D, wasserstein, cfg.latent, critic_steps=cfg.critic_steps)
    return Game(players, play, Sampler(players["generator"]), (cfg.latent,), critic=Judge(players["critic"]))
