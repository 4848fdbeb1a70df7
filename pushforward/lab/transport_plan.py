"""Optimal transport seen: plans on a line and in the plane, their duals, entropic plans, Gaussians and slices.

Peyré & Cuturi 2019, arXiv:1803.00567, Sections 2 (plans, duality, closed forms), 4 (entropic) and 10.4 (slices);
Villani 2003, Topics in Optimal Transportation, Sections 1.1, 2.2 (monotone plans) and 2.3 (cyclical monotonicity);
Feydy et al. 2019, arXiv:1810.08278 (Sinkhorn divergences).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pushforward.core.seeding import numpy_generator, torch_generator
from pushforward.lab import Tell
from pushforward.lab._entropic import Floats, blurred
from pushforward.lab._finding import Finding, Number
from pushforward.lab._laws import LineMixture
from pushforward.lab._transport_plan_page import EDGE, Growth, Line, Matchings, Prices, Seen, Slices, page
from pushforward.objectives.transport import (
    Plan,
    exact_wasserstein,
    gaussian_wasserstein2,
    sliced_costs,
    transport_plan,
    unit_directions,
)

CELLS = 65  # of the grid of the histograms
P = LineMixture((-0.3,), (1.0,))
Q = LineMixture((-2.0, 1.9), (0.6, 0.75), (0.6, 0.4))
ZIGZAGS = 400  # critics beside the best one: any 1-Lipschitz function is a mean of such, up to the grid
SIZES = (16, 32, 64, 128, 256, 512)
WIDTHS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of all draws."""
    points: int = 70
    """Points on either side of the matchings in the plane."""
    dimensions: int = 8
    """Of the Gaussians that are compared beside those in the plane."""
    repeats: int = 10
    """Independent pairs of samples of each size, over which distances are averaged."""
    directions: int = 4096
    """Of the projections behind each sliced distance."""

    def __post_init__(self) -> None:
        if self.points < 3 or self.dimensions < 3 or self.repeats < 2 or self.directions < 100:
            raise ValueError(
                "plans need 3 or more points, 3 or more dimensions, 2 or more repeats and 100 or more directions, "
                f"got {self.points}, {self.dimensions}, {self.repeats} and {self.directions}; raise them"
            )


def run(cfg: Config, tell: Tell) -> Finding:
    """A plan and its dual on a line, matchings in the plane, entropic plans, and Gaussians with a closed form."""
    line, of_line = _line()
    tell(1 / 6)
    prices, of_prices = _prices(cfg, line)
    tell(2 / 6)
    matchings, of_matchings = _matchings(cfg)
    tell(3 / 6)
    blur, of_blur = blurred(line.x, line.p, line.q)
    tell(4 / 6)
    growths = tuple(_growth(cfg, d) for d in (2, cfg.dimensions))
    tell(5 / 6)
    slices, of_slices = _slices(cfg)
    numbers = (*of_line, *of_prices, *of_matchings, *of_blur, *(n for g in growths for n in _overstated(g)), *of_slices)
    finding = page(numbers, Seen(line, prices, matchings, blur, growths, slices))
    tell(1.0)
    return finding


def _histograms() -> tuple[Floats, Floats, Floats]:
    """The grid [CELLS] and the masses of P and of Q on it."""
    x = torch.linspace(-EDGE, EDGE, CELLS, dtype=torch.float64)
    p, q = P.prob(x), Q.prob(x)
    return x.numpy(), (p / p.sum()).numpy(), (q / q.sum()).numpy()


def _graph(x: Floats) -> Floats:
    """T = F_Q⁻¹∘F_P of the laws themselves, from their distribution functions and no plan."""
    fine = torch.linspace(-2 * EDGE, 2 * EDGE, 4001, dtype=torch.float64)
    return np.interp(P.cdf(torch.from_numpy(x)).numpy(), Q.cdf(fine).numpy(), fine.numpy())


def _line() -> tuple[Line, list[Number]]:
    x, p, q = _histograms()
    plan = transport_plan(x[:, None], x[:, None], 2, a=p, b=q)
    rows, columns = plan.marginals()
    wrong = max(float(np.abs(m - given).max()) for m, given in ((rows, p), (columns, q)))
    product = np.outer(p, q)
    paid = float((product * (x[:, None] - x) ** 2).sum())
    means = [float(m @ x) for m in (p, q)]
    moments = sum(float(m @ x**2) - c**2 for m, c in zip((p, q), means, strict=True)) + (means[0] - means[1]) ** 2
    inside = np.linspace(-3.2, 2.6, 200)
    line = Line(x, p, q, plan, paid, inside, _graph(inside))
    why = "the plan must empty P and fill Q; slack: rounding in float64"
    numbers = [
        Number("largest error of the plan's marginals on the line", wrong, 0.0, 1e-12, "≤", why),
        Number("pairs of the plan that are out of order", _disorder(plan), 0.0, why="on a line order is kept: T′ ≥ 0"),
        Number(
            "cost of the product coupling",
            paid,
            moments,
            1e-9,
            why="Var P + Var Q + (E P − E Q)², as its two sides are independent",
        ),
    ]
    return line, numbers


def _disorder(plan: Plan) -> float:
    """Pairs of entries (i, j), (k, l) of a plan on a sorted grid with i < k and j > l."""
    i, j = plan.rows, plan.columns
    return float(((i[:, None] < i) & (j[:, None] > j)).sum())


def potentials(plan: Plan, cost: Floats) -> tuple[Floats, Floats]:
    """Kantorovich potentials u [N], v [M] of a monotone plan: u_i + v_j = cost_ij where it has mass.

    Walks up the plan's staircase; where a step goes up and right at once the corner between is tight too.
    """
    order = np.lexsort((plan.columns, plan.rows))
    u, v = np.zeros(plan.shape[0]), np.zeros(plan.shape[1])
    i, j = plan.rows[order[0]], plan.columns[order[0]]
    v[j] = cost[i, j]
    for k, l in zip(plan.rows[order[1:]], plan.columns[order[1:]], strict=True):
        if l != j:
            v[l] = cost[i, l] - u[i]
        if k != i:
            u[k] = cost[k, l] - v[l]
        i, j = k, l
    return u, v


def _prices(cfg: Config, line: Line) -> tuple[Prices, list[Number]]:
    x, p, q = line.x, line.p, line.q
    step = x[1] - x[0]
    primal = transport_plan(x[:, None], x[:, None], 1, a=p, b=q).cost
    slopes = np.sign(np.cumsum(q - p)[:-1])  # the critic rises where Q lags behind P
    critic = np.concatenate([[0], np.cumsum(slopes * step)])
    critic -= critic.mean()
    dual = float((p - q) @ critic)
    turns = numpy_generator("lab", "transport-plan", "critics", cfg.seed).choice([-1.0, 1.0], (ZIGZAGS, 8))
    slopes = np.repeat(turns, (CELLS - 1) // 8, axis=1)
    others = np.concatenate([np.zeros((ZIGZAGS, 1)), np.cumsum(slopes * step, 1)], 1)
    values = others @ (p - q)
    costs = (x[:, None] - x) ** 2
    u, v = potentials(line.plan, costs)
    slack = costs - u[:, None] - v
    numbers = [
        Number(
            "W₁'s dual: E_P f − E_Q f for the best 1-Lipschitz f",
            dual,
            primal,
            1e-9,
            why="Kantorovich–Rubinstein: the primal cost of the plan; f′ = sign(F_Q − F_P), no solver",
        ),
        Number(
            "W₂'s dual: E_P u + E_Q v",
            float(p @ u + q @ v),
            line.plan.cost,
            1e-9,
            why="strong duality: the primal cost of the plan",
        ),
        Number(
            "least slack |x − y|² − u(x) − v(y) over all pairs",
            float(slack.min()),
            0.0,
            1e-10,
            "≥",
            "prices that no pair undercuts prove that no plan is cheaper; slack: rounding along the staircase",
        ),
    ]
    return Prices(critic, dual, others, float(values.max()), slack), numbers


def _clouds(cfg: Config) -> tuple[Floats, Floats]:
    """A round cloud and an arc around it, of as many points."""
    rng = numpy_generator("lab", "transport-plan", "clouds", cfg.seed)
    x = rng.normal((-0.4, -0.3), 0.45, (cfg.points, 2))
    angle = rng.uniform(-0.35 * np.pi, 0.85 * np.pi, cfg.points)
    y = 1.7 * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, 0.13, (cfg.points, 2))
    return x, y


def crossings(start: Floats, end: Floats) -> int:
    """Pairs of segments start_i–end_i, [N, 2], that cross."""

    def side(a: Floats, b: Floats, c: Floats) -> Floats:
        u, v = b - a, c - a
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    a, b, c, d = start[:, None], end[:, None], start[None], end[None]
    both = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return int(np.triu(both, 1).sum())


def _least_gain(cfg: Config, costs: Floats, target: NDArray[np.integer]) -> float:
    """The least that 20,000 random cycles of 2 to 6 points cost more than the matching does."""
    rng = numpy_generator("lab", "transport-plan", "cycles", cfg.seed)
    least = math.inf
    for length in range(2, min(6, len(target)) + 1):
        cycle = rng.random((4000, len(target))).argpartition(length - 1, 1)[:, :length]
        moved = costs[cycle, target[np.roll(cycle, 1, 1)]] - costs[cycle, target[cycle]]
        least = min(least, float(moved.sum(1).min()))
    return least


def _matchings(cfg: Config) -> tuple[Matchings, list[Number]]:
    x, y = _clouds(cfg)
    gaps = np.linalg.norm(x[:, None] - y, axis=2)
    plans = tuple(transport_plan(x, y, p) for p in (1, 2))
    crossed = tuple(crossings(x[plan.rows], y[plan.columns]) for plan in plans)
    gain = _least_gain(cfg, gaps**2, plans[1].columns[np.argsort(plans[1].rows)])
    pairs = "20,000 random cycles of 2 to 6 points"
    numbers = [
        Number(
            "crossing arrows of the W₁ matching",
            float(crossed[0]),
            0.0,
            why="uncrossing two makes both shorter together",
        ),
        Number(
            "least gain of a cycle against the W₂ matching",
            gain,
            0.0,
            1e-12,
            "≥",
            f"cyclical monotonicity, on {pairs}; slack: rounding",
        ),
    ]
    return Matchings(x, y, plans, crossed, crossings(x, y)), numbers


def _pair(d: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means and factors A of two Gaussians m + A z in d dimensions: one round, one shifted, stretched and turned."""
    generator = torch_generator("lab", "transport-plan", "turn", d)
    turn = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=generator)).Q
    stretch = torch.linspace(0.5, 2.0, d, dtype=torch.float64)
    shift = torch.zeros(d, dtype=torch.float64)
    shift[0] = 1.0
    return torch.zeros_like(shift), torch.eye(d, dtype=torch.float64), shift, turn * stretch


def _growth(cfg: Config, d: int) -> Growth:
    """Distances of pairs of samples of every size, and what the laws' prices earn on them."""
    m1, a1, m2, a2 = _pair(d)
    exact = math.sqrt(float(gaussian_wasserstein2(m1, a1 @ a1.T, m2, a2 @ a2.T)))
    found, earned = np.zeros((2, len(SIZES), cfg.repeats))
    floors = np.zeros((len(SIZES), cfg.repeats, 2))
    for k, n in enumerate(SIZES):
        generator = torch_generator("lab", "transport-plan", "gaussians", cfg.seed, d, n)
        z = torch.randn(cfg.repeats, 2, 2, n, d, dtype=torch.float64, generator=generator)
        x, y = m1 + z[:, 0] @ a1.T, m2 + z[:, 1] @ a2.T
        for r in range(cfg.repeats):
            found[k, r] = exact_wasserstein(x[r, 0], y[r, 0])
            floors[k, r] = [exact_wasserstein(one[0], one[1]) for one in (x[r], y[r])]
            earned[k, r] = _earned(x[r, 0], y[r, 0], m2, a2)
    return Growth(d, SIZES, exact, found, floors, earned, float(torch.linalg.matrix_norm(a2, 2)))


def _earned(x: torch.Tensor, y: torch.Tensor, m: torch.Tensor, a: torch.Tensor) -> float:
    """E u(x) + E v(y) for the prices of N(0, 1) against the law of m + a z; E over the laws themselves is W₂².

    The map is T(x) = m + A x = ∇φ with A = (a aᵀ)^½; u = |x|² − 2 φ(x), v = |y|² − 2 φ*(y).
    """
    U, s, _ = torch.linalg.svd(a)
    along, back = x @ U, (y - m) @ U  # in the basis where A is diagonal
    u = x.square().sum(1) - (s * along**2).sum(1) - 2 * x @ m
    v = y.square().sum(1) - (back**2 / s).sum(1)
    return float(u.mean() + v.mean())


def _overstated(growth: Growth) -> tuple[Number, Number]:
    """What W₂ of the largest samples must be at least, and by how much it may exceed that."""
    exact, squares = growth.exact, growth.found[-1] ** 2
    excess, most = squares - growth.earned[-1], growth.stretch * growth.floors[-1, :, 0] ** 2

    def bars(of: Floats) -> float:
        return 4 * float(of.std(ddof=1)) / math.sqrt(len(of))

    return (
        Number(
            f"W₂ of two samples of {SIZES[-1]}, in {growth.d} dimensions",
            math.sqrt(squares.mean()),
            exact,
            bars(squares) / (2 * exact),
            "≥",
            "closed form between Gaussians; W₂² is convex, so that samples overstate it; slack: four standard errors",
        ),
        Number(
            f"excess of W₂² of these samples over what the laws' prices earn, in {growth.d} dimensions",
            float(excess.mean()),
            float(most.mean()),
            bars(excess - most),
            "≤",
            f"{growth.stretch:g} times the floor of P in squares, as the map between the laws stretches by "
            f"{growth.stretch:g} at most; slack: four standard errors",
        ),
    )


def _slices(cfg: Config) -> tuple[Slices, list[Number]]:
    share, error = [], []
    for d in WIDTHS:
        generator = torch_generator("lab", "transport-plan", "x", cfg.seed, d)
        x = torch.randn(64, d, dtype=torch.float64, generator=generator)
        shift = torch.full((d,), 1 / math.sqrt(d), dtype=torch.float64)
        thetas = unit_directions(d, cfg.directions, "lab", "transport-plan", cfg.seed)
        costs = sliced_costs(x, x + shift, thetas)
        share.append(float(costs.mean()))
        error.append(float(costs.std()) / math.sqrt(cfg.directions))
    d = np.array(WIDTHS)
    scaled, bars = np.array(share) * d, np.array(error) * d
    worst = int(np.abs((scaled - 1) / bars).argmax())
    numbers = [
        Number(
            f"D × sliced W₂² of a shift of length 1, at its worst (D = {WIDTHS[worst]})",
            float(scaled[worst]),
            1.0,
            float(4 * bars[worst]),
            why=f"E⟨θ, s⟩² = |s|²/D; slack: four standard errors over {cfg.directions:,} directions",
        )
    ]
    return Slices(WIDTHS, share), numbers
