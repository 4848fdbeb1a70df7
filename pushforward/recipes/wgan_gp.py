"""WGAN-GP: a Wasserstein critic with a gradient penalty, five critic steps a round. Gulrajani et al. 2017,
arXiv:1704.00028, Algorithm 1; residual networks on images (Appendix C), perceptrons on points.

Differs from the paper: samples come from an average of the generator's weights (`--ema None` for the paper's); the
width adapts to small machines (`--preset paper` for the paper's).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from pushforward.core.duel import Judge, Sampler, two_players
from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.core.schedule import linear
from pushforward.data.spec import DataSpec
from pushforward.networks import resnet
from pushforward.networks.pair import pair
from pushforward.objectives.adversarial import wasserstein
from pushforward.objectives.penalties import gradient_penalty


@dataclass(frozen=True)
class Config:
    examples: int = 1_000_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees."""
    latent: int = 64
    """Numbers in a latent (the paper: 128)."""
    width: int = 32
    """Channels of the residual blocks (the paper: 128); units of the three hidden layers for points."""
    critic_steps: int = 5
    """Critic's moves before each of the generator's."""
    penalty: float = 10.0
    """Weight λ of the gradient penalty."""
    lr: float = 5e-4
    """Learning rate of both players, falling to zero in a straight line."""
    beta1: float = 0.0
    """Adam's first decay."""
    beta2: float = 0.9
    """Adam's second decay."""
    ema: float | None = 100_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=256, examples=5_000_000, latent=2, width=128, lr=1e-3, penalty=0.1),
    "paper": Config(lr=2e-4, latent=128, width=128, ema=None, examples=32_000_000),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    G, D = pair(spec.kind, resnet, cfg.latent, spec.shape, cfg.width)

    def critic(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake = batch["x"], G(batch["z"])
        logits_real, logits_fake = D(real), D(fake)
        distance = -wasserstein.critic(logits_real, logits_fake)
        penalty = gradient_penalty(D, real, fake, batch["eps"])
        return cfg.penalty * penalty - distance, {"distance": distance, "penalty": penalty}

    def generator(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return wasserstein.generator(None, D(G(batch["z"]))), {}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        n = 0
        for _ in range(cfg.critic_steps):
            x = next(batches)["x"]
            n = len(x)
            yield Move("critic", critic, {"x": x, "z": clock.normal(n, cfg.latent), "eps": clock.uniform(n)})
        yield Move("generator", generator, {"z": clock.normal(n, cfg.latent)})

    players = two_players(
        G, D, lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), ema=cfg.ema, decay=linear(1.0, 0.0, cfg.examples)
    )
    return Game(players, play, Sampler(players["generator"]), (cfg.latent,), critic=Judge(players["critic"]))
