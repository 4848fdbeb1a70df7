"""LOGAN: each latent takes a step that raises the critic's logit before both players learn from it. Wu et al. 2019,
arXiv:1912.00953, Algorithm 1; gradients go through that step. Samples are drawn without it.

Differs from the paper: BigGAN's networks with ReLU for BigGAN-deep's with leaky ReLU, without its orthogonality; which
latent numbers may move is fixed and spread over z, and the gradient of all of them damps their step; latents are normal
outside, and mapped to the paper's uniform ones within; fakes have the classes of the real examples beside them, for
classes drawn evenly; sizes, rates and weights for small machines (`--preset paper` for ImageNet's). `--compile` leaves
the generator as it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.core.duel import Sampler, two_players
from pushforward.core.ema import half_life_from
from pushforward.core.game import Batch, Clock, Game, Generate
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import CriticTerm, Duel, GeneratorTerm, Loss, Rules, classes_of
from pushforward.layers.conditioning import Conditioning
from pushforward.layers.spectral import spectral
from pushforward.layers.standing import Standing
from pushforward.networks import biggan
from pushforward.objectives.penalties import twice_differentiable


@dataclass(frozen=True)
class Config(Rules):
    batch: int = 32
    """Examples a move sees (the paper: 2048)."""
    critic_steps: int = 1
    """Critic's moves before each of the generator's (the paper: 2)."""
    loss: Loss = "hinge"
    """What the players minimise."""
    conditioning: Conditioning | None = "projection"
    """How the critic is told the class: projection (the paper's), concatenation, or not at all."""
    step: float = 0.9
    """Size α of the latents' step."""
    damping: float | None = 0.1
    """β of the natural gradient (the paper: 5 on ImageNet); None takes the plain gradient."""
    moved: float = 0.8
    """Share of a latent's numbers that may move (the paper: 0.5 on ImageNet)."""
    step_weight: float = 0.1
    """Weight w_r of the steps' squared length in both players' losses (the paper: 300 on ImageNet)."""
    latent: int = 64
    """Numbers in a latent (the paper: 256 on ImageNet)."""
    width: int = 8
    """BigGAN's ch: channels beside images of 128×128; images up to 32×32 have 4 times as many everywhere,
    where they are no pyramid."""
    pyramid: bool = False
    """Whether channels double from the image down at sides up to 32 too, as they do at 64: the critic's last maps then
    have 2 (8×8), 4 (16×16) or 8 (32×32) times the width."""
    shared: int = 32
    """Numbers in the embedding of the class that all blocks share (the paper: 128)."""
    attention: int | None = None
    """Largest side of maps that attend to themselves (the paper: 64); None for no attention."""
    lr: float = 1e-3
    """Generator's learning rate (the paper: 5e-5)."""
    critic_lr: float = 2e-3
    """Critic's learning rate (the paper: 2e-4)."""
    beta2: float = 0.999
    """Adam's second decay; the first is 0."""
    ema: float | None = 10_000
    """Half-life of the generator's average, in examples (BigGAN: a decay of 0.9999 a step); None for the weights
    themselves."""
    ema_start: int | None = None
    """Examples before which the average is a copy of the weights (BigGAN's code: those of 20 000 steps); None for an
    average from the start, of short memory at first."""
    standing: int | None = 16
    """Batches that the statistics of samples' BatchNorms are taken of; None for running means."""

    def idle(self) -> dict[str, str]:
        return super().idle() | ({"shared": "--conditioning"} if self.conditioning is None else {})


PAPER = 2 * 2048  # examples seen in each of the generator's steps
PRESETS = {
    "images": Config(),
    "paper": Config(
        examples=600_000_000, batch=2048, critic_steps=2, damping=5.0, moved=0.5, step_weight=300.0, latent=256,
        width=96, shared=128, attention=64, lr=5e-5, critic_lr=2e-4, ema=6_931 * PAPER, ema_start=20_000 * PAPER,
        standing=100,
    ),
}  # fmt: skip


class Uniform(nn.Module):
    """G for normal latents: what `inner` makes of them as uniform ones, 2Φ(z) − 1 in [-1, 1]."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.inner(torch.erf(z / math.sqrt(2)), y)


def latent_step(f: Callable[[Tensor], Tensor], z: Tensor, size: float, damping: float | None) -> Tensor:
    """Δz for f(z + Δz) > f(z), differentiable in f's parameters. z: [B, Z], f(z): [B]. Returns [B, Z].

    Along g = ∂f/∂z: α g / (β + ‖g‖²) by the natural gradient, whose damped Fisher matrix ggᵀ + βI is inverted in
    closed form (Eq. 12), or α g without damping (Eq. 4). Computed in float32 whatever the autocast around it.
    """
    with twice_differentiable(z.device):
        z = z.detach().requires_grad_(True)
        (g,) = torch.autograd.grad(f(z).sum(), z, create_graph=True)
        return size * g if damping is None else size * g / (damping + g.square().sum(1, keepdim=True))


class Optimised:
    """Fakes of latents that took their step, and the length of the steps in the move at hand."""

    def __init__(self, G: nn.Module, D: nn.Module, cfg: Config) -> None:
        if cfg.damping is not None and cfg.damping <= 0:
            raise ValueError(f"the damping must be positive, got {cfg.damping}; the paper has 5, None is off")
        if not 0 < cfg.moved <= 1:
            raise ValueError(f"the share of z that moves must be in (0, 1], got {cfg.moved}; use 0.5 or 0.8")
        self.G, self.D, self.cfg = G, D, cfg
        which = [math.floor((i + 1) * cfg.moved) > math.floor(i * cfg.moved) for i in range(cfg.latent)]
        self.moves = torch.tensor(which)
        self.seen: Callable[[Tensor, Batch], Tensor] = lambda x, batch: x
        """What the critic sees of fakes."""
        self._length: Tensor | None = None

    def draws(self, clock: Clock, n: int) -> Batch:
        """z: [n, latent], uniform in [-1, 1)."""
        return {"z": 2 * clock.uniform(n, self.cfg.latent) - 1}

    def make(self, batch: Batch) -> Tensor:
        """G(z'), z' = [z + Δz] cut off at -1 and 1."""
        z, y = batch["z"], batch.get("y")
        step = latent_step(lambda z: self.D(self.seen(self.G(z, y), batch), y), z, self.cfg.step, self.cfg.damping)
        self.moves = self.moves.to(z.device)  # once: in each move the host would wait for it
        step = step * self.moves
        self._length = step.square().sum(1).mean()
        return self.G((z + step).clamp(-1, 1), y)

    def length(self, *_: Tensor | Batch) -> Tensor:
        """E‖Δz‖² of the fakes made last (Eq. 17), once: it holds on to their graph."""
        assert self._length is not None
        length, self._length = self._length, None
        return length


def build(cfg: Config, spec: DataSpec) -> Game:
    classes, told = classes_of(cfg, spec, "logan"), cfg.conditioning or "projection"
    G = biggan.Generator(cfg.latent, spec.shape, cfg.width, classes, cfg.shared, cfg.attention, cfg.pyramid)
    D = biggan.Critic(spec.shape, cfg.width, classes, told, cfg.attention, cfg.pyramid)
    spectral(G)
    spectral(D)
    ema = half_life_from(cfg.ema, cfg.ema_start)
    players = two_players(Uniform(G), D, lr=(cfg.critic_lr, cfg.lr), betas=(0.0, cfg.beta2), ema=ema, decay=cfg.decay())
    optimised = Optimised(G, D, cfg)
    duel = Duel(
        G,
        D,
        cfg,
        latent=cfg.latent,
        shape=spec.shape,
        classes=classes,
        draws=optimised.draws,
        make=optimised.make,
        joint=True,
        critic_terms=[CriticTerm("step", cfg.step_weight, optimised.length)],
        generator_terms=[GeneratorTerm("step", cfg.step_weight, optimised.length)],
    )
    optimised.seen = lambda x, batch: duel.seen(x, batch, "fake")
    sample: Generate = Sampler(players["generator"])
    if cfg.standing is not None:
        sample = Standing(sample, cfg.latent, classes, passes=cfg.standing, batch=max(cfg.batch, 2))
    return duel.game(players, (cfg.latent,), sample)
