"""BigGAN: spectral norms and attention in both networks, one class embedding, z in every block. Brock et al. 2019,
arXiv:1809.11096.

Differs from the paper: sizes, rates and the average's length for small machines (`--preset paper` for ImageNet's,
whose batch `--accumulate` cuts into micro-batches, and processes into parts, where BatchNorm sees each apart); no
attention unless it is asked for (the authors' code: at 64×64 of larger images alone); fakes have the classes of the
real examples beside them, for classes drawn evenly; power iteration starts exact, and takes a step for each change of
the weights, in the authors' code for each forward pass; `--conditioning None` for data without labels.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from pushforward.core.duel import Sampler, two_players
from pushforward.core.ema import half_life_from
from pushforward.core.game import Batch, Game, Generate
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, GeneratorTerm, Loss, Rules, classes_of
from pushforward.layers.conditioning import Conditioning
from pushforward.layers.spectral import spectral
from pushforward.layers.standing import Standing
from pushforward.networks import biggan
from pushforward.objectives.regularisers import off_diagonal


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
    latent: int = 64
    """Numbers in a latent, cut into a part for the first layer and one for each block (the paper: 120 at 128×128)."""
    width: int = 8
    """The paper's ch, 96: channels beside images of 128×128; images up to 32×32 have 4 times as many everywhere,
    where they are no pyramid."""
    pyramid: bool = False
    """Whether channels double from the image down at sides up to 32 too, as they do at 64: the critic's last maps then
    have 2 (8×8), 4 (16×16) or 8 (32×32) times the width."""
    shared: int = 32
    """Numbers in the embedding of the class that all blocks share (the paper: 128)."""
    attention: int | None = None
    """Largest side of maps that attend to themselves (the paper: 64); None for no attention."""
    orthogonal: float = 1e-4
    """Weight of the penalty on what the generator's filters have in common; the shared embedding is left out."""
    lr: float = 1e-3
    """Generator's learning rate (the paper: 5e-5)."""
    critic_lr: float = 2e-3
    """Critic's learning rate (the paper: 2e-4)."""
    beta2: float = 0.999
    """Adam's second decay; the first is 0."""
    ema: float | None = 10_000
    """Half-life of the generator's average, in examples (the paper: a decay of 0.9999 a step); None for the weights
    themselves."""
    ema_start: int | None = None
    """Examples before which the average is a copy of the weights (the authors' code: those of 20 000 steps); None for
    an average from the start, of short memory at first."""
    standing: int | None = 16
    """Batches that the statistics of samples' BatchNorms are taken of (the paper: 100); None for running means."""

    def idle(self) -> dict[str, str]:
        return super().idle() | ({"shared": "--conditioning"} if self.conditioning is None else {})


RAW = "parametrizations.weight.original"
PAPER = 2 * 2048  # examples seen in each of the generator's steps
PRESETS = {
    "images": Config(),
    "paper": Config(
        examples=165_000 * PAPER, batch=2048, critic_steps=2, latent=120, width=96, shared=128, attention=64,
        lr=5e-5, critic_lr=2e-4, ema=6_931 * PAPER, ema_start=20_000 * PAPER, standing=100,
    ),
}  # fmt: skip


def build(cfg: Config, spec: DataSpec) -> Game:
    classes, told = classes_of(cfg, spec, "biggan"), cfg.conditioning or "projection"
    G = biggan.Generator(cfg.latent, spec.shape, cfg.width, classes, cfg.shared, cfg.attention, cfg.pyramid)
    D = biggan.Critic(spec.shape, cfg.width, classes, told, cfg.attention, cfg.pyramid)
    spectral(G)
    spectral(D)
    ema = half_life_from(cfg.ema, cfg.ema_start)
    players = two_players(G, D, lr=(cfg.critic_lr, cfg.lr), betas=(0.0, cfg.beta2), ema=ema, decay=cfg.decay())
    terms = [GeneratorTerm("orthogonal", cfg.orthogonal, partial(orthogonality, G))] if cfg.orthogonal else []
    duel = Duel(G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes, joint=True, generator_terms=terms)
    sample: Generate = Sampler(players["generator"])
    if cfg.standing is not None:
        sample = Standing(sample, cfg.latent, classes, passes=cfg.standing, batch=max(cfg.batch, 2))
    return duel.game(players, (cfg.latent,), sample)


def orthogonality(G: nn.Module, batch: Batch) -> Tensor:
    """The sum of `off_diagonal` over all filters and matrices of G, as they are before spectral normalisation.

    Embeddings are left out, as in the authors' code: rows of classes need not be orthogonal. Brock et al. 2019, Eq. 3.
    """
    return torch.stack([off_diagonal(weight) for weight in weights_of(G)]).sum()


def weights_of(net: nn.Module) -> list[Tensor]:
    """Weights of the linear layers and convolutions, raw where they are normalised."""
    layers = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return [layer.get_parameter(RAW if is_parametrized(layer, "weight") else "weight") for layer in layers]
