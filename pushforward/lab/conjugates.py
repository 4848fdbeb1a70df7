"""Conjugates: a convex f is the upper envelope of its tangents, and f* keeps their intercepts.

This is the step that turns a divergence of densities into a game of samples: D_f(P‖Q) = E_Q[f(p/q)] with f(u) written
as the largest of the lines ut − f*(t), and a critic that chooses the line's slope t at each point. Nowozin et al. 2016,
arXiv:1606.00709, Section 2.2 and tables 1, 2 and 6; Rockafellar 1970, Convex Analysis, Section 12.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.core.seeding import torch_generator
from pushforward.lab import Tell
from pushforward.lab._conjugates_page import Check, Seen, page
from pushforward.lab._finding import Finding, Number
from pushforward.lab._suprema import sup_over_ratios, sup_over_slopes
from pushforward.objectives.divergence import DIVERGENCES, Divergence, alpha, by_name, weighted_jensen_shannon

DRAWS = 200  # ratios, slopes and logits at which each divergence is checked
ROUNDING = 1e-10  # relative to the terms of ut − f(u), after a search that leaves 1e-16 of the interval
FAR = 1e12  # a large ratio; the next ones that are looked at are its square and its cube
COUNTS = (3, 5, 9, 17, 33, 65, 129, 257)  # tangents, for the envelope's error
BETWEEN = (0.5, 4.0)  # ratios between which the envelope's error is measured
COUNTED = ("kl", "reverse_kl", "jensen_shannon", "pearson")  # divergences for which it is


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the ratios, slopes and logits that are tried."""
    divergence: str = "kl"
    """Which one the large figures show: a name of the library, alpha(a) or weighted_jensen_shannon(pi)."""
    tangents: int = 9
    """Tangents drawn in a fan."""
    alpha: float = 1.5
    """Order of the alpha divergence; 1 − alpha, that of its reverse, is shown with it."""
    pi: float = 0.3
    """Weight of P in the weighted Jensen–Shannon divergence."""

    def __post_init__(self) -> None:
        by_name(self.divergence)
        weighted_jensen_shannon(self.pi)
        if not 3 <= self.tangents <= 40:
            raise ValueError(f"a fan has from 3 to 40 tangents, got {self.tangents}; use 9")
        if self.alpha in (0, 1) or not -3 <= self.alpha <= 4:
            raise ValueError(
                f"the alpha divergence's order is from -3 to 4 and neither 0 nor 1, which are reverse_kl and kl, "
                f"got {self.alpha}; use e.g. 1.5"
            )


def run(cfg: Config, tell: Tell) -> Finding:
    """Every divergence's f, f*, f** and σ_f against numerical maximisation; fans, conjugates and gaps as figures."""
    every, checks = _every(cfg), {}
    for i, d in enumerate(every):
        checks[d.name] = _check(d, cfg.seed)
        tell(0.8 * (i + 1) / len(every))
    missing = {name: _missing(DIVERGENCES[name]) for name in COUNTED}
    tell(1.0)
    seen = Seen(
        shown=by_name(cfg.divergence),
        tangents=cfg.tangents,
        every=every,
        checks=checks,
        allowed=ROUNDING,
        counts=COUNTS,
        missing=missing,
        pearson=(BETWEEN[1] - BETWEEN[0]) ** 2 / 4 / (np.array(COUNTS) - 1) ** 2,
    )
    return page(_numbers(every, checks, missing), seen)


def _every(cfg: Config) -> list[Divergence]:
    family = (alpha(cfg.alpha), alpha(1 - cfg.alpha), weighted_jensen_shannon(cfg.pi), by_name(cfg.divergence))
    return list({d.name: d for d in (*DIVERGENCES.values(), *family)}.values())


def _check(d: Divergence, seed: int) -> Check:
    generator = torch_generator("lab", "conjugates", d.name, seed)
    u, w = (8 * torch.rand(2, DRAWS, dtype=torch.float64, generator=generator) - 4).exp()
    v = 20 * torch.rand(DRAWS, dtype=torch.float64, generator=generator) - 10
    t = d.derivative(w)
    scale = 1 + (u * t).abs() + d.f(u).abs() + d.conjugate(t).abs()
    own = d.derivative(u)
    own_scale = 1 + (u * own).abs() + d.f(u).abs()
    gap = (d.f(u) + d.conjugate(own) - u * own).abs() / own_scale
    logits = torch.cat([v, torch.logspace(-3, 4, 500, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    sent = d.activation(torch.cat([logits, -logits]))
    slope = own.clone().requires_grad_(True)
    (turned,) = torch.autograd.grad(d.conjugate(slope).sum(), slope)
    chosen = d.activation(v)
    return Check(
        conjugate=_worst(sup_over_ratios(d, t) - d.conjugate(t), 1 + d.conjugate(t).abs() + (w * t).abs()),
        biconjugate=_worst(sup_over_slopes(d, u) - d.f(u), own_scale),
        lowest=((d.f(u) + d.conjugate(t) - u * t) / scale).min().item(),
        touching=gap.max().item(),
        # |u − 1| / 2 has a corner: f* is a segment, whose slope at its ends is not one number.
        slope=_worst(turned.log() - u.log(), torch.ones_like(u)) if d.log_ratio else 0.0,
        outside=int((~d.conjugate(sent).isfinite() & (sent != d.high)).sum() + (sent > d.high).sum()),
        composed=_worst(sup_over_ratios(d, chosen) - d.conjugate_at(v), 1 + d.conjugate_at(v).abs() + chosen.abs()),
        end=abs(_recession(d) - d.high) / max(1.0, abs(d.high)) if math.isfinite(d.high) else 0.0,
    )


def _worst(error: Tensor, scale: Tensor) -> float:
    return (error.abs() / scale).max().item()


def _recession(d: Divergence) -> float:
    """The limit of f(u)/u, from f alone.

    Of alpha's, u^(alpha − 1) is missing, which hardly falls near alpha = 1, but by one factor from u to FAR·u: Aitken's
    Δ² takes such a sequence to its limit.
    """
    u = torch.tensor([FAR, FAR**2, FAR**3], dtype=torch.float64)
    a, b, c = (d.f(u) / u).tolist()
    if abs(c - b) <= 1e-12 * abs(c):  # there already: what differs is rounding
        return c
    return c - (c - b) ** 2 / ((c - b) - (b - a))


def _envelope(d: Divergence, u: Tensor, n: int) -> Tensor:
    """The largest of n tangents at ratios evenly apart: u [...] -> [...]."""
    t = d.derivative(torch.linspace(*BETWEEN, n, dtype=torch.float64))
    return (u[..., None] * t - d.conjugate(t)).max(-1).values


def _missing(d: Divergence) -> np.ndarray:
    """The largest height of f over its envelope, for each count of tangents."""
    u = torch.linspace(*BETWEEN, 64 * 256 + 1, dtype=torch.float64)  # with every tangent's ratio, and every middle
    return np.array([(d.f(u) - _envelope(d, u, n)).max().item() for n in COUNTS])


def _numbers(every: list[Divergence], checks: dict[str, Check], missing: dict[str, np.ndarray]) -> tuple[Number, ...]:
    def largest(field: str) -> float:
        return max(getattr(check, field) for check in checks.values())

    tested = f"{len(every)} divergences, {DRAWS} points each"
    width = (BETWEEN[1] - BETWEEN[0]) / (COUNTS[2] - 1)
    slope = float(np.polyfit(np.log(np.array(COUNTS[-3:]) - 1), np.log(missing["kl"][-3:]), 1)[0])
    rounding = "slack: float64, relative to the terms whose difference it is"
    return (
        Number(
            "f*(t) against sup over u of ut − f(u), largest error",
            largest("conjugate"),
            0.0,
            ROUNDING,
            why=f"the conjugate's definition, over {tested}; {rounding}",
        ),
        Number(
            "f(u) against sup over t of ut − f*(t), largest error",
            largest("biconjugate"),
            0.0,
            ROUNDING,
            why="f** = f, as every f here is convex and closed (Fenchel–Moreau)",
        ),
        Number(
            "f(u) + f*(t) − ut, the smallest seen",
            min(check.lowest for check in checks.values()),
            0.0,
            1e-12,
            "≥",
            "Fenchel–Young: every tangent lies below f; slack: float64",
        ),
        Number(
            "the same at t = f′(u), the largest seen",
            largest("touching"),
            0.0,
            1e-12,
            why="a tangent touches f where it was drawn; slack: float64",
        ),
        Number(
            "log of the slope of f* at f′(u) against log u, largest error",
            largest("slope"),
            0.0,
            1e-8,
            why="(f*)′ is the inverse of f′: the best critic's T gives the ratio back. Slack: cancellation near f′(∞)",
        ),
        Number(
            "logits that σ_f sends out of the domain of f*",
            float(sum(check.outside for check in checks.values())),
            0.0,
            why="of 1,402 logits from −10,000 to 10,000 for each divergence; rounded to f′(∞) counts as inside",
        ),
        Number(
            "f*(σ_f(v)) in closed form against the supremum, largest error",
            largest("composed"),
            0.0,
            ROUNDING,
            why="what the losses compute, for logits from −10 to 10",
        ),
        Number(
            "upper end of the domain of f* against the limit of f(u)/u, largest error",
            largest("end"),
            0.0,
            1e-9,
            why="no line steeper than f′(∞) stays below f. The limit is extrapolated from u = 10¹², 10²⁴ and 10³⁶ by "
            "Aitken's Δ². Slack: float64 in the second differences, relative to the end",
        ),
        Number(
            f"Pearson's f over its envelope of {COUNTS[2]} tangents",
            float(missing["pearson"][2]),
            width**2 / 4,
            1e-12,
            why=f"(u − 1)² rises over a tangent by the distance squared; tangents {width:.3g} apart meet halfway",
        ),
        Number(
            "slope of log missing height over log number of tangents, KL",
            slope,
            -2.0,
            0.05,
            why=f"between tangents h apart f″h²/8 is missing; from {COUNTS[-3]} tangents on. Slack: f″ = 1/u varies "
            "by 6 % within the widest gap that counts",
        ),
    )
