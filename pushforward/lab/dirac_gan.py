"""Dirac-GAN: two numbers that play a GAN circle their equilibrium for ever, unless a penalty damps the critic.

The data is a point mass at 0, the generator one at θ, the critic D(x) = ψx; (0, 0) is the only equilibrium. Mescheder
et al. 2018, arXiv:1801.04406, Sections 2 and 3. Differs from the paper: logits are high for real, so its ψ is −ψ here.
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
from pushforward.lab._dirac_game import FIRST, SECOND, Spectrum, Variant, damped, eigenvalues, field, jacobian, turn
from pushforward.lab._dirac_gan_page import CELLS, EDGE, SETTLING, Field, Seen, page
from pushforward.lab._finding import Finding, Number
from pushforward.objectives.adversarial import minimax, non_saturating, relativistic, wasserstein
from pushforward.objectives.penalties import (
    dragan_penalty,
    gradient_penalty,
    lipschitz_penalty,
    r1,
    r2,
    zero_centred_between,
)

CLIP, SLOPE_WEIGHT, CONSENSUS = 0.5, 0.5, 1.0
NEAR, GROWTH_ROUNDS = 1e-4, 100  # where, and over how many rounds, the growth of small distances is measured
STARTS = (1.5, 0.4)  # distances from the equilibrium


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the direction in which training starts, and of the instance noise."""
    rate: float = 0.2
    """Learning rate h of both players."""
    gamma: float = 0.3
    """Weight γ of R1 and R2, each of which enters as γ/2; below the critical 2 f′(0) = 1."""
    noise: float = 1.0
    """Standard deviation of the instance noise."""
    rounds: int = 300
    """Rounds of training."""

    def __post_init__(self) -> None:
        if not (0.05 <= self.rate <= 0.5 and 0 < self.gamma <= 0.9 and 0 < self.noise <= 1.2 and self.rounds >= 150):
            raise ValueError(
                "spirals are seen with a rate in [0.05, 0.5], gamma in (0, 0.9], noise in (0, 1.2] and 150 or more "
                f"rounds, got {self.rate}, {self.gamma}, {self.noise} and {self.rounds}; keep to these ranges"
            )


def variants(cfg: Config) -> dict[str, Variant]:
    """All of them, by the names that the page gives them."""
    half = cfg.gamma / 2
    draws = torch.randn(64, dtype=torch.float64, generator=torch_generator("lab", "dirac-gan", "noise", cfg.seed))
    # Mean 0 and variance σ² exactly: no more of the noise's law enters the eigenvalues.
    noise = cfg.noise * (draws - draws.mean()) / draws.std(correction=0)
    return {
        "minimax, at once": Variant(minimax),
        "minimax, in turn": Variant(minimax, 1),
        "non-saturating": Variant(non_saturating, 1),
        "WGAN": Variant(wasserstein, 1),
        "WGAN, clipped": Variant(wasserstein, 1, clip=CLIP),
        "WGAN-GP": Variant(wasserstein, 1, _unit_slope),
        "WGAN-GP, 5 critic steps": Variant(wasserstein, 5, _unit_slope),
        "WGAN-LP": Variant(wasserstein, 1, _bounded_slope),
        "DRAGAN": Variant(non_saturating, 1, _unit_slope_near_data),
        "WGAN with R1": Variant(wasserstein, 1, lambda D, real, fake: half * r1(D, real)),
        "instance noise": Variant(minimax, noise=noise),
        "R1": _damped_by(cfg.gamma),
        "R2": Variant(minimax, penalty=lambda D, real, fake: half * r2(D, fake)),
        "0-GP": Variant(minimax, penalty=lambda D, real, fake: half * zero_centred_between(D, real, fake, _half(real))),
        "R3GAN": Variant(relativistic, penalty=lambda D, real, fake: half * (r1(D, real) + r2(D, fake))),
        "consensus": Variant(minimax, consensus=CONSENSUS),
    }


def run(cfg: Config, tell: Tell) -> Finding:
    """Portraits and trajectories of every variant, and the eigenvalues that decide where they end."""
    ways = variants(cfg)
    paths = {}
    shown = [name for name in ways if name not in ("R2", "0-GP")]  # which are R1 here, as the numbers say
    for i, name in enumerate(shown):
        paths[name] = _train(cfg, ways[name], _starts(cfg), cfg.rounds)
        tell(0.9 * (i + 1) / len(shown))
    spectra = {name: eigenvalues(ways[name]) for name in ("minimax, at once", *SETTLING)}
    gammas, locus = _locus()
    seen = Seen(
        fields={name: _field(ways[name]) for name in shown},
        paths=paths,
        kept={name: _kept(cfg.rate, _theory(cfg, name)) for name in SETTLING},
        spectra=spectra,
        gammas=gammas,
        locus=locus,
        clip=CLIP,
    )
    finding = page(_numbers(cfg, ways, paths, spectra), seen)
    tell(1.0)
    return finding


def _unit_slope(D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    return SLOPE_WEIGHT * gradient_penalty(D, real, fake, _half(real))


def _bounded_slope(D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    return SLOPE_WEIGHT * lipschitz_penalty(D, real, fake, _half(real))


def _unit_slope_near_data(D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    # Half the weight of WGAN-GP, as f′(0) = ½: the logistic loss pulls half as hard. A point mass has no spread.
    return SLOPE_WEIGHT * FIRST * dragan_penalty(D, real, torch.zeros_like(real))


def _half(x: Tensor) -> Tensor:
    """Where on the segments: a critic ψx has the same slope everywhere."""
    return torch.full((len(x),), 0.5)


def _starts(cfg: Config) -> Tensor:
    """Two points [2, 2] in one random direction, far and near."""
    angle = 2 * math.pi * float(torch.rand((), generator=torch_generator("lab", "dirac-gan", "start", cfg.seed)))
    direction = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    return torch.tensor(STARTS, dtype=torch.float64)[:, None] * direction


def _train(cfg: Config, way: Variant, point: Tensor, rounds: int) -> np.ndarray:
    """All points [rounds + 1, K, 2] from these ones on."""
    points = [point]
    for _ in range(rounds):
        points.append(turn(way, points[-1], cfg.rate).detach())
    return torch.stack(points).numpy()


def _field(way: Variant) -> Field:
    """The field by autograd on a grid within the edges of a portrait."""
    ticks = torch.linspace(-EDGE, EDGE, CELLS + 2, dtype=torch.float64)[1:-1]
    at = torch.cartesian_prod(ticks, ticks)
    return Field(at.numpy(), field(way, at).detach().numpy())


def _damped_by(gamma: float) -> Variant:
    return Variant(minimax, penalty=lambda D, real, fake: gamma / 2 * r1(D, real))


def _locus() -> tuple[np.ndarray, np.ndarray]:
    """Weights γ of R1 [G] from 0 to twice the critical one, and the eigenvalues [G, 2] by autograd at each."""
    gammas = np.linspace(0, 4 * FIRST, 41)
    return gammas, np.array([eigenvalues(_damped_by(gamma)) for gamma in gammas])


def _damping(cfg: Config) -> dict[str, float]:
    """What damps the critic at the equilibrium, in closed form: the curvature that each remedy gives its loss."""
    return {"R1": cfg.gamma, "R3GAN": 2 * cfg.gamma, "instance noise": -2 * SECOND * cfg.noise**2}


def _theory(cfg: Config, name: str) -> Spectrum:
    """The eigenvalues in closed form. Consensus optimisation adds −γ JᵀJ = −γ f′(0)² I to a skew J."""
    if name == "consensus":
        return damped(0) - CONSENSUS * FIRST**2
    return damped(_damping(cfg).get(name, 0.0))


def _kept(rate: float, spectrum: Spectrum) -> float:
    """Spectral radius of one round in which both players step at once."""
    return float(np.abs(1 + rate * spectrum).max())


def _numbers(
    cfg: Config, ways: dict[str, Variant], paths: dict[str, np.ndarray], spectra: dict[str, Spectrum]
) -> tuple[Number, ...]:
    h, exact = cfg.rate, 1e-12
    plain = spectra["minimax, at once"][0]
    small = _train(cfg, ways["minimax, at once"], NEAR * _starts(cfg)[:1], GROWTH_ROUNDS)[:, 0]
    growth = (np.linalg.norm(small[-1]) / np.linalg.norm(small[0])) ** (1 / GROWTH_ROUNDS)
    in_turn = torch.linalg.eigvals(jacobian(lambda p: turn(ways["minimax, in turn"], p, h))).abs().max()
    points = torch.tensor(np.random.default_rng(0).uniform(-EDGE, EDGE, (50, 2)))
    others = (field(ways[name], points) for name in ("R2", "0-GP"))
    apart = max(float((field(ways["R1"], points) - other).abs().max().detach()) for other in others)
    away = {name: np.linalg.norm(path[:, 0], axis=1) for name, path in paths.items()}
    tail = np.log(away["R1"][cfg.rounds // 4 :])
    inner = np.linalg.norm(paths["non-saturating"][:, 1], axis=1)
    slowing = np.polyfit(np.arange(len(inner)), inner**-2.0, 1)[0]
    ratio = cfg.gamma / (2 * FIRST)
    wobble = 1.5 * math.log((1 + ratio) / (1 - ratio)) / len(tail)
    push = 2 * SLOPE_WEIGHT * h
    return (
        Number(
            "real part of the eigenvalues, no penalty",
            float(plain.real),
            0,
            exact,
            why="they are ± i f′(0): a field that only turns",
        ),
        Number("their imaginary part", float(plain.imag), FIRST, exact, why="f′(0) = ½ for logistic losses"),
        Number(
            "growth of a small distance per round, steps at once",
            float(growth),
            math.hypot(1, h * FIRST),
            1e-7,
            why="√(1 + h² f′(0)²): a step along the tangent ends outside; slack: what is not linear at distance 0.0001",
        ),
        Number(
            "spectral radius of a round, steps in turn",
            float(in_turn),
            1,
            exact,
            why="both eigenvalues are on the unit circle while h f′(0) ≤ 2: neither in nor out",
        ),
        Number(
            "slowest decay with R1: largest real part",
            float(spectra["R1"].real.max()),
            float(damped(cfg.gamma).real.max()),
            exact,
            why="−γ/2 ± √(γ²/4 − f′(0)²)",
        ),
        Number(
            "the same with instance noise",
            float(spectra["instance noise"].real.max()),
            float(_theory(cfg, "instance noise").real.max()),
            exact,
            why="f″(0)σ² ± √(f″(0)²σ⁴ − f′(0)²), with f″(0) = −¼",
        ),
        Number(
            "largest difference between the fields of R1, R2 and 0-GP",
            apart,
            0,
            exact,
            why="the critic ψx has the slope ψ everywhere, so where it is penalised does not matter",
        ),
        Number(
            "distance kept per round with R1, along the trajectory",
            float(np.exp(np.polyfit(np.arange(len(tail)), tail, 1)[0])),
            _kept(h, damped(cfg.gamma)),
            wobble,
            why="|1 + hλ|, a round's spectral radius; slack: the spiral turns on an ellipse, whose axes differ",
        ),
        Number(
            "γ from which R1 goes straight in",
            _critical(),
            2 * FIRST,
            1e-9,
            why="2 f′(0): the root of the discriminant γ²/4 − f′(0)², found by bisection",
        ),
        Number(
            "non-saturating: growth of 1/distance² per round",
            float(slowing),
            h / 8,
            0.05 * h / 8,
            why="dr²/dt = −2u tanh(u/2) with u = θψ, −r⁴/8 on average; slack: 5 %, as steps are finite and r not 0",
        ),
        Number(
            "clipped WGAN: nearest to the equilibrium in the last 100 rounds",
            float(away["WGAN, clipped"][-100:].min()),
            CLIP * math.sqrt(1 - h / 2),
            1e-12,
            "≥",
            "a round keeps θ² + ψ² − hθψ, and each clipping to |ψ| = c leaves c²(1 − h²/4) of it or more",
        ),
        Number(
            "WGAN-GP: farthest in the last 100 rounds",
            float(away["WGAN-GP"][-100:].max()),
            push / (2 + h + push),
            0,
            "≥",
            "if all stayed within r, a critic step would be at least 2λh(1 − r) − hr, and at most 2r",
        ),
        Number(
            "WGAN-GP, 5 critic steps: where |θ| comes to rest",
            float(abs(paths["WGAN-GP, 5 critic steps"][-1, 0, 0])),
            2 * SLOPE_WEIGHT,
            1e-6,
            why="2λ, not 0: there the penalty's push away from ψ = 0 holds the balance to the loss's pull across it",
        ),
    )


def _critical() -> float:
    """The least γ at which the eigenvalues with R1 are real, by bisection on the discriminant."""
    low, high = 0.0, 4.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        j = jacobian(partial(field, _damped_by(middle)))
        spiral = float(j.trace() ** 2 / 4 - torch.linalg.det(j)) < 0
        low, high = (middle, high) if spiral else (low, middle)
    return (low + high) / 2
