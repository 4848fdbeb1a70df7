"""Laws of the line with known densities, and the quadrature in which expectations under them are exact to rounding."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LineMixture:
    """Σ_k w_k N(mean_k, deviation_k²) on the line; in float64.

    Raises ValueError where the three differ in length, weights don't sum to 1, or one of them or a deviation isn't
    positive.
    """

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    weights: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        lengths = {len(self.means), len(self.deviations), len(self.weights)}
        if len(lengths) > 1 or min(*self.deviations, *self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError(
                "a mixture needs a mean, a positive deviation and a positive weight for each part, weights of sum 1, "
                f"got {self.means}, {self.deviations}, {self.weights}; give as many of each"
            )

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), of the shape of x."""
        m, s, w = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.deviations, self.weights))
        z = (x.double()[..., None] - m) / s
        return torch.logsumexp(w.log() - s.log() - z.square() / 2, -1) - math.log(2 * math.pi) / 2

    def prob(self, x: Tensor) -> Tensor:
        """p(x), of the shape of x."""
        return self.log_prob(x).exp()

    def cdf(self, x: Tensor) -> Tensor:
        """P(X ≤ x), of the shape of x."""
        m, s, w = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.deviations, self.weights))
        return (w * torch.special.ndtr((x.double()[..., None] - m) / s)).sum(-1)

    def quantiles(self, n: int) -> Tensor:
        """The points [n] at which the cdf is (i + ½)/n: a sample without its noise."""
        level = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        reach = max(abs(m) + 12 * s for m, s in zip(self.means, self.deviations, strict=True))
        low, high = torch.full_like(level, -reach), torch.full_like(level, reach)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.cdf(middle) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def sample(self, generator: torch.Generator, n: int) -> Tensor:
        """Independent draws [n]."""
        m, s, w = (torch.tensor(v, dtype=torch.float64) for v in (self.means, self.deviations, self.weights))
        part = torch.multinomial(w, n, replacement=True, generator=generator)
        return m[part] + s[part] * torch.randn(n, dtype=torch.float64, generator=generator)


@dataclass(frozen=True)
class Grid:
    """Points x [n] evenly apart, with the trapezium rule's weights: exact to rounding for smooth g that vanish."""

    x: Tensor
    weight: Tensor

    @classmethod
    def between(cls, low: float, high: float, n: int = 2001) -> "Grid":
        x = torch.linspace(low, high, n, dtype=torch.float64)
        weight = torch.full_like(x, (high - low) / (n - 1))
        weight[[0, -1]] /= 2
        return cls(x, weight)

    def integral(self, values: Tensor) -> Tensor:
        """∫ g dx from g at x: [..., n] -> [...]."""
        return (self.weight * values).sum(-1)
