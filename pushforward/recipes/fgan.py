"""f-GAN: the generator minimises any f-divergence through its variational bound. Nowozin et al. 2016,
arXiv:1606.00709; `--divergence` names it, its critic's output activation is table 2's.

Differs from the paper: gradients are limited (`--clip None` for the paper's); the critic moves first, then the
generator, where Algorithm 1 moves both at once; DCGAN's networks on images; normal latents for uniform ones; samples
come from an average of the generator's weights (`--ema None` for the paper's). With the divergence `gan`, not
saturating and without a limit, this is the game of `dcgan`.
"""

import difflib
from dataclasses import dataclass

from pushforward.core.duel import Judge, Sampler, alternate, two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.networks import dcgan
from pushforward.networks.pair import pair
from pushforward.objectives import adversarial
from pushforward.objectives.divergence import DIVERGENCES, Divergence, by_name


@dataclass(frozen=True)
class Config:
    examples: int = 600_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees (MNIST in the paper: 4096)."""
    divergence: str = "jensen_shannon"
    """kl, reverse_kl, jensen_shannon, gan, total_variation, pearson, neyman, squared_hellinger, jeffreys, or one of a
    family: alpha(0.5), weighted_jensen_shannon(0.3)."""
    saturating: bool = False
    """Whether the generator minimises the bound itself, rather than −E[T] (Section 3.2)."""
    latent: int = 64
    """Numbers in a latent."""
    width: int = 32
    """Channels beside the image, which double towards the 4×4 map; units of the three hidden layers for points."""
    lr: float = 2e-4
    """Learning rate of both players."""
    beta1: float = 0.5
    """Adam's first decay."""
    clip: float | None = 10.0
    """Largest norm of a player's gradient: bounds of unbounded divergences have steep places; None for no limit."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=3_000_000, latent=2, width=128, ema=100_000),
    "paper": Config(batch=4096, examples=100_000_000, latent=100, clip=None, ema=None),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    if cfg.clip is not None and not cfg.clip > 0:
        raise ValueError(f"clip must be a positive norm, got {cfg.clip}, which lets nothing move; None is no limit")
    losses = adversarial.fgan(_named(cfg.divergence), cfg.saturating)
    G, D = pair(spec.kind, dcgan, cfg.latent, spec.shape, cfg.width)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema)
    for player in players.values():
        player.clip = cfg.clip
    play = alternate(G, D, losses, cfg.latent)
    return Game(players, play, Sampler(players["generator"]), (cfg.latent,), critic=Judge(players["critic"]))


def _named(name: str) -> Divergence:
    """The divergence of that name, dashes as good as underscores. Raises ValueError with the nearest names."""
    plain = name.lower().replace("-", "_")
    near = difflib.get_close_matches(plain, DIVERGENCES, n=3)
    try:
        return by_name(plain)
    except ValueError as error:
        if near:
            raise ValueError(f"there is no divergence {name!r}; did you mean {' or '.join(near)}?") from error
        raise
