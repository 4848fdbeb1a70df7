"""The variational bound between two known laws of the line, by quadrature: its value, gap and gradients.

What a generator follows is the gradient of the bound in a shift and a scale of Q, with the critic held still.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.lab._laws import Grid
from pushforward.lab._two_laws import P, Q, log_ratio
from pushforward.objectives.divergence import Divergence

GRID = Grid.between(-24, 24, 1801)  # wide enough for Q stretched by 1.8
MIXED = (1.0, 0.3, 0.1, 0.03, 0.01)  # shares of another critic mixed into T*


@dataclass(frozen=True)
class Trained:
    """What a critic reached, all by quadrature. gradient, exact: with respect to a shift and a scale of Q [2]."""

    critic: nn.Module
    bound: float
    exact: float
    gradient: np.ndarray
    wanted: np.ndarray
    allowed: np.ndarray

    @property
    def gap(self) -> float:
        return self.exact - self.bound

    @property
    def gradient_error(self) -> float:
        """Relative, in norm."""
        return float(np.linalg.norm(self.gradient - self.wanted) / np.linalg.norm(self.wanted))


@dataclass(frozen=True)
class Stretched:
    """D_f(P‖Q′) for Q′ the law of scale·X, X of Q, and critics' bounds on it, by their names; each [len(scales)]."""

    scales: np.ndarray
    exact: np.ndarray
    bounds: dict[str, np.ndarray]


@dataclass(frozen=True)
class Mixed:
    """Critics (1 − s)T* + sT for the shares `MIXED`: relative gaps, and relative errors of the gradient."""

    gap: np.ndarray
    error: np.ndarray

    @property
    def slope(self) -> float:
        """Of log error over log gap, where both are small."""
        (e1, e0), (g1, g0) = np.log(self.error[-2:]), np.log(self.gap[-2:])
        return float((e1 - e0) / (g1 - g0))


def ratio(x: Tensor) -> Tensor:
    """p(x)/q(x), of the shape of x."""
    return log_ratio(x).exp()


def divergence_of(d: Divergence, shift: float = 0.0, scale: float = 0.0) -> float:
    """D_f(P‖Q′) by quadrature, Q′ the law of e^scale·X + shift for X of Q."""
    log_q = Q.log_prob((GRID.x - shift) * np.exp(-scale)) - scale
    return GRID.integral(log_q.exp() * d.f((P.log_prob(GRID.x) - log_q).exp())).item()


def bound_of(t: Tensor, cost: Tensor, scale: float = 0.0) -> Tensor:
    """E_P[T] − E_Q′[f*(T)] by quadrature, from T and f*(T) on `GRID` [..., n] -> [...]; Q′ as above, not shifted."""
    q = Q.prob(GRID.x * math.exp(-scale)) * math.exp(-scale)
    return GRID.integral(P.prob(GRID.x) * t - q * cost)


def _bound(d: Divergence, critic: nn.Module, scale: float = 0.0) -> float:
    """The bound that a critic of logits gives."""
    with torch.no_grad():
        v = critic(GRID.x)
        return bound_of(d.activation(v), d.conjugate_at(v), scale).item()


def measured(d: Divergence, critic: nn.Module) -> Trained:
    """A trained critic beside the divergence, and its gradient beside the divergence's own."""
    with torch.no_grad():
        cost, best = d.conjugate_at(critic(GRID.x)), d.conjugate(d.derivative(ratio(GRID.x)))
    # Each gradient is E_Q[score · f*(T)], so that its error is at most √(E_Q score² · E_Q (f*(T) − f*(T*))²).
    scores, q = _scores(), Q.prob(GRID.x)
    return Trained(
        copy.deepcopy(critic),
        _bound(d, critic),
        divergence_of(d),
        gradient(lambda y: d.conjugate_at(critic(y))),
        finite_differences(d),
        (GRID.integral(q * scores.square()) * GRID.integral(q * (cost - best).square())).sqrt().numpy(),
    )


def gradient(cost: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Of −E_Q[f*(T(e^b·X + a))] in (a, b) at 0: what a generator that shifts and scales Q would follow."""
    a, b = torch.zeros(2, dtype=torch.float64, requires_grad=True).unbind()
    value = -GRID.integral(Q.prob(GRID.x) * cost(GRID.x * b.exp() + a))
    return torch.stack(torch.autograd.grad(value, (a, b))).numpy()


def _scores() -> Tensor:
    """∂ log q(x) in a shift and in a scale of Q: [2, n]."""
    x = GRID.x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(Q.log_prob(x).sum(), x)
    return torch.stack([-slope, -slope * GRID.x - 1])


def finite_differences(d: Divergence, h: float = 1e-3) -> np.ndarray:
    """The exact divergence's gradient in a shift and a scale of Q; the error is of order h⁴."""

    def along(at: Callable[[float], float]) -> float:
        return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)

    return np.array([along(lambda s: divergence_of(d, shift=s)), along(lambda s: divergence_of(d, scale=s))])


def mix(d: Divergence, other: Trained) -> Mixed:
    """On the way from the best critic to another."""
    gaps, errors = [], []
    for share in MIXED:

        def t(y: Tensor, share: float = share) -> Tensor:
            return (1 - share) * d.derivative(ratio(y)) + share * d.activation(other.critic(y))

        with torch.no_grad():
            value = bound_of(t(GRID.x), d.conjugate(t(GRID.x))).item()
        gaps.append(1 - value / other.exact)
        followed = gradient(lambda y, t=t: d.conjugate(t(y)))
        errors.append(np.linalg.norm(followed - other.wanted) / np.linalg.norm(other.wanted))
    return Mixed(np.array(gaps), np.array(errors))


def stretch(d: Divergence, critics: dict[str, Trained]) -> Stretched:
    """Bounds of frozen critics, as Q is stretched."""
    scales = np.linspace(-0.45, 0.6, 61)
    bounds = {name: np.array([_bound(d, one.critic, s) for s in scales]) for name, one in critics.items()}
    return Stretched(np.exp(scales), np.array([divergence_of(d, scale=s) for s in scales]), bounds)
