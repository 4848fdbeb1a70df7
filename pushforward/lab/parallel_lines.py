"""Parallel lines: Jensen–Shannon is log 2 however near two lines are, Wasserstein is their distance.

P is uniform on {0} × [0, 1] and Q_θ on {θ} × [0, 1]. Each loss is measured on samples, and θ is learned by gradient
descent through each. Arjovsky et al. 2017, arXiv:1701.07875, Example 1; Arjovsky & Bottou 2017, arXiv:1701.04862.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pushforward.core.seeding import torch_generator
from pushforward.lab import Tell
from pushforward.lab._critics import LIMIT, SLOPE_WEIGHT, Kind, Trainee, slope_penalty
from pushforward.lab._finding import Finding, Number
from pushforward.lab._line_losses import mmd2_of_lines, mmd_slope, noised_gradients, noised_js, noised_theory
from pushforward.lab._parallel_lines_page import Bounds, Descent, Fit, Noised, Seen, page
from pushforward.objectives.adversarial import minimax, non_saturating, wasserstein
from pushforward.objectives.divergence import jensen_shannon, total_variation
from pushforward.objectives.mmd import Gaussian, mmd2, mmd2_estimate
from pushforward.objectives.regularisers import weight_clipping
from pushforward.objectives.sinkhorn import sinkhorn_divergence
from pushforward.objectives.transport import exact_wasserstein, sliced_cost

LOG2 = math.log(2)
BATCH, FIRST = 128, 250  # the critic's batch, its steps before θ first moves
SAMPLE = 512  # points a side where distances are measured
NEAR = (0.05, 0.2, 1.0)  # distances at which critics are trained for long
STEPS_NEAR = 500
SETTLING = 400  # steps of the penalised critic whose slope is measured
NOISES = (0.06, 0.15, 0.4, 1.0)
SIGMA = 0.25  # of the noise under which the two losses' gradients are compared
EPSILON, BANDWIDTHS = 0.1, (0.5, 0.1)
GRID = np.linspace(-0.5, 1.5, 81)  # of x, for what critics say
PLACES, FINE = np.linspace(-1.5, 1.5, 31), np.linspace(-1.5, 1.5, 121)  # of θ, for losses of samples


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of all draws and networks."""
    start: float = 1.0
    """θ before the first step of gradient descent, in (0, 1]."""
    rate: float = 0.1
    """Of gradient descent on θ; it falls to 0 linearly."""
    steps: int = 60
    """Of gradient descent on θ."""
    critic_steps: int = 8
    """The critic's steps between two of θ."""

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1 or not 0 < self.rate <= 0.5:
            raise ValueError(
                f"θ starts in (0, 1] and moves at a rate in (0, 0.5], got start {self.start} and rate {self.rate}"
            )
        if self.steps < 2 or self.critic_steps < 1:
            raise ValueError(
                f"descent needs 2 or more steps and a critic with 1 or more between them, got steps {self.steps} and "
                f"critic_steps {self.critic_steps}; raise them"
            )

    def rates(self) -> np.ndarray:
        """Of each step."""
        return self.rate * (1 - np.arange(self.steps) / self.steps)


RATE = 5e-3  # of the critics' Adam
PENALISED = Kind("WGAN, penalty", wasserstein, RATE, penalty=slope_penalty)
KINDS = (
    Kind("minimax", minimax, RATE),
    Kind("−log D", non_saturating, RATE),
    PENALISED,
    Kind("WGAN, spectral", wasserstein, RATE, normalised=True),
    # Fast enough for a weight to cross its box, 2 LIMIT wide, in six steps: else the critic lags behind θ.
    Kind("WGAN, clipping", wasserstein, 2e-2, project=weight_clipping(LIMIT)),
)
SampleLoss = Callable[[Tensor, Tensor, int], Tensor]  # of both samples and the step


def run(cfg: Config, tell: Tell) -> Finding:
    """The losses as functions of θ, the same under noise, and θ's way down each of them."""
    transport = _transport(cfg)
    near = []
    for theta in NEAR:
        near.append(_bound_by_training(cfg, theta))
        tell(0.1 * len(near))
    played: dict[str, Descent] = {}
    for kind in KINDS:
        played[kind.name] = _play(cfg, kind)
        tell(0.3 + 0.13 * len(played))
    way = np.maximum(0, cfg.start - np.concatenate([[0], cfg.rates().cumsum()]))
    seen = Seen(transport, near, _noised(), GRID, played, way, PLACES, FINE, _fits(cfg))
    tell(1.0)
    return page(_numbers(cfg, seen), seen)


def _line(x: float | Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n points [n, 2] of the line at x, uniform along it; differentiable in x."""
    u = torch.rand(n, 1, generator=generator)
    return torch.cat([torch.as_tensor(x, dtype=u.dtype).expand(n, 1), u], 1)


def _transport(cfg: Config) -> tuple[np.ndarray, np.ndarray]:
    """θ, and W1 between independent samples of P and Q_θ."""
    theta, generator = np.linspace(-1.5, 1.5, 25), torch_generator("lab", "parallel-lines", "transport", cfg.seed)
    pairs = ((_line(0.0, SAMPLE, generator), _line(float(t), SAMPLE, generator)) for t in theta)
    return theta, np.array([exact_wasserstein(x, y, 1) for x, y in pairs])


def _bound_by_training(cfg: Config, theta: float) -> Bounds:
    key = ("lab", "parallel-lines", "bound", cfg.seed, round(1000 * theta))
    trainee, draws, rows = Trainee(KINDS[0], 2, *key), torch_generator(*key, "draws"), []
    for step in range(STEPS_NEAR + 1):
        logits = trainee.step(_line(0.0, BATCH, draws), _line(theta, BATCH, draws), draws)
        if step % 10 == 0:  # these points were new to the critic
            rows.append((step, *(d.bound(*logits).item() for d in (jensen_shannon, total_variation))))
    steps, js, tv = np.array(rows).T
    return Bounds(theta, steps, js, tv)


def _settled_slope(cfg: Config, theta: float) -> float:
    """The slope at the fakes of a penalised critic, its rate lowered to 0 so that Adam comes to rest."""
    key = ("lab", "parallel-lines", "settled", cfg.seed, round(1000 * theta))
    trainee, draws = Trainee(PENALISED, 2, *key), torch_generator(*key, "draws")
    for step in range(SETTLING):
        trainee.optimizer.param_groups[0]["lr"] = RATE * (1 - step / SETTLING)
        trainee.step(_line(0.0, BATCH, draws), _line(theta, BATCH, draws), draws)
    return _gradient(trainee, theta, draws)[0]


def _play(cfg: Config, kind: Kind) -> Descent:
    """Gradient descent on θ, each step through a critic that has been trained on where θ stands."""
    key = ("lab", "parallel-lines", kind.name, cfg.seed)
    trainee, draws = Trainee(kind, 2, *key), torch_generator(*key, "draws")
    theta, gradients, errors, profile = [cfg.start], [], [], np.empty(0)
    for t, rate in enumerate(cfg.rates()):
        for _ in range(cfg.critic_steps if t else FIRST):
            trainee.step(_line(0.0, BATCH, draws), _line(theta[-1], BATCH, draws), draws)
        if t == 0:
            profile = _profile(trainee)
        gradient, error = _gradient(trainee, theta[-1], draws)
        gradients.append(gradient)
        errors.append(error)
        theta.append(theta[-1] - rate * gradient)
    return Descent(np.array(theta), np.array(gradients), profile, np.array(errors))


def _gradient(trainee: Trainee, theta: float, draws: torch.Generator) -> tuple[float, float]:
    """The loss's derivative in θ, and ε, the largest of |D| + |∂D/∂x| over the fakes for D = σ(logit)."""
    place = torch.tensor(theta, requires_grad=True)
    fake = _line(place, 4 * BATCH, draws)
    logits = trainee.network(fake)
    (slopes,) = torch.autograd.grad(logits.sum(), fake, retain_graph=True)
    (gradient,) = torch.autograd.grad(trainee.kind.losses.generator(None, logits), place)
    said = torch.sigmoid(logits.detach())
    error = said + said * (1 - said) * torch.linalg.vector_norm(slopes, dim=1)
    return gradient.item(), error.max().item()


@torch.no_grad()
def _profile(trainee: Trainee) -> np.ndarray:
    """What a critic says at (x, ½) over GRID: σ(D), or 1 + D(x) − D(0) of a Wasserstein critic."""
    x = torch.from_numpy(GRID).float()
    logits = trainee.network(torch.stack([x, torch.full_like(x, 0.5)], 1)).double().numpy()
    if trainee.kind.losses is wasserstein:
        return 1 + logits - logits[np.abs(GRID).argmin()]
    return 1 / (1 + np.exp(-logits))


def _noised() -> Noised:
    """Both losses' gradients under noise, by the best critic and by theory, and Jensen–Shannon."""
    theta = np.linspace(0, 1.5, 61)
    js = {sigma: np.array([noised_js(t, sigma) for t in theta.tolist()]) for sigma in NOISES}
    measured = np.array([noised_gradients(t, SIGMA, 1001) for t in theta.tolist()])
    return Noised(theta, js, SIGMA, measured, np.array([noised_theory(t, SIGMA) for t in theta.tolist()]))


def _fits(cfg: Config) -> dict[str, Fit]:
    """The losses that need no critic: θ² for Sinkhorn, θ²/2 for the sliced cost, and MMDs of two bandwidths."""
    fits = {
        "Sinkhorn": _fit(cfg, "Sinkhorn", lambda x, y, t: sinkhorn_divergence(x, y, EPSILON), FINE**2, lambda t: 2 * t),
        "sliced W₂²": _fit(
            cfg,
            "sliced W₂²",
            lambda x, y, t: sliced_cost(x, y, directions=512, seed=cfg.seed * 100_003 + t),
            FINE**2 / 2,
            lambda t: t,
        ),
    }
    for h in BANDWIDTHS:
        name = f"MMD², h = {h:g}"
        slope = partial(mmd_slope, h=h)
        fits[name] = _fit(cfg, name, lambda x, y, t, h=h: mmd2(Gaussian((h,)), x, y), mmd2_of_lines(FINE, h), slope)
    return fits


def _fit(cfg: Config, name: str, loss: SampleLoss, exact: np.ndarray, slope: Callable[[float], float]) -> Fit:
    """A loss at PLACES on one pair of samples, and gradient descent on θ with fresh samples at each step."""
    draws = torch_generator("lab", "parallel-lines", "landscape", cfg.seed)
    x, y = _line(0.0, BATCH, draws), _line(0.0, BATCH, draws)
    moved = [y + torch.tensor([t, 0.0]) for t in PLACES.tolist()]
    with torch.no_grad():
        values = np.array([loss(x, z, k).item() for k, z in enumerate(moved)])
    draws = torch_generator("lab", "parallel-lines", name, cfg.seed)
    theta, gradients, way = [cfg.start], [], [cfg.start]
    for t, rate in enumerate(cfg.rates()):
        place = torch.tensor(theta[-1], requires_grad=True)
        value = loss(_line(0.0, BATCH, draws), _line(place, BATCH, draws), t)
        gradients.append(torch.autograd.grad(value, place)[0].item())
        theta.append(theta[-1] - rate * gradients[-1])
        way.append(way[-1] - rate * slope(way[-1]))
    return Fit(values, exact, Descent(np.array(theta), np.array(gradients)), np.array(way))


def _numbers(cfg: Config, seen: Seen) -> tuple[Number, ...]:
    near, played = seen.near, seen.played
    gaps = seen.transport[1] - np.abs(seen.transport[0])
    small = SIGMA / 50
    errors = played["minimax"].errors
    reach = [e / (1 - e) if e < 1 else math.inf for e in errors.tolist()]  # the theorem says nothing from ε = 1 on
    bound = float(cfg.rates() @ np.array(reach))
    generator = torch_generator("lab", "parallel-lines", "closed forms", cfg.seed)
    x, y = _line(0.0, SAMPLE, generator), _line(cfg.start, SAMPLE, generator)
    flat = y - torch.tensor([cfg.start, 0.0])
    sinkhorn = (sinkhorn_divergence(x, y, EPSILON) - sinkhorn_divergence(x, flat, EPSILON)).item()
    estimate = mmd2_estimate(Gaussian(BANDWIDTHS[:1]), x, y)
    ends = [abs(float(played[kind.name].theta[-1])) for kind in KINDS if kind.losses is wasserstein]
    return (
        Number(
            "W₁ of samples less |θ|, the largest over θ",
            float(np.abs(gaps).max()),
            0.0,
            1.25 * math.sqrt(2 / SAMPLE),
            why=f"W₁ = |θ|; along the line {SAMPLE} points differ by √(2/n) ∫|B|, beyond 1.25 once in 5,000 (2 e^−6x²)",
        ),
        Number(
            f"Jensen–Shannon by a trained critic at θ = {NEAR[0]:g}",
            float(near[0].js[-5:].mean()),
            LOG2,
            0.01,
            why="disjoint supports give log 2; slack: what a critic of 500 steps leaves, log(1 + e^−4.6)",
        ),
        Number(
            f"total variation by the same critic at θ = {NEAR[0]:g}",
            float(near[0].tv[-5:].mean()),
            1.0,
            0.01,
            why="no point is of both laws; the same slack",
        ),
        Number(
            "noised Jensen–Shannon over θ²/8σ², near θ = 0",
            noised_js(small, SIGMA) / (small**2 / (8 * SIGMA**2)),
            1.0,
            1e-3,
            why="an eighth of the Fisher information 1/σ²; slack: the next order, (θ/σ)²",
        ),
        Number(
            "d/dθ of −log D at the best critic, under noise",
            noised_gradients(0.5, SIGMA)[1],
            noised_theory(0.5, SIGMA)[1],
            2e-3,
            why="Theorem 2.5: d/dθ [KL(Q‖P) − 2 JS], with KL = θ²/2σ²; slack: the rules of quadrature",
        ),
        Number(
            "way of θ under minimax",
            abs(float(played["minimax"].theta[-1]) - cfg.start),
            bound,
            relation="≤",
            why="Theorem 2.4: each step is at most rate · ε/(1 − ε), where D is within ε of the perfect critic",
        ),
        Number(
            f"slope of the penalised critic at θ = {NEAR[-1]:g}, come to rest",
            _settled_slope(cfg, NEAR[-1]),
            1 + NEAR[-1] / (2 * SLOPE_WEIGHT),
            0.02,
            why="s = 1 + θ/2λ makes −sθ + λ(s − 1)² least; slack: slopes along the lines, and its finite training",
        ),
        Number(
            "farthest θ at the end among the three Wasserstein critics",
            max(ends),
            0.0,
            cfg.rate,
            why="W₁ = |θ| is least at 0; slack: one first step of slope 1, as |θ| has a kink there",
        ),
        Number(
            f"Sinkhorn divergence at θ = {cfg.start:g}, less that at 0",
            sinkhorn,
            cfg.start**2,
            4e-3 * EPSILON + 1e-5,
            why="a shift adds its square for every ε, as the cost is quadratic; slack: the marginals' tolerance",
        ),
        Number(
            f"Gaussian MMD² at θ = {cfg.start:g}, h = {BANDWIDTHS[0]:g}",
            estimate.value,
            float(mmd2_of_lines(np.array(cfg.start), BANDWIDTHS[0])),
            4 * estimate.stderr,
            why="2 E k(u, u′) (1 − exp(−θ²/2h²)); slack: 4 standard errors",
        ),
    )
