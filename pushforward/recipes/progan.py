"""ProGAN: both networks grow from 4×4 while they train, new layers fading in. Karras et al. 2018, arXiv:1710.10196.

Equalised learning rates, pixel norm, the standard deviation among examples in the critic, WGAN-GP.
Differs from the paper: one batch size for all resolutions; the ramp of the average of Karras et al. 2020,
arXiv:2006.06676; mirror images of the data by `--mirror` alone; classes by an embedding beside z and by projection, for
one-hot vectors and an auxiliary classifier; smaller and faster for small machines (`--preset paper` for the paper's).
"""

from dataclasses import dataclass

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import CriticTerm, Duel, Loss, Penalty, Rules, classes_of
from pushforward.games.growing import growing, phase_of
from pushforward.networks.progan import Critic, Generator


@dataclass(frozen=True)
class Config(Rules):
    batch: int = 32
    """Examples a move sees (the paper: 16, and 3 at 1024×1024)."""
    loss: Loss = "wasserstein"
    """What the players minimise."""
    penalty: Penalty | None = "gp"
    """Penalty on the critic's gradient with respect to its input."""
    drift: float = 1e-3
    """Weight of the mean square of the critic's logits on real examples, which keeps them near 0."""
    latent: int = 64
    """Numbers in a latent (the paper: 512)."""
    width: int = 64
    """Channels of the stages up to a side of `full` (the paper: 512)."""
    full: int = 4
    """Largest side that has all channels; they halve with each doubling beyond (the paper: 32)."""
    growing: bool = True
    """Whether the networks grow; otherwise they have their full size from the start."""
    group: int = 4
    """Examples among which the critic is told the deviation (the paper's run: 16, the whole batch)."""
    phase: int = 10_000
    """Examples over which a level fades in, and as many before the next; fewer where the run is short."""
    lr: float = 2e-3
    """Learning rate of both players (the paper: 1e-3)."""
    beta2: float = 0.99
    """Adam's second decay; the first is 0."""
    ema: float | None = 10_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""

    def idle(self) -> dict[str, str]:
        return super().idle() | ({"phase": "--growing"} if not self.growing else {})


PRESETS = {
    "images": Config(),
    "paper": Config(
        examples=19_000_000,
        batch=16,
        latent=512,
        width=512,
        full=32,
        group=16,
        phase=800_000,
        lr=1e-3,
        ema=11_000,
    ),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "progan")
    G = Generator(cfg.latent, spec.shape, cfg.width, cfg.full, classes, cfg.growing)
    told = cfg.conditioning or "projection"
    D = Critic(spec.shape, cfg.width, cfg.full, classes, told, cfg.growing, group=cfg.group)
    players = two_players(G, D, lr=cfg.lr, betas=(0.0, cfg.beta2), ema=cfg.ema, decay=cfg.decay())
    drift = CriticTerm("drift", cfg.drift, lambda real, fake: real.square().mean())
    duel = Duel(
        G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes, real=D.growth.limited, critic_terms=[drift]
    )
    game, levels = duel.game(players, (cfg.latent,)), D.growth.levels
    return growing(game, levels, phase_of(cfg.examples, levels, cfg.phase)) if cfg.growing else game
