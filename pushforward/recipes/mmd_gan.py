"""MMD GAN: the critic learns the features by whose maximum mean discrepancy the generator is judged. Li et al. 2017,
arXiv:1705.08584, in the form of Bińkowski et al. 2018, arXiv:1801.01401: no autoencoder and no clipping, but unbiased
MMD² with a rational quadratic plus a linear kernel, and WGAN-GP's penalty on the witness function (Section 2).

Differs from the paper: the authors' code also keeps each gradient's norm below 1 and on some data adds a penalty on
activations; rates fall in a straight line and not by tests of the samples; samples come from an average of the
generator's weights (`--ema None` for the paper's); WGAN-GP's residual networks on images, perceptrons on points. Where
batches are cut or shared between processes, each part has an estimate of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.core.duel import Judge, Sampler, two_players
from pushforward.core.game import Batch, Clock, Game, Move, Player
from pushforward.core.schedule import linear
from pushforward.data.spec import DataSpec
from pushforward.networks import mlp, resnet
from pushforward.objectives.mmd import Linear, RationalQuadratic, mmd2
from pushforward.objectives.penalties import gradient_penalty


@dataclass(frozen=True)
class Config:
    examples: int = 1_000_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees."""
    latent: int = 64
    """Numbers in a latent (the paper's code: 128)."""
    width: int = 32
    """Channels of the residual blocks; units of the three hidden layers for points."""
    features: int = 16
    """Numbers in the critic's description of an example."""
    critic_steps: int = 5
    """Critic's moves before each of the generator's."""
    penalty: float = 1.0
    """Weight λ of the witness function's gradient penalty."""
    lr: float = 5e-4
    """Learning rate of both players (the paper: 1e-4), falling to zero in a straight line."""
    beta1: float = 0.5
    """Adam's first decay."""
    beta2: float = 0.9
    """Adam's second decay."""
    ema: float | None = 100_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""


PRESETS = {
    "images": Config(),
    "points": Config(batch=128, examples=2_500_000, latent=2, width=128, lr=1e-3),
    "paper": Config(lr=1e-4, latent=128, width=64, ema=None, examples=48_000_000),
}

RATIONAL, LINEAR = RationalQuadratic(), Linear()


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """Σ_α (1 + |x − y|²/2α)^−α + ⟨x, y⟩ of features x [N, F] and y [M, F]: [N, M]. k^rq* in Bińkowski et al. 2018."""
    return RATIONAL(x, y) + LINEAR(x, y)


def witness(at: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """E_x k(·, φ(x)) − E_z k(·, φ(G(z))) at features at [B, F], real [N, F] and fake [M, F]: [B], high for real."""
    return kernel(at, real).mean(1) - kernel(at, fake).mean(1)


class Witness:
    """The witness function of the last round's examples, for those who look; zero before the first round."""

    def __init__(self, critic: Player, sample: Sampler) -> None:
        self.features, self.sample = Judge(critic), sample
        self.x: Tensor | None = None
        self.z: Tensor | None = None

    def __call__(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.x is None or self.z is None:
            return torch.zeros(len(x), device=x.device)
        real, fake = self.x.to(x.device), self.sample(self.z.to(x.device))
        return witness(*(self.features(part).view(len(part), -1) for part in (x, real, fake)))

    def state_dict(self) -> dict[str, Any]:
        return {"x": self.x, "z": self.z}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.x, self.z = state_dict["x"], state_dict["z"]


def build(cfg: Config, spec: DataSpec) -> Game:
    if cfg.batch < 2:
        raise ValueError(f"the unbiased MMD² is of pairs of examples, got a batch of {cfg.batch}; give 2 or more")
    if spec.kind == "images":
        G: nn.Module = resnet.Generator(cfg.latent, spec.shape, cfg.width)
        D: nn.Module = resnet.Critic(spec.shape, cfg.width, cfg.features)
    else:
        G = mlp.Generator(cfg.latent, spec.shape, cfg.width)
        D = mlp.Critic(spec.shape, cfg.width, outputs=cfg.features)

    def features(x: Tensor) -> Tensor:
        return D(x).float().view(len(x), -1)  # [B, features]

    def critic(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        x, fakes = batch["x"], G(batch["z"])
        real, fake = features(x), features(fakes)
        squared = mmd2(kernel, real, fake)
        penalty = gradient_penalty(lambda between: witness(features(between), real, fake), x, fakes, batch["eps"])
        return cfg.penalty * penalty - squared, {"mmd2": squared, "penalty": penalty}

    def generator(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return mmd2(kernel, features(batch["x"]), features(G(batch["z"]))), {}

    players = two_players(
        G, D, lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), ema=cfg.ema, decay=linear(1.0, 0.0, cfg.examples)
    )
    sample = Sampler(players["generator"])
    seen = Witness(players["critic"], sample)

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        x = torch.empty(0)
        for _ in range(cfg.critic_steps):
            x = next(batches)["x"]
            n = len(x)
            yield Move("critic", critic, {"x": x, "z": clock.normal(n, cfg.latent), "eps": clock.uniform(n)})
        z = clock.normal(len(x), cfg.latent)
        seen.x, seen.z = x, z
        yield Move("generator", generator, {"x": x, "z": z})

    return Game(players, play, sample, (cfg.latent,), critic=seen, state={"witness": seen})
