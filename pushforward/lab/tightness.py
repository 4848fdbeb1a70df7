"""Tightness: the variational bound on a divergence rises to it as the critic grows, if it sees enough of both laws.

E_P[T] − E_Q[f*(T)] ≤ D_f(P‖Q) for every T, with equality at T* = f′(p/q). Nguyen et al. 2010, arXiv:0809.0853, Lemma 1;
Nowozin et al. 2016, arXiv:1606.00709, Section 2.2 and 2.4.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pushforward.core.seeding import torch_generator, torch_seeded
from pushforward.estimation import Estimate, estimate_divergence
from pushforward.lab import Tell
from pushforward.lab._finding import Finding, Number
from pushforward.lab._nested_critics import POLYNOMIALS, ladder
from pushforward.lab._tightness_page import Overfit, Seen, page
from pushforward.lab._two_laws import P, Q
from pushforward.lab._variational_bound import (
    GRID,
    bound_of,
    divergence_of,
    finite_differences,
    gradient,
    mix,
    ratio,
    stretch,
)
from pushforward.objectives.divergence import DIVERGENCES, jensen_shannon

SHOWN = ("kl", "reverse_kl", "jensen_shannon", "squared_hellinger", "pearson")
STEPS, EVERY = 400, 8  # of the critic that sees few samples
SIZES = (50, 100, 200)
REPEATS = 5  # samples of each size, each with a critic of its own
CROSSED = 400  # draws of each law for the cross-fitted estimate, whose two critics see half of them each


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the networks and of the samples."""
    divergence: str = "kl"
    """Which of kl, reverse_kl, jensen_shannon, squared_hellinger and pearson the pictures of critics show."""
    widest: int = 16
    """Units of the widest critic, a power of two; those before it have 2, 4, 8, …"""
    points: int = 512
    """Points that stand for each law in training, at its quantiles."""
    samples: int = 50
    """Draws from each law in the part on overfitting."""

    def __post_init__(self) -> None:
        if self.divergence not in SHOWN:
            raise ValueError(f"the divergence is one of {', '.join(SHOWN)}, got {self.divergence!r}; choose one")
        if self.widest not in (4, 8, 16, 32, 64):
            raise ValueError(f"the widest critic has 4, 8, 16, 32 or 64 units, got {self.widest}; use 16")
        if self.points < 256 or self.samples < 50:
            raise ValueError(
                f"training needs 256 points and 50 samples or more, got {self.points} and {self.samples}; raise them"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(2**k for k in range(1, self.widest.bit_length()))

    @property
    def names(self) -> tuple[str, ...]:
        """The critics, from small to large."""
        return *POLYNOMIALS, *(f"{w} units" for w in self.widths)


class _Large(nn.Module):
    """One network for each sample, side by side, of two hidden layers: x [REPEATS, N] -> logits [REPEATS, N].

    None of them shares a weight with another, and Adam's steps don't either, so that each learns from its own draws.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (1, width, width, 1)
        self.weights = nn.ParameterList(
            torch.randn(REPEATS, a, b) * math.sqrt((1 if b == 1 else 2) / a) for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(REPEATS, 1, b) for b in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        h = x[..., None]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, F.leaky_relu(h, 0.2) if i else h, weight)
        return h[..., 0]


def run(cfg: Config, tell: Tell) -> Finding:
    """Critics of growing capacity for five divergences; their gradients; and a large critic on few samples."""
    ladders = {}
    for i, name in enumerate(SHOWN):
        ladders[name] = ladder(DIVERGENCES[name], cfg.widths, cfg.points, cfg.seed)
        tell(0.1 * (i + 1))
    mixed = {name: mix(DIVERGENCES[name], rungs[2]) for name, rungs in ladders.items()}
    overfit = {n: _overfit(cfg, n) for n in dict.fromkeys((cfg.samples, *SIZES))}
    tell(0.8)
    estimate = _cross_fitted(cfg)
    tell(1.0)
    divergence, chosen = DIVERGENCES[cfg.divergence], ladders[cfg.divergence]
    seen = Seen(
        divergence=divergence,
        names=cfg.names,
        ladders=ladders,
        mixed=mixed,
        stretched=stretch(divergence, {cfg.names[i]: chosen[i] for i in (0, 2, 3, -1)}),
        overfit=overfit,
        samples=cfg.samples,
        sizes=SIZES,
        estimate=estimate,
        crossed=CROSSED,
        exact=divergence_of(jensen_shannon),
    )
    return page(_numbers(cfg, seen), seen)


def _drawn(cfg: Config, n: int) -> tuple[Tensor, Tensor]:
    """Samples of both laws, [REPEATS, n] each."""
    draws = torch_generator("lab", "tightness", "samples", cfg.seed, n)
    real, fake = (law.sample(draws, REPEATS * n).view(REPEATS, n) for law in (P, Q))
    return real, fake


def _overfit(cfg: Config, n: int) -> Overfit:
    """Networks of two layers of 64 units, each on n draws of each law, all of them in each step, by the JS bound."""
    d, (real, fake) = jensen_shannon, _drawn(cfg, n)
    with torch_seeded("lab", "tightness", "large", cfg.seed, n):
        nets = _Large(64)
    optimizer = torch.optim.Adam(nets.parameters(), lr=1e-2)
    near, far, grid = real.float(), fake.float(), GRID.x.float().expand(REPEATS, -1)
    rows = []
    for step in range(STEPS + 1):
        on_real, on_fake = nets(near), nets(far)
        if step % EVERY == 0:
            with torch.no_grad():
                v = nets(grid).double()
                laws = bound_of(d.activation(v), d.conjugate_at(v))
                rows.append((d.activation(on_real).mean(1) - d.conjugate_at(on_fake).mean(1), laws))
        optimizer.zero_grad()
        d.critic(on_real, on_fake).backward()
        optimizer.step()
    train, laws = (torch.stack(side).double().numpy() for side in zip(*rows, strict=True))
    best = d.derivative(ratio(real)).mean(1) - d.conjugate(d.derivative(ratio(fake))).mean(1)
    return Overfit(np.arange(0, STEPS + 1, EVERY), train, laws, best.numpy())


def _cross_fitted(cfg: Config) -> Estimate:
    """From one sample of each law."""
    real, fake = (x[0][:, None] for x in _drawn(cfg, CROSSED))
    return estimate_divergence(real, fake, jensen_shannon, folds=2, seed=cfg.seed)


def _numbers(cfg: Config, seen: Seen) -> tuple[Number, ...]:
    ladders = seen.ladders.values()
    trained = [critic for rungs in ladders for critic in rungs]
    falls = [(a.bound - b.bound) / a.exact for rungs in ladders for a, b in pairwise(rungs)]
    at_best, slopes = [], []
    for name in SHOWN:
        d = DIVERGENCES[name]
        t = d.derivative(ratio(GRID.x))
        at_best.append(abs(bound_of(t, d.conjugate(t)).item() - divergence_of(d)))
        best = gradient(lambda y, d=d: d.conjugate(d.derivative(ratio(y))))
        slopes.append(float(np.abs(best - finite_differences(d)).max()))
    exact, estimate, few = seen.exact, seen.estimate, seen.overfit[cfg.samples]
    return (
        Number(
            "bound at T* = f′(p/q) less the divergence, the largest of five",
            max(at_best),
            0.0,
            1e-6,
            why="equality in Fenchel–Young; both by quadrature in float64",
        ),
        Number(
            "bound over divergence, the largest of all critics",
            max(r.bound / r.exact for r in trained),
            1.0,
            1e-9,
            "≤",
            "a lower bound for every critic, trained or not; slack: quadrature",
        ),
        Number(
            "fall of the bound from a critic to a larger one, as a share",
            max(falls),
            0.0,
            1e-3,
            "≤",
            f"the classes are nested. Slack: training sees {cfg.points:,} quantiles of each law, and not the law",
        ),
        Number(
            f"gap of the critic of {cfg.widest} units, as a share, the largest of five",
            max(rungs[-1].gap / rungs[-1].exact for rungs in ladders),
            0.0,
            5e-3,
            why="T* is within reach. Slack: what the optimiser leaves, and quantiles for laws. The constant's is 1",
        ),
        Number(
            "gradient of the bound at T* less the divergence's own, the largest of five",
            max(slopes),
            0.0,
            1e-6,
            why="Danskin: at its maximum over T the bound has the divergence's gradient. Slack: finite differences",
        ),
        Number(
            "error of a critic's gradient over what its f*(T) allows, the largest",
            max(float((np.abs(r.gradient - r.wanted) / r.allowed).max()) for r in trained),
            1.0,
            1e-3,
            "≤",
            "Cauchy–Schwarz: √(E_Q score² · E_Q (f*(T) − f*(T*))²), of the order of √gap. Slack: where T has a corner",
        ),
        Number(
            "slope of log gradient error over log gap near T*, the farthest from ½",
            max((m.slope for m in seen.mixed.values()), key=lambda slope: abs(slope - 0.5)),
            0.5,
            0.02,
            why="T* + εh misses the divergence by ε² and its gradient by ε. Slack: the next order at ε = 0.03",
        ),
        Number(
            f"training value on {cfg.samples:,} samples, Jensen–Shannon, mean of {REPEATS}",
            float(few.train[-1].mean()),
            float(few.best.mean()),
            0.0,
            "≥",
            f"what T* scores on the same draws, on average the divergence, {exact:.4f}: a large critic beats it there",
        ),
        Number(
            "the same critics on the laws themselves, the largest",
            float(few.laws[-1].max()),
            exact,
            1e-6,
            "≤",
            "a critic that was fixed before the draws are made is any critic; slack: single precision",
        ),
        Number(
            f"cross-fitted estimate from {CROSSED:,} samples",
            estimate.value,
            exact,
            4 * estimate.error,
            "≤",
            "every draw is judged by a critic that did not see it; slack: four standard errors",
        ),
        Number(
            "the same against the best quadratic critic's bound",
            estimate.value,
            seen.ladders[jensen_shannon.name][2].bound,
            0.0,
            "≥",
            "a network bends more than a parabola. Few draws cost it some of that, but training stops before they cost "
            "it all; the bound by quadrature on the laws",
        ),
    )
