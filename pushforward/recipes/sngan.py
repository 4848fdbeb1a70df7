"""SNGAN: each layer of the critic is divided by its largest singular value. Miyato et al. 2018,
arXiv:1802.05957, Algorithm 1; the paper's residual networks on images, perceptrons on points.

Differs from the paper: samples come from an average of the generator's weights (`--ema None` for the paper's); sizes
for small machines (`--preset paper` for CIFAR-10's, with the length and the falling rate of the authors' code: the
paper has twice as many rounds); a generator's move has as many fakes as a critic's, where the authors' code has twice
as many; power iteration starts exact, and takes a step for each change of the weights, in the paper for each forward
pass; classes by concatenation as a bias of maps, for an embedding beside them.
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
    """What the players minimise: in the paper the hinge (Eq. 16 and 17) or the non-saturating loss."""
    conditioning: Conditioning | None = None
    """How the critic is told the class: concatenation, projection, or not at all, and the generator neither."""
    latent: int = 64
    """Numbers in a latent (the paper: 128)."""
    width: int = 32
    """Channels of the critic's first block (the paper: 128 for CIFAR-10, else 64); units of the three hidden layers for
    points."""
    factor: int = 1
    """How many times as wide the generator for images is (the paper: 2 for CIFAR-10, else 1)."""
    pyramid: bool = False
    """Whether channels double from the image down at sides up to 32 too, as they do at 64: the critic's last maps then
    have 2 (8×8), 4 (16×16) or 8 (32×32) times as many, and its logit as many more features to tell classes apart."""
    lr: float = 1e-3
    """Learning rate of both players (the paper: 2e-4)."""
    lr_hold: float = 0.0
    """Share of the run that the rate holds, before it falls to zero in a straight line (the authors' code: 0)."""
    beta1: float = 0.0
    """Adam's first decay."""
    beta2: float = 0.9
    """Adam's second decay."""
    ema: float | None = 20_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=5_000_000, latent=2, width=128, ema=100_000),
    "paper": Config(lr=2e-4, latent=128, width=128, factor=2, ema=None, examples=16_000_000),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "sngan")
    G, D = pair(spec.kind, cfg.latent, spec.shape, cfg.width, cfg.factor, classes, cfg.conditioning, cfg.pyramid)
    spectral(D)
    players = two_players(G, D, lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), ema=cfg.ema, decay=cfg.decay())
    duel = Duel(G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes, joint=spec.kind == "images")
    return duel.game(players, (cfg.latent,))
