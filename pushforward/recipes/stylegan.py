"""StyleGAN: a mapping network's styles steer each layer of the generator, beside noise. Karras et al. 2019,
arXiv:1812.04948, configuration F: a learned constant for an input, AdaIN, mixing regularisation, truncation in w.

Differs from the paper: the constant starts random, as in StyleGAN2, for ones, which instance normalisation makes zeros;
crossovers are drawn for each example, for one a batch; one batch size and one learning rate for all resolutions; the
ramp of the average of Karras et al. 2020, arXiv:2006.06676; mirror images of the data by `--mirror` alone; classes by
projection, in the authors' code by a logit for each; truncation is towards the mean of the class, in all layers;
samples have the same noise, for fresh noise in each, so that a latent is one image; for small machines, R1 every fourth
move, no growth and smaller networks (`--preset paper` for the paper's).
"""

from dataclasses import dataclass

from pushforward.core.duel import Sampler, two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Penalty, Rules, classes_of
from pushforward.games.growing import growing, phase_of
from pushforward.games.styles import Mixing
from pushforward.networks.progan import Critic
from pushforward.networks.stylegan import Generator


@dataclass(frozen=True)
class Config(Rules):
    batch: int = 32
    """Examples a move sees."""
    penalty: Penalty | None = "r1"
    """Penalty on the critic's gradient with respect to its input."""
    penalty_weight: float = 1.0
    """Weight of the penalty: λ, or γ of r1 and r2, which enter as γ/2 (the paper: 10, for 1024×1024)."""
    penalty_every: int = 4
    """Take the penalty in every so many of the critic's moves, with so many times the weight (the paper: 1)."""
    latent: int = 64
    """Numbers in a latent, and in a style (the paper: 512)."""
    depth: int = 2
    """Layers of the mapping network (the paper: 8)."""
    width: int = 64
    """Channels of the stages up to a side of `full` (the paper: 512)."""
    full: int = 4
    """Largest side that has all channels; they halve with each doubling beyond (the paper: 32)."""
    mixing: float = 0.9
    """Share of fakes in training whose layers take their styles from two latents."""
    growing: bool = False
    """Whether the networks grow, from 8×8 as the paper's; otherwise they have their full size from the start."""
    phase: int = 10_000
    """Examples over which a level fades in, and as many before the next; fewer where the run is short."""
    lr: float = 2e-3
    """Learning rate of both players (the paper: 1e-3, to 3e-3 at 1024×1024)."""
    beta2: float = 0.99
    """Adam's second decay; the first is 0."""
    ema: float | None = 10_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""

    def idle(self) -> dict[str, str]:
        return super().idle() | ({"phase": "--growing"} if not self.growing else {})


PRESETS = {
    "images": Config(),
    "paper": Config(
        examples=25_000_000, penalty_weight=10.0, penalty_every=1, latent=512, depth=8, width=512, full=32,
        growing=True, phase=600_000, lr=1e-3,
    ),
}  # fmt: skip


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "stylegan")
    G = Generator(cfg.latent, spec.shape, cfg.width, cfg.full, cfg.depth, classes, cfg.growing)
    told = cfg.conditioning or "projection"
    D = Critic(spec.shape, cfg.width, cfg.full, classes, told, cfg.growing, blurred=True)
    players = two_players(G, D, lr=cfg.lr, betas=(0.0, cfg.beta2), ema=cfg.ema, decay=cfg.decay())
    mixing = Mixing(G, cfg.latent, cfg.mixing)
    duel = Duel(
        G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes, draws=mixing.draws, make=mixing.make,
        real=D.growth.limited,
    )  # fmt: skip
    game, levels = duel.game(players, (cfg.latent,)), D.growth.levels
    game.truncated = lambda psi: Sampler(players["generator"], psi=psi)
    first = min(1, levels)  # 8×8
    phase = phase_of(cfg.examples, levels - first, cfg.phase)
    return growing(game, levels, phase, first) if cfg.growing else game
