"""R3GAN: relativistic pairing with R1 and R2 on modern residual networks. Huang et al. 2025, arXiv:2501.05441.

Learning rate, penalty and Adam's β₂ follow half a cosine each, and all of it in float32 in the critic's move.
Differs from the paper: no augmentation; on images, sizes for small machines, lazy penalties and a constant γ
(`--preset cifar10` for the paper's CIFAR-10); on points, the same residual blocks made of linear layers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.core.duel import Judge, Sampler, two_players
from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.core.schedule import cosine
from pushforward.data.spec import DataSpec
from pushforward.networks import r3gan as networks
from pushforward.networks.stages import doublings
from pushforward.objectives.adversarial import relativistic
from pushforward.objectives.penalties import input_gradient, lazy, twice_differentiable


@dataclass(frozen=True)
class Config:
    examples: int = 600_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees (CIFAR-10 in the paper: 512)."""
    latent: int = 64
    """Numbers in a latent."""
    width: int = 64
    """Channels of every stage (CIFAR-10 in the paper: 768), or numbers in the vectors between blocks for points."""
    full: int = 4
    """Largest side that has all channels; they halve with each doubling beyond (the paper: 32)."""
    blocks: int = 2
    """Residual blocks a stage (two in the paper), or in all for points."""
    group: int = 16
    """Channels in a group of the 3×3 convolutions."""
    conditional: bool = False
    """Whether both players are given the class, where the data has classes."""
    lr: float = 2e-3
    """Learning rate of both players at the start."""
    lr_end: float = 1e-4
    """Learning rate at the end."""
    gamma: float = 1.0
    """Weight γ of R1 and R2 at the start; each enters as γ/2."""
    gamma_end: float = 1.0
    """Weight γ at the end (in the paper it falls tenfold)."""
    penalty_every: int = 4
    """Take the penalties every so many rounds, with so many times the weight (lazily; the paper: 1)."""
    beta2: float = 0.9
    """Adam's β₂ at the start; β₁ is 0."""
    beta2_end: float = 0.99
    """Adam's β₂ at the end."""
    settle: float = 0.5
    """Share of the run after which γ and β₂ have reached their ends; the learning rate takes the whole run."""
    ema: float = 50_000
    """Half-life of the generator's average, in examples."""


PRESETS = {
    "images": Config(),
    "points": Config(
        examples=6_000_000, batch=256, latent=2, width=64, lr=1e-3, lr_end=1e-5, gamma=0.1, gamma_end=0.01,
        penalty_every=1, settle=0.4, beta2=0.99, ema=100_000,
    ),
    "cifar10": Config(
        examples=20_000_000, batch=512, width=768, full=32, lr=2e-4, lr_end=5e-5, gamma=0.05,
        gamma_end=0.005, penalty_every=1, settle=1.0, ema=500_000,
    ),
}  # fmt: skip


def build(cfg: Config, spec: DataSpec) -> Game:
    if cfg.conditional and spec.classes is None:
        raise ValueError(f"a conditional r3gan needs labels, and {spec.name} has none; leave out --conditional")
    classes = (spec.classes or 0) if cfg.conditional else 0
    if spec.kind == "images":
        sides = [4 * 2**i for i in range(doublings(spec.shape) + 1)]
        widths = tuple(max(cfg.width * min(cfg.full, side) // side, cfg.group) for side in sides)
        G: nn.Module = networks.Generator(cfg.latent, spec.shape[0], widths, cfg.blocks, cfg.group, classes)
        D: nn.Module = networks.Critic(spec.shape[0], widths, cfg.blocks, cfg.group, classes)
    else:
        G = networks.PointGenerator(cfg.latent, spec.size, cfg.width, cfg.blocks, classes)
        D = networks.PointCritic(spec.size, cfg.width, cfg.blocks, classes)
    settled = max(round(cfg.settle * cfg.examples), 1)
    gamma = cosine(cfg.gamma, cfg.gamma_end, settled)

    def critic(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        y = batch.get("y")
        fake = G(batch["z"], y)
        with twice_differentiable(fake.device):
            # One pass over both, and one differentiation: no layer mixes examples.
            both = torch.cat([batch["x"], fake.float()]).requires_grad_(True)
            logits = D(both, None if y is None else torch.cat([y, y]))
            r1, r2 = input_gradient(logits, both).square().sum(1).chunk(2)
            real, fake = logits.chunk(2)
            loss = relativistic.critic(real, fake) + batch["gamma"].mean() / 2 * (r1.mean() + r2.mean())
        return loss, {"margin": (real - fake).mean(), "r1": r1.mean(), "r2": r2.mean()}

    def unpenalised(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        y = batch.get("y")
        both = torch.cat([batch["x"], G(batch["z"], y)])
        real, fake = D(both, None if y is None else torch.cat([y, y])).chunk(2)
        return relativistic.critic(real, fake), {"margin": (real - fake).mean()}

    def generator(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        y = batch.get("y")
        return relativistic.generator(D(batch["x"], y), D(G(batch["z"], y), y)), {}

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        batch = next(batches)
        given = {"x": batch["x"], **({"y": batch["y"]} if classes else {})}
        n = len(batch["x"])
        weight = lazy(gamma(clock.seen), cfg.penalty_every, clock.round)
        if weight is None:
            yield Move("critic", unpenalised, {**given, "z": clock.normal(n, cfg.latent)})
        else:
            weights = torch.full((n,), weight, device=clock.device)
            yield Move("critic", critic, {**given, "z": clock.normal(n, cfg.latent), "gamma": weights})
        yield Move("generator", generator, {**given, "z": clock.normal(n, cfg.latent)})

    beta2 = cosine(cfg.beta2, cfg.beta2_end, settled)
    players = two_players(
        G,
        D,
        lr=cfg.lr,
        betas=(0.0, cfg.beta2),
        ema=cfg.ema,
        lr_schedule=cosine(cfg.lr, cfg.lr_end, cfg.examples),
        betas_schedule=lambda seen: (0.0, beta2(seen)),
    )
    return Game(
        players, play, Sampler(players["generator"]), (cfg.latent,), classes or None, critic=Judge(players["critic"])
    )
