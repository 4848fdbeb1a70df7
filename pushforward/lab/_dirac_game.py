"""The Dirac-GAN's game: two numbers θ and ψ, the ways to train them, and the field that pulls them.

Mescheder et al. 2018, arXiv:1801.04406, Sections 2 and 3.
"""

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from pushforward.objectives.adversarial import Adversarial

FIRST, SECOND = 0.5, -0.25  # f'(0) and f''(0) of f(t) = −log(1 + e^(−t)): all losses but Wasserstein's
Spectrum = NDArray[np.complex128]
Penalty = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]


class Critics(nn.Module):
    """The critics D(x) = ψx of K games: x [K·S, 1], S examples of each game in turn -> logits [K·S]."""

    def __init__(self, games: int) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.zeros(games, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (x.view(len(self.psi), -1) * self.psi[:, None]).flatten()


@dataclass(frozen=True)
class Variant:
    """A way to train. critic_steps: before each step of the generator; None: both step at once.

    penalty: of the critic, with its weight; clip: limit of |ψ|; noise: added to every example [S]; consensus: weight
    of the field's own length, which both players then minimise too (Mescheder et al. 2017, arXiv:1705.10461).
    """

    losses: Adversarial
    critic_steps: int | None = None
    penalty: Penalty | None = None
    clip: float = math.inf
    noise: Tensor | None = None
    consensus: float = 0.0


def field(variant: Variant, point: Tensor) -> Tensor:
    """Where the players' own gradient descents pull K games at points (θ, ψ) [K, 2]; differentiable. Returns [K, 2]."""
    point = point if point.requires_grad else point.detach().requires_grad_(True)
    theta, psi = point.unbind(1)
    games = len(point)
    D = partial(functional_call, Critics(games), {"psi": psi})
    noise = point.new_zeros(1) if variant.noise is None else variant.noise
    real, fake = noise.repeat(games)[:, None], (theta[:, None] + noise).reshape(-1, 1)
    on_real, on_fake = D(real), D(fake)
    critic = variant.losses.critic(on_real, on_fake)
    if variant.penalty:
        critic = critic + variant.penalty(D, real, fake)
    generator = variant.losses.generator(on_real, on_fake)
    # Losses are means over all games' examples: K of them is the sum over games, whose gradient is each game's own.
    own = [
        torch.autograd.grad(games * loss, of, create_graph=True)[0] for loss, of in ((generator, theta), (critic, psi))
    ]
    pull = -torch.stack(own, 1)
    if variant.consensus:
        (toward_rest,) = torch.autograd.grad(pull.square().sum() / 2, point, create_graph=True)
        pull = pull - variant.consensus * toward_rest
    return pull


def turn(variant: Variant, point: Tensor, rate: float) -> Tensor:
    """A round of training from points (θ, ψ) [K, 2]: the critic's steps, then the generator's, or both at once."""
    if variant.critic_steps is None:
        return point + rate * field(variant, point)
    for _ in range(variant.critic_steps):
        psi = point[:, 1] + rate * field(variant, point)[:, 1]
        point = torch.stack([point[:, 0], psi.clamp(-variant.clip, variant.clip)], 1)
    return torch.stack([point[:, 0] + rate * field(variant, point)[:, 0], point[:, 1]], 1)


def jacobian(function: Callable[[Tensor], Tensor]) -> Tensor:
    """The Jacobian [2, 2] at the equilibrium of a map of points [K, 2]."""
    found = torch.autograd.functional.jacobian(lambda p: function(p[None])[0], torch.zeros(2, dtype=torch.float64))
    assert isinstance(found, Tensor)
    return found


def eigenvalues(variant: Variant) -> Spectrum:
    """Of the field's Jacobian at the equilibrium, the upper one first."""
    found = torch.linalg.eigvals(jacobian(partial(field, variant))).numpy()
    return found[np.lexsort((-found.real, -found.imag))]


def damped(damping: float) -> Spectrum:
    """−c/2 ± √(c²/4 − f′(0)²): the eigenvalues where the critic is damped by c; R1: c = γ. Section 3."""
    root = cmath.sqrt(damping**2 / 4 - FIRST**2)
    return np.array([-damping / 2 + root, -damping / 2 - root])
