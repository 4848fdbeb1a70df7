"""Mode-seeking against mass-covering: one Gaussian fitted to two bumps under KL, reverse KL, JS, Hellinger and W.

Minka 2005, Divergence measures and message passing, Section 2 (inclusive and exclusive divergences); Huszár 2015,
arXiv:1511.05101, Section 3 (weighted Jensen–Shannon); Nowozin et al. 2016, arXiv:1606.00709, Section 2.5 (a Gaussian
fitted to a mixture by f-GANs); Theis et al. 2016, arXiv:1511.01844, Figure 1.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from pushforward.core.seeding import torch_generator, torch_seeded
from pushforward.lab import Tell
from pushforward.lab._finding import Finding, Number
from pushforward.lab._fits import (
    GRID,
    HALVES,
    STEP,
    Branch,
    Fit,
    along_halves,
    along_weights,
    breaks_at,
    density,
    equal,
    exact,
    fit,
    gradient,
    loss_of,
    nearest,
    normal,
    reverse_kl_breaks,
    weighted,
)
from pushforward.lab._laws import LineMixture
from pushforward.lab._mode_seeking_page import Game, Landscape, Seen, page
from pushforward.networks.mlp import Critic
from pushforward.objectives.adversarial import fgan
from pushforward.objectives.divergence import Divergence, jensen_shannon, kl, reverse_kl, squared_hellinger
from pushforward.objectives.transport import line_cost

WIDTHS = (0.6, 0.8)  # deviations of the two bumps
MIDPOINTS = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000  # levels of the quantiles
FITTED = {"KL": kl, "JS": jensen_shannon, "Hellinger²": squared_hellinger, "reverse KL": reverse_kl}
SMALL = 1e-3  # the weight π at which the weighted JS is held against its limits
BATCH, CRITIC_RATE, RATE, TAIL = 256, 5e-3, 2e-2, 0.3  # of the games; TAIL: the share of rounds that is averaged
WIDE, NEAR = (-0.8, 1.6), (-2.0, 0.8)  # m and s, where games start: over both bumps, and at the left one
GAMES = {
    "KL": ("KL", WIDE),
    "JS": ("JS", WIDE),
    "reverse KL": ("reverse KL", WIDE),
    "reverse KL from a bump": ("reverse KL", NEAR),
}


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the games' draws and critics."""
    share: float = 0.65
    """Mass of the left bump."""
    distance: float = 4.4
    """Between the two bumps."""
    rounds: int = 300
    """Generator steps of each game."""
    critic_steps: int = 3
    """Critic steps before each of them."""

    def __post_init__(self) -> None:
        if not (0.5 <= self.share <= 0.9 and 2 <= self.distance <= 6):
            raise ValueError(
                "two bumps are seen with a share in [0.5, 0.9] and a distance in [2, 6], "
                f"got {self.share} and {self.distance}; 0.65 and 4.4 are usual"
            )
        if self.rounds < 20 or self.critic_steps < 1:
            raise ValueError(
                "a game needs 20 or more rounds and 1 or more critic steps, "
                f"got {self.rounds} and {self.critic_steps}; raise them"
            )

    @property
    def bumps(self) -> tuple[tuple[float, float, float], ...]:
        """Weight, mean and deviation of each."""
        weights, means = (self.share, 1 - self.share), (-self.distance / 2, self.distance / 2)
        return tuple(zip(weights, means, WIDTHS, strict=True))

    @property
    def law(self) -> LineMixture:
        """Of both together."""
        weights, means, deviations = zip(*self.bumps, strict=True)
        return LineMixture(means, deviations, weights)


def run(cfg: Config, tell: Tell) -> Finding:
    """Exact fits by quadrature, their landscapes and branches, and the same fits learned by games."""
    p = density(GRID, cfg.bumps)
    fits = {name: minima(p, d, cfg) for name, d in FITTED.items()}
    transport = {name: _transport_fit(cfg, power) for name, power in (("W₁", 1), ("W₂", 2))}
    tell(0.1)
    weights = along_weights(p, fits["KL"][0], fits["reverse KL"][0])
    halves = {name: along_halves(FITTED[name]) for name in ("reverse KL", "JS", "Hellinger²")}
    tell(0.4)
    games = {}
    for name, (divergence, start) in GAMES.items():
        games[name] = play(cfg, FITTED[divergence], p, start)
        tell(0.4 + 0.15 * len(games))
    seen = Seen(
        p=p,
        fits=fits,
        transport=transport,
        landscapes={name: _landscape(p, FITTED[name]) for name in ("KL", "JS", "reverse KL")}
        | {"W₂": _transport_landscape(cfg)},
        weights=weights,
        halves=halves,
        games=games,
        played={name: divergence for name, (divergence, _) in GAMES.items()},
        tail=TAIL,
    )
    return page(_numbers(cfg, p, fits, transport, halves, games), seen)


def minima(p: Tensor, divergence: Divergence, cfg: Config) -> list[Fit]:
    """The different local minima found from several starts, best first."""
    starts = [(m, s) for _, m, s in cfg.bumps] + [(0.0, cfg.distance / 2), (0.0, 1.2), NEAR, WIDE]
    found: list[Fit] = []
    for m, s in starts:
        one = fit(loss_of(p, divergence), m, s)
        slopes = gradient(p, divergence, one)
        if np.abs(slopes).max() < 1e-5 and all(abs(one.m - o.m) + abs(one.s - o.s) > 1e-3 for o in found):
            found.append(one)
    return sorted(found, key=lambda one: one.value)


def _quantiles(cfg: Config) -> Tensor:
    """F_P⁻¹ at `MIDPOINTS`."""
    fine = torch.linspace(-12, 12, 48_001, dtype=torch.float64)
    return torch.from_numpy(np.interp(MIDPOINTS.numpy(), cfg.law.cdf(fine).numpy(), fine.numpy()))


def _transport_fit(cfg: Config, power: int) -> Fit:
    """The Gaussian nearest to P in W_p, between 4,000 quantiles of each."""
    x, z = _quantiles(cfg), torch.from_numpy(ndtri(MIDPOINTS.numpy()))
    return fit(lambda m, s: line_cost(x, m + s * z, power), 0.0, 1.5)


def overlap(cfg: Config) -> float:
    """∫ F_P⁻¹(t) Φ⁻¹(t) dt, the deviation of W₂'s fit, as ∫ φ(Φ⁻¹(F_P(x))) dx by parts."""
    x = torch.linspace(-12, 12, 48_001, dtype=torch.float64)
    z = ndtri(cfg.law.cdf(x).numpy())
    return float(np.trapezoid(np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), x))


SIDE = 41  # cells along each axis of a landscape


def _grid() -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(-3.5, 3.5, SIDE), np.linspace(math.log(0.4), math.log(3.6), SIDE)


def _landscape(p: Tensor, divergence: Divergence) -> Landscape:
    m, log_s = _grid()
    with torch.no_grad():
        rows = [[float(exact(p, divergence, a, b.exp())) for a in torch.from_numpy(m)] for b in torch.from_numpy(log_s)]
    return Landscape(m, log_s, np.array(rows))


def _transport_landscape(cfg: Config) -> Landscape:
    """W₂², a quadratic in m and s."""
    m, log_s = _grid()
    mean, deviation = _moments(cfg)
    s = np.exp(log_s)[:, None]
    return Landscape(m, log_s, (m - mean) ** 2 + deviation**2 + s**2 - 2 * s * overlap(cfg))


def _moments(cfg: Config) -> tuple[float, float]:
    """The mixture's mean and deviation."""
    mean = sum(w * m for w, m, _ in cfg.bumps)
    return mean, math.sqrt(sum(w * (s**2 + m**2) for w, m, s in cfg.bumps) - mean**2)


def play(cfg: Config, divergence: Divergence, p: Tensor, start: tuple[float, float]) -> Game:
    """x = m + s z against a small critic, on the bound itself: the f-GAN whose exact answer is known."""
    key = ("lab", "mode-seeking", divergence.name, cfg.seed)
    losses, generator = fgan(divergence, saturating=True), torch_generator(*key)
    with torch_seeded(*key, "critic"):
        D = Critic((1,), 32, 2)
    theta = torch.tensor([start[0], math.log(start[1])], requires_grad=True)
    critic = torch.optim.Adam(D.parameters(), CRITIC_RATE, betas=(0.5, 0.9), fused=True)
    player = torch.optim.Adam([theta], RATE, betas=(0.0, 0.9))
    weights, means, deviations = torch.tensor(cfg.bumps).T

    def real() -> Tensor:
        which = torch.multinomial(weights, BATCH, True, generator=generator)
        return (means[which] + deviations[which] * torch.randn(BATCH, generator=generator))[:, None]

    def fake() -> Tensor:
        return theta[0] + theta[1].exp() * torch.randn(BATCH, 1, generator=generator)

    path, gaps = [], []
    for k in range(cfg.rounds):
        left = 1 - k / cfg.rounds
        critic.param_groups[0]["lr"], player.param_groups[0]["lr"] = CRITIC_RATE * left, RATE * left
        for _ in range(cfg.critic_steps if k else 200):
            logits = D(torch.cat([real(), fake().detach()]))
            critic.zero_grad()
            losses.critic(logits[:BATCH], logits[BATCH:]).backward()
            critic.step()
        (theta.grad,) = torch.autograd.grad(losses.generator(None, D(fake())), theta)
        player.step()
        path.append(theta.detach().double().clone())
        if k >= (1 - TAIL) * cfg.rounds and (cfg.rounds - 1 - k) % 10 == 0:
            gaps.append(_gap(divergence, p, D, path[-1]))
    walked = torch.stack(path)
    m, s = (float(v) for v in walked[-int(TAIL * cfg.rounds) :].mean(0))
    end = Fit(m, math.exp(s), exact(p, divergence, m, math.exp(s)).item())
    return Game(walked.numpy(), end, max(gaps))


def _gap(divergence: Divergence, p: Tensor, D: Critic, theta: Tensor) -> float:
    """The exact divergence less the critic's bound, both by quadrature."""
    with torch.no_grad():
        logits, q = D(GRID.float()[:, None]).double(), normal(GRID, theta[0], theta[1].exp())
        bound = ((p * divergence.activation(logits)).sum() - (q * divergence.conjugate_at(logits)).sum()) * STEP
        return float(exact(p, divergence, theta[0], theta[1].exp()) - bound)


def _numbers(
    cfg: Config,
    p: Tensor,
    fits: dict[str, list[Fit]],
    transport: dict[str, Fit],
    halves: dict[str, dict[str, Branch]],
    games: dict[str, Game],
) -> tuple[Number, ...]:
    mean, deviation = _moments(cfg)
    forward, reverse = fits["KL"][0], fits["reverse KL"][0]
    rounding = "slack: where the minimisation stops"
    return (
        Number("KL's fit: m", forward.m, mean, 1e-6, why=f"moment matching: E_P of the mixture; {rounding}"),
        Number("KL's fit: s", forward.s, deviation, 1e-6, why="moment matching: the mixture's deviation"),
        Number("reverse KL's fit: s² E_Q[−(log p)″]", _stein(cfg, reverse), 1.0, 1e-5, why=f"stationary; {rounding}"),
        Number(
            "W₂'s fit: s",
            transport["W₂"].s,
            overlap(cfg),
            2e-3,
            why="∫ F_P⁻¹ Φ⁻¹ dt, by parts; slack: 4,000 quantiles have no tails",
        ),
        _limit(p, SMALL, forward, "KL's"),
        _limit(p, 1 - SMALL, reverse, "reverse KL's"),
        Number(
            f"s² ∂²/∂m² of reverse KL at the middle, bumps {2 * HALVES[-1]:g} deviations apart",
            _curvature(HALVES[-1], halves["reverse KL"]["covering"]),
            1.0,
            1e-5,
            why="∂²/∂m² = E_Q[−(log p)″], which is 1/s² where s is stationary: the middle stays a minimum",
        ),
        *_far(halves),
        Number(
            "half the distance at which reverse KL lets one bump go",
            breaks_at(halves["reverse KL"]),
            reverse_kl_breaks(),
            2e-3,
            why="the root of both fits' difference, by another quadrature; slack: a line between halves 0.1 apart",
        ),
        *(
            Number(
                f"f-GAN with {name}: exact divergence at its end, over the minimum's",
                game.end.value - nearest(fits[GAMES[name][0]], game.end).value,
                0.0,
                min(game.gap, _quarter(FITTED[GAMES[name][0]])),
                why="slack: the gap of the bound, which can hide no more than that; at most D(N(0, 1)‖N(¼, 1)), a mean "
                "that is a quarter of a deviation off",
            )
            for name, game in games.items()
        ),
    )


def _quarter(divergence: Divergence) -> float:
    """D(N(0, 1)‖N(¼, 1)), 1/32 for KL and reverse KL: the most that a game's end may cost, however bad its critic."""
    return exact(normal(GRID, 0.0, 1.0), divergence, 0.25, 1.0).item()


def _stein(cfg: Config, at: Fit) -> float:
    """s² E_Q[−(log p)″] with the second derivative of log p in closed form; 1 where s is stationary."""
    x = GRID.numpy()
    parts = np.array([w * np.exp(-(((x - m) / s) ** 2) / 2) / s for w, m, s in cfg.bumps])
    share = parts / np.maximum(parts.sum(0), 1e-300)
    slope = np.array([-(x - m) / s**2 for _, m, s in cfg.bumps])
    second = (share * (slope**2 - np.array([1 / s**2 for *_, s in cfg.bumps])[:, None])).sum(0)
    second -= (share * slope).sum(0) ** 2
    q = np.exp(-(((x - at.m) / at.s) ** 2) / 2) / (at.s * math.sqrt(2 * math.pi))
    return float(-(at.s**2) * (q * second).sum() * STEP)


def _limit(p: Tensor, pi: float, limit: Fit, whose: str) -> Number:
    """How far the weighted JS's fit is from a limit's, where its weight is small."""

    def away(pi: float) -> float:
        found = fit(weighted(p, pi), limit.m, limit.s)
        return math.hypot(found.m - limit.m, found.s - limit.s)

    more = 10 * pi if pi < 0.5 else 1 - 10 * (1 - pi)
    why = "linear in the small weight; slack: a fifth of the distance at ten times the weight"
    return Number(
        f"weighted JS at π = {pi:g}: distance of (m, s) from {whose} fit", away(pi), 0.0, away(more) / 5, why=why
    )


def _curvature(half: float, branch: Branch) -> float:
    at = torch.tensor([branch.m[-1], branch.s[-1]], dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(exact(equal(half), reverse_kl, at[0], at[1]), at, create_graph=True)
    (second,) = torch.autograd.grad(slopes[0], at)
    return float(second[0] * branch.s[-1] ** 2)


def _far(halves: dict[str, dict[str, Branch]]) -> tuple[Number, ...]:
    """What it costs to sit on one of two equal bumps that do not meet."""
    known = {"reverse KL": (math.log(2), "log 2"), "JS": (0.75 * math.log(4 / 3), "¾ log(4/3)")}
    return tuple(
        Number(
            f"{name} of the fit on one of two equal bumps far apart",
            float(halves[name]["seeking"].value[-1]),
            value,
            1e-5,
            why=f"{formula} where the bumps share nothing; slack: what they share at this distance",
        )
        for name, (value, formula) in known.items()
    )
