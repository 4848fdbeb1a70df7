"""Critics in training, of the kinds that are compared: plain, penalised, spectrally normalised and clipped."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.core.seeding import torch_seeded
from pushforward.layers.spectral import spectral
from pushforward.networks.mlp import Critic
from pushforward.objectives.adversarial import Adversarial
from pushforward.objectives.penalties import gradient_penalty, r1

WIDTH, DEPTH = 64, 2  # units of a hidden layer, and such layers
LIMIT = WIDTH ** (-2 / 3)  # of clipped weights: the steepest such network has slope LIMIT³ WIDTH² = 1 along an axis
SLOPE_WEIGHT, R1_WEIGHT = 10.0, 0.5
Penalty = Callable[[Critic, Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Kind:
    """A pair of losses, and what keeps their critic from growing steep.

    rate: of Adam; penalty: added to the critic's loss, with its weight; normalised: whether its weights have spectral
    norm 1; project: what is done to the network after each step.
    """

    name: str
    losses: Adversarial
    rate: float
    penalty: Penalty | None = None
    normalised: bool = False
    project: Callable[[nn.Module], None] | None = None


def slope_penalty(D: Critic, real: Tensor, fake: Tensor, draws: torch.Generator) -> Tensor:
    """10 E[(‖∇D(x̂)‖ − 1)²] on segments between examples. Gulrajani et al. 2017, arXiv:1704.00028, Eq. 3."""
    return SLOPE_WEIGHT * gradient_penalty(D, real, fake, torch.rand(len(real), generator=draws))


def r1_penalty(D: Critic, real: Tensor, fake: Tensor, draws: torch.Generator) -> Tensor:
    """½ E‖∇D(x)‖² at the data. Mescheder et al. 2018, arXiv:1801.04406, Eq. 9."""
    return R1_WEIGHT * r1(D, real)


class Trainee:
    """A critic of points [B, dimensions] and what trains it; key: the seed of its first weights."""

    def __init__(self, kind: Kind, dimensions: int, *key: int | str) -> None:
        with torch_seeded(*key):
            self.network = Critic((dimensions,), WIDTH, DEPTH)
        if kind.normalised:
            spectral(self.network)
        self.kind, self.optimizer = kind, adam(self.network, kind.rate)

    def step(self, real: Tensor, fake: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """One step on examples [B, dimensions] of each law; returns the logits [B] that they had before it."""
        logits_real, logits_fake = self.network(torch.cat([real, fake])).split(len(real))
        loss = self.kind.losses.critic(logits_real, logits_fake)
        if self.kind.penalty:
            loss = loss + self.kind.penalty(self.network, real, fake, draws)
        descend(self.optimizer, loss)
        if self.kind.project:
            self.kind.project(self.network)
        return logits_real.detach(), logits_fake.detach()


def adam(network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam with the moments that suit a game."""
    return torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.99), fused=True)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
