"""DCGAN: convolutional generator and critic with BatchNorm. Radford et al. 2016, arXiv:1511.06434.

Differs from the paper: filters of 4×4 for 5×5, BatchNorm of channels after the generator's first layer, where the
authors' code has it of units, and biases at the ends (`--layers published` for theirs); normal latents for uniform
ones; samples come from an average of the generator's weights (`--ema None` for the paper's), and by BatchNorm's running
statistics, where the authors' code takes those of the batch at hand; no weight decay; the width adapts to small
machines (`--preset paper` for the paper's, with its layers).
"""

from dataclasses import dataclass

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Rules, classes_of
from pushforward.networks.dcgan import Critic, Generator, Layers, Norm


@dataclass(frozen=True)
class Config(Rules):
    latent: int = 64
    """Numbers in a latent (the paper: 100)."""
    width: int = 32
    """Channels beside the image; they double towards the 4×4 map (the paper: 128)."""
    layers: Layers = "usual"
    """Filters of 4×4, or published: the authors' code's of 5×5, with a first BatchNorm of units, without biases at the
    ends."""
    critic_norm: Norm | None = "batch"
    """What normalises the critic of images: batch (DCGAN's), spectral in its place, or None."""
    lr: float = 2e-4
    """Learning rate of both players."""
    beta1: float = 0.5
    """Adam's first decay."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "paper": Config(batch=128, latent=100, width=128, layers="published", ema=None, examples=10_000_000),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    if cfg.layers == "published" and cfg.batch < 2:
        raise ValueError(f"published layers normalise units over the batch, got --batch {cfg.batch}; give 2 or more")
    classes = classes_of(cfg, spec, "dcgan")
    G = Generator(cfg.latent, spec.shape, cfg.width, classes, cfg.layers)
    told = cfg.conditioning or "concatenation"
    D = Critic(spec.shape, cfg.width, classes, told, cfg.critic_norm, cfg.layers)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, 0.999), ema=cfg.ema, decay=cfg.decay())
    return Duel(G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes).game(players, (cfg.latent,))
