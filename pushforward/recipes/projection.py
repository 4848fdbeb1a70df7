"""Projection: the critic's verdict on the class is a product of class and features. Miyato & Koyama 2018,
arXiv:1802.05637, Eq. 9; spectral normalisation in the critic and its embedding, conditional BatchNorm in the generator.

Differs from the paper: samples come from an average of the generator's weights (`--ema None` for the paper's); sizes
for small machines (`--preset paper` for ImageNet's at 128×128, without the noise that dequantises its images); fakes
have the classes of the real examples beside them, for classes drawn evenly; a generator's move has as many fakes as a
critic's, where the authors' code has twice as many; power iteration starts exact, and takes a step for each change of
the weights, in the authors' code for each forward pass; concatenation is a bias of maps, for an embedding beside them.
"""

from dataclasses import dataclass

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Loss, Rules, classes_of
from pushforward.layers.conditioning import Conditioning
from pushforward.layers.spectral import spectral
from pushforward.networks.sngan import pair


@dataclass(frozen=True)
class Config(Rules):
    examples: int = 300_000
    """Real examples to see."""
    critic_steps: int = 5
    """Critic's moves before each of the generator's."""
    loss: Loss = "hinge"
    """What the players minimise."""
    conditioning: Conditioning | None = "projection"
    """How the critic is told the class: projection, concatenation (which the paper compares with), or not at all."""
    latent: int = 64
    """Numbers in a latent (the paper: 128)."""
    width: int = 32
    """Channels of the critic's first block (the paper: 64 for ImageNet; its code: 128 for CIFAR-10); units of the three
    hidden layers for points."""
    factor: int = 1
    """How many times as wide the generator for images is (for CIFAR-10: 2)."""
    pyramid: bool = False
    """Whether channels double from the image down at sides up to 32 too, as they do at 64: the critic's last maps then
    have 2 (8×8), 4 (16×16) or 8 (32×32) times as many, and its logit as many more features to tell classes apart."""
    lr: float = 1e-3
    """Learning rate of both players (the paper: 2e-4)."""
    lr_hold: float = 0.0
    """Share of the run that the rate holds, before it falls to zero in a straight line (the paper: 8/9)."""
    beta1: float = 0.0
    """Adam's first decay."""
    beta2: float = 0.9
    """Adam's second decay."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=5_000_000, latent=2, width=128, ema=100_000),
    "paper": Config(lr=2e-4, latent=128, width=64, lr_hold=8 / 9, ema=None, examples=144_000_000),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "projection")
    G, D = pair(spec.kind, cfg.latent, spec.shape, cfg.width, cfg.factor, classes, cfg.conditioning, cfg.pyramid)
    spectral(D)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), ema=cfg.ema, decay=cfg.decay())
    duel = Duel(G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes, joint=spec.kind == "images")
    return duel.game(players, (cfg.latent,))
