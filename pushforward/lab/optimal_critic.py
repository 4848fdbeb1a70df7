"""The optimal critic: trained to tell two laws apart, D becomes p/(p + q), and its score the Jensen–Shannon divergence.

Goodfellow et al. 2014, arXiv:1406.2661, Proposition 1 and Theorem 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.core.ema import EMA
from pushforward.core.seeding import numpy_generator, torch_generator, torch_seeded
from pushforward.data.toy import Mixture
from pushforward.lab import Tell
from pushforward.lab._finding import Finding, Number
from pushforward.lab._laws import Grid, LineMixture
from pushforward.lab._optimal_critic_page import Line, Plane, Seen, Told, page
from pushforward.lab._two_laws import P, Q, log_ratio
from pushforward.networks.mlp import Critic
from pushforward.objectives.adversarial import minimax
from pushforward.objectives.divergence import gan, jensen_shannon

GRID = Grid.between(-16, 16, 1601)
BATCH, RATE, AVERAGED = 512, 1e-2, 40_000  # draws of each law a step; Adam's rate; half-life of the average, in draws
SHIFTS = (0.0, 0.7, 1.5, 3.0, 5.0)
BINS = 12
FAR = 6.2  # of draws of either law, one in 2,000 is farther from 0
FRESH = 40_000  # draws of each law, for calibration

# A wheel of five bumps against one broad bump; own names, as these laws are in no catalogue.
WHEEL = Mixture("wheel", 0.35, 1.0, tuple((1.6 * math.cos(a), 1.6 * math.sin(a)) for a in 0.4 * math.pi * np.arange(5)))
BLOB = Mixture("blob", 1.3, 1.0, ((0.0, 0.0),))
EXTENT, CELLS = 3.6, 81
LOG4 = math.log(4)

Draw = Callable[[], tuple[Tensor, Tensor]]
Watch = Callable[[int, nn.Module], None]


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the networks and of all draws."""
    steps: int = 1200
    """Steps of the critic, each on fresh draws."""
    width: int = 32
    """Units in each of its three hidden layers."""

    def __post_init__(self) -> None:
        if self.steps < 100 or self.width < 8:
            raise ValueError(
                f"a critic near its optimum takes 100 steps and 8 units or more, got {self.steps} and {self.width}; "
                "raise them"
            )


def run(cfg: Config, tell: Tell) -> Finding:
    """A GAN's critic on laws of the line, equal, apart and moving away, and on two laws of the plane."""
    apart = _learned(cfg, P, Q, "apart", cfg.steps)
    tell(0.3)
    moved = {}
    for shift in SHIFTS:
        moved[shift] = _learned(cfg, _normal(0.0), _normal(shift), f"shift {shift:g}", cfg.steps // 3)
        tell(0.3 + 0.08 * len(moved))
    flat = _plane(cfg)
    tell(0.95)
    told = _told(cfg, apart)
    tell(1.0)
    distances = np.linspace(0, 6, 121)
    seen = Seen(
        x=GRID.x,
        apart=apart,
        best=_optimum(P, Q),
        moved=moved,
        distances=distances,
        optima=np.array([_optimum(_normal(0.0), _normal(s)) for s in distances]),
        told=told,
        far=FAR,
        plane=flat,
    )
    return page(_numbers(seen, cfg.steps), seen)


def _normal(mean: float) -> LineMixture:
    return LineMixture((mean,), (1.0,))


def _optimum(p: LineMixture, q: LineMixture) -> float:
    """2 JS − log 4 by quadrature."""
    densities = torch.stack([p.prob(GRID.x), q.prob(GRID.x)])
    middle = densities.mean(0)
    return GRID.integral(torch.special.xlogy(densities, densities / middle).nan_to_num().sum(0)).item() - LOG4


def _value(p: LineMixture, q: LineMixture, logits: Tensor) -> float:
    """E_P log D + E_Q log(1 − D) by quadrature, from logits on the grid."""
    return GRID.integral(p.prob(GRID.x) * gan.activation(logits) - q.prob(GRID.x) * gan.conjugate_at(logits)).item()


def _trained(cfg: Config, key: str, dimensions: int, steps: int, draw: Draw, watch: Watch) -> nn.Module:
    """An averaged critic after `steps` of the minimax loss, at a rate that falls to zero.

    draw() -> (real, fake), [BATCH, D] each; watch(step, critic) is called now and then, and at the end.
    """
    with torch_seeded("lab", "optimal-critic", cfg.seed, key):
        net = Critic((dimensions,), width=cfg.width, depth=3)
    nets = nn.ModuleDict({"critic": net})
    average = EMA(nets, half_life=AVERAGED)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, betas=(0.9, 0.99))
    for step in range(steps + 1):
        if step in _moments(steps):
            watch(step, average.nets["critic"])
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        real, fake = net(torch.cat(draw())).split(BATCH)
        loss = minimax.critic(real, fake)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(nets, (step + 1) * BATCH)
    return average.nets["critic"]


def _moments(steps: int) -> set[int]:
    """Steps at which a critic is looked at: every one at first, then ever fewer."""
    return {0, *np.unique(np.geomspace(1, steps, 60).round().astype(int)).tolist()}


def _learned(cfg: Config, p: LineMixture, q: LineMixture, key: str, steps: int) -> Line:
    generator = torch_generator("lab", "optimal-critic", "draws", cfg.seed, key)
    rows, logits = [], []

    def draw() -> tuple[Tensor, Tensor]:
        real, fake = (law.sample(generator, BATCH).float()[:, None] for law in (p, q))
        return real, fake

    def watch(step: int, critic: nn.Module) -> None:
        with torch.no_grad():
            logits[:] = [critic(GRID.x.float()[:, None]).double()]
        rows.append((step, _value(p, q, logits[0])))

    net = _trained(cfg, key, 1, steps, draw, watch)
    taken, values = np.array(rows).T
    return Line(logits[0], taken, values, net)


def _points(x: np.ndarray) -> Tensor:
    return torch.from_numpy(x).float()


def _square(line: np.ndarray) -> np.ndarray:
    """All points [n², 2] whose coordinates are on the line [n], row by row from below."""
    return np.stack([v.ravel() for v in np.meshgrid(line, line)], 1)


def _plane(cfg: Config) -> Plane:
    """The learned D and the best one on cells, and their values by quadrature on a finer and wider square."""
    rng = numpy_generator("lab", "optimal-critic", "plane", cfg.seed)

    def draw() -> tuple[Tensor, Tensor]:
        return _points(WHEEL.sample(rng, BATCH)[0]), _points(BLOB.sample(rng, BATCH)[0])

    net = _trained(cfg, "plane", 2, cfg.steps, draw, lambda step, critic: None)
    wide, line = np.linspace(-9, 9, 241), np.linspace(-EXTENT, EXTENT, CELLS)
    x, cells = _square(wide), _square(line)
    area = float(wide[1] - wide[0]) ** 2
    p, q = (torch.from_numpy(np.exp(law.log_density(x))) for law in (WHEEL, BLOB))
    with torch.no_grad():
        v, shown = net(_points(x)).double(), net(_points(cells)).double()
    value = ((p * gan.activation(v) - q * gan.conjugate_at(v)).sum() * area).item()
    middle = (p + q) / 2
    divergence = (torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)).sum().item() * area
    learned = torch.sigmoid(shown).numpy().reshape(CELLS, CELLS)
    star = 1 / (1 + np.exp(BLOB.log_density(cells) - WHEEL.log_density(cells))).reshape(CELLS, CELLS)
    return Plane(line, learned, star, value, divergence - LOG4)


def _told(cfg: Config, line: Line) -> Told:
    generator = torch_generator("lab", "optimal-critic", "fresh", cfg.seed)
    x = torch.cat([law.sample(generator, FRESH) for law in (P, Q)]).float()[:, None]
    with torch.no_grad():
        said = torch.sigmoid(line.net(x)).double().numpy()
    real = np.arange(2 * FRESH) < FRESH
    # Bins of equal counts, so that no share rests on a handful.
    order = np.array_split(np.argsort(said), BINS)
    share = np.array([real[part].mean() for part in order])
    count = np.array([len(part) for part in order])
    mean = np.array([said[part].mean() for part in order])
    return Told(mean, share, np.sqrt(share * (1 - share) / count), count)


def _errors(line: Line, missing: float) -> tuple[float, float, float, float]:
    """Root mean square of D − D*, mean |log D/(1 − D) − log p/q|, and what a value short by `missing` allows of them.

    At each x the value falls short by (p + q) KL(D*‖D), of two laws of a label, and p + q is twice the mean's weight.
    KL ≥ 2 (D − D*)² (Pinsker). In the logits s, KL'' = D(1 − D), so that KL ≥ w (s − s*)² / 2 with w the smallest of
    D(1 − D) between the two, which is at one of them; the rest is Cauchy–Schwarz.
    """
    both, star = (P.prob(GRID.x) + Q.prob(GRID.x)) / 2, log_ratio(GRID.x)
    d, best = torch.sigmoid(line.logits), torch.sigmoid(star)
    error = GRID.integral(both * (d - best).square()).sqrt().item()
    off = GRID.integral(both * (gan.ratio(line.logits).log() - star).abs()).item()
    flattest = torch.minimum(d * torch.sigmoid(-line.logits), best * torch.sigmoid(-star))
    missing = max(missing, 0.0)
    return error, off, math.sqrt(missing / 4), math.sqrt(missing * GRID.integral(both / flattest).item())


def _numbers(seen: Seen, steps: int) -> tuple[Number, ...]:
    apart, moved, flat, told, best = seen.apart, seen.moved, seen.plane, seen.told, seen.best
    missing = best - apart.value
    error, off, error_allowed, off_allowed = _errors(apart, missing)
    # An efficient estimate of k numbers from n labels loses k/2n nats a label (Wilks), and the value is of two labels.
    fair = sum(p.numel() for p in apart.net.parameters()) / (2 * BATCH * steps)
    lost = [line.value - _optimum(_normal(0.0), _normal(s)) for s, line in moved.items()]
    calibration = float((told.count * np.abs(told.share - told.said)).sum() / told.count.sum())
    noise = float((told.count * told.error).sum() / told.count.sum())
    js = _exact_js()
    return (
        Number(
            "root mean square of D − p/(p + q), over draws of both laws",
            error,
            error_allowed,
            0.0,
            "≤",
            f"Proposition 1. An error e costs at least 4e² nats (Pinsker), and {missing:.2g} are missing",
        ),
        Number(
            "value of the learned critic, E_P log D + E_Q log(1 − D)",
            apart.value,
            best,
            fair,
            why="2 JS − log 4, JS in nats, by quadrature. Slack: weights over labels seen, what an efficient estimate "
            "of as many numbers loses",
        ),
        Number(
            "the same, and no more",
            max([apart.value - best, *lost, flat.value - flat.best]),
            0.0,
            1e-6,
            "≤",
            "no critic of any pair of laws passes its optimum; slack: single precision",
        ),
        Number(
            "value for equal laws",
            moved[SHIFTS[0]].value,
            -LOG4,
            0.002,
            why="Theorem 1: −log 4 = −1.386, where D = ½ everywhere and nothing is left to tell",
        ),
        Number(
            f"value for normal laws {SHIFTS[-1]:g} apart",
            moved[SHIFTS[-1]].value,
            _optimum(_normal(0.0), _normal(SHIFTS[-1])),
            0.002,
            why="2 JS − log 4 by quadrature. Slack: as above",
        ),
        Number(
            "value at p/(p + q) itself",
            _value(P, Q, log_ratio(GRID.x)),
            2 * js - LOG4,
            1e-9,
            why="the library's Jensen–Shannon generator, integrated against Q; slack: float64",
        ),
        Number(
            "mean error of log p/q, read back as log D/(1 − D)",
            off,
            off_allowed,
            0.0,
            "≤",
            "a critic is a density ratio. Cauchy–Schwarz: √(missing value · E 1/(D(1 − D))), errors of the logit being "
            "cheap where D is near 0 or 1",
        ),
        Number(
            f"mean of |share of P − D| over {BINS} bins of fresh draws",
            calibration,
            0.0,
            # |noise| in a bin is 0.8 ± 0.6 of its standard error; its mean over the bins, at four of its own, 1.5.
            error_allowed + 1.5 * noise,
            why="p/(p + q) is the chance that a draw is of P. Slack: the critic's error as its value allows it, "
            f"{error_allowed:.2g}, and {1.5 * noise:.2g} of sampling",
        ),
        Number(
            "value in the plane",
            flat.value,
            flat.best,
            2 * fair,
            why="2 JS − log 4 by quadrature. Slack: twice weights over labels, as one pass of Adam is not efficient",
        ),
    )


def _exact_js() -> float:
    q = Q.prob(GRID.x)
    return GRID.integral(q * jensen_shannon.f(log_ratio(GRID.x).exp())).item()
