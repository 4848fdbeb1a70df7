"""GMMN: no critic; the generator matches all moments of the data by a fixed kernel. Li et al. 2015, arXiv:1502.02761;
Dziugaite et al. 2015, arXiv:1505.03906. It minimises MMD, the root of the biased estimate of MMD², with a mixture of
Gaussian kernels on large batches.

Differs from the papers: no autoencoder; Adam for momentum; normal latents for uniform ones; hidden layers of equal
width; kernels whose widths go with the number of coordinates; samples come from an average of the generator's weights
(`--ema None` for the papers'). Where batches are cut or shared between processes, each part has an estimate of its own,
with more bias: the root of a mean is not a mean of roots.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Adam

from pushforward.core.duel import Sampler
from pushforward.core.ema import EMA
from pushforward.core.game import Batch, Clock, Game, Move, Player
from pushforward.core.schedule import linear
from pushforward.data.spec import DataSpec
from pushforward.networks.mlp import Generator
from pushforward.objectives.mmd import Gaussian, mmd2

TINY = 1e-12  # MMD² below which there is nothing but rounding, and the root has no slope to follow


@dataclass(frozen=True)
class Config:
    examples: int = 2_000_000
    """Real examples to see (Li et al.: 40 million)."""
    batch: int = 500
    """Examples a move sees; noise and bias of the estimate fall with it, its cost is its square (Li et al.: 1000)."""
    latent: int = 10
    """Numbers in a latent."""
    width: int = 256
    """Units in a hidden layer."""
    depth: int = 4
    """Hidden layers."""
    bandwidth: float = 0.15
    """σ of the narrowest Gaussian kernel, in roots of the number of coordinates."""
    kernels: int = 6
    """How many kernels are summed; each is twice as wide as the one before."""
    lr: float = 1e-3
    """Learning rate, falling to a tenth in a straight line."""
    beta1: float = 0.9
    """Adam's first decay."""
    ema: float | None = 100_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(latent=2, width=128, depth=3, bandwidth=0.03),
    "paper": Config(batch=1000, ema=None, examples=40_000_000),
}


def build(cfg: Config, spec: DataSpec) -> Game:
    G = Generator(cfg.latent, spec.shape, cfg.width, cfg.depth)
    narrowest = cfg.bandwidth * math.sqrt(spec.size)
    kernel = Gaussian(tuple(narrowest * 2**i for i in range(cfg.kernels)))

    def generator(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        squared = mmd2(kernel, batch["x"], G(batch["z"]), unbiased=False)
        return squared.clamp_min(TINY).sqrt(), {}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        x = next(batches)["x"]
        yield Move("generator", generator, {"x": x, "z": clock.normal(len(x), cfg.latent)})

    nets = nn.ModuleDict({"G": G})
    optimizer = Adam(nets.parameters(), lr=cfg.lr, betas=(cfg.beta1, 0.999), fused=True)
    average = None if cfg.ema is None else EMA(nets, cfg.ema)
    player = Player(nets, optimizer, linear(cfg.lr, cfg.lr / 10, cfg.examples), ema=average)
    return Game({"generator": player}, play, Sampler(player), (cfg.latent,))
