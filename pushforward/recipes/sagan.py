"""SAGAN: places attend to all others, both players are normalised, the critic learns faster. Zhang et al. 2019,
arXiv:1805.08318; self-attention in both players, hinge, projection, two rates and one critic step.

Differs from the paper: samples come from an average of the generator's weights (`--ema None` for the paper's); sizes
and rates for small machines (`--preset paper` for ImageNet's at 128×128); fakes have the classes of the real examples
beside them, for classes drawn evenly; power iteration starts exact, and takes a step for each change of the weights;
BatchNorm's running statistics forget faster. Attention is that of the authors' code: values of half the channels, keys
and values pooled, where the paper has an eighth and no pooling.
"""

from dataclasses import dataclass

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Loss, Rules, classes_of
from pushforward.layers.conditioning import Conditioning
from pushforward.layers.spectral import spectral
from pushforward.networks.sngan import Critic, Generator, init, layers_of


@dataclass(frozen=True)
class Config(Rules):
    examples: int = 150_000
    """Real examples to see."""
    loss: Loss = "hinge"
    """What the players minimise."""
    conditioning: Conditioning | None = "projection"
    """How the critic is told the class: projection, concatenation, or not at all, and the generator neither."""
    latent: int = 64
    """Numbers in a latent (the paper: 128)."""
    width: int = 32
    """Channels of the generator's last maps and the critic's first (the paper: 64)."""
    pyramid: bool = False
    """Whether channels double from the image down at sides up to 32 too, as they do at 64: the critic's last maps then
    have 2 (8×8), 4 (16×16) or 8 (32×32) times as many, and its logit as many more features to tell classes apart."""
    attention: int | None = 16
    """Largest side of the maps that attend to themselves, at most half the image's (the paper: 32); None for none."""
    lr: float = 5e-4
    """Learning rate of the generator (the paper: 1e-4)."""
    critic_lr: float = 2e-3
    """Learning rate of the critic (the paper: 4e-4)."""
    beta1: float = 0.0
    """Adam's first decay."""
    beta2: float = 0.9
    """Adam's second decay (the authors' code: 0.999)."""
    ema: float | None = 10_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "paper": Config(
        batch=256, latent=128, width=64, attention=32, lr=1e-4, critic_lr=4e-4, ema=None, examples=256_000_000
    ),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "sagan")
    G = Generator(cfg.latent, spec.shape, cfg.width, classes, cfg.attention, cfg.pyramid)
    told = cfg.conditioning or "projection"
    D = Critic(spec.shape, cfg.width, classes, told, cfg.attention, wide=True, pyramid=cfg.pyramid)
    for net in (G, D):
        init(net, gain=1.0)
    for layer in list(layers_of(G)):
        spectral(layer)
    spectral(D)
    players = two_players(
        G, D, lr=(cfg.critic_lr, cfg.lr), betas=(cfg.beta1, cfg.beta2), ema=cfg.ema, decay=cfg.decay()
    )
    duel = Duel(G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes, joint=True)
    return duel.game(players, (cfg.latent,))
