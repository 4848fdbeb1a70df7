"""A GAN that learns a closed curve in sixteen dimensions, its generator frozen on the way, with their Jacobians."""

import copy
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.core.seeding import torch_generator, torch_seeded
from pushforward.lab._critics import DEPTH, WIDTH, adam, descend
from pushforward.networks.mlp import Critic, Generator
from pushforward.objectives.adversarial import non_saturating

LATENT, DIMENSIONS = 2, 16
BATCH, SEEN = 128, 512  # examples of a step, and the fresh ones that everything is measured on
RATE = 1e-3  # of both networks


class Curve:
    """The data: Σ_k (cos kt, sin kt)/k in 8 planes of 16 dimensions, turned by a random rotation."""

    def __init__(self, seed: int) -> None:
        generator = torch_generator("lab", "vanishing-gradients", "curve", seed)
        self.rotation = torch.linalg.qr(torch.randn(DIMENSIONS, DIMENSIONS, generator=generator)).Q

    def at(self, t: Tensor) -> Tensor:
        """Points [n, 16] at the angles t [n]."""
        k = torch.arange(1, DIMENSIONS // 2 + 1)
        angles = t[:, None] * k
        return torch.cat([angles.cos() / k, angles.sin() / k], 1) @ self.rotation.T

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        return self.at(2 * math.pi * torch.rand(n, generator=generator))

    def seen(self, x: Tensor) -> np.ndarray:
        """The first harmonic's plane: [n, 16] -> [n, 2]."""
        return (x.detach() @ self.rotation)[:, [0, DIMENSIONS // 2]].numpy()


@dataclass(frozen=True)
class Stage:
    """A frozen generator with what it makes of the latents that all is measured on, and of each latent the matrix
    J Jᵀ [16, 16] and the row of J [16] of one weight."""

    rounds: int
    network: Generator
    z: Tensor
    real: Tensor
    gram: Tensor
    row: Tensor

    @cached_property
    def steepness(self) -> float:
        """M of Theorem 2.4: √E‖J‖², the spectral norm of the generator's Jacobian by its parameters."""
        return math.sqrt(torch.linalg.eigvalsh(self.gram)[:, -1].mean().item())

    @torch.no_grad()
    def fake(self) -> Tensor:
        """What it makes of the latents [n, 16]."""
        return self.network(self.z)


def stages(data: Curve, rounds: tuple[int, ...], seed: int) -> list[Stage]:
    """A GAN with −log D on the curve, its generator copied after each of these numbers of rounds, which grow."""
    key = ("lab", "vanishing-gradients", "gan", seed)
    with torch_seeded(*key):
        G, D = Generator(LATENT, (DIMENSIONS,), WIDTH, DEPTH), Critic((DIMENSIONS,), WIDTH, DEPTH)
    of_generator, of_critic = adam(G, RATE), adam(D, RATE)
    draws, frozen = torch_generator(*key, "draws"), []
    for done in range(1, rounds[-1] + 1):
        fake = G(torch.randn(BATCH, LATENT, generator=draws))
        logits = D(torch.cat([data.draw(BATCH, draws), fake.detach()])).split(BATCH)
        descend(of_critic, non_saturating.critic(*logits))
        D.requires_grad_(False)
        descend(of_generator, non_saturating.generator(None, D(fake)))
        D.requires_grad_(True)
        if done in rounds:
            frozen.append(_freeze(data, copy.deepcopy(G), done, seed))
    return frozen


def _freeze(data: Curve, network: Generator, rounds: int, seed: int) -> Stage:
    draws = torch_generator("lab", "vanishing-gradients", "seen", seed, rounds)
    z = torch.randn(SEEN, LATENT, generator=draws)
    return Stage(rounds, network, z, data.draw(SEEN, draws), *jacobians(network, z))


def jacobians(network: Generator, z: Tensor) -> tuple[Tensor, Tensor]:
    """J Jᵀ [n, 16, 16] for J = ∂G(z)/∂parameters, and ∂G(z)/∂w [n, 16] of the first layer's first weight w.

    A linear layer's part of J Jᵀ is ⟨δᵢ, δⱼ⟩ (|a|² + 1), of its input a and the derivatives δᵢ of output i by what
    the layer returns: one backward pass for each output does for all latents.
    """
    inputs, outputs, x = [], [], z
    for layer in network.layers:
        before, x = x, layer(x)
        if isinstance(layer, nn.Linear):
            inputs.append(before.detach())
            outputs.append(x)
    passes = [torch.autograd.grad(x[:, i].sum(), outputs, retain_graph=True) for i in range(DIMENSIONS)]
    deltas = [torch.stack(parts, 1) for parts in zip(*passes, strict=True)]  # of each layer [n, 16, width]
    grams = [d @ d.mT * (a.square().sum(1) + 1)[:, None, None] for d, a in zip(deltas, inputs, strict=True)]
    return torch.stack(grams).sum(0), deltas[0][:, :, 0] * z[:, :1]
