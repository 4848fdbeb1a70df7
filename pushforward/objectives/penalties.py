"""Penalties on the critic's gradient with respect to its input, computed in float32 whatever the precision around them
(in float64 where the examples are).

A critic maps [B, ...] to logits [B]. All penalties are unweighted means over the batch; weights belong to the recipe.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]


@contextmanager
def twice_differentiable(device: torch.device) -> Iterator[None]:
    """Inside, autocast is off and compiled networks run eagerly: compiled ones can't be differentiated twice."""
    with torch.autocast(device.type, enabled=False), torch.compiler.set_stance("force_eager"):
        yield


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
        x = _precise(x).requires_grad_(True)
        return input_gradient(D(x), x).square().sum(1).mean()


def gradient_penalty(D: Critic, real: Tensor, fake: Tensor, eps: Tensor | None = None) -> Tensor:
    """E[(‖∇D(x̂)‖ − 1)²], x̂ uniform on the segments real–fake, one draw per example.

    real, fake: [B, ...], same range; eps: the draws [B] in [0, 1), or None to draw them here. Returns a scalar.
    Gulrajani et al. 2017, arXiv:1704.00028, Eq. 3.
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"the segments need one fake for each real, got {tuple(real.shape)} and {tuple(fake.shape)}; "
            "use equal batches"
        )
    if eps is None:
        eps = torch.rand(len(real), device=real.device)
    if eps.numel() != len(real):
        raise ValueError(
            f"the segments need one draw for each of {len(real)} examples, got {eps.numel()}; give eps [B]"
        )
    with twice_differentiable(real.device):
        ends = _precise(fake), _precise(real)
        eps = eps.reshape(-1, *[1] * (real.ndim - 1)).to(ends[1].dtype)
        x = torch.lerp(*ends, eps).requires_grad_(True)
        norms = torch.linalg.vector_norm(input_gradient(D(x), x), dim=1)
        return (norms - 1).square().mean()


def _precise(x: Tensor) -> Tensor:
    return x.detach() if x.dtype == torch.float64 else x.detach().float()
