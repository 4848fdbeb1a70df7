"""R3GAN: relativistic pairing with R1 and R2 on modern residual networks. Huang et al. 2025, arXiv:2501.05441.

Configuration E, with its schedules: learning rate, γ, Adam's β₂, the average's half-life and the augmentation's
probability each follow half a cosine. Differs from the paper: on images, sizes, batches and rates for small machines,
lazy penalties, a constant γ, a half-life that is constant after the ramp of Karras et al. 2020, arXiv:2006.06676, and
no augmentation (`--preset cifar10`, `ffhq64` and `imagenet32` for the authors', but that ADA's changes of colour are as
likely as its others, theirs half as likely, that mirror images of the data take `--mirror`, and that `ffhq64` ends with
its schedules, as its length was not found); both moves of a round see the same real examples; on points, the same
residual blocks made of linear layers.
"""

from dataclasses import dataclass, replace

from torch import nn

from pushforward.core.duel import two_players
from pushforward.core.game import Game
from pushforward.core.schedule import Schedule, cosine
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, Loss, Penalty, Rules, classes_of
from pushforward.networks import r3gan as networks
from pushforward.networks.stages import doublings


@dataclass(frozen=True)
class Config(Rules):
    loss: Loss = "relativistic"
    """What the players minimise."""
    penalty: Penalty | None = "r1+r2"
    """Penalty on the critic's gradient with respect to its input."""
    penalty_weight: float = 1.0
    """Weight γ of R1 and R2 at the start; each enters as γ/2."""
    penalty_weight_end: float | None = None
    """Weight at the end (in the paper a tenth); None for a constant one."""
    penalty_every: int = 4
    """Take the penalties every so many rounds, with so many times the weight (lazily; the paper: 1)."""
    augment_p_end: float | None = None
    """ADA's probability at the end, as a schedule from `augment_p`; None for one that follows the critic."""
    latent: int = 64
    """Numbers in a latent."""
    width: int = 64
    """Channels of every stage, or `group` where that is more (CIFAR-10 in the paper: 768), or numbers in the vectors
    between blocks for points."""
    full: int = 4
    """Largest side that has all channels; they halve with each doubling beyond, down to `group` (the paper: 32)."""
    blocks: int = 2
    """Residual blocks a stage (two in the paper), or in all for points."""
    group: int = 16
    """Channels in a group of the 3×3 convolutions."""
    lr: float = 2e-3
    """Learning rate of both players at the start (the authors: 2e-4)."""
    lr_end: float = 1e-4
    """Learning rate at the end (the authors: 5e-5)."""
    beta2: float = 0.9
    """Adam's β₂ at the start; β₁ is 0."""
    beta2_end: float = 0.99
    """Adam's β₂ at the end."""
    settle: float = 0.5
    """Share of the run after which all but the learning rate have reached their ends (on CIFAR-10 the paper: 0.08)."""
    lr_settle: float = 1.0
    """Share of the run after which the learning rate has reached its end (the paper: as all others)."""
    ema: float = 50_000
    """Half-life of the generator's average, in examples."""
    ema_grows: bool = False
    """Whether the half-life grows from 0 to `ema` as the others fall."""

    def idle(self) -> dict[str, str]:
        more = {} if self.penalty is not None else {"penalty_weight_end": "--penalty"}
        if self.augment != "ada":
            more["augment_p_end"] = "--augment ada"
        elif self.augment_p_end is not None:  # p then follows the run, and not the critic
            more |= dict.fromkeys(("augment_target", "augment_speed"), "--augment-p-end None")
        return super().idle() | more


PAPER = Config(  # examples: the schedules' length; presets that go on have their own
    examples=20_000_000, batch=512, width=768, full=32, lr=2e-4, lr_end=5e-5, penalty_every=1, settle=1.0,
    ema_grows=True, augment="ada", augment_groups=("blit", "geometry", "color", "cutout"),
)  # fmt: skip


PRESETS = {
    "images": Config(),
    "points": Config(
        examples=6_000_000, batch=256, latent=2, width=64, lr=1e-3, lr_end=1e-5, penalty_weight=0.1,
        penalty_weight_end=0.01, penalty_every=1, settle=0.4, beta2=0.99, ema=100_000,
    ),
    "cifar10": replace(
        PAPER, examples=250_000_000, settle=0.08, lr_settle=0.08, conditioning="projection", penalty_weight=0.05,
        penalty_weight_end=0.005, augment_p_end=0.55, ema=5_000_000,
    ),
    "ffhq64": replace(
        PAPER, batch=256, penalty_weight=2.0, penalty_weight_end=0.2, augment_p_end=0.3, ema=500_000
    ),
    "imagenet32": replace(
        PAPER, batch=4096, examples=1_000_000_000, settle=0.2, lr_settle=0.2, width=1536, group=32,
        conditioning="projection", penalty_weight=0.5, penalty_weight_end=0.05, augment_p_end=0.5, ema=50_000_000,
    ),
}  # fmt: skip


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "r3gan")
    if spec.kind == "images":
        sides = [4 * 2**i for i in range(doublings(spec.shape) + 1)]
        widths = tuple(max(cfg.width * min(cfg.full, side) // side, cfg.group) for side in sides)
        G: nn.Module = networks.Generator(cfg.latent, spec.shape[0], widths, cfg.blocks, cfg.group, classes)
        told = cfg.conditioning or "projection"
        D: nn.Module = networks.Critic(spec.shape[0], widths, cfg.blocks, cfg.group, classes, told)
    elif cfg.conditioning == "concatenation":
        raise ValueError("r3gan's critic of points is told the class by projection, got concatenation; choose that")
    else:
        G = networks.PointGenerator(cfg.latent, spec.size, cfg.width, cfg.blocks, classes)
        D = networks.PointCritic(spec.size, cfg.width, cfg.blocks, classes)

    settled, lr_settled = (max(round(share * cfg.examples), 1) for share in (cfg.settle, cfg.lr_settle))

    if not cfg.lr:
        raise ValueError("r3gan's rate falls to a share of where it starts, got --lr 0; give more than 0")
    if cfg.augment_p_end is not None and not 0 <= cfg.augment_p_end <= 1:
        raise ValueError(f"--augment-p-end is a probability, from 0 to 1, got {cfg.augment_p_end}; give one")

    def towards(start: float, end: float | None) -> Schedule | None:
        return None if end is None else cosine(start, end, settled)

    falling, held = cosine(1.0, cfg.lr_end / cfg.lr, lr_settled), cfg.decay()
    beta2 = cosine(cfg.beta2, cfg.beta2_end, settled)
    players = two_players(
        G,
        D,
        lr=cfg.lr,
        betas=(0.0, cfg.beta2),
        ema=cosine(0.0, cfg.ema, settled) if cfg.ema_grows else cfg.ema,
        decay=lambda seen: falling(seen) * held(seen),
        betas_schedule=lambda seen: (0.0, beta2(seen)),
    )
    duel = Duel(
        G,
        D,
        cfg,
        latent=cfg.latent,
        shape=spec.shape,
        classes=classes,
        joint=True,
        penalty_weight=towards(cfg.penalty_weight, cfg.penalty_weight_end),
        augment_p=towards(cfg.augment_p, cfg.augment_p_end) if cfg.augment == "ada" else None,
    )
    return duel.game(players, (cfg.latent,))
