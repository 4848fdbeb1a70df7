"""Penalties on gradients with respect to a network's input, computed in float32 whatever the precision around them
(in float64 where the examples are), and the rule for taking any penalty only now and then.

A critic maps [B, ...] to logits [B]. All penalties are unweighted means over the batch; weights belong to the recipe.
Those without such a gradient are in `regularisers.py`.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

Critic = Callable[[Tensor], Tensor]


@contextmanager
def twice_differentiable(device: torch.device) -> Iterator[None]:
    """Inside, autocast is off and compiled networks run eagerly: compiled ones can't be differentiated twice."""
    with torch.autocast(device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        yield


def lazy(weight: float, every: int, round: int) -> float | None:
    """The weight of a penalty that is taken in every `every`-th round only, in round `round`; None: not in this one.

    Every so many times as large, so that its gradient over many rounds is that of `weight` in each.
    Karras et al. 2020, arXiv:1912.04958, Appendix B. Differs from the paper: Adam's rates are not changed, as the
    penalty joins the loss of a step that is taken anyway, where the paper's has a step of its own.
    """
    if every < 1:
        raise ValueError(f"a penalty is taken every 1 or more rounds, got {every}; use 1 to take it always")
    return None if round % every else every * weight


def input_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """∇ₓ logitsᵢ of each example, differentiable. logits: [B], computed from x: [B, ...]. Returns [B, D].

    The gradient of the sum is each example's own as long as the critic treats examples apart (no BatchNorm in it).
    """
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.flatten(1)


def zero_centred_penalty(D: Critic, x: Tensor) -> Tensor:
    """E[‖∇D(x)‖²]: R1 where x is real, R2 where it is fake; the papers weigh it by γ/2.

    x: [B, ...]. Returns a scalar. Mescheder et al. 2018, arXiv:1801.04406, Eq. 9.
    """
    with twice_differentiable(x.device):
        x = precise(x.detach()).requires_grad_(True)
        return input_gradient(D(x), x).square().sum(1).mean()


r1 = zero_centred_penalty
"""`zero_centred_penalty` of real examples."""

r2 = zero_centred_penalty
"""`zero_centred_penalty` of fakes."""


def gradient_penalty(D: Critic, real: Tensor, fake: Tensor, eps: Tensor | None = None) -> Tensor:
    """E[(‖∇D(x̂)‖ − 1)²], x̂ uniform on the segments real–fake, one draw per example.

    real, fake: [B, ...], same range; eps: the draws [B] in [0, 1), or None to draw them here. Returns a scalar.
    Gulrajani et al. 2017, arXiv:1704.00028, Eq. 3.
    """
    return (_slopes(D, _between(real, fake, eps)) - 1).square().mean()


def lipschitz_penalty(D: Critic, real: Tensor, fake: Tensor, eps: Tensor | None = None) -> Tensor:
    """E[max(0, ‖∇D(x̂)‖ − 1)²]: one-sided, so that slopes below 1 cost nothing. Arguments as of `gradient_penalty`.

    Petzka et al. 2018, arXiv:1709.08894 (WGAN-LP).
    """
    return F.relu(_slopes(D, _between(real, fake, eps)) - 1).square().mean()


def zero_centred_between(D: Critic, real: Tensor, fake: Tensor, eps: Tensor | None = None) -> Tensor:
    """E[‖∇D(x̂)‖²], x̂ uniform on the segments real–fake. Arguments as of `gradient_penalty`.

    Thanh-Tung et al. 2019, arXiv:1902.03984 (GAN-0GP). Differs from the paper: of the logits, where its
    code takes the gradient of the probability, which vanishes where the critic is sure.
    """
    return zero_centred_penalty(D, _between(real, fake, eps))


def dragan_penalty(D: Critic, real: Tensor, noise: Tensor | None = None) -> Tensor:
    """E[(‖∇D(x + δ)‖ − 1)²] around real examples.

    real: [B, ...]; noise: δ [B, ...], or None to draw it as the authors' code does: α · ½ std(x) · u with u uniform in
    [0, 1) for each number, α for each example, and std over the whole batch. The paper's own δ is N(0, c·I).
    Kodali et al. 2017, arXiv:1705.07215.
    """
    real = precise(real.detach())
    if noise is None:
        noise = _draws(real) * (real.std(correction=0) / 2) * torch.rand_like(real)
    if noise.shape != real.shape:
        raise ValueError(
            f"each number needs its own noise, got {tuple(noise.shape)} for {tuple(real.shape)}; use equal shapes"
        )
    return (_slopes(D, real + noise.to(real.dtype)) - 1).square().mean()


def path_lengths(G: Callable[[Tensor], Tensor], w: Tensor, noise: Tensor | None = None) -> Tensor:
    """‖Jᵀy‖ of each example, where J = ∂G(w)/∂w and y is standard normal over √(H·W).

    w: [B, Z], or [B, L, Z] with one latent for each of L layers, over which the root mean square is taken; where it
    comes from another network, gradients reach that one too. noise: standard normal, of the shape of G(w), or None to
    draw it here. Returns [B]. Karras et al. 2020, arXiv:1912.04958, Eq. 4; scales as in the authors' code.
    """
    with twice_differentiable(w.device):
        w = w if w.dtype == torch.float64 else w.float()
        w = w if w.requires_grad else w.detach().requires_grad_(True)
        x = G(w)
        y = (torch.randn_like(x) if noise is None else noise.to(x.dtype)) / math.sqrt(math.prod(x.shape[2:]))
        (gradient,) = torch.autograd.grad((x * y).sum(), w, create_graph=True)
        layers = gradient.shape[1] if gradient.dim() == 3 else 1
        return torch.linalg.vector_norm(gradient.flatten(1), dim=1) / math.sqrt(layers)


def path_length_penalty(lengths: Tensor, target: Tensor) -> Tensor:
    """E[(‖Jᵀy‖ − a)²]: G stretches space alike everywhere and in all directions.

    lengths: [B], from `path_lengths`; target: a, their running mean (see `RunningMean`), held constant.
    Karras et al. 2020, arXiv:1912.04958, Eq. 4.
    """
    return (lengths - target.detach()).square().mean()


def _slopes(D: Critic, x: Tensor) -> Tensor:
    """‖∇D(x)‖ [B]."""
    with twice_differentiable(x.device):
        x = precise(x.detach()).requires_grad_(True)
        return torch.linalg.vector_norm(input_gradient(D(x), x), dim=1)


def _between(real: Tensor, fake: Tensor, eps: Tensor | None) -> Tensor:
    """The points at `eps` on the way from fake to real."""
    if real.shape != fake.shape:
        raise ValueError(
            f"the segments need one fake for each real, got {tuple(real.shape)} and {tuple(fake.shape)}; "
            "use equal batches"
        )
    if eps is None:
        eps = _draws(real)
    if eps.numel() != len(real):
        raise ValueError(
            f"the segments need one draw for each of {len(real)} examples, got {eps.numel()}; give eps [B]"
        )
    ends = precise(fake.detach()), precise(real.detach())
    return torch.lerp(*ends, _column(eps, real).to(ends[1].dtype))


def _draws(x: Tensor) -> Tensor:
    """One uniform number for each example, of a shape that multiplies x."""
    return _column(torch.rand(len(x), device=x.device), x)


def _column(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.dim() - 1))


def precise(x: Tensor) -> Tensor:
    """x in float32, or float64 where it has that."""
    return x if x.dtype == torch.float64 else x.float()
