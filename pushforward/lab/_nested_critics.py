"""Critics of growing capacity: polynomials, then sums of tanh units, each class holding the one before it."""

import torch
from torch import Tensor, nn

from pushforward.core.seeding import torch_seeded
from pushforward.lab._two_laws import P, Q
from pushforward.lab._variational_bound import Trained, measured
from pushforward.objectives.divergence import Divergence

POLYNOMIALS = ("constant", "linear", "quadratic")


class _Nested(nn.Module):
    """A polynomial and `width` tanh units, in one sum: x [N] -> logits [N]; constant outside [−reach, reach].

    Every smaller critic is one of these with zeros, so that a larger class holds the smaller.
    """

    def __init__(self, degree: int, width: int, reach: float) -> None:
        super().__init__()
        self.degree, self.reach = degree, reach
        self.polynomial = nn.Parameter(torch.zeros(degree + 1, dtype=torch.float64))
        self.steepness = nn.Parameter(1.5 * torch.randn(width, dtype=torch.float64))
        self.place = nn.Parameter(2 * torch.randn(width, dtype=torch.float64))
        self.height = nn.Parameter(torch.zeros(width, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        x = x.clamp(-self.reach, self.reach)
        powers = torch.stack([x**k for k in range(self.degree + 1)], -1)  # [N, degree + 1]
        return powers @ self.polynomial + torch.tanh(x[:, None] * self.steepness + self.place) @ self.height

    @torch.no_grad()
    def start_from(self, smaller: "_Nested") -> None:
        """The same function as the smaller one's; units that it lacks stay silent."""
        for name, values in smaller.named_parameters():
            self.get_parameter(name)[: len(values)] = values


def ladder(d: Divergence, widths: tuple[int, ...], points: int, seed: int) -> list[Trained]:
    """The critics from constant to widest, each trained from where the one before it stopped.

    points: quantiles that stand for each law in training.
    """
    real, fake = P.quantiles(points), Q.quantiles(points)
    reach = max(real.abs().max().item(), fake.abs().max().item())
    rungs, last = [], None
    for degree, width in [(0, 0), (1, 0), (2, 0), *((2, w) for w in widths)]:
        with torch_seeded("lab", "tightness", seed, d.name, width):
            critic = _Nested(degree, width, reach)
        if last is not None:
            critic.start_from(last)
        _train(d, critic, real, fake)
        rungs.append(measured(d, critic))
        last = critic
    return rungs


def _train(d: Divergence, critic: nn.Module, real: Tensor, fake: Tensor) -> None:
    """To the end of what L-BFGS finds, by the divergence's critic loss."""
    optimizer = torch.optim.LBFGS(
        critic.parameters(),
        max_iter=140,
        history_size=40,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = d.critic(critic(real), critic(fake))
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
